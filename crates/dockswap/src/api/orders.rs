//! Orders: what people ask of apps. Each answers once it is begun, not once it is done.

use super::access::Caller;
use super::audit::Queued;
use super::code::Code;
use super::error::Problem;
use super::segment::Segment;
use super::{app_name, apps, wire};
use crate::run::intake::Written;
use crate::run::state::State;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{self, Extension, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use dockswap_config::replace_image;
use dockswap_controller::{AppView, Command, Notice, OrderError, Outcome, Signature};
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
pub(super) type Answer = Result<Accepted, Problem>;
type Ordered = Result<Response, Problem>;
pub(super) type Order<T> = Result<Json<T>, JsonRejection>;

/// Deploys the newest version of the file, as it is now: a broken one is refused, though an earlier
/// version of it is on record. With an image, that is written into the file first; the edit is what
/// deploys then, and an order beside it would deploy the same twice.
pub(super) async fn deploy(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(signature): Extension<Signature>,
    Segment(app): Segment,
    order: Order<wire::DeployOrder>,
) -> Ordered {
    let (app, Json(order)) = (app_name(&app)?, order?);
    if let Some(image) = &order.image {
        signature.note("image", image.as_str());
        image_reference(image)?;
    }
    let mut notices = state.controller.notices();
    let until = Instant::now() + PATIENCE;
    let before = newest_config(&state, &app).await?;
    if order.image.is_none() || state.controller.view(&app).is_none() {
        state.intake.rescan().await;
    }
    apps::view(&state, &app)?;
    let edited = match &order.image {
        None => newest_config(&state, &app).await?.filter(|newest| Some(*newest) != before),
        Some(image) => match state.intake.write_image(&app, image, &state.controller, &signature).await {
            Ok(Written::Changed) => newest_config(&state, &app).await?,
            Ok(Written::Unchanged) => None,
            Err(error) => return Err(veiled(&state, &caller, Problem::invalid(format!("{error:#}")))),
        },
    };
    // A second file of the same name is refused, and does not stand in the way of the first.
    let files = state.intake.files();
    let files: Vec<_> = files.iter().filter(|file| file.app.as_ref() == Some(&app)).collect();
    if !files.is_empty() && files.iter().all(|file| !file.problems.is_empty()) {
        let problems: Vec<String> = files.iter().flat_map(|file| file.problems.clone()).collect();
        return Err(veiled(&state, &caller, Problem::invalid(problems.join("\n"))));
    }
    loop {
        if let Some(config) = edited
            && let Some(deployment) = deployment_of(&state, &app, config).await?
        {
            return Ok(accepted(Outcome { deployment: Some(deployment), begun: true }).into_response());
        }
        let waits = edited.is_some() && apps::view(&state, &app)?.waiting;
        if !waits {
            let ordered = state.controller.ordered(&app, Command::Deploy, signature.clone());
            match tokio::time::timeout_at(until, ordered).await {
                Err(_) => return Ok(queued()),
                Ok(Err(OrderError::Refused(Refusal::Busy { .. }))) if edited.is_some() => {}
                Ok(Err(error)) => return Err(veiled(&state, &caller, error.into())),
                Ok(Ok(outcome)) => return Ok(accepted(outcome).into_response()),
            }
        }
        // The edit supersedes what is in flight, or waits for its turn.
        if tokio::time::timeout_at(until, committed(&mut notices, &app)).await.is_err() {
            return Ok(queued());
        }
    }
}

pub(super) async fn rollback(from: From, Segment(app): Segment, order: Order<wire::RollbackOrder>) -> Answer {
    let Json(order) = order?;
    if let Some(to) = order.to {
        from.signature.note("to", to.0);
    }
    from.order(&app, Command::Rollback { to: order.to }).await
}

pub(super) async fn switch(from: From, Segment(app): Segment, order: Order<wire::SwitchOrder>) -> Answer {
    let Json(wire::SwitchOrder { color }) = order?;
    from.signature.note("color", color.as_str());
    let state = &from.state;
    let app = known(state, &app).await?;
    match state.controller.ordered(&app, Command::Switch { color }, from.signature.clone()).await {
        Err(error @ OrderError::NoStandby { .. }) => match state.controller.view(&app) {
            Some(AppView { in_flight: Some(id), state, active_color, .. }) => {
                let how = if active_color == Some(color) { "has the traffic" } else { "is no standby now" };
                let detail = format!("{color} of {app} {how}: deployment {id} is in flight (state {state})");
                Err(Problem::new(Code::Busy, detail))
            }
            _ => Err(error.into()),
        },
        Err(error) => Err(veiled(state, &from.caller, error.into())),
        Ok(outcome) => Ok(accepted(outcome)),
    }
}

pub(super) async fn promote(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::Promote).await
}

pub(super) async fn cancel(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::Cancel).await
}

pub(super) async fn recover(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::Recover).await
}

pub(super) async fn remove(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::Remove).await
}

/// Whose order it is, and whom it reaches.
pub(super) struct From {
    pub(super) state: Arc<State>,
    pub(super) caller: Caller,
    pub(super) signature: Signature,
}

impl FromRequestParts<Arc<State>> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        // Its door puts both there.
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::late)?;
        let signature = parts.extensions.get::<Signature>().cloned().ok_or_else(Problem::late)?;
        Ok(Self { state: state.clone(), caller, signature })
    }
}

impl From {
    /// Gives an order about an app.
    pub(super) async fn order(self, app: &str, command: Command) -> Answer {
        let app = known(&self.state, app).await?;
        match self.state.controller.ordered(&app, command, self.signature.clone()).await {
            Ok(outcome) => Ok(accepted(outcome)),
            Err(error) => Err(veiled(&self.state, &self.caller, error.into())),
        }
    }
}

/// A refusal may name an app that the caller may not see.
fn veiled(state: &State, caller: &Caller, problem: Problem) -> Problem {
    caller.veil(state).over_problem(problem)
}

/// The app of this name, whose file may have been saved just now.
async fn known(state: &State, app: &str) -> Result<AppName, Problem> {
    let app = app_name(app)?;
    if state.controller.view(&app).is_none() {
        state.intake.rescan().await;
        apps::view(state, &app)?;
    }
    Ok(app)
}

/// Whether a file could ask for `image`, by the rule of the files themselves.
fn image_reference(image: &str) -> Result<(), Problem> {
    match replace_image(std::path::Path::new("image"), b"image: x\n", image) {
        Ok(_) => Ok(()),
        Err(problem) => Err(Problem::new(Code::InvalidImage, problem.message)),
    }
}

fn accepted(Outcome { deployment, begun }: Outcome) -> Accepted {
    let status = if begun { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(wire::Accepted { deployment, begun, queued: false }))
}

/// The controller goes on with it, and puts it on record.
fn queued() -> Response {
    let queued = wire::Accepted { deployment: None, begun: false, queued: true };
    (StatusCode::ACCEPTED, Extension(Queued), Json(queued)).into_response()
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
