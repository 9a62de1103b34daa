//! `dockswap config show` and `dockswap config diff`.

use super::exit::{CliError, Exit};
use super::records::{Records, StoredConfig};
use super::session::{Format, Session, data, json, raw};
use super::text::escape;
use clap::{Args, Subcommand};
use dockswap_core::{AppName, ConfigId};
use dockswap_store::Page;
use serde_json::json;
use similar::TextDiff;
use std::io::IsTerminal;

/// Show or compare stored versions of an app's file
///
/// Read from the database when the controller does not answer.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Write a stored version to stdout, byte for byte
    Show {
        /// The app
        app: AppName,
        /// The version, as `dockswap configs APP` lists them [default: the newest]
        id: Option<i64>,
    },
    /// Compare two stored versions
    ///
    /// Without IDs: the newest with the one before it. With one: that with the newest.
    Diff {
        /// The app
        app: AppName,
        /// The older version
        from: Option<i64>,
        /// The newer version [default: the newest]
        to: Option<i64>,
    },
}

pub(crate) async fn config(session: &Session, args: &ConfigArgs) -> Result<Exit, CliError> {
    let records = Records::open(session).await?;
    match &args.verb {
        ConfigVerb::Show { app, id } => {
            let id = match id {
                Some(id) => ConfigId(*id),
                None => newest(&records, app, 0).await?,
            };
            show(session, &find(&records, app, id).await?)?;
        }
        ConfigVerb::Diff { app, from, to } => {
            let to = match to {
                Some(id) => ConfigId(*id),
                None => newest(&records, app, 0).await?,
            };
            let from = match from {
                Some(id) => ConfigId(*id),
                None => newest(&records, app, 1).await?,
            };
            let (from, to) = (find(&records, app, from).await?, find(&records, app, to).await?);
            let lines = diff(&title(&from), &from.bytes, &title(&to), &to.bytes);
            let document = json!({ "app": app, "from": from.id, "to": to.id, "diff": lines.join("\n") });
            session.show(&document, || lines)?;
        }
    }
    Ok(Exit::Done)
}

fn show(session: &Session, config: &StoredConfig) -> Result<(), CliError> {
    let text = String::from_utf8_lossy(&config.bytes);
    match session.format {
        Format::Json => json(&json!({
            "id": config.id, "app": config.app, "sha": config.sha, "config_yaml": text,
        })),
        // The bytes themselves, for `sha256sum`; on a terminal what they might do to it is escaped.
        Format::Text if std::io::stdout().is_terminal() => {
            text.lines().try_for_each(|line| data(&escape(line)))
        }
        Format::Text => raw(&config.bytes),
    }
}

async fn newest(records: &Records<'_>, app: &AppName, offset: u64) -> Result<ConfigId, CliError> {
    let rows = records.configs(app, Page { limit: 1, offset }).await?;
    let missing = || CliError::new(Exit::NotFound, format!("{app} has no stored version before its newest"));
    rows.first().map(|row| row.id).ok_or_else(missing)
}

async fn find(records: &Records<'_>, app: &AppName, id: ConfigId) -> Result<StoredConfig, CliError> {
    let config = records.config(id).await?;
    if config.app == app.as_str() {
        return Ok(config);
    }
    Err(CliError::new(Exit::NotFound, format!("{app} has no config {id}: that is one of {}", config.app))
        .next(format!("dockswap configs {app}")))
}

fn title(config: &StoredConfig) -> String {
    format!("{} config {}", config.app, config.id)
}

/// A unified diff, safe to show.
pub(crate) fn diff(from_title: &str, from: &[u8], to_title: &str, to: &[u8]) -> Vec<String> {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    let diff = TextDiff::from_lines(from.as_ref(), to.as_ref());
    let text = diff.unified_diff().context_radius(3).header(from_title, to_title).to_string();
    text.lines().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn a_diff_is_safe_to_show() {
        let lines = diff(
            "web config 1",
            b"name: web\nimage: app:v1\n",
            "web config 2",
            b"name: web\nimage: \x1bapp\n",
        );
        let shown = [
            "--- web config 1",
            "+++ web config 2",
            "@@ -1,2 +1,2 @@",
            " name: web",
            "-image: app:v1",
            "+image: \\u{1b}app",
        ];
        assert_eq!(lines, shown);
        assert!(diff("a", b"x\n", "b", b"x\n").is_empty());
    }
}
