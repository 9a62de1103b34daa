//! `dockswap configs`.

use super::exit::{CliError, Exit};
use super::page::PageArgs;
use super::records::Records;
use super::session::{Session, now};
use super::text::{Table, age, bytes};
use crate::api::wire;
use clap::Args;
use dockswap_core::{AppName, Timestamp};

/// List the stored versions of an app's file, newest first
///
/// Read from the database when the controller does not answer.
#[derive(Debug, Args)]
pub(crate) struct ConfigsArgs {
    /// The app
    app: AppName,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn configs(session: &Session, args: &ConfigsArgs) -> Result<Exit, CliError> {
    let records = Records::open(session).await?;
    let document = wire::Configs { configs: records.configs(&args.app, args.page.into()).await? };
    session.show(&document, || table(&document.configs, now()))?;
    Ok(Exit::Done)
}

fn table(rows: &[wire::Config], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["ID", "SHA256", "SIZE", "STORED"]);
    for row in rows {
        table.row([
            row.id.to_string(),
            row.sha.to_string().chars().take(12).collect(),
            bytes(u64::try_from(row.size_bytes).unwrap_or_default()),
            format!("{} ago", age(row.created_at.0, now)),
        ]);
    }
    table.lines()
}
