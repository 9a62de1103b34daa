//! `dockswap reload`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::{as_u64, count};
use crate::api::wire;
use clap::Args;
use serde_json::json;

/// Read the config directory now
///
/// It is watched anyway; this returns once everything that has changed is taken in. Exits with 2 when
/// a file has problems.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {}

pub(crate) async fn reload(session: &Session, _: &ReloadArgs) -> Result<Exit, CliError> {
    let read: wire::Files = session.client.post("/v1/reload", &json!({})).await?;
    session.show(&read, || vec![format!("{} read", count(as_u64(read.files.len()), "file"))])?;
    let problems: Vec<&str> = read.files.iter().flat_map(|file| &file.problems).map(String::as_str).collect();
    if problems.is_empty() {
        return Ok(Exit::Done);
    }
    Err(CliError::new(Exit::Usage, "some files cannot be used; what runs is untouched")
        .because(problems.join("\n"))
        .next("dockswap validate"))
}
