//! Removing what is old: an app's task decides what stays and gives up the images of the rest; what was given
//! up is let go of in Docker; then records go, in small transactions. Stopped anywhere, it is gone on with next
//! time.

use crate::app::Message;
use crate::controller::{Controller, Shared};
use crate::orders::OrderError;
use dockswap_core::machine::Machine;
use dockswap_core::records::{CommitError, DeploymentStatus, StoreError};
use dockswap_core::retention::{Choice, Kept, Pruned};
use dockswap_core::{AppName, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How many deployments are looked at in one go.
const PAGE: u64 = 200;

/// What is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many versions an app can go back.
    pub deployments: usize,
    /// Records that are younger stay.
    pub before: Timestamp,
    /// Whether it is done.
    pub mode: PruneMode,
    /// After this long it is left for the next time.
    pub time: Duration,
}

/// Whether what is old is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneMode {
    /// It is only counted.
    DryRun,
    /// It is.
    ForReal,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOutcome {
    /// How much went, or would.
    pub pruned: Pruned,
    /// Whether there is more to do.
    pub rest: Rest,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There is not.
    Nothing,
    /// There may be: the time was over, or the app has moved on meanwhile.
    Later,
}

impl Controller {
    /// The names of all apps.
    #[must_use]
    pub fn app_names(&self) -> Vec<AppName> {
        self.apps().keys().cloned().collect()
    }

    /// Removes what is old of one app, and never what serves, what is in flight, or what a rollback may need.
    /// What has its traffic where the records do not send it is left alone.
    ///
    /// # Errors
    /// When the app is not known, or the database or Docker fails: what was done until then stays done.
    pub async fn prune(&self, app: &AppName, retention: &Retention) -> Result<PruneOutcome, OrderError> {
        let store = &self.shared.ports.store;
        let until = Instant::now() + retention.time;
        let mut pruned = Pruned::default();
        let later = |pruned| Ok(PruneOutcome { pruned, rest: Rest::Later });
        let kept = loop {
            let Some((kept, images)) = self.retain(app, retention).await? else {
                return Ok(PruneOutcome { pruned, rest: Rest::Nothing });
            };
            if retention.mode == PruneMode::DryRun {
                let pruned = store.prunable(&kept, retention.before).await?;
                return Ok(PruneOutcome { pruned, rest: Rest::Nothing });
            }
            pruned.images += images;
            if images == 0 {
                break kept;
            }
            if Instant::now() >= until {
                return later(pruned);
            }
        };
        // They are marked: nobody goes back to them any more.
        let given_up = store.given_up(app).await?;
        let pinned = self.shared.ports.engine.ensure_unpinned(app, &given_up).await?;
        let pinned: BTreeSet<_> = pinned.into_iter().collect();
        loop {
            let gone = match store.prune(&kept, retention.before, &pinned).await {
                Ok(gone) => gone,
                Err(CommitError::Conflict { .. }) => return later(pruned),
                Err(CommitError::Store(error)) => return Err(error.into()),
            };
            if gone.is_nothing() {
                return Ok(PruneOutcome { pruned, rest: Rest::Nothing });
            }
            pruned = pruned + gone;
            if Instant::now() >= until {
                return later(pruned);
            }
        }
    }

    /// Has the app's task decide what stays.
    async fn retain(&self, app: &AppName, retention: &Retention) -> Result<Option<(Kept, u64)>, OrderError> {
        let handle = self.handle(app)?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Retain(retention.deployments, retention.mode, reply);
        handle.inbox.send(message).await.map_err(|_| OrderError::ShuttingDown)?;
        answer.await.map_err(|_| OrderError::ShuttingDown)?
    }
}

impl Shared {
    /// What of an app's records stays, for it to go back `most` versions.
    pub(crate) async fn kept(&self, machine: &Machine, most: usize) -> Result<Kept, StoreError> {
        let store = &self.ports.store;
        let mut choice = Choice::of(machine, most);
        let mut before = None;
        while !choice.is_made() {
            let rows = store.deployments(machine.app(), before, PAGE).await?;
            let Some(oldest) = rows.last() else { break };
            before = Some(oldest.id);
            for row in &rows {
                let served = !matches!(row.status, DeploymentStatus::Failed | DeploymentStatus::Cancelled);
                let image = if served && !store.is_given_up(row.id).await? {
                    store.image_of(row.id).await?
                } else {
                    None
                };
                choice.consider(row, image.as_ref().map(|image| &image.id));
            }
        }
        let mut kept = choice.kept();
        let mut open: Vec<_> = kept.rows.iter().copied().collect();
        while let Some(id) = open.pop() {
            let undoes = store.deployment(id).await?.and_then(|row| row.rollback_of);
            open.extend(undoes.filter(|undoes| kept.rows.insert(*undoes)));
        }
        Ok(kept)
    }
}
