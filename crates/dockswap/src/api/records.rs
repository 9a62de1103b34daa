//! Questions about what is on record: deployments, events, versions of files.

use super::access::Caller;
use super::code::Code;
use super::error::Problem;
use super::query::{Asked, Part};
use super::segment::Segment;
use super::{app_name, deployment_id, wire};
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Extension};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use dockswap_core::{AppName, ConfigId};
use dockswap_store::EventScope;
use std::sync::Arc;

/// A part of a list, and where the next one is.
pub(super) type Listed<T> = Result<(Option<[(HeaderName, HeaderValue); 1]>, Json<T>), Problem>;

pub(super) async fn deployments(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    Asked(part): Asked<Part>,
    uri: Uri,
) -> Listed<wire::Deployments> {
    let app = known_app(&state, &app).await?;
    let mut rows = state.database.history().deployments(&app, part.to_read()).await?;
    let next = part.cut(&mut rows, &uri);
    Ok((
        next,
        Json(wire::Deployments { deployments: rows.into_iter().map(wire::Deployment::from).collect() }),
    ))
}

pub(super) async fn configs(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    Asked(part): Asked<Part>,
    uri: Uri,
) -> Listed<wire::Configs> {
    let app = known_app(&state, &app).await?;
    let mut rows = state.database.history().configs(&app, part.to_read()).await?;
    let next = part.cut(&mut rows, &uri);
    Ok((next, Json(wire::Configs { configs: rows.into_iter().map(wire::Config::from).collect() })))
}

pub(super) async fn app_events(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
    Asked(part): Asked<Part>,
    uri: Uri,
) -> Listed<wire::Events> {
    let app = known_app(&state, &app).await?;
    events(&state, &caller, &EventScope::App(app), part, &uri).await
}

pub(super) async fn deployment_events(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
    Asked(part): Asked<Part>,
    uri: Uri,
) -> Listed<wire::Events> {
    let deployment = find_deployment(&state, &id).await?;
    events(&state, &caller, &EventScope::Deployment(deployment.id), part, &uri).await
}

pub(super) async fn deployment(
    extract::State(state): extract::State<Arc<State>>,
    Segment(id): Segment,
) -> Result<Json<wire::Deployment>, Problem> {
    find_deployment(&state, &id).await.map(Json)
}

/// The very bytes of a version.
pub(super) async fn config(
    extract::State(state): extract::State<Arc<State>>,
    Segment(id): Segment,
) -> Result<Response, Problem> {
    let unknown = || unknown_config(&id);
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let row = state.database.history().config(ConfigId(number)).await?.ok_or_else(unknown)?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/yaml; charset=utf-8".to_owned()),
        ("x-config-sha", row.sha.to_string()),
        ("x-config-app", row.app.to_string()),
    ];
    Ok((headers, row.bytes).into_response())
}

pub(super) fn unknown_config(id: &str) -> Problem {
    Problem::new(Code::UnknownConfig, format!("there is no config {}", id.escape_default()))
}

async fn events(
    state: &State,
    caller: &Caller,
    scope: &EventScope,
    part: Part,
    uri: &Uri,
) -> Listed<wire::Events> {
    let mut rows = state.database.history().events(scope, part.to_read()).await?;
    let next = part.cut(&mut rows, uri);
    let veil = caller.veil(state);
    Ok((
        next,
        Json(wire::Events { events: rows.into_iter().map(|row| veil.over_event(row.into())).collect() }),
    ))
}

async fn find_deployment(state: &State, id: &str) -> Result<wire::Deployment, Problem> {
    let id = deployment_id(id)?;
    let row = state.database.history().deployment(id).await?;
    row.map(wire::Deployment::from).ok_or_else(|| Problem::unknown_deployment(id))
}

/// An app that the controller has, or that is on record.
async fn known_app(state: &State, text: &str) -> Result<AppName, Problem> {
    let app = app_name(text)?;
    if state.controller.view(&app).is_some() || state.database.history().current_state(&app).await?.is_some()
    {
        return Ok(app);
    }
    Err(Problem::unknown_app(&app))
}
