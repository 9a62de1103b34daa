//! What can happen to an app. Orders come from people and files, reports from effects, the rest
//! from watching.

use super::release::Plan;
use crate::name::{Color, ConfigId, DeploymentId, ImageId};
use crate::ports::Image;
use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An event, with what must be known of it to decide, and to decide again in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A deployment is asked for.
    Deploy(Order),
    /// The image is on the host and resolved.
    ImageReady(Image),
    /// The image is not to be had.
    ImageFailed(Failure),
    /// Every replica of the candidate runs.
    ContainerStarted,
    /// The candidate cannot be started.
    ContainerFailed(Failure),
    /// Every replica of the candidate passed its gate.
    HealthCheckPassed,
    /// The candidate did not pass in time, or ended.
    HealthCheckFailed(Failure),
    /// An operator lets the candidate take the traffic.
    Promote,
    /// An operator ends the deployment in flight.
    Cancel,
    /// A newer version is waiting.
    Superseded {
        /// The newer config.
        by: ConfigId,
    },
    /// The proxy has confirmed that traffic goes where the phase wants it.
    TrafficSwitched {
        /// The revision of the table that says so.
        revision: u64,
    },
    /// The proxy did not take the new route.
    SwitchFailed(Failure),
    /// Nothing is in flight any more on the color that left the route.
    DrainComplete,
    /// `drain_timeout` passed; what was left has been closed.
    DrainTimedOut {
        /// Requests and upgraded connections that were closed.
        left: u64,
    },
    /// The color that took the traffic died or turned unhealthy.
    TargetUnhealthy {
        /// The origin of the release that this is about.
        origin: DeploymentId,
        /// What was seen.
        failure: Failure,
        /// Whether the previous color could take the traffic back.
        fallback: Fallback,
    },
    /// The new color has served well for `watch`.
    WatchPassed,
    /// The rollback window has ended.
    WindowPassed,
    /// The standby is no longer there to roll back to: somebody else stopped or removed it.
    StandbyLost(Failure),
    /// The color to be stopped or removed has stopped or is gone.
    ContainerStopped,
    /// It could not be stopped.
    StopFailed(Failure),
    /// Nothing is left of the candidate.
    RollbackComplete,
    /// Going back kept failing.
    RollbackFailed(Failure),
    /// A controller has taken the app up again after a restart.
    Resumed,
    /// An operator asks to settle on what Docker and the proxy really show.
    ManualRecovery(Observation),
    /// An operator takes the app out of service.
    Retire {
        /// The newest version of its file that is stored: it goes with the rest, and only a newer one brings
        /// the app back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest: Option<ConfigId>,
    },
    /// The live containers were changed from outside; they are being healed.
    ExternalChange(Failure),
    /// The live containers are as they should be again.
    Healed {
        /// What was wrong, in words.
        what: String,
    },
    /// The live containers ended again and again: they are not healed any more, until somebody orders it.
    GivenUp(Failure),
    /// An operator lets new requests wait.
    Paused {
        /// For at most so long.
        #[serde(with = "millis", rename = "limit_ms")]
        limit: Duration,
        /// And so many of them.
        queue: u32,
    },
    /// An operator lets them go on.
    Unpaused,
    /// The time of the pause is over.
    PauseEnded,
    /// An operator has new requests answered 503.
    MaintenanceBegan {
        /// The app's own page, HTML.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    },
    /// An operator opens the app again.
    MaintenanceEnded,
}

/// A deployment that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The id that it gets.
    pub deployment: DeploymentId,
    /// What it is to bring into service.
    pub target: OrderTarget,
    /// Who or what asked: `edit`, `deploy`, `rollback`, `switch`.
    pub reason: OrderReason,
}

/// What a deployment is to bring into service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderTarget {
    /// A config, with whatever image its reference means now.
    Config(Plan),
    /// A config with the very image that an earlier deployment ran.
    Pinned {
        /// The earlier deployment's plan.
        plan: Plan,
        /// Its image.
        image_id: ImageId,
    },
    /// The standby that still runs.
    Standby,
}

/// Why a deployment is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderReason {
    /// The app's file was edited.
    Edit,
    /// `dockswap deploy`.
    Deploy,
    /// `dockswap rollback`: the deployment that serves becomes `rolled_back`.
    Rollback,
    /// `dockswap switch`: ditto.
    Switch,
}

impl OrderReason {
    /// Whether the deployment undoes the one that serves.
    #[must_use]
    pub const fn undoes(self) -> bool {
        match self {
            Self::Rollback | Self::Switch => true,
            Self::Edit | Self::Deploy => false,
        }
    }
}

/// What went wrong, for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence: what failed, on what, and why.
    pub summary: String,
    /// The app's or Docker's own last lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl Failure {
    /// A failure without evidence.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), evidence: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)?;
        for line in &self.evidence {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

/// Whether the previous color could take the traffic back, as probed when it was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// It runs and is healthy.
    Healthy,
    /// There is none, or it is not.
    Unfit,
}

/// What Docker shows of an app, for a manual recovery: the releases that are healthy now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observation {
    /// By color and by the deployment that created the containers.
    pub healthy: Vec<(Color, DeploymentId)>,
}

impl Event {
    /// The name that stands in `deployment_events.event_type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::ImageReady(_) => "image_ready",
            Self::ImageFailed(_) => "image_failed",
            Self::ContainerStarted => "container_started",
            Self::ContainerFailed(_) => "container_failed",
            Self::HealthCheckPassed => "health_check_passed",
            Self::HealthCheckFailed(_) => "health_check_failed",
            Self::Promote => "promote",
            Self::Cancel => "cancel",
            Self::Superseded { .. } => "superseded",
            Self::TrafficSwitched { .. } => "traffic_switched",
            Self::SwitchFailed(_) => "switch_failed",
            Self::DrainComplete => "drain_complete",
            Self::DrainTimedOut { .. } => "drain_timed_out",
            Self::TargetUnhealthy { .. } => "target_unhealthy",
            Self::WatchPassed => "watch_passed",
            Self::WindowPassed => "window_passed",
            Self::StandbyLost(_) => "standby_lost",
            Self::ContainerStopped => "container_stopped",
            Self::StopFailed(_) => "stop_failed",
            Self::RollbackComplete => "rollback_complete",
            Self::RollbackFailed(_) => "rollback_failed",
            Self::Resumed => "resumed",
            Self::ManualRecovery(_) => "manual_recovery",
            Self::Retire { .. } => "retire",
            Self::ExternalChange(_) => "external_change",
            Self::Healed { .. } => "healed",
            Self::GivenUp(_) => "given_up",
            Self::Paused { .. } => "paused",
            Self::Unpaused => "unpaused",
            Self::PauseEnded => "pause_ended",
            Self::MaintenanceBegan { .. } => "maintenance_began",
            Self::MaintenanceEnded => "maintenance_ended",
        }
    }

    /// What went wrong, when the event says so.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::ImageFailed(failure)
            | Self::ContainerFailed(failure)
            | Self::HealthCheckFailed(failure)
            | Self::SwitchFailed(failure)
            | Self::TargetUnhealthy { failure, .. }
            | Self::StandbyLost(failure)
            | Self::StopFailed(failure)
            | Self::RollbackFailed(failure)
            | Self::ExternalChange(failure)
            | Self::GivenUp(failure) => Some(failure),
            Self::Deploy(_)
            | Self::ImageReady(_)
            | Self::ContainerStarted
            | Self::HealthCheckPassed
            | Self::Promote
            | Self::Cancel
            | Self::Superseded { .. }
            | Self::TrafficSwitched { .. }
            | Self::DrainComplete
            | Self::DrainTimedOut { .. }
            | Self::WatchPassed
            | Self::WindowPassed
            | Self::ContainerStopped
            | Self::RollbackComplete
            | Self::Resumed
            | Self::ManualRecovery(_)
            | Self::Retire { .. }
            | Self::Healed { .. }
            | Self::Paused { .. }
            | Self::Unpaused
            | Self::PauseEnded
            | Self::MaintenanceBegan { .. }
            | Self::MaintenanceEnded => None,
        }
    }
}
