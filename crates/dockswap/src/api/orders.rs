//! Orders: what people ask of apps. Each answers once it is begun, not once it is done.

use super::error::Problem;
use super::{app_name, apps, wire};
use crate::run::intake::Written;
use crate::run::state::State;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use dockswap_controller::{Command, Notice, OrderError, Outcome};
use dockswap_core::machine::Refusal;
use dockswap_core::{AppName, ConfigId, DeploymentId};
use dockswap_store::Page;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// How long a deployment may wait for its turn before the answer is that it is queued.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many deployments back the one of a new version is looked for.
const RECENT: u64 = 10;

type Accepted = (StatusCode, Json<wire::Accepted>);
type Answer = Result<Accepted, Problem>;
type Order<T> = Result<Json<T>, JsonRejection>;

/// Deploys the newest version of the file, as it is now: a broken one is refused, though an earlier
/// version of it is on record. With an image, that is written into the file first; the edit is what
/// deploys then, and an order beside it would deploy the same twice.
pub(super) async fn deploy(
    extract::State(state): extract::State<Arc<State>>,
    Path(app): Path<String>,
    order: Order<wire::DeployOrder>,
) -> Answer {
    let (app, Json(order)) = (app_name(&app)?, order?);
    apps::view(&state, &app)?;
    let mut notices = state.controller.notices();
    let until = Instant::now() + PATIENCE;
    let edited = match &order.image {
        None => {
            let before = newest_config(&state, &app).await?;
            state.intake.rescan().await;
            newest_config(&state, &app).await?.filter(|newest| Some(*newest) != before)
        }
        Some(image) => match state.intake.write_image(&app, image).await {
            Ok(Written::Changed) => newest_config(&state, &app).await?,
            Ok(Written::Unchanged) => None,
            Err(error) => return Err(Problem::invalid(format!("{error:#}"))),
        },
    };
    let broken = state.intake.files().into_iter().find(|file| file.app.as_ref() == Some(&app));
    if let Some(file) = broken.filter(|file| !file.problems.is_empty()) {
        return Err(Problem::invalid(file.problems.join("\n")));
    }
    loop {
        if let Some(config) = edited
            && let Some(deployment) = deployment_of(&state, &app, config).await?
        {
            return Ok(accepted(Outcome { deployment: Some(deployment), begun: true }));
        }
        let waits = edited.is_some() && apps::view(&state, &app)?.waiting;
        if !waits {
            let ordered =
                tokio::time::timeout_at(until, state.controller.command(&app, Command::Deploy)).await;
            match ordered {
                Err(_) => return Ok(queued()),
                Ok(Err(OrderError::Refused(Refusal::Busy { .. }))) if edited.is_some() => {}
                Ok(outcome) => return Ok(accepted(outcome?)),
            }
        }
        // The edit supersedes what is in flight, or waits for its turn.
        if tokio::time::timeout_at(until, committed(&mut notices, &app)).await.is_err() {
            return Ok(queued());
        }
    }
}

pub(super) async fn rollback(
    extract::State(state): extract::State<Arc<State>>,
    Path(app): Path<String>,
    order: Order<wire::RollbackOrder>,
) -> Answer {
    let Json(order) = order?;
    command(&state, &app, Command::Rollback { to: order.to }).await
}

pub(super) async fn switch(
    extract::State(state): extract::State<Arc<State>>,
    Path(app): Path<String>,
    order: Order<wire::SwitchOrder>,
) -> Answer {
    let Json(order) = order?;
    command(&state, &app, Command::Switch { color: order.color }).await
}

pub(super) async fn promote(state: extract::State<Arc<State>>, Path(app): Path<String>) -> Answer {
    command(&state, &app, Command::Promote).await
}

pub(super) async fn cancel(state: extract::State<Arc<State>>, Path(app): Path<String>) -> Answer {
    command(&state, &app, Command::Cancel).await
}

pub(super) async fn recover(state: extract::State<Arc<State>>, Path(app): Path<String>) -> Answer {
    command(&state, &app, Command::Recover).await
}

pub(super) async fn remove(state: extract::State<Arc<State>>, Path(app): Path<String>) -> Answer {
    command(&state, &app, Command::Remove).await
}

async fn command(state: &State, app: &str, command: Command) -> Answer {
    Ok(accepted(state.controller.command(&app_name(app)?, command).await?))
}

fn accepted(Outcome { deployment, begun }: Outcome) -> Accepted {
    let status = if begun { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(wire::Accepted { deployment, begun, queued: false }))
}

fn queued() -> Accepted {
    let queued = wire::Accepted { deployment: None, begun: false, queued: true };
    (StatusCode::ACCEPTED, Json(queued))
}

async fn newest_config(state: &State, app: &AppName) -> Result<Option<ConfigId>, Problem> {
    let newest = state.database.history().configs(app, Page::first(1)).await?;
    Ok(newest.first().map(|config| config.id))
}

/// The deployment that was begun for a version of the file.
async fn deployment_of(
    state: &State,
    app: &AppName,
    config: ConfigId,
) -> Result<Option<DeploymentId>, Problem> {
    let rows = state.database.history().deployments(app, Page::first(RECENT)).await?;
    Ok(rows.into_iter().find(|row| row.config_id == config).map(|row| row.id))
}

/// Waits until something was committed for `app`, or until that can no longer be told.
async fn committed(notices: &mut Receiver<Notice>, app: &AppName) {
    loop {
        match notices.recv().await {
            Ok(Notice::Committed { app: whose, .. }) if whose == *app => return,
            Ok(Notice::Committed { .. } | Notice::Progress { .. }) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
