//! The HTTP API of the controller, on its Unix socket. It says what is and passes orders on; it
//! decides nothing, and it must not know what the commands make of it.
//!
//! Whoever can open the socket may do everything: it is 0600. A request that shows a token may do what that is good
//! for. Bodies are bounded, and every answer but a stream has a deadline.

pub(crate) mod access;
mod apps;
pub(crate) mod audit;
pub(crate) mod backups;
mod code;
pub(crate) mod doors;
mod drift;
mod error;
mod facts;
mod files;
pub(crate) mod front;
mod gates;
mod logs;
mod once;
mod openapi;
mod operations;
mod orders;
mod projects;
mod prune;
mod query;
mod records;
mod segment;
mod stream;
mod system;
pub(crate) mod tcp;
mod tokens;
mod veil;
pub(crate) mod wire;

pub(crate) use error::{Problem, with_causes};
pub(crate) use openapi::document;

use crate::run::state::State;
use axum::Router;
use code::Code;
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
    tokio::spawn(once::sweep(state.clone()));
    let service = router(&state).into_make_service_with_connect_info::<access::Peer>();
    let served = axum::serve(socket, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API has ended");
    }
}

/// Serves the API over TCP until `state.stop`.
pub(crate) async fn serve_tcp(state: Arc<State>, doorway: tcp::Doorway) {
    let router = router(&state);
    tcp::serve(state.stop.clone(), router, doorway).await;
}

/// Every path of the API, each behind its door.
pub(crate) fn router(state: &Arc<State>) -> Router {
    doors::router(state)
}

/// The app that a path names. A text that is no name belongs to no app.
fn app_name(text: &str) -> Result<AppName, Problem> {
    text.parse().map_err(|_| Problem::unknown_app(&text.escape_default()))
}

fn deployment_id(text: &str) -> Result<DeploymentId, Problem> {
    let unknown =
        || Problem::new(Code::UnknownDeployment, format!("{} is no deployment", text.escape_default()));
    text.parse().map(DeploymentId).map_err(|_| unknown())
}
