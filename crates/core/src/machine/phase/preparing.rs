//! The arrows of the command that comes before everything else of a new version. It is run before anything is
//! stopped or started, so that its failure finds the old version untouched.
//!
//! A command is never run twice: whether its container was made is on record before it is started, so that after a
//! crash one that runs is waited for, one that has ended is read, and one that is gone is a failure.

use super::{
    Attempt, Candidate, Cause, Holding, HookStage, Phase, Preparing, RollingBack, Starting, UndoStage,
};
use crate::hooks::Hook;
use crate::machine::release::Release;
use crate::time::Timestamp;
use std::time::Duration;

impl Attempt {
    /// The candidate's turn has come: its command first, if it has one.
    pub(super) fn prepare(self, candidate: Release, now: Timestamp) -> Phase {
        if candidate.plan.hooks.pre_deploy.is_some() {
            return Phase::Preparing(Preparing { attempt: self, candidate, stage: HookStage::Making });
        }
        self.make_room(candidate, now)
    }

    /// The candidate is started, at once or after what may not run beside it has been stopped.
    fn make_room(self, candidate: Release, now: Timestamp) -> Phase {
        match self.ground.excluded_by(&candidate) {
            Some(live) => Phase::Holding(Holding::begin(self, candidate, &live, now)),
            None => Phase::Starting(Starting { attempt: self, candidate }),
        }
    }
}

impl HookStage {
    /// Its container is made: its time begins.
    pub(in crate::machine) fn begin(timeout: Duration, now: Timestamp) -> Self {
        Self::Running { until: now + timeout }
    }

    /// After a restart its time begins anew: its end was reckoned on another controller's clock, and no migration is
    /// cut off because that was set.
    pub(in crate::machine) fn resume(self, timeout: Duration, now: Timestamp) -> Self {
        match self {
            Self::Making => self,
            Self::Running { .. } => Self::begin(timeout, now),
        }
    }
}

impl Preparing {
    fn timeout(&self) -> Duration {
        self.candidate.plan.hooks.timeout(Hook::PreDeploy)
    }

    /// The container is made.
    pub(in crate::machine) fn created(self, now: Timestamp) -> Self {
        Self { stage: HookStage::begin(self.timeout(), now), ..self }
    }

    /// The command has ended well.
    pub(in crate::machine) fn passed(self, now: Timestamp) -> Phase {
        self.attempt.make_room(self.candidate, now)
    }

    /// After a restart.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let stage = self.stage.resume(self.timeout(), now);
        let ground = self.attempt.ground.resume(now);
        Self { attempt: Attempt { ground, ..self.attempt }, stage, ..self }
    }

    /// What serves was not touched: only what the command ran in is removed.
    pub(in crate::machine) fn undo(self, cause: Cause) -> RollingBack {
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Release(self.candidate),
            cause,
            stage: UndoStage::Removing,
            hold: None,
        }
    }

    pub(in crate::machine) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub(in crate::machine) const fn candidate(&self) -> &Release {
        &self.candidate
    }

    pub(in crate::machine) const fn stage(&self) -> HookStage {
        self.stage
    }
}
