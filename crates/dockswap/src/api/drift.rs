//! How containers differ from what was asked for. Docker is asked then and there.

use super::access::Caller;
use super::error::Problem;
use super::segment::Segment;
use super::{app_name, wire};
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Extension};
use dockswap_controller::{AppView, HealthError};
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;

/// Apps that Docker is asked about at once.
const AT_ONCE: usize = 8;

pub(super) async fn app(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
) -> Result<Json<wire::Drifts>, Problem> {
    let app = app_name(&app)?;
    // An app whose file was never accepted is told of as everywhere.
    super::apps::view(&state, &app)?;
    let veil = caller.veil(&state);
    let containers = state.controller.drift(&app).await?;
    Ok(Json(wire::Drifts { containers: containers.into_iter().map(|one| veil.over_drift(one)).collect() }))
}

pub(super) async fn all(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<wire::Drifts>, Problem> {
    let seen = |view: &AppView| caller.grants.on(view.project.as_ref()).is_some();
    let apps: Vec<_> = state.controller.views().into_iter().filter(seen).map(|view| view.app).collect();
    let asked = apps.into_iter().map(|app| {
        let controller = state.controller.clone();
        async move { controller.drift(&app).await }
    });
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    let veil = caller.veil(&state);
    let mut containers = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(more) => containers.extend(more.into_iter().map(|one| veil.over_drift(one))),
            // It was taken out of service meanwhile.
            Err(HealthError::UnknownApp) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(wire::Drifts { containers }))
}
