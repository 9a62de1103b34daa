//! `dockswap rollback`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::follow::Until;
use super::outcome::{self, Outcome};
use super::records::Records;
use super::session::{Session, note};
use crate::api::Problem;
use crate::api::wire::{Accepted, RollbackOrder};
use clap::Args;
use dockswap_controller::OrderError;
use dockswap_core::records::DeploymentStatus;
use dockswap_core::{AppName, DeploymentId};
use dockswap_store::{EventScope, Page};

/// The most events of the rollback that are looked through for what went wrong.
const EVENTS: u64 = 200;

/// Give the traffic back to the version before
///
/// Without --to: to the newest earlier success. What comes back is that deployment's config and the
/// very image that it ran, whatever its tag means today; no registry is asked. It is instant while
/// that version still runs (`deployment.rollback_window`), else it passes the same gate as a deploy.
/// Returns as soon as the traffic has moved; with --wait at the end of the watch. Works without a
/// running controller too, as long as the proxy runs.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The app
    pub(crate) app: AppName,
    /// The deployment to go back to, as `dockswap history APP` lists them
    #[arg(long, value_name = "DEPLOYMENT")]
    to: Option<i64>,
    /// Return as soon as it has begun
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Return when the deployment is over, the watch included
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn rollback(session: &Session, args: &RollbackArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let order = RollbackOrder { to: args.to.map(DeploymentId) };
    let accepted = session.client.post(&format!("/v1/apps/{app}/rollback"), &order).await;
    let accepted: Accepted = match accepted {
        Ok(accepted) => accepted,
        Err(ClientError::Unreachable { .. }) if !session.client.is_remote() => {
            return offline(session, app, order.to).await;
        }
        Err(ClientError::Answered(problem)) => {
            let next = match problem.code.as_str() {
                "busy" => format!("dockswap cancel {app}"),
                _ => format!("dockswap history {app}"),
            };
            return Err(CliError::from(ClientError::Answered(problem)).next(next));
        }
        Err(error) => return Err(error.into()),
    };
    let until = if args.wait { Until::Ended } else { Until::Switched };
    match accepted.deployment {
        Some(deployment) if accepted.begun && !args.no_wait => {
            outcome::followed(session, app, deployment, until, "rolled back").await
        }
        _ => outcome::accepted(session, app, accepted).await,
    }
}

/// Why this process could not do it, with the exit codes that a controller's answer would have had.
fn refused(error: anyhow::Error) -> CliError {
    match error.downcast::<OrderError>() {
        Ok(refused) => CliError::from(ClientError::Answered(Problem::from(refused).into_wire())),
        Err(error) => super::run::ended(error),
    }
}

/// Without a controller process: this one does it.
async fn offline(session: &Session, app: &AppName, to: Option<DeploymentId>) -> Result<Exit, CliError> {
    note("the controller does not answer: this command does it itself");
    let settings = session.settings()?;
    let done = crate::run::offline_rollback(&session.paths, &settings, app, to).await.map_err(refused)?;
    let succeeded = done.status == DeploymentStatus::Success;
    // What is done is done, also where it cannot be read any more.
    let (standing, failure) = match Records::database(session).await {
        Ok(records) => {
            let scope = EventScope::Deployment(done.deployment);
            let events = records.events(&scope, Page::first(EVENTS)).await.unwrap_or_default();
            (records.standing(app).await.ok().flatten(), outcome::cause_among(&events))
        }
        Err(_) => (None, None),
    };
    let serving = standing.as_ref().and_then(|standing| standing.deployment);
    let failure = failure.filter(|_| !succeeded);
    let document = Outcome {
        app: app.clone(),
        deployment: Some(done.deployment),
        how: done.status.as_str(),
        took_ms: None,
        active_color: standing.and_then(|standing| standing.color),
        image: done.image.clone(),
        failure: failure.clone(),
    };
    let image = done.image.as_deref().unwrap_or("nothing");
    session.show(&document, || {
        let line = format!("{app}: rolled back: {image} serves, by deployment {}", done.deployment);
        if succeeded { vec![line] } else { Vec::new() }
    })?;
    if succeeded {
        return Ok(Exit::Done);
    }
    let old_serves = done.image.is_some() && serving != Some(done.deployment);
    let exit = if old_serves { Exit::OldServes } else { Exit::Failed };
    let mut error = CliError::new(
        exit,
        format!("{app} was not rolled back: deployment {} ended as {}", done.deployment, done.status),
    );
    error.why = failure;
    error.now = Some(format!("{image} serves {app} (state {})", done.state));
    Err(error.next(format!("dockswap events {}", done.deployment)))
}

#[cfg(test)]
mod tests {
    use super::refused;
    use dockswap_controller::OrderError;
    use dockswap_core::DeploymentId;

    #[test]
    fn an_offline_refusal_has_the_exit_code_of_the_controllers() {
        let app = "web".parse().expect("a name");
        let unknown = OrderError::UnknownDeployment { app, deployment: DeploymentId(9) };
        assert_eq!(refused(unknown.into()).exit.code(), 4);
        assert_eq!(refused(OrderError::NeverRan(DeploymentId(9)).into()).exit.code(), 5);
        assert_eq!(refused(anyhow::anyhow!("no proxy")).exit.code(), 1);
    }
}
