//! The HTTP API of the controller, on its Unix socket. It says what is and passes orders on; it
//! decides nothing, and it must not know what the commands make of it.
//!
//! Whoever can open the socket may do everything: it is 0600. Bodies are bounded, and every answer
//! but a stream has a deadline.

mod apps;
mod error;
mod files;
mod gates;
mod logs;
mod orders;
mod prune;
mod records;
mod segment;
mod stream;
mod system;
pub(crate) mod wire;

pub(crate) use error::{Problem, with_causes};

use crate::run::state::State;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dockswap_core::{AppName, DeploymentId};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// The most that a request may carry.
const BODY_LIMIT: usize = 64 * 1024;

/// The same for one that may carry a page, every byte of it escaped.
const PAGE_BODY_LIMIT: usize = 6 * wire::PAGE_LIMIT + 1024;

/// How long an answer may take that is no stream.
const DEADLINE: Duration = Duration::from_secs(30);

/// Serves the API on `socket` until `state.stop`; then lets what was asked be answered, and ends.
pub(crate) async fn serve(state: Arc<State>, socket: UnixListener) {
    let stop = state.stop.clone();
    let served = axum::serve(socket, router(state)).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API has ended");
    }
}

/// Every path of the API.
pub(crate) fn router(state: Arc<State>) -> Router {
    let questions = Router::new()
        .route("/v1/apps", get(apps::list))
        .route("/v1/apps/{app}", get(apps::one).delete(orders::remove))
        .route("/v1/apps/{app}/why", get(apps::why))
        .route("/v1/apps/{app}/health", get(apps::health))
        .route("/v1/apps/{app}/docker-run", get(apps::docker_run))
        .route("/v1/apps/{app}/deployments", get(records::deployments).post(orders::deploy))
        .route("/v1/apps/{app}/configs", get(records::configs))
        .route("/v1/apps/{app}/events", get(records::app_events))
        .route("/v1/apps/{app}/rollback", post(orders::rollback))
        .route("/v1/apps/{app}/switch", post(orders::switch))
        .route("/v1/apps/{app}/promote", post(orders::promote))
        .route("/v1/apps/{app}/cancel", post(orders::cancel))
        .route("/v1/apps/{app}/recover", post(orders::recover))
        .route("/v1/apps/{app}/pause", post(gates::pause))
        .route("/v1/apps/{app}/resume", post(gates::resume))
        .route(
            "/v1/apps/{app}/maintenance",
            post(gates::close).delete(gates::open).layer(DefaultBodyLimit::max(PAGE_BODY_LIMIT)),
        )
        .route("/v1/configs/{id}", get(records::config))
        .route("/v1/deployments/{id}", get(records::deployment))
        .route("/v1/deployments/{id}/events", get(records::deployment_events))
        .route("/v1/files", get(files::list))
        .route("/v1/certificates", get(system::certificates))
        .route("/v1/prune", post(prune::prune))
        .route("/v1/reload", post(files::reload))
        .route("/healthz", get(system::alive))
        .route("/readyz", get(system::ready))
        .route("/metrics", get(system::metrics))
        .layer(middleware::from_fn(in_time));
    let streams = Router::new()
        .route("/v1/events", get(stream::everything))
        .route("/v1/apps/{app}/events/stream", get(stream::app))
        .route("/v1/deployments/{id}/events/stream", get(stream::deployment))
        .route("/v1/apps/{app}/logs", get(logs::logs));
    questions
        .merge(streams)
        .fallback(|| async { Problem::not_found("no_such_path", "the API has no such path") })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(DEADLINE, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::late().into_response())
}

/// The app that a path names. A text that is no name belongs to no app.
fn app_name(text: &str) -> Result<AppName, Problem> {
    text.parse().map_err(|_| Problem::unknown_app(&text.escape_default()))
}

fn deployment_id(text: &str) -> Result<DeploymentId, Problem> {
    let unknown =
        || Problem::not_found("unknown_deployment", format!("{} is no deployment", text.escape_default()));
    text.parse().map(DeploymentId).map_err(|_| unknown())
}
