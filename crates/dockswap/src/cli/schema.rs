//! `dockswap schema`.

use super::exit::{CliError, Exit};
use super::session::data;
use clap::Args;

/// Print the JSON Schema of app files, for editors
///
/// For the YAML language server, begin an app file with:
/// # yaml-language-server: $schema=PATH
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {}

pub(crate) fn schema(_: &SchemaArgs) -> Result<Exit, CliError> {
    let text = serde_json::to_string_pretty(&dockswap_config::schema()).map_err(std::io::Error::from)?;
    data(&text)?;
    Ok(Exit::Done)
}
