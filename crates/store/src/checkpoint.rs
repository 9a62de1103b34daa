//! An app's events, followed from what is known of those before them: what a check replays, and what stands
//! for events that are removed. It must not know when they are.

use crate::check::hash;
use crate::entity::app_checkpoint;
use crate::rows::{EventRow, FromRow, Unreadable};
use crate::stamp::Stamp;
use dockswap_core::machine::{Machine, Replay, ReplayError, Transition};
use dockswap_core::ports::Image;
use dockswap_core::records::{DeploymentRow, DeploymentWrite};
use dockswap_core::{AppName, DeploymentId, Timestamp};
use sea_orm::Set;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What events have written beside themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    pub(crate) images: BTreeMap<DeploymentId, Image>,
}

impl Written {
    fn follow(&mut self, transition: &Transition) {
        for write in transition.deployments() {
            match write {
                DeploymentWrite::Begin(row) => {
                    self.deployments.insert(row.id, row.clone());
                }
                DeploymentWrite::End { id, status, at } => {
                    if let Some(row) = self.deployments.get_mut(id) {
                        row.status = *status;
                        row.ended_at = row.ended_at.or(Some(*at));
                    }
                }
            }
        }
        if let Some((deployment, image)) = transition.image() {
            self.images.insert(*deployment, image.clone());
        }
    }

    /// Forgets a deployment that is not on record any more.
    pub(crate) fn forget(&mut self, deployment: DeploymentId) {
        self.deployments.remove(&deployment);
        self.images.remove(&deployment);
    }
}

/// Where a replay has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// The last event; 0 before the first.
    pub(crate) upto: i64,
    /// How many events it was.
    pub(crate) events: i64,
    /// What they have written beside themselves.
    pub(crate) written: Written,
    replay: Replay,
    sha: String,
}

impl Checkpoint {
    /// Before the first event of `app`.
    pub(crate) fn beginning(app: AppName) -> Self {
        let replay = Replay::of(app);
        Self { upto: 0, events: 0, written: Written::default(), replay, sha: String::new() }
    }

    /// The state that the events have led to.
    pub(crate) fn machine(&self) -> &Machine {
        self.replay.machine()
    }

    /// Goes on with the next event.
    pub(crate) fn follow(&mut self, event: &EventRow) -> Result<(), ReplayError> {
        self.replay.follow(event.id, &event.payload, |transition| self.written.follow(transition))?;
        self.upto = event.id;
        self.events += 1;
        Ok(())
    }

    /// The same, and takes the event into the hash: it is about to be removed.
    pub(crate) fn absorb(&mut self, event: &EventRow) -> Result<(), ReplayError> {
        self.follow(event)?;
        let EventRow { id, deployment_id, app_name, event_type, payload, error, created_at } = event;
        let error = error.as_deref();
        let row = serde_json::json!([
            self.sha,
            id,
            deployment_id,
            app_name,
            event_type,
            payload,
            error,
            created_at
        ]);
        self.sha = hash(row.to_string().as_bytes());
        Ok(())
    }

    /// It as a row.
    pub(crate) fn row(&self, at: Timestamp) -> Result<app_checkpoint::ActiveModel, serde_json::Error> {
        Ok(app_checkpoint::ActiveModel {
            app_name: Set(self.machine().app().to_string()),
            upto: Set(self.upto),
            events: Set(self.events),
            state: Set(serde_json::to_string(self.machine())?),
            written: Set(serde_json::to_string(&self.written)?),
            sha: Set(self.sha.clone()),
            updated_at: Set(Stamp(at)),
        })
    }
}

impl FromRow for Checkpoint {
    type Row = app_checkpoint::Model;

    fn from_row(row: app_checkpoint::Model) -> Result<Self, Unreadable> {
        let unreadable =
            |cause: serde_json::Error| Unreadable::new(format!("the checkpoint of {}", row.app_name), &cause);
        let machine: Machine = serde_json::from_str(&row.state).map_err(unreadable)?;
        let written = serde_json::from_str(&row.written).map_err(unreadable)?;
        Ok(Self { upto: row.upto, events: row.events, written, replay: Replay::from(machine), sha: row.sha })
    }
}
