//! Which deployment a rollback goes back to. A rollback makes a deployment of its own, so history is
//! not a line of ids: what counts is the version that each deployment brought, its config and image.

use crate::controller::Shared;
use crate::orders::OrderError;
use dockswap_core::machine::{Release, Serving};
use dockswap_core::records::{DeploymentRow, DeploymentStatus, StoreError};
use dockswap_core::{AppName, DeploymentId};

/// How many earlier deployments are looked at in one go.
const PAGE: u64 = 200;

impl Shared {
    /// The newest success before the version that serves, and other than it. What was rolled back is
    /// none, and neither is what was pruned. Called again after each rollback it goes further back, until there is nothing.
    pub(crate) async fn previous_success(
        &self,
        app: &AppName,
        serving: &Serving,
    ) -> Result<DeploymentId, OrderError> {
        let mut came_to_what_serves = false;
        let mut before = None;
        loop {
            let rows = self.ports.store.deployments(app, before, PAGE).await?;
            let Some(oldest) = rows.last() else { return Err(OrderError::NoPrevious(app.clone())) };
            before = Some(oldest.id);
            // Rollbacks bring nothing new: the deployments that they went back to stand for them.
            for row in rows.iter().filter(|row| row.rollback_of.is_none() && row.id <= serving.deployment) {
                if self.brought(row, &serving.live).await? {
                    came_to_what_serves = true;
                } else if came_to_what_serves
                    && row.status == DeploymentStatus::Success
                    && !self.ports.store.is_given_up(row.id).await?
                {
                    return Ok(row.id);
                }
            }
        }
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
