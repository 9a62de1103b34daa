//! What of an app's records must stay: what serves, what is in flight, and what a rollback may go back to.
//! Everything else may go once it is old enough. Pure: who reads the rows and who removes them is not known
//! here.

use crate::machine::Machine;
use crate::name::{AppName, ConfigId, DeploymentId, ImageId, Version};
use crate::records::{DeploymentRow, DeploymentStatus};
use std::collections::BTreeSet;
use std::iter::Sum;
use std::ops::Add;

/// What of an app's records stays, whatever its age. It holds for one version of the machine: with the next
/// one it is decided anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose.
    pub app: AppName,
    /// The version of the machine that it was decided on.
    pub version: Version,
    /// Deployments whose image stays: they can be gone back to.
    pub targets: BTreeSet<DeploymentId>,
    /// Deployments whose row stays, those among them.
    pub rows: BTreeSet<DeploymentId>,
    /// Stored files that stay, besides the newest one and those of deployments that stay.
    pub configs: BTreeSet<ConfigId>,
}

/// How much went, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deployments whose image is given up: they cannot be gone back to any more.
    pub images: u64,
    /// Rows of `deployments`.
    pub deployments: u64,
    /// Rows of `app_configs`.
    pub configs: u64,
    /// Rows of `deployment_events`.
    pub events: u64,
}

impl Pruned {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Add for Pruned {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            images: self.images + other.images,
            deployments: self.deployments + other.deployments,
            configs: self.configs + other.configs,
            events: self.events + other.events,
        }
    }
}

impl Sum for Pruned {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), Add::add)
    }
}

/// Looks at an app's deployments, newest first, until it is clear what stays.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    machine: &'a Machine,
    most: usize,
    versions: BTreeSet<(ConfigId, ImageId)>,
    /// Others that have served: rollbacks, and what was taken back.
    others: usize,
    came_to_what_serves: bool,
    targets: BTreeSet<DeploymentId>,
    rows: BTreeSet<DeploymentId>,
}

impl<'a> Choice<'a> {
    /// For an app that can go back `most` versions.
    #[must_use]
    pub fn of(machine: &'a Machine, most: usize) -> Self {
        let targets = mentioned(machine);
        Self {
            machine,
            most,
            versions: BTreeSet::new(),
            others: 0,
            // Without anything that serves there is nothing to come to.
            came_to_what_serves: machine.serving().is_none(),
            rows: targets.clone(),
            targets,
        }
    }

    /// Whether older deployments change nothing any more.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.came_to_what_serves && self.versions.len() >= self.most
    }

    /// Considers the next older deployment; `image`: what it ran, unless that was given up before.
    pub fn consider(&mut self, row: &DeploymentRow, image: Option<&ImageId>) {
        if row.status == DeploymentStatus::InProgress {
            self.targets.insert(row.id);
        }
        if let Some(image) = image
            && self.is_target(row, image)
        {
            self.targets.insert(row.id);
        }
        if self.targets.contains(&row.id) || self.rows.contains(&row.id) {
            self.rows.insert(row.id);
            self.rows.extend(row.rollback_of);
        }
    }

    fn is_target(&mut self, row: &DeploymentRow, image: &ImageId) -> bool {
        // A rollback looks for the deployment that brought what serves, and goes on from there.
        let live = self.machine.serving().map(|serving| &serving.live);
        let brought = row.rollback_of.is_none()
            && live.is_some_and(|live| live.plan.config == row.config_id && live.image_id == *image);
        if brought && !self.came_to_what_serves {
            self.came_to_what_serves = true;
            return true;
        }
        if self.versions.len() >= self.most {
            return false;
        }
        match (row.status, row.rollback_of) {
            (DeploymentStatus::Success, None) => self.versions.insert((row.config_id, image.clone())),
            (DeploymentStatus::Success, Some(_)) | (DeploymentStatus::RolledBack, _) => {
                // What the state speaks of stays anyway, and takes nobody's place.
                self.others += usize::from(!self.targets.contains(&row.id));
                self.others <= self.most
            }
            (DeploymentStatus::InProgress | DeploymentStatus::Failed | DeploymentStatus::Cancelled, _) => {
                false
            }
        }
    }

    /// What stays. `rows` that other rows refer to, and that were not considered, are for the caller to add.
    #[must_use]
    pub fn kept(self) -> Kept {
        let releases = self.machine.releases();
        let configs = releases.iter().map(|release| release.plan.config).chain(self.machine.considered());
        Kept {
            app: self.machine.app().clone(),
            version: self.machine.version(),
            configs: configs.collect(),
            targets: self.targets,
            rows: self.rows,
        }
    }
}

/// Every deployment that the state speaks of.
fn mentioned(machine: &Machine) -> BTreeSet<DeploymentId> {
    let mut ids: BTreeSet<DeploymentId> =
        machine.releases().into_iter().map(|release| release.origin).collect();
    ids.extend([machine.deployment(), machine.in_flight(), machine.undid()].into_iter().flatten());
    if let Some(serving) = machine.serving() {
        ids.insert(serving.deployment);
        ids.extend(serving.standby.as_ref().map(|standby| standby.deployment));
    }
    ids
}
