//! `dockswap init`.

use super::exit::{CliError, Exit};
use super::session::{Session, note};
use clap::Args;
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Write a config directory with one example app
///
/// What is there already stays as it is.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where [default: --config-dir if given, else ./dockswap-cfg]
    dir: Option<PathBuf>,
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
    let apps = dir.join("apps");
    DirBuilder::new().recursive(true).mode(0o755).create(&apps).map_err(|error| failed(&apps, &error))?;
    let mut written = Vec::new();
    for (path, text) in [(dir.join("dockswap.yaml"), SETTINGS), (apps.join("hello.yaml"), APP)] {
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
    session.show(&json!({ "dir": dir, "written": written }), || {
        let mut lines: Vec<String> = written.iter().map(|path| format!("wrote {}", path.display())).collect();
        lines.push(format!("next: dockswap run --config-dir {}", dir.display()));
        lines
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::{APP, SETTINGS};
    use dockswap_config::{Policy, Settings, parse_app};
    use std::path::Path;

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
