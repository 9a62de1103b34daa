//! `dockswap init`.

use super::exit::{CliError, Exit};
use super::session::{Session, note};
use clap::Args;
use dockswap_config::{Import, import_compose};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Write a config directory with one example app, or with those of a Compose file
///
/// What is there already stays as it is.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where [default: --config-dir if given, else ./dockswap-cfg]
    dir: Option<PathBuf>,
    /// Make an app of each service of this Compose file that has a port. What dockswap does not do is said, in the files
    /// too. Nothing that runs is touched
    #[arg(long, value_name = "FILE")]
    from_compose: Option<PathBuf>,
}

const APP: &str = "\
# An app of dockswap. Save this file, and its new version takes over the traffic.
# Every field: deploy.yaml.example, or `dockswap schema` for your editor.
name: hello
image: nginx:1.27-alpine # editing this line is the usual deploy

docker:
  expose_port: 80 # where the app listens inside the container
  memory_limit: 128m

health_check:
  endpoint: / # traffic moves only when this answers 200-399

routes:
  - host: hello.localhost
";

const SETTINGS: &str = "\
# Settings of the controller; every line is a default.
# proxy:
#   http: 0.0.0.0:80
#   https: 0.0.0.0:443
# acme: # for routes with `tls: true`
#   staging: false # true while you try it out; email: whom Let's Encrypt may write to
# deployment:
#   max_concurrent: 4
# log:
#   level: info
#   format: text
";

pub(crate) fn init(session: &Session, args: &InitArgs) -> Result<Exit, CliError> {
    let dir = args.dir.clone().or_else(|| session.given_config_dir.clone());
    let dir = dir.unwrap_or_else(|| PathBuf::from("dockswap-cfg"));
    let failed = |what: &Path, error: &std::io::Error| {
        CliError::new(Exit::Failed, format!("{} cannot be written", what.display()))
            .because(error.to_string())
    };
    let import = match &args.from_compose {
        Some(file) => from_compose(file)?,
        None => Import::default(),
    };
    let apps = dir.join("apps");
    DirBuilder::new().recursive(true).mode(0o755).create(&apps).map_err(|error| failed(&apps, &error))?;
    let example = (apps.join("hello.yaml"), APP.to_owned());
    let imported = import.apps.iter().map(|app| (apps.join(format!("{}.yaml", app.name)), app.text.clone()));
    let mut files = vec![(dir.join("dockswap.yaml"), SETTINGS.to_owned())];
    files.extend(if args.from_compose.is_some() { imported.collect() } else { vec![example] });
    let mut written = Vec::new();
    for (path, text) in files {
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(|error| failed(&path, &error))?;
                written.push(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                note(&format!("{} is there already, and stays as it is", path.display()));
            }
            Err(error) => return Err(failed(&path, &error)),
        }
    }
    for app in &import.apps {
        for text in &app.notes {
            note(&format!("{}: {text}", app.name));
        }
    }
    for left in &import.left {
        note(&format!("left to Compose: {left}"));
    }
    session.show(&json!({ "dir": dir, "written": written }), || {
        let mut lines: Vec<String> = written.iter().map(|path| format!("wrote {}", path.display())).collect();
        lines.push(format!("next: dockswap run --config-dir {}", dir.display()));
        lines
    })?;
    Ok(Exit::Done)
}

/// What becomes of the services of a Compose file.
fn from_compose(file: &Path) -> Result<Import, CliError> {
    let unusable = |why: String| {
        CliError::new(Exit::Usage, format!("{} cannot be made apps of", file.display())).because(why)
    };
    let file = std::path::absolute(file).map_err(|error| unusable(error.to_string()))?;
    let text = std::fs::read_to_string(&file).map_err(|error| unusable(error.to_string()))?;
    let dir = file.parent().unwrap_or(&file);
    // As Compose does: the environment wins over the file beside it.
    let beside = std::fs::read_to_string(dir.join(".env")).unwrap_or_default();
    let known: BTreeMap<&str, &str> = beside.lines().filter_map(variable).collect();
    let variables =
        |name: &str| std::env::var(name).ok().or_else(|| known.get(name).map(ToString::to_string));
    import_compose(&text, dir, &variables).map_err(|error| unusable(error.to_string()))
}

/// A line of a `.env` file: `NAME=value`, with or without quotes.
fn variable(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let value = value.trim();
    let bare = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    (!name.starts_with('#')).then_some((name.trim(), bare.unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::{APP, SETTINGS, variable};
    use dockswap_config::{Policy, Settings, parse_app};
    use std::path::Path;

    #[test]
    fn a_line_of_an_env_file_is_a_variable() {
        assert_eq!(variable("TAG=v1"), Some(("TAG", "v1")));
        assert_eq!(variable(" export A = \"x y\" "), Some(("A", "x y")));
        assert_eq!(variable("# A=b"), None);
        assert_eq!(variable("nothing"), None);
    }

    #[test]
    fn what_is_written_is_valid() {
        let parsed = parse_app(Path::new("hello.yaml"), APP.as_bytes(), Path::new("/"), &Policy::default());
        assert_eq!(parsed.map(|spec| spec.name.to_string()), Ok("hello".to_owned()));
        let settings =
            Settings::load(Some((Path::new("dockswap.yaml"), SETTINGS.as_bytes())), std::iter::empty());
        assert_eq!(settings, Ok(Settings::default()));
        let lines = SETTINGS.lines().skip(1);
        let uncommented: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let uncommented = uncommented.join("\n");
        let settings = Settings::load(Some((Path::new("x"), uncommented.as_bytes())), std::iter::empty());
        assert_eq!(settings, Ok(Settings::default()), "{uncommented}");
    }
}
