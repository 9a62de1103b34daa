//! Questions about what is on record: deployments, events, versions of files.

use super::access::Caller;
use super::error::Problem;
use super::segment::Segment;
use super::{app_name, deployment_id, wire};
use crate::run::state::State;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{self, Extension, Query};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, ConfigId};
use dockswap_store::{EventRow, EventScope, Page};
use serde::Deserialize;
use std::sync::Arc;

/// The most rows of one answer.
const MOST: u64 = 1_000;

/// Which part of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    #[serde(default = "usual_limit")]
    pub(super) limit: u64,
    #[serde(default)]
    pub(super) offset: u64,
}

pub(super) const fn usual_limit() -> u64 {
    20
}

impl From<Part> for Page {
    fn from(part: Part) -> Self {
        Self { limit: part.limit.min(MOST), offset: part.offset }
    }
}

pub(super) type Asked = Result<Query<Part>, QueryRejection>;

pub(super) async fn deployments(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    page: Asked,
) -> Result<Json<wire::Deployments>, Problem> {
    let (app, Query(part)) = (known_app(&state, &app).await?, page?);
    let rows = state.database.history().deployments(&app, part.into()).await?;
    Ok(Json(wire::Deployments { deployments: rows.into_iter().map(wire::Deployment::from).collect() }))
}

pub(super) async fn configs(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    page: Asked,
) -> Result<Json<wire::Configs>, Problem> {
    let (app, Query(part)) = (known_app(&state, &app).await?, page?);
    let rows = state.database.history().configs(&app, part.into()).await?;
    Ok(Json(wire::Configs { configs: rows.into_iter().map(wire::Config::from).collect() }))
}

pub(super) async fn app_events(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
    page: Asked,
) -> Result<Json<wire::Events>, Problem> {
    let (app, Query(part)) = (known_app(&state, &app).await?, page?);
    events(&state, &caller, &EventScope::App(app), part).await
}

pub(super) async fn deployment_events(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
    page: Asked,
) -> Result<Json<wire::Events>, Problem> {
    let Query(part) = page?;
    let deployment = find_deployment(&state, &id).await?;
    events(&state, &caller, &EventScope::Deployment(deployment.id), part).await
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
    Problem::not_found("unknown_config", format!("there is no config {}", id.escape_default()))
}

async fn events(
    state: &State,
    caller: &Caller,
    scope: &EventScope,
    part: Part,
) -> Result<Json<wire::Events>, Problem> {
    let rows: Result<Vec<EventRow>, StoreError> = state.database.history().events(scope, part.into()).await;
    let veil = caller.veil(state);
    Ok(Json(wire::Events { events: rows?.into_iter().map(|row| veil.over_event(row.into())).collect() }))
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
