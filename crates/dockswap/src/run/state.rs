//! What the API and the tasks of `dockswap run` share.

use super::intake::IntakeHandle;
use dockswap_controller::Controller;
use dockswap_docker::Docker;
use dockswap_proxy::ProxyClient;
use dockswap_store::Database;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The running controller process.
pub(crate) struct State {
    /// Decides and acts.
    pub(crate) controller: Arc<Controller>,
    /// History, for people.
    pub(crate) database: Arc<Database>,
    /// Logs and versions, for people.
    pub(crate) docker: Arc<Docker>,
    /// Load and listeners, for people.
    pub(crate) proxy: Arc<ProxyClient>,
    /// The config directory.
    pub(crate) intake: IntakeHandle,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
}
