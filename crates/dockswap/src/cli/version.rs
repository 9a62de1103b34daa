//! `dockswap version`.

use super::exit::{CliError, Exit};
use super::session::Session;
use clap::Args;
use serde_json::json;

/// Print the version
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {}

pub(crate) fn version(session: &Session, _: &VersionArgs) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    session.show(&json!({ "version": version }), || vec![format!("dockswap {version}")])?;
    Ok(Exit::Done)
}
