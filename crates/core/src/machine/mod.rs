//! The machine of one app: a typed blue-green state machine that decides and does nothing.
//!
//! [`Machine::step`] gives a [`Transition`] or a [`Refusal`] and changes nothing; the next state is
//! in force only after a commit ([`Transition::committed`]). [`Machine::owed`] says what the world
//! still owes the state: the persisted state is the to-do list.

#![allow(clippy::large_enum_variant, reason = "an app has one phase at a time: its size does not matter")]

mod access;
mod event;
mod owed;
mod phase;
mod refusal;
mod release;
mod replay;
mod stage;
mod step;
mod transition;

pub use access::{Access, LONGEST_PAUSE};
pub use event::{Event, Failure, Fallback, Observation, Order, OrderReason, OrderTarget};
pub use owed::{Alarm, AlarmKind, Effect, Owed, RouteIntent, Upkeep, Watch};
pub use phase::{
    Attempt, Candidate, Cause, Failed, Ground, Healing, HoldStage, Phase, RetireStage, Tried, UndoStage,
};
pub use refusal::Refusal;
pub use release::{Plan, Release, Serving, Standby, Warmth};
pub use replay::Replay;
pub use stage::Stage;
pub use transition::{ReplayError, Transition};

use crate::name::{AppName, Color, ConfigId, DeploymentId, Version};
use crate::routes::Gate;
use serde::{Deserialize, Serialize};

/// The state of one app: what is decided about it, and thereby what is owed to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    app: AppName,
    version: Version,
    /// The newest config that a deployment was begun for, or that was retired with the app: what an edit is
    /// compared with.
    considered: Option<ConfigId>,
    #[serde(default, skip_serializing_if = "Access::is_open")]
    access: Access,
    phase: Phase,
}

/// What an edit or an order meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A deployment can begin at once.
    Ready,
    /// A deployment is in flight that a newer version supersedes.
    Superseding,
    /// Something is in flight that has to end first.
    Busy,
}

impl Machine {
    /// An app that nothing is known of yet. It has no row until its first transition is committed.
    #[must_use]
    pub const fn new(app: AppName) -> Self {
        Self {
            app,
            version: Version(0),
            considered: None,
            access: Access::Open,
            phase: Phase::Settled(Ground::Pending(None)),
        }
    }

    /// Whose machine it is.
    #[must_use]
    pub const fn app(&self) -> &AppName {
        &self.app
    }

    /// How many transitions it has made.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The newest config that a deployment was begun for, or that was retired with the app.
    #[must_use]
    pub const fn considered(&self) -> Option<ConfigId> {
        self.considered
    }

    /// The state's name, as in `current_state.status`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        self.phase.name()
    }

    /// Whether requests were to wait, since what served before was to be stopped: nothing may have the traffic.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.phase.holds()
    }

    /// Whether its route is to be what cannot serve, so that nobody waits for it any longer.
    #[must_use]
    pub const fn has_surrendered(&self) -> bool {
        match &self.phase {
            Phase::RollingBack(undoing) => {
                matches!(undoing.stage(), UndoStage::Releasing { fault: Some(_), .. })
            }
            _ => false,
        }
    }

    /// What is owed to it.
    #[must_use]
    pub fn owed(&self) -> Owed {
        self.phase.owed().and_paused(&self.access)
    }

    /// Whether new requests pass, as an operator has ordered.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The gate that the proxy is to hold for it: by order of an operator, or of the phase.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.access.gate(self.route().hold)
    }

    /// Where its traffic comes in and goes: the route table is made of nothing else.
    #[must_use]
    pub fn route(&self) -> RouteIntent<'_> {
        self.phase.route()
    }

    /// The route that the proxy confirmed before the one that the phase wants; `None`: there is none.
    pub(crate) fn confirmed_route(&self) -> Option<RouteIntent<'_>> {
        self.phase.confirmed_route()
    }

    /// What must be so as long as the phase lasts.
    #[must_use]
    pub fn upkeep(&self) -> Upkeep {
        self.phase.upkeep()
    }

    /// The release that serves while nothing is on its way anywhere: a container of it that begins a new life gets
    /// traffic once that one has proven itself. What is given up is guarded all along, until it is healed again.
    #[must_use]
    pub fn guarded(&self) -> Option<Release> {
        self.upkeep().live.or_else(|| self.given_up().cloned())
    }

    /// What has the traffic, ended too often, and is not healed any more.
    #[must_use]
    pub fn given_up(&self) -> Option<&Release> {
        match &self.phase {
            Phase::RollingBack(undoing) => undoing.ground().given_up(),
            phase => phase.ground().and_then(Ground::given_up),
        }
    }

    /// What has the traffic, as far as the proxy has confirmed.
    #[must_use]
    pub fn serving(&self) -> Option<&Serving> {
        self.phase.serving()
    }

    /// The deployment in flight.
    #[must_use]
    pub fn in_flight(&self) -> Option<DeploymentId> {
        self.phase.in_flight()
    }

    /// What the deployment that has just taken the traffic undid.
    #[must_use]
    pub const fn undid(&self) -> Option<DeploymentId> {
        match &self.phase {
            Phase::Draining(draining) => draining.taken().undid(),
            Phase::Watching(watching) => watching.taken().undid(),
            _ => None,
        }
    }

    /// The deployment in flight, else the one that serves, else the last one.
    #[must_use]
    pub fn deployment(&self) -> Option<DeploymentId> {
        self.phase.deployment()
    }

    /// The color that the phase is about.
    #[must_use]
    pub fn color(&self) -> Option<Color> {
        self.phase.color()
    }

    /// What an edit meets.
    #[must_use]
    pub const fn readiness(&self) -> Readiness {
        match &self.phase {
            Phase::Settled(_) => Readiness::Ready,
            Phase::Pulling(_)
            | Phase::Holding(_)
            | Phase::Starting(_)
            | Phase::HealthCheck(_)
            | Phase::AwaitingPromotion(_) => Readiness::Superseding,
            Phase::Switching(_)
            | Phase::Draining(_)
            | Phase::Watching(_)
            | Phase::Stopping(_)
            | Phase::RollingBack(_)
            | Phase::Retiring(_) => Readiness::Busy,
        }
    }

    /// Every release that the state still has a use for: containers of others are debris.
    #[must_use]
    pub fn releases(&self) -> Vec<&Release> {
        self.phase.releases()
    }
}

impl Phase {
    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Settled(Ground::Pending(_)) => "pending",
            Self::Settled(Ground::Serving(_)) => "stable",
            Self::Settled(Ground::Failed(_)) => "failed",
            Self::Settled(Ground::Retired { .. }) => "retired",
            Self::Pulling(_) => "pulling",
            Self::Holding(_) => "holding",
            Self::Starting(_) => "starting",
            Self::HealthCheck(_) => "health_check",
            Self::AwaitingPromotion(_) => "awaiting_promotion",
            Self::Switching(_) => "switching",
            Self::Draining(_) => "draining",
            Self::Watching(_) => "watching",
            Self::Stopping(_) => "stopping",
            Self::RollingBack(_) => "rolling_back",
            Self::Retiring(retiring) => match retiring.stage() {
                RetireStage::Unrouting | RetireStage::Draining { .. } => "draining",
                RetireStage::Removing => "stopping",
            },
        }
    }

    fn ground(&self) -> Option<&Ground> {
        match self {
            Self::Settled(ground) => Some(ground),
            Self::Pulling(pulling) => Some(&pulling.request().0.ground),
            Self::Holding(holding) => Some(&holding.attempt().ground),
            Self::Starting(starting) => Some(&starting.attempt().ground),
            Self::HealthCheck(gate) => Some(&gate.attempt().ground),
            Self::AwaitingPromotion(waiting) => Some(&waiting.attempt().ground),
            Self::Switching(switching) => Some(&switching.attempt().ground),
            Self::RollingBack(_)
            | Self::Draining(_)
            | Self::Watching(_)
            | Self::Stopping(_)
            | Self::Retiring(_) => None,
        }
    }

    /// Whether requests were to wait since what served before was to be stopped.
    fn holds(&self) -> bool {
        match self {
            Self::Holding(_) => true,
            Self::Starting(starting) => starting.attempt().hold.is_some(),
            Self::HealthCheck(gate) => gate.attempt().hold.is_some(),
            Self::Switching(switching) => switching.attempt().hold.is_some(),
            Self::RollingBack(undoing) => undoing.recreates(),
            Self::Settled(_)
            | Self::Pulling(_)
            | Self::AwaitingPromotion(_)
            | Self::Draining(_)
            | Self::Watching(_)
            | Self::Stopping(_)
            | Self::Retiring(_) => false,
        }
    }

    fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Draining(draining) => Some(draining.taken().serving()),
            Self::Watching(watching) => Some(watching.taken().serving()),
            Self::Stopping(stopping) => Some(stopping.serving()),
            Self::RollingBack(undoing) => undoing.confirmed(),
            Self::Retiring(retiring) => match retiring.stage() {
                RetireStage::Unrouting => retiring.serving(),
                RetireStage::Draining { .. } | RetireStage::Removing => None,
            },
            Self::Holding(holding) => holding.serving(),
            // Nothing has it while requests wait.
            _ if self.holds() => None,
            Self::Settled(_)
            | Self::Pulling(_)
            | Self::Starting(_)
            | Self::HealthCheck(_)
            | Self::AwaitingPromotion(_)
            | Self::Switching(_) => self.ground().and_then(Ground::serving),
        }
    }

    fn in_flight(&self) -> Option<DeploymentId> {
        match self {
            Self::Settled(_) | Self::Stopping(_) | Self::Retiring(_) => None,
            Self::Pulling(pulling) => Some(pulling.request().0.deployment),
            Self::Holding(holding) => Some(holding.attempt().deployment),
            Self::Starting(starting) => Some(starting.attempt().deployment),
            Self::HealthCheck(gate) => Some(gate.attempt().deployment),
            Self::AwaitingPromotion(waiting) => Some(waiting.attempt().deployment),
            Self::Switching(switching) => Some(switching.attempt().deployment),
            Self::Draining(draining) => Some(draining.taken().serving().deployment),
            Self::Watching(watching) => Some(watching.taken().serving().deployment),
            Self::RollingBack(undoing) => Some(undoing.deployment()),
        }
    }

    fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Settled(ground) => ground.deployment(),
            Self::Stopping(stopping) => Some(stopping.serving().deployment),
            Self::Retiring(retiring) => Some(retiring.last()),
            Self::Pulling(_)
            | Self::Holding(_)
            | Self::Starting(_)
            | Self::HealthCheck(_)
            | Self::AwaitingPromotion(_)
            | Self::Switching(_)
            | Self::Draining(_)
            | Self::Watching(_)
            | Self::RollingBack(_) => self.in_flight(),
        }
    }

    fn releases(&self) -> Vec<&Release> {
        let candidate = match self {
            Self::Holding(holding) => Some(holding.candidate()),
            Self::Starting(starting) => Some(starting.candidate()),
            Self::HealthCheck(gate) => Some(gate.candidate()),
            Self::AwaitingPromotion(waiting) => Some(waiting.candidate()),
            Self::Switching(switching) => Some(switching.candidate()),
            Self::RollingBack(undoing) => match undoing.candidate() {
                Candidate::Release(release) => Some(release),
                Candidate::Nothing { .. } => None,
            },
            Self::Settled(_)
            | Self::Pulling(_)
            | Self::Draining(_)
            | Self::Watching(_)
            | Self::Stopping(_)
            | Self::Retiring(_) => None,
        };
        let grounds = match self {
            Self::RollingBack(undoing) => undoing.ground().serving(),
            Self::Retiring(retiring) => retiring.serving(),
            Self::Settled(_)
            | Self::Pulling(_)
            | Self::Holding(_)
            | Self::Starting(_)
            | Self::HealthCheck(_)
            | Self::AwaitingPromotion(_)
            | Self::Switching(_) => self.ground().and_then(Ground::serving),
            Self::Draining(_) | Self::Watching(_) | Self::Stopping(_) => self.serving(),
        };
        let mut releases: Vec<&Release> = candidate.into_iter().collect();
        if let Some(serving) = grounds {
            releases.push(&serving.live);
            releases.extend(serving.standby.as_ref().map(|standby| &standby.release));
        }
        releases
    }
}
