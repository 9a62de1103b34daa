//! `dockswap deploy`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::follow::{Until, begun};
use super::outcome;
use super::session::Session;
use crate::api::wire::{Accepted, DeployOrder};
use clap::Args;
use dockswap_core::AppName;

/// Deploy an app again, or deploy another image of it
///
/// With IMAGE, that is first written into the `image:` line of the app's file, comments kept. Follows
/// the deployment until it is over: exits with 0 only when it succeeded, which is at the end of
/// `deployment.watch`; with 3 when it failed and the old version still serves. With
/// `deployment.promotion: manual` that takes a `dockswap promote APP` from elsewhere. Ctrl-C ends the
/// following, not the deployment: `dockswap cancel APP` does that.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The app
    pub(crate) app: AppName,
    /// The image to write into its file, for example myapp:v2
    image: Option<String>,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

/// An argument that is no image says nothing about the file.
fn refused(app: &AppName, error: ClientError) -> CliError {
    match error {
        ClientError::Answered(problem) if problem.code == "invalid_image" => {
            CliError::new(Exit::Usage, format!("{app} was not deployed: IMAGE is no image reference"))
                .because(problem.detail)
        }
        ClientError::Answered(problem) if problem.code == "invalid" => {
            CliError::new(Exit::Usage, format!("{app} was not deployed: its file cannot be used"))
                .because(problem.detail)
                .next("dockswap validate")
        }
        error => error.into(),
    }
}

pub(crate) async fn deploy(session: &Session, args: &DeployArgs) -> Result<Exit, CliError> {
    let DeployArgs { app, image, no_wait } = args;
    let before = match session.app(app).await {
        Ok(shown) => shown.last_deployment.map(|last| last.id),
        // Its file may have been saved just now: the order is what finds that out.
        Err(ClientError::Answered(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let order = DeployOrder { image: image.clone() };
    let accepted: Accepted = session
        .client
        .post(&format!("/v1/apps/{app}/deployments"), &order)
        .await
        .map_err(|error| refused(app, error))?;
    if *no_wait {
        return outcome::accepted(session, app, accepted).await;
    }
    let deployment = match accepted.deployment {
        Some(deployment) => deployment,
        None => begun(&session.client, app, before).await?,
    };
    outcome::followed(session, app, deployment, Until::Ended, "deployed").await
}
