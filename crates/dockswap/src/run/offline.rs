//! A rollback without a controller process: the same controller, for as long as it takes.

use super::Parts;
use crate::api::audit::record_of_this_user;
use crate::paths::Paths;
use anyhow::{Context, Result};
use dockswap_config::Settings;
use dockswap_controller::{Command, Controller, ControllerSettings, Signature};
use dockswap_core::audit::AuditResult;
use dockswap_core::ports::{Router, Store};
use dockswap_core::records::DeploymentStatus;
use dockswap_core::{AppName, DeploymentId};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long Docker and the proxy may take to answer.
const START: Duration = Duration::from_secs(20);

/// How a rollback without a controller process ended.
pub(crate) struct OfflineRollback {
    /// The deployment that it made.
    pub(crate) deployment: DeploymentId,
    /// How that ended.
    pub(crate) status: DeploymentStatus,
    /// The app's state.
    pub(crate) state: String,
    /// What serves, as written.
    pub(crate) image: Option<String>,
}

/// Rolls `app` back, to the previous success or to `to`, and waits until that is settled.
///
/// # Errors
/// When a controller holds the database after all, the proxy does not run, or the rollback is
/// refused.
pub(crate) async fn offline_rollback(
    paths: &Paths,
    settings: &Settings,
    app: &AppName,
    to: Option<DeploymentId>,
) -> Result<OfflineRollback> {
    let parts = Parts::open(paths, settings).await?;
    parts.proxy.status().await.context("without the proxy no traffic can be moved: start `dockswap run`")?;
    let stop = CancellationToken::new();
    // Edits that nobody has deployed yet are left to the next controller.
    let limits = ControllerSettings { max_concurrent: 0 };
    let start = Controller::start(parts.ports(paths), limits, stop.clone());
    let controller = tokio::time::timeout(START, start)
        .await
        .context("Docker or the proxy does not answer: see dockswap doctor")??;
    let result = roll_back(&controller, &parts, app, to).await;
    stop.cancel();
    controller.shutdown().await;
    result
}

async fn roll_back(
    controller: &Arc<Controller>,
    parts: &Parts,
    app: &AppName,
    to: Option<DeploymentId>,
) -> Result<OfflineRollback> {
    let mut notices = controller.notices();
    let mut order = record_of_this_user("rollback", format!("app/{app}"));
    order.note("offline", true);
    if let Some(to) = to {
        order.note("to", to.0);
    }
    let signature = Signature::of(order);
    let ordered = controller.ordered(app, Command::Rollback { to }, signature.clone()).await;
    if let (Err(error), Some(mut order)) = (&ordered, signature.take()) {
        order.result = AuditResult::Refused;
        order.note("error", error.to_string());
        parts.database.record_audit(&order).await.context("the refused order is not on record")?;
    }
    let outcome = ordered?;
    let deployment = outcome.deployment.context("the rollback began no deployment")?;
    loop {
        let row = parts.database.deployment(deployment).await?.context("the rollback's row is gone")?;
        if row.status != DeploymentStatus::InProgress {
            let view = controller.view(app).context("the app is gone")?;
            return Ok(OfflineRollback {
                deployment,
                status: row.status,
                state: view.state,
                image: view.image,
            });
        }
        // Missed notices do not matter: the row is read again after each.
        let _ = notices.recv().await;
    }
}
