//! What is known of the machine, and since when.

use super::wire;
use crate::run::state::State;
use axum::Json;
use axum::extract;
use std::sync::Arc;

pub(super) async fn all(extract::State(state): extract::State<Arc<State>>) -> Json<wire::Facts> {
    Json(wire::Facts { facts: state.facts.all() })
}
