//! The records as a port.

use super::Image;
use crate::audit::AuditRecord;
use crate::machine::{Machine, Transition};
use crate::name::{AppName, ConfigId, DeploymentId};
use crate::records::{CommitError, ConfigRow, DeploymentRow, NewConfig, RefusalRecord, StoreError};
use crate::retention::{Kept, Pruned};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::collections::BTreeSet;

/// The records, as far as the controller writes and reads them. Queries for people are the store's
/// own business.
#[async_trait]
pub trait Store: Send + Sync {
    /// Every app's machine as last committed.
    ///
    /// # Errors
    /// When the database fails, or a state cannot be read (named in the error).
    async fn machines(&self) -> Result<Vec<Machine>, StoreError>;

    /// Writes a transition: event row, deployment rows, `current_state`, and the order that it carries out, in one
    /// transaction that holds only if the app's machine is still the one that `transition` began from.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when it is not; nothing was written then.
    async fn commit(&self, transition: &Transition) -> Result<(), CommitError>;

    /// Records that an event was refused, on the deployment that the app's state is about. An app
    /// without a deployment has nowhere to record it: that is no error.
    ///
    /// # Errors
    /// When the database fails.
    async fn record_refusal(&self, refusal: &RefusalRecord) -> Result<(), StoreError>;

    /// Puts an order on record that changed nothing else. There is one record of each request: another is passed over.
    ///
    /// # Errors
    /// When the database fails.
    async fn record_audit(&self, audit: &AuditRecord) -> Result<(), StoreError>;

    /// Stores a version of an app file.
    ///
    /// # Errors
    /// When the database fails.
    async fn insert_config(&self, config: &NewConfig) -> Result<ConfigId, StoreError>;

    /// The newest stored version of each app.
    ///
    /// # Errors
    /// When the database fails.
    async fn newest_configs(&self) -> Result<Vec<ConfigRow>, StoreError>;

    /// One stored version.
    ///
    /// # Errors
    /// When the database fails.
    async fn config(&self, id: ConfigId) -> Result<Option<ConfigRow>, StoreError>;

    /// One deployment.
    ///
    /// # Errors
    /// When the database fails.
    async fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRow>, StoreError>;

    /// The newest `limit` deployments of an app, or of those older than `before`; newest first.
    ///
    /// # Errors
    /// When the database fails.
    async fn deployments(
        &self,
        app: &AppName,
        before: Option<DeploymentId>,
        limit: u64,
    ) -> Result<Vec<DeploymentRow>, StoreError>;

    /// The highest deployment id ever given, 0 when none was.
    ///
    /// # Errors
    /// When the database fails.
    async fn last_deployment(&self) -> Result<DeploymentId, StoreError>;

    /// The image that a deployment ran, by local id, once it was resolved.
    ///
    /// # Errors
    /// When the database fails.
    async fn image_of(&self, deployment: DeploymentId) -> Result<Option<Image>, StoreError>;

    /// Whether the image of a deployment was given up: it cannot be gone back to.
    ///
    /// # Errors
    /// When the database fails.
    async fn is_given_up(&self, deployment: DeploymentId) -> Result<bool, StoreError>;

    /// The deployments of an app whose image was given up, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    async fn given_up(&self, app: &AppName) -> Result<Vec<DeploymentId>, StoreError>;

    /// Marks images as given up that are none of `kept.targets`: a few hundred at most; called again it goes on,
    /// and gives 0 when there are none left. To be done before an image is let go of.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the app's machine is another one by now; nothing was marked then.
    async fn give_up(&self, kept: &Kept, at: Timestamp) -> Result<u64, CommitError>;

    /// Removes the oldest records of an app that `kept` does not name, that are older than `before`, and whose
    /// image is not in `pinned`: a few hundred rows at most, in one short transaction. Called again it goes on,
    /// until nothing is left to remove. Whoever replays what is left comes to the same state.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the app's machine is another one by now; nothing was removed then.
    async fn prune(
        &self,
        kept: &Kept,
        before: Timestamp,
        pinned: &BTreeSet<DeploymentId>,
    ) -> Result<Pruned, CommitError>;

    /// How much would go, were images given up and pruned now; about so much for what depends on what goes first.
    ///
    /// # Errors
    /// When the database fails.
    async fn prunable(&self, kept: &Kept, before: Timestamp) -> Result<Pruned, StoreError>;
}
