//! `dockswap history`.

use super::exit::{CliError, Exit};
use super::page::PageArgs;
use super::records::Records;
use super::session::{Session, now};
use super::text::{Table, age, duration};
use crate::api::wire;
use clap::Args;
use dockswap_core::{AppName, Timestamp};

/// List the deployments of an app, newest first
///
/// Read from the database when the controller does not answer.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The app
    app: AppName,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn history(session: &Session, args: &HistoryArgs) -> Result<Exit, CliError> {
    let records = Records::open(session).await?;
    let deployments = records.deployments(&args.app, args.page.into()).await?;
    let document = wire::Deployments { deployments };
    session.show(&document, || table(&document.deployments, now()))?;
    Ok(Exit::Done)
}

fn table(rows: &[wire::Deployment], now: Timestamp) -> Vec<String> {
    let mut table = Table::new(["ID", "STATUS", "COLOR", "IMAGE", "CONFIG", "BEGAN", "TOOK", "UNDOES"]);
    for row in rows {
        let ended = row.ended_at.map(|end| duration(end.0.saturating_since(row.started_at.0)));
        table.row([
            row.id.to_string(),
            row.status.to_string(),
            row.color.to_string(),
            row.image.clone(),
            row.config.to_string(),
            format!("{} ago", age(row.started_at.0, now)),
            ended.unwrap_or_default(),
            row.rollback_of.map(|id| id.to_string()).unwrap_or_default(),
        ]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::cli::fixture::{app, now};

    #[test]
    fn a_row_a_deployment() {
        let row = app("web").last_deployment.expect("a deployment");
        assert_eq!(
            table(&[row], now()),
            [
                "ID  STATUS   COLOR  IMAGE   CONFIG  BEGAN   TOOK    UNDOES",
                "7   success  green  app:v2  3       4h ago  14.0 s  -",
            ]
        );
    }
}
