//! `dockswap switch`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::follow::Until;
use super::outcome;
use super::session::Session;
use crate::api::wire::{Accepted, SwitchOrder};
use clap::Args;
use dockswap_core::{AppName, Color};

/// Move the traffic to the standby
///
/// The standby must still run (`dockswap status APP`) and passes the gate first. Returns as soon as
/// the traffic has moved; with --wait at the end of the watch.
#[derive(Debug, Args)]
pub(crate) struct SwitchArgs {
    /// The app
    pub(crate) app: AppName,
    /// blue or green
    color: Color,
    /// Return as soon as it has begun
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Return when the deployment is over, the watch included
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn switch(session: &Session, args: &SwitchArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let order = SwitchOrder { color: args.color };
    let accepted = session.client.post(&format!("/v1/apps/{app}/switch"), &order).await;
    let accepted: Accepted = accepted.map_err(|error| match error {
        ClientError::Answered(problem) if problem.code == "busy" => {
            CliError::from(ClientError::Answered(problem)).next(format!("dockswap cancel {app}"))
        }
        error => error.into(),
    })?;
    let until = if args.wait { Until::Ended } else { Until::Switched };
    match accepted.deployment {
        Some(deployment) if accepted.begun && !args.no_wait => {
            outcome::followed(session, app, deployment, until, "switched").await
        }
        _ => outcome::accepted(session, app, accepted).await,
    }
}
