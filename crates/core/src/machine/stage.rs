//! The stages of an app's life, by name: the phases, and of those that go through several stages each one.
//! What a test has to come through to have come through everything.

use super::Machine;
use super::phase::{Ground, HoldStage, Phase, RetireStage, UndoStage};

/// Where an app stands, without any of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the phase, or the stage of a phase, of the same name")]
pub enum Stage {
    Pending,
    Stable,
    Failed,
    Retired,
    Pulling,
    HoldingRouting,
    HoldingDraining,
    HoldingStopping,
    Starting,
    HealthCheck,
    AwaitingPromotion,
    Switching,
    Draining,
    Watching,
    Stopping,
    RollingBackRouting,
    RollingBackDraining,
    RollingBackRemoving,
    RollingBackRestarting,
    RollingBackProving,
    RollingBackReleasing,
    RetiringUnrouting,
    RetiringDraining,
    RetiringRemoving,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Pending,
        Self::Stable,
        Self::Failed,
        Self::Retired,
        Self::Pulling,
        Self::HoldingRouting,
        Self::HoldingDraining,
        Self::HoldingStopping,
        Self::Starting,
        Self::HealthCheck,
        Self::AwaitingPromotion,
        Self::Switching,
        Self::Draining,
        Self::Watching,
        Self::Stopping,
        Self::RollingBackRouting,
        Self::RollingBackDraining,
        Self::RollingBackRemoving,
        Self::RollingBackRestarting,
        Self::RollingBackProving,
        Self::RollingBackReleasing,
        Self::RetiringUnrouting,
        Self::RetiringDraining,
        Self::RetiringRemoving,
    ];

    /// Its name: the state's, as in `current_state.status`, and where that has several stages, which.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Stable => "stable",
            Self::Failed => "failed",
            Self::Retired => "retired",
            Self::Pulling => "pulling",
            Self::HoldingRouting => "holding_routing",
            Self::HoldingDraining => "holding_draining",
            Self::HoldingStopping => "holding_stopping",
            Self::Starting => "starting",
            Self::HealthCheck => "health_check",
            Self::AwaitingPromotion => "awaiting_promotion",
            Self::Switching => "switching",
            Self::Draining => "draining",
            Self::Watching => "watching",
            Self::Stopping => "stopping",
            Self::RollingBackRouting => "rolling_back_routing",
            Self::RollingBackDraining => "rolling_back_draining",
            Self::RollingBackRemoving => "rolling_back_removing",
            Self::RollingBackRestarting => "rolling_back_restarting",
            Self::RollingBackProving => "rolling_back_proving",
            Self::RollingBackReleasing => "rolling_back_releasing",
            Self::RetiringUnrouting => "retiring_unrouting",
            Self::RetiringDraining => "retiring_draining",
            Self::RetiringRemoving => "retiring_removing",
        }
    }
}

impl Machine {
    /// Where the app stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Settled(Ground::Pending(_)) => Stage::Pending,
            Phase::Settled(Ground::Serving(_)) => Stage::Stable,
            Phase::Settled(Ground::Failed(_)) => Stage::Failed,
            Phase::Settled(Ground::Retired { .. }) => Stage::Retired,
            Phase::Pulling(_) => Stage::Pulling,
            Phase::Holding(holding) => match holding.stage() {
                HoldStage::Routing => Stage::HoldingRouting,
                HoldStage::Draining { .. } => Stage::HoldingDraining,
                HoldStage::Stopping => Stage::HoldingStopping,
            },
            Phase::Starting(_) => Stage::Starting,
            Phase::HealthCheck(_) => Stage::HealthCheck,
            Phase::AwaitingPromotion(_) => Stage::AwaitingPromotion,
            Phase::Switching(_) => Stage::Switching,
            Phase::Draining(_) => Stage::Draining,
            Phase::Watching(_) => Stage::Watching,
            Phase::Stopping(_) => Stage::Stopping,
            Phase::RollingBack(undoing) => match undoing.stage() {
                UndoStage::Routing { .. } => Stage::RollingBackRouting,
                UndoStage::Draining { .. } => Stage::RollingBackDraining,
                UndoStage::Removing => Stage::RollingBackRemoving,
                UndoStage::Restarting => Stage::RollingBackRestarting,
                UndoStage::Proving { .. } => Stage::RollingBackProving,
                UndoStage::Releasing { .. } => Stage::RollingBackReleasing,
            },
            Phase::Retiring(retiring) => match retiring.stage() {
                RetireStage::Unrouting => Stage::RetiringUnrouting,
                RetireStage::Draining { .. } => Stage::RetiringDraining,
                RetireStage::Removing => Stage::RetiringRemoving,
            },
        }
    }
}
