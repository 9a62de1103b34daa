//! What survives a crash of the controller: its database.

use super::fixture::app;
use dockswap_core::machine::{Event, Machine, Plan, Transition};
use dockswap_core::records::{CurrentState, DeploymentStatus, DeploymentWrite};
use dockswap_core::{ConfigId, DeploymentId, ImageId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// The database, as far as one app goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// The machine as last committed.
    pub machine: Machine,
    /// The row of `current_state`.
    pub current: Option<CurrentState>,
    /// The rows of `app_configs`: config N is the one at N - 1.
    pub configs: Vec<Plan>,
    /// The rows of `deployments`: what each deploys, and how it stands.
    pub deployments: BTreeMap<DeploymentId, (ConfigId, DeploymentStatus)>,
    /// The images that deployments turned out to run.
    pub images: BTreeMap<DeploymentId, ImageId>,
    /// The rows of `deployment_events`. Whoever has no use for them may clear them: `replayed` goes on.
    pub events: Vec<(i64, serde_json::Value)>,
    /// The events, folded as they were written.
    pub replayed: Machine,
}

impl Disk {
    pub fn new() -> Self {
        Self {
            machine: Machine::new(app()),
            current: None,
            configs: Vec::new(),
            deployments: BTreeMap::new(),
            images: BTreeMap::new(),
            events: Vec::new(),
            replayed: Machine::new(app()),
        }
    }

    /// The event row: the half of a commit that is history.
    pub fn write_event(&mut self, transition: &Transition) {
        let payload = &transition.event().payload;
        let event: Event = serde_json::from_value(payload["event"].clone()).expect("an event was written");
        let at: Timestamp = serde_json::from_value(payload["at_us"].clone()).expect("a time was written");
        if let Ok(next) = self.replayed.step(&event, at) {
            self.replayed = next.committed();
        }
        let id = i64::try_from(self.events.len()).expect("a small number") + 1;
        self.events.push((id, payload.clone()));
    }

    /// The state, its row, and the rows of `deployments`: the other half.
    pub fn write_state(&mut self, transition: &Transition) {
        self.write_machine(transition);
        for write in transition.deployments() {
            self.write_deployment(write);
        }
    }

    pub fn write_machine(&mut self, transition: &Transition) {
        // Compare-and-set: what began from another state is not written.
        if transition.expected() != self.machine.version() {
            return;
        }
        self.machine = transition.after().clone();
        self.current = Some(transition.current().clone());
        if let Some((deployment, image)) = transition.image() {
            self.images.insert(*deployment, image.id.clone());
        }
    }

    pub fn write_deployment(&mut self, write: &DeploymentWrite) {
        match write {
            DeploymentWrite::Begin(row) => {
                let before = self.deployments.insert(row.id, (row.config_id, row.status));
                assert_eq!(before, None, "deployment ids are never given twice");
            }
            DeploymentWrite::End { id, status, .. } => {
                self.deployments.get_mut(id).expect("only what began can end").1 = *status;
            }
        }
    }

    /// The deployments whose row says `in_progress`.
    pub fn in_progress(&self) -> BTreeSet<DeploymentId> {
        let open = |(_, status): &(ConfigId, DeploymentStatus)| *status == DeploymentStatus::InProgress;
        self.deployments.iter().filter(|(_, row)| open(row)).map(|(id, _)| *id).collect()
    }

    /// The id of the next deployment.
    pub fn next_deployment(&self) -> DeploymentId {
        DeploymentId(self.deployments.last_key_value().map_or(1, |(id, _)| id.0 + 1))
    }

    /// The newest config, if no deployment was begun for it or a later one.
    pub fn waiting(&self, machine: &Machine) -> Option<&Plan> {
        self.configs.last().filter(|newest| machine.considered() < Some(newest.config))
    }
}

/// Equal as far as the future goes: counters and history are left out.
impl Hash for Disk {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.machine.phase().hash(state);
        self.machine.access().hash(state);
        self.machine.considered().hash(state);
        (self.replayed == self.machine).hash(state);
        if let Some(row) = &self.current {
            (row.deployment_id, row.active_color, &row.image, &row.status).hash(state);
        }
        self.configs.hash(state);
        self.deployments.hash(state);
        self.images.hash(state);
    }
}
