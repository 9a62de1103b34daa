//! What can run and serve: a version of an app in one of its two slots.

use crate::limits::TrafficLimits;
use crate::name::{Color, ConfigId, DeploymentId, ImageId};
use crate::ports::Container;
use crate::spec::{AppSpec, DeploymentPolicy, HealthCheck, Route, Strategy};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a deployment was told when it began, frozen: an edit never changes one that is in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The stored config that it deploys.
    pub config: ConfigId,
    /// The image as written.
    pub image: String,
    /// Containers per color.
    pub replicas: u8,
    /// How a container proves that it can serve.
    pub health_check: HealthCheck,
    /// How the deployment goes.
    pub policy: DeploymentPolicy,
    /// Where the app's traffic comes in.
    pub routes: Vec<Route>,
    /// What its requests may take.
    #[serde(default, skip_serializing_if = "TrafficLimits::is_default")]
    pub limits: TrafficLimits,
}

impl Plan {
    /// The plan to deploy `spec`, stored as `config`.
    #[must_use]
    pub fn of(spec: &AppSpec, config: ConfigId) -> Self {
        Self {
            config,
            image: spec.image.clone(),
            replicas: spec.replicas,
            health_check: spec.health_check.clone(),
            policy: spec.deployment.clone(),
            routes: spec.routes.clone(),
            limits: spec.limits.clone(),
        }
    }
}

/// A version in a slot: which containers it consists of, and how they are treated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The deployment that created the containers: part of their names and labels. A rollback to
    /// containers that still run is another deployment, on the same release.
    pub origin: DeploymentId,
    /// The slot.
    pub color: Color,
    /// The image that runs, whatever its tag says today.
    pub image_id: ImageId,
    /// How it was deployed.
    pub plan: Plan,
}

impl Release {
    /// Whether `container` is one of this release (of the same app).
    #[must_use]
    pub fn owns(&self, container: &Container) -> bool {
        container.color == self.color && container.deployment == self.origin
    }

    /// Whether nothing else of its app may run beside it.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.plan.policy.strategy == Strategy::Recreate
    }

    /// Whether the two may not run side by side: one that runs alone is enough.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.runs_alone() || other.runs_alone()
    }
}

/// The release that has the traffic, and the one that would take it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Serving {
    /// The deployment by which `live` serves.
    pub deployment: DeploymentId,
    /// What has the traffic.
    pub live: Release,
    /// What had it before, in the other slot.
    pub standby: Option<Standby>,
}

/// A release out of traffic, in the slot that the live one does not use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standby {
    /// The deployment by which it served.
    pub deployment: DeploymentId,
    /// What it is.
    pub release: Release,
    /// Whether it still runs.
    pub warmth: Warmth,
}

/// Whether a standby still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmth {
    /// It runs, for an instant rollback, until the rollback window ends.
    Running {
        /// When that is.
        until: Timestamp,
    },
    /// It was stopped, and is kept until its slot is needed.
    Stopped,
}

impl Serving {
    /// Whether giving the traffic back to the standby means to stop what has it first.
    #[must_use]
    pub fn recreates(&self) -> bool {
        self.standby.as_ref().is_some_and(|standby| standby.release.excludes(&self.live))
    }

    /// The standby, if it runs.
    #[must_use]
    pub fn warm_standby(&self) -> Option<&Standby> {
        self.standby.as_ref().filter(|standby| matches!(standby.warmth, Warmth::Running { .. }))
    }
}
