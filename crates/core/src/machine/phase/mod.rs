//! The phases, each with the data that only it has. A phase is made from its predecessor, by
//! value, in this folder alone: a skipped step does not compile.

mod after_switch;
mod before_switch;
mod recreating;
mod retiring;
mod undoing;

use super::event::Failure;
use super::release::{Plan, Release, Serving, Standby};
use crate::name::{Color, DeploymentId, ImageId};
use crate::records::DeploymentStatus;
use crate::routes::Hold;
use crate::spec::Route;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Where an app stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Phase {
    /// It stands still.
    Settled(Ground),
    /// The image is being fetched.
    Pulling(Pulling),
    /// New requests wait, and what serves is drained and stopped: the candidate may not run beside it.
    Holding(Holding),
    /// The candidate's containers are being started.
    Starting(Starting),
    /// The candidate is at its gate.
    HealthCheck(HealthCheck),
    /// The candidate waits for an operator.
    AwaitingPromotion(AwaitingPromotion),
    /// The route is being moved to the candidate.
    Switching(Switching),
    /// The new color has the traffic; the old one finishes its requests.
    Draining(Draining),
    /// The new color is watched.
    Watching(Watching),
    /// The standby is being stopped.
    Stopping(Stopping),
    /// The deployment is being undone.
    RollingBack(RollingBack),
    /// The app is being taken out of service.
    Retiring(Retiring),
}

/// Where an app stands when no deployment is in flight, and what stays as it is while one is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "ground", content = "of", rename_all = "snake_case")]
pub enum Ground {
    /// It has never served. After a failed first deployment: what that was.
    Pending(Option<Tried>),
    /// It serves.
    Serving(Serving),
    /// Nothing healthy serves, or an effect kept failing.
    Failed(Failed),
    /// It was taken out of service.
    Retired {
        /// Its last deployment.
        last: DeploymentId,
    },
}

/// A first deployment that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tried {
    /// Which.
    pub deployment: DeploymentId,
    /// Its routes: they answer 503, not 404.
    pub routes: Vec<Route>,
}

/// Nothing healthy serves, or an effect kept failing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failed {
    /// The deployment that ended here.
    pub deployment: DeploymentId,
    /// What has the traffic all the same, for want of better.
    pub serving: Option<Serving>,
    /// Why.
    pub reason: Failure,
    /// Whether what has the traffic is made to run again when it does not.
    #[serde(default, skip_serializing_if = "Healing::goes_on")]
    pub healing: Healing,
}

/// Whether live containers that end are made to run again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Healing {
    /// They are.
    #[default]
    GoesOn,
    /// Not any more: they ended too often.
    GivenUp,
}

impl Healing {
    /// Whether they are.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::GoesOn)
    }
}

impl Ground {
    /// What has the traffic.
    #[must_use]
    pub const fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Serving(serving) => Some(serving),
            Self::Failed(failed) => failed.serving.as_ref(),
            Self::Pending(_) | Self::Retired { .. } => None,
        }
    }

    /// What has the traffic, and is not healed any more.
    #[must_use]
    pub fn given_up(&self) -> Option<&Release> {
        match self {
            Self::Failed(Failed { serving: Some(serving), healing: Healing::GivenUp, .. }) => {
                Some(&serving.live)
            }
            Self::Failed(_) | Self::Serving(_) | Self::Pending(_) | Self::Retired { .. } => None,
        }
    }

    /// With what has the traffic healed again.
    fn looked_after(self) -> Self {
        match self {
            Self::Failed(failed) => Self::Failed(Failed { healing: Healing::GoesOn, ..failed }),
            other @ (Self::Serving(_) | Self::Pending(_) | Self::Retired { .. }) => other,
        }
    }

    /// The deployment that it is about.
    #[must_use]
    pub fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Pending(tried) => tried.as_ref().map(|tried| tried.deployment),
            Self::Serving(serving) => Some(serving.deployment),
            Self::Failed(failed) => Some(failed.deployment),
            Self::Retired { last } => Some(*last),
        }
    }

    /// After a restart.
    pub(super) fn resume(self, now: Timestamp) -> Self {
        match self {
            Self::Serving(serving) => Self::Serving(serving.resume(now)),
            Self::Failed(Failed { serving: Some(serving), deployment, reason, healing }) => {
                Self::Failed(Failed { serving: Some(serving.resume(now)), deployment, reason, healing })
            }
            Self::Failed(Failed { serving: None, .. }) | Self::Pending(_) | Self::Retired { .. } => self,
        }
    }

    /// The slot for the next candidate: the one that is not live, blue when none is.
    fn free_color(&self) -> Color {
        self.serving().map_or(Color::Blue, |serving| serving.live.color.other())
    }

    fn standby_mut(&mut self) -> Option<&mut Option<Standby>> {
        match self {
            Self::Serving(serving) | Self::Failed(Failed { serving: Some(serving), .. }) => {
                Some(&mut serving.standby)
            }
            Self::Failed(Failed { serving: None, .. }) | Self::Pending(_) | Self::Retired { .. } => None,
        }
    }

    /// Takes the standby out.
    fn take_standby(&mut self) -> Option<Standby> {
        self.standby_mut().and_then(Option::take)
    }
}

/// The deployment in flight, and the ground it started from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Its row.
    pub deployment: DeploymentId,
    /// The deployment that it undoes.
    pub undoes: Option<DeploymentId>,
    /// What stands meanwhile.
    pub ground: Ground,
    /// For how long requests wait, once what serves on the ground was to be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

impl Attempt {
    /// What has the traffic: nothing while requests wait.
    #[must_use]
    pub const fn serving(&self) -> Option<&Serving> {
        match self.hold {
            Some(_) => None,
            None => self.ground.serving(),
        }
    }
}

/// The image is being fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pulling {
    attempt: Attempt,
    color: Color,
    plan: Plan,
    pinned: Option<ImageId>,
}

/// What serves is taken out of traffic and stopped, while requests wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holding {
    attempt: Attempt,
    candidate: Release,
    hold: Hold,
    stage: HoldStage,
}

/// How far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldStage {
    /// The proxy is told to let requests wait.
    Routing,
    /// Requests in flight are finished.
    Draining {
        /// At the latest.
        until: Timestamp,
    },
    /// What served is stopped.
    Stopping,
}

/// The candidate's containers are being started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Starting {
    attempt: Attempt,
    candidate: Release,
}

/// The candidate is at its gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HealthCheck {
    attempt: Attempt,
    candidate: Release,
    until: Timestamp,
}

/// The candidate waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AwaitingPromotion {
    attempt: Attempt,
    candidate: Release,
    #[serde(default)]
    readiness: Readiness,
}

/// How much of a candidate is there when it waits for an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Readiness {
    /// It runs, and is healthy.
    #[default]
    Proven,
    /// Its image: it may not run beside what serves, and requests would wait as long as the operator.
    Pulled,
}

impl Readiness {
    pub(super) const fn is_proven(self) -> bool {
        matches!(self, Self::Proven)
    }
}

/// The route is being moved to the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Switching {
    attempt: Attempt,
    candidate: Release,
}

/// What a confirmed switch leaves: the new color serves, the old one is its standby.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Taken {
    serving: Serving,
    /// What the deployment undid.
    undid: Option<DeploymentId>,
    watch_until: Timestamp,
    regression: Option<Failure>,
}

/// The new color has the traffic; the old one finishes its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Draining {
    taken: Taken,
    until: Timestamp,
}

/// The new color is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watching {
    taken: Taken,
}

/// The standby is being stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stopping {
    serving: Serving,
}

/// The deployment is being undone: traffic first, then its requests in flight, then its containers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RollingBack {
    deployment: DeploymentId,
    /// What it had undone, which serves again.
    restores: Option<DeploymentId>,
    ground: Ground,
    /// What is drained and removed.
    candidate: Candidate,
    cause: Cause,
    stage: UndoStage,
    /// For how long requests wait, where what is to serve again has to be started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
}

/// What a deployment brought into the world so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// No container.
    Nothing {
        /// The routes that it would have had.
        routes: Vec<Route>,
    },
    /// These containers.
    Release(Release),
}

/// Why a deployment is undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It failed before it had the traffic.
    Failed(Failure),
    /// It turned unhealthy after it had.
    Regressed(Failure),
    /// An operator cancelled or recovered it.
    Cancelled,
    /// A newer version is waiting.
    Superseded,
}

impl Cause {
    /// How the deployment ends.
    #[must_use]
    pub const fn status(&self) -> DeploymentStatus {
        match self {
            Self::Failed(_) => DeploymentStatus::Failed,
            Self::Regressed(_) => DeploymentStatus::RolledBack,
            Self::Cancelled | Self::Superseded => DeploymentStatus::Cancelled,
        }
    }
}

/// How far the undoing is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoStage {
    /// Traffic goes back. Until that is confirmed it is on `confirmed`.
    Routing {
        /// What has the traffic.
        confirmed: Option<Serving>,
    },
    /// The candidate finishes its requests.
    Draining {
        /// At the latest.
        until: Timestamp,
    },
    /// The candidate is removed.
    Removing,
    /// What served before is started again.
    Restarting,
    /// It must prove again that it can serve.
    Proving {
        /// At the latest.
        until: Timestamp,
    },
    /// The requests that wait are let go to it.
    Releasing {
        /// Why it cannot serve, where that is so: then they are answered 503.
        fault: Option<Failure>,
        /// How often the proxy did not take it.
        tries: u32,
    },
}

/// The app is being taken out of service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retiring {
    last: DeploymentId,
    serving: Option<Serving>,
    stage: RetireStage,
}

/// How far the retirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetireStage {
    /// Its routes are withdrawn.
    Unrouting,
    /// Its requests in flight are finished.
    Draining {
        /// At the latest.
        until: Timestamp,
    },
    /// Its containers are removed.
    Removing,
}
