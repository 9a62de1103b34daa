//! `dockswap promote`.

use super::exit::{CliError, Exit};
use super::follow::Until;
use super::outcome;
use super::session::Session;
use crate::api::wire::Accepted;
use clap::Args;
use dockswap_core::AppName;
use serde_json::json;

/// Let a candidate that waits for it take the traffic
///
/// For apps with `deployment.promotion: manual`. Returns as soon as the traffic has moved; with
/// --wait at the end of the watch.
#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The app
    pub(crate) app: AppName,
    /// Return as soon as it has begun
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Return when the deployment is over, the watch included
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn promote(session: &Session, args: &PromoteArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let accepted: Accepted = session.client.post(&format!("/v1/apps/{app}/promote"), &json!({})).await?;
    let until = if args.wait { Until::Ended } else { Until::Switched };
    match accepted.deployment {
        Some(deployment) if accepted.begun && !args.no_wait => {
            outcome::followed(session, app, deployment, until, "promoted").await
        }
        _ => outcome::accepted(session, app, accepted).await,
    }
}
