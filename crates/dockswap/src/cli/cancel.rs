//! `dockswap cancel`.

use super::exit::{CliError, Exit};
use super::follow::{Followed, Until, follow};
use super::outcome::{self, Outcome};
use super::sentence;
use super::session::Session;
use crate::api::wire::Accepted;
use clap::Args;
use dockswap_core::AppName;
use dockswap_core::records::DeploymentStatus;
use serde_json::json;

/// End the deployment in flight
///
/// Where it already has the traffic, that goes back first. Returns when everything that the
/// deployment brought is gone.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The app
    pub(crate) app: AppName,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn cancel(session: &Session, args: &CancelArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let accepted: Accepted = session.client.post(&format!("/v1/apps/{app}/cancel"), &json!({})).await?;
    let Some(deployment) = accepted.deployment.filter(|_| !args.no_wait) else {
        return outcome::accepted(session, app, accepted).await;
    };
    let followed = follow(&session.client, app, deployment, Until::Ended).await?;
    let shown = session.app(app).await?;
    let (Followed::Ended(row), id) = (followed, deployment) else {
        return outcome::accepted(session, app, accepted).await;
    };
    let document = Outcome { deployment: Some(id), ..Outcome::of(&shown, row.status.as_str(), None) };
    session.show(&document, || {
        vec![format!("{app}: deployment {id} is {}: {}", row.status, sentence::serving(&shown))]
    })?;
    Ok(if row.status == DeploymentStatus::Cancelled { Exit::Done } else { Exit::Failed })
}
