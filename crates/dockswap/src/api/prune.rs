//! What is old: how much of it there is, and removing it by order. An answer comes within the time of every
//! answer: what is left then the controller goes on with by itself.

use super::error::Problem;
use super::wire;
use crate::run::state::State;
use crate::run::upkeep;
use axum::Json;
use axum::extract;
use dockswap_controller::PruneMode;
use std::sync::Arc;
use std::time::Duration;

/// How long one call works.
const GO: Duration = Duration::from_secs(15);

/// Removes what is old.
pub(super) async fn prune(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<wire::Pruning>, Problem> {
    pruning(&state, PruneMode::ForReal).await
}

/// How much would go.
pub(super) async fn prunable(
    extract::State(state): extract::State<Arc<State>>,
) -> Result<Json<wire::Pruning>, Problem> {
    pruning(&state, PruneMode::DryRun).await
}

async fn pruning(state: &State, mode: PruneMode) -> Result<Json<wire::Pruning>, Problem> {
    let before = upkeep::horizon(&state.retention, state.now());
    let round = upkeep::prune(state, mode, before, GO).await?;
    if round.more && mode == PruneMode::ForReal {
        state.prune_on.notify_one();
    }
    let apps = round.apps.into_iter().map(|(app, pruned)| wire::PrunedApp {
        app,
        images: pruned.images,
        deployments: pruned.deployments,
        configs: pruned.configs,
        events: pruned.events,
    });
    Ok(Json(wire::Pruning { apps: apps.collect(), more: round.more }))
}
