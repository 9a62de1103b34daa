//! How containers differ from what was asked for. Docker is asked then and there.

use super::error::Problem;
use super::segment::Segment;
use super::{app_name, wire};
use crate::run::state::State;
use axum::Json;
use axum::extract;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;

/// Apps that Docker is asked about at once.
const AT_ONCE: usize = 8;

pub(super) async fn app(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
) -> Result<Json<wire::Drift>, Problem> {
    let app = app_name(&app)?;
    // An app whose file was never accepted is told of as everywhere.
    super::apps::view(&state, &app)?;
    Ok(Json(wire::Drift { containers: state.controller.drift(&app).await? }))
}

pub(super) async fn all(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<wire::Drift>, Problem> {
    let apps: Vec<_> = state.controller.views().into_iter().map(|view| view.app).collect();
    let asked = apps.into_iter().map(|app| {
        let controller = state.controller.clone();
        async move { controller.drift(&app).await }
    });
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    let mut containers = Vec::new();
    while let Some(answer) = answers.next().await {
        containers.extend(answer?);
    }
    Ok(Json(wire::Drift { containers }))
}
