//! The files of the config directory.

use super::wire;
use crate::run::state::State;
use axum::Json;
use axum::extract;
use std::sync::Arc;

pub(super) async fn list(extract::State(state): extract::State<Arc<State>>) -> Json<wire::Files> {
    Json(wire::Files { files: state.intake.files() })
}

/// Reads the directory now, and answers when every change that was found has been taken in.
pub(super) async fn reload(extract::State(state): extract::State<Arc<State>>) -> Json<wire::Files> {
    state.reload().await;
    Json(wire::Files { files: state.intake.files() })
}
