//! The machine of one app. (Being written: the public surface below is stable.)

use crate::name::{AppName, DeploymentId, Version};
use crate::ports::Image;
use crate::records::{CurrentState, DeploymentWrite, EventRecord};
use serde::{Deserialize, Serialize};

/// The state of one app: what is decided about it, and thereby what is owed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    app: AppName,
    version: Version,
}

impl Machine {
    /// Whose machine it is.
    #[must_use]
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// How many transitions it has made.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A decided step that is not in force yet: only a commit makes it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    expected: Version,
    after: Machine,
    event: EventRecord,
    deployments: Vec<DeploymentWrite>,
    current: CurrentState,
    image: Option<(DeploymentId, Image)>,
}

impl Transition {
    /// The version that the app's machine must still have; 0 when this is its first transition and
    /// it must have no row yet.
    #[must_use]
    pub fn expected(&self) -> Version {
        self.expected
    }

    /// The machine after the step.
    #[must_use]
    pub fn after(&self) -> &Machine {
        &self.after
    }

    /// The event row.
    #[must_use]
    pub fn event(&self) -> &EventRecord {
        &self.event
    }

    /// The changes of `deployments`, in order.
    #[must_use]
    pub fn deployments(&self) -> &[DeploymentWrite] {
        &self.deployments
    }

    /// The row of `current_state`.
    #[must_use]
    pub fn current(&self) -> &CurrentState {
        &self.current
    }

    /// The image that a deployment turned out to run.
    #[must_use]
    pub fn image(&self) -> Option<&(DeploymentId, Image)> {
        self.image.as_ref()
    }
}
