//! `dockswap schema`.

use super::exit::{CliError, Exit};
use super::session::data;
use clap::Args;

/// Print the JSON Schema of app files, for editors, or the API's document
///
/// For the YAML language server, begin an app file with:
/// # yaml-language-server: $schema=PATH
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The OpenAPI document of the HTTP API instead
    #[arg(long)]
    api: bool,
}

pub(crate) fn schema(args: &SchemaArgs) -> Result<Exit, CliError> {
    let schema = if args.api { crate::api::document() } else { dockswap_config::schema() };
    let text = serde_json::to_string_pretty(&schema).map_err(std::io::Error::from)?;
    data(&text)?;
    Ok(Exit::Done)
}
