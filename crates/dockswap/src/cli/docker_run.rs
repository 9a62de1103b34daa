//! `dockswap docker-run`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::escape;
use crate::api::wire;
use clap::Args;
use dockswap_core::{AppName, Color};

/// Print the `docker run` that would make an app's container by hand
///
/// The values of its environment are masked.
#[derive(Debug, Args)]
pub(crate) struct DockerRunArgs {
    /// The app
    pub(crate) app: AppName,
    /// blue or green [default: the one that serves]
    #[arg(long, short, value_name = "COLOR")]
    color: Option<Color>,
}

pub(crate) async fn docker_run(session: &Session, args: &DockerRunArgs) -> Result<Exit, CliError> {
    let color = args.color.map_or_else(String::new, |color| format!("?color={color}"));
    let run: wire::DockerRun =
        session.client.get(&format!("/v1/apps/{}/docker-run{color}", args.app)).await?;
    session.show(&run, || vec![command_line(&run.command)])?;
    Ok(Exit::Done)
}

/// The words as a shell takes them, each option on a line of its own.
fn command_line(words: &[String]) -> String {
    let mut line = String::new();
    let mut after_option = false;
    for word in words {
        let begins_line = word.starts_with("--") || (!after_option && line.contains(" \\\n"));
        if !line.is_empty() {
            line.push_str(if begins_line { " \\\n  " } else { " " });
        }
        line.push_str(&quoted(word));
        after_option = word.starts_with("--");
    }
    line
}

/// `word` as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", escape(word).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{command_line, quoted};

    #[test]
    fn each_option_has_its_line() {
        let words =
            ["docker", "run", "--detach", "--name", "web-blue-7", "--env", "TOKEN=***", "app:v1", "serve"];
        assert_eq!(
            command_line(&words.map(str::to_owned)),
            "docker run \\\n  --detach \\\n  --name web-blue-7 \\\n  --env 'TOKEN=***' \\\n  app:v1 \\\n  serve"
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a:b=c"), "a:b=c");
    }
}
