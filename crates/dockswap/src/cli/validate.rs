//! `dockswap validate`.

use super::app_files::{Accepted, Checked};
use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::{as_u64, count};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Check app files, also against each other
///
/// Without FILE: all of the config directory, and the controller's settings. Says every problem at
/// once, with file, line and column. No controller is needed; what a running one uses
/// keeps its routes and ports, else the file that is first by name.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn validate(session: &Session, args: &ValidateArgs) -> Result<Exit, CliError> {
    let settings = session.settings()?;
    let accepted = Accepted::ask(session).await;
    let checked = if args.files.is_empty() {
        Checked::directory(&session.paths, &settings, &accepted)
    } else {
        Checked::files(&args.files, &session.paths, &settings, &accepted)
    };
    let apps: Vec<&str> = checked.files.iter().map(|file| file.spec.name.as_str()).collect();
    let valid = checked.problems.is_empty();
    let document =
        json!({ "valid": valid, "files": checked.count, "apps": apps, "problems": checked.problems });
    let files = as_u64(checked.count);
    session.show(&document, || {
        if valid { vec![format!("{}: valid", count(files, "file"))] } else { Vec::new() }
    })?;
    if valid {
        return Ok(Exit::Done);
    }
    let problems = as_u64(checked.problems.len());
    Err(CliError::new(Exit::Usage, format!("{} in {}", count(problems, "problem"), count(files, "file")))
        .because(checked.problems.join("\n")))
}
