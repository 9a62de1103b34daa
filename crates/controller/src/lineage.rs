//! Which deployment a rollback goes back to. A rollback makes a deployment of its own, so history is
//! not a line of ids: what counts is the version that each deployment brought, its config and image.

use crate::controller::Shared;
use crate::orders::OrderError;
use dockswap_core::machine::{Release, Serving};
use dockswap_core::records::{DeploymentRow, DeploymentStatus, StoreError};
use dockswap_core::{AppName, DeploymentId};

/// How many earlier deployments are searched.
const HISTORY: u64 = 200;

impl Shared {
    /// The newest success before the version that serves, and other than it. What was rolled back is
    /// none. Called again after each rollback it goes further back, until there is nothing.
    pub(crate) async fn previous_success(
        &self,
        app: &AppName,
        serving: &Serving,
    ) -> Result<DeploymentId, OrderError> {
        let rows = self.ports.store.deployments(app, HISTORY).await?;
        // Rollbacks bring nothing new: the deployments that they went back to stand for them.
        let mut versions = Vec::new();
        for row in rows.into_iter().filter(|row| row.rollback_of.is_none() && row.id <= serving.deployment) {
            let same = self.brought(&row, &serving.live).await?;
            versions.push((row, same));
        }
        versions
            .into_iter()
            .skip_while(|(_, same)| !same)
            .find(|(row, same)| !same && row.status == DeploymentStatus::Success)
            .map(|(row, _)| row.id)
            .ok_or_else(|| OrderError::NoPrevious(app.clone()))
    }

    /// Whether a deployment brought the version that `release` is: its config and its very image.
    pub(crate) async fn brought(&self, row: &DeploymentRow, release: &Release) -> Result<bool, StoreError> {
        if row.config_id != release.plan.config {
            return Ok(false);
        }
        let image = self.ports.store.image_of(row.id).await?;
        Ok(image.is_some_and(|image| image.id == release.image_id))
    }
}
