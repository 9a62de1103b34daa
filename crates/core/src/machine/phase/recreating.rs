//! The arrows of a deployment whose old and new version never run side by side: requests wait, what serves is
//! drained and stopped, and on the way back it is started again.

use super::{
    Attempt, Candidate, Cause, Failed, Ground, HoldStage, Holding, RollingBack, Starting, Switching, Taken,
    UndoStage, Watching,
};
use crate::machine::event::Failure;
use crate::machine::release::{Release, Serving, Standby, Warmth};
use crate::routes::Hold;
use crate::spec::DeploymentPolicy;
use crate::time::Timestamp;
use std::time::Duration;

/// How many requests may wait.
const QUEUE: u32 = 1_000;

/// What Docker and the proxy may take besides what the policies allow.
const SLACK: Duration = Duration::from_mins(2);

/// From now until `from` is stopped and `to` has passed its gate.
fn over(from: &Release, to: &Release) -> Duration {
    let (old, new): (&DeploymentPolicy, _) = (&from.plan.policy, &to.plan.policy);
    old.drain_timeout + old.stop_timeout + new.startup_timeout + SLACK
}

/// There and back again.
fn hold(live: &Release, candidate: &Release, now: Timestamp) -> Hold {
    Hold { until: now + over(live, candidate) + over(candidate, live), queue: QUEUE }
}

impl Holding {
    /// The image is here, and what serves may not run beside it.
    pub(super) fn begin(attempt: Attempt, candidate: Release, live: &Release, now: Timestamp) -> Self {
        let hold = hold(live, &candidate, now);
        Self { attempt, candidate, hold, stage: HoldStage::Routing }
    }

    /// The proxy lets requests wait.
    pub(in crate::machine) fn routed(self, now: Timestamp) -> Self {
        let patience = self.live().map(|live| live.plan.policy.drain_timeout).unwrap_or_default();
        Self { stage: HoldStage::Draining { until: now + patience }, ..self }
    }

    pub(in crate::machine) fn drained(self) -> Self {
        Self { stage: HoldStage::Stopping, ..self }
    }

    /// What served has stopped: the slot is the candidate's alone.
    pub(in crate::machine) fn stopped(self) -> Starting {
        let attempt = Attempt { hold: Some(self.hold), ..self.attempt };
        Starting { attempt, candidate: self.candidate }
    }

    /// After a restart: the drain begins anew, and the hold with it.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let ground = self.attempt.ground.resume(now);
        let attempt = Attempt { ground, ..self.attempt };
        let hold = attempt.ground.serving().map_or(self.hold, |live| hold(&live.live, &self.candidate, now));
        let holding = Self { attempt, hold, ..self };
        match holding.stage {
            HoldStage::Draining { .. } => holding.routed(now),
            HoldStage::Routing | HoldStage::Stopping => holding,
        }
    }

    /// What serves was not touched before it was to be stopped: then it is only let in to again.
    pub(in crate::machine) fn undo(self, cause: Cause) -> RollingBack {
        let stage = match self.stage {
            HoldStage::Routing | HoldStage::Draining { .. } => UndoStage::Releasing { fault: None, tries: 0 },
            HoldStage::Stopping => UndoStage::Restarting,
        };
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Nothing { routes: self.candidate.plan.routes },
            cause,
            stage,
            hold: Some(self.hold),
        }
    }

    /// What has the traffic, as far as the proxy has confirmed.
    pub(in crate::machine) const fn serving(&self) -> Option<&Serving> {
        match self.stage {
            HoldStage::Routing => self.attempt.ground.serving(),
            HoldStage::Draining { .. } | HoldStage::Stopping => None,
        }
    }

    /// What is drained and stopped.
    pub(in crate::machine) fn live(&self) -> Option<&Release> {
        self.attempt.ground.serving().map(|serving| &serving.live)
    }

    pub(in crate::machine) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub(in crate::machine) const fn candidate(&self) -> &Release {
        &self.candidate
    }

    pub(in crate::machine) const fn stage(&self) -> HoldStage {
        self.stage
    }

    pub(in crate::machine) const fn hold(&self) -> Hold {
        self.hold
    }
}

impl Attempt {
    /// After a restart: the hold begins anew, as the gate does.
    pub(super) fn resume(mut self, candidate: &Release, now: Timestamp) -> Self {
        if let (Some(held), Some(serving)) = (&mut self.hold, self.ground.serving()) {
            *held = hold(&serving.live, candidate, now);
        }
        self
    }
}

impl Switching {
    /// The proxy has let go who waited: the candidate is live, what was live is stopped already.
    pub(in crate::machine) fn released(self, now: Timestamp) -> Watching {
        let Self { attempt, candidate } = self;
        let watch_until = now + candidate.plan.policy.watch;
        let standby = attempt.ground.serving().cloned().map(|previous| Standby {
            deployment: previous.deployment,
            release: previous.live,
            warmth: Warmth::Stopped,
        });
        let serving = Serving { deployment: attempt.deployment, live: candidate, standby };
        Watching { taken: Taken { serving, undid: attempt.undoes, watch_until, regression: None } }
    }
}

impl RollingBack {
    /// The candidate is gone: what served before is started again.
    pub(in crate::machine) fn restart(self) -> Self {
        Self { stage: UndoStage::Restarting, ..self }
    }

    /// It runs, and must prove itself.
    pub(in crate::machine) fn restarted(self, now: Timestamp) -> Self {
        let patience = self.ground.serving().map(|back| back.live.plan.policy.startup_timeout);
        Self { stage: UndoStage::Proving { until: now + patience.unwrap_or_default() }, ..self }
    }

    /// It can serve.
    pub(in crate::machine) fn proven(self) -> Self {
        Self { stage: UndoStage::Releasing { fault: None, tries: 0 }, ..self }
    }

    /// It cannot, or nobody knows: who waits is not to wait any longer.
    pub(in crate::machine) fn surrender(self, failure: Failure) -> Self {
        let (fault, tries) = match self.stage {
            UndoStage::Releasing { fault: Some(first), tries } => (first, tries + 1),
            UndoStage::Releasing { fault: None, tries } => (failure, tries + 1),
            _ => (failure, 0),
        };
        Self { stage: UndoStage::Releasing { fault: Some(fault), tries }, ..self }
    }

    /// What was to serve again has the route, and does not: it is kept, for want of better.
    pub(in crate::machine) fn surrendered(self, reason: Failure) -> Failed {
        let serving = self.ground.serving().cloned();
        Failed { deployment: self.deployment, serving, reason }
    }

    /// After a restart, of what a way back has besides: the hold, and what must prove itself.
    pub(super) fn resume_recreating(mut self, now: Timestamp) -> Self {
        if let (Some(held), Some(back)) = (&mut self.hold, self.ground.serving()) {
            let from = match &self.candidate {
                Candidate::Release(release) => release,
                Candidate::Nothing { .. } => &back.live,
            };
            held.until = now + over(from, &back.live);
        }
        match self.stage {
            UndoStage::Proving { .. } => self.restarted(now),
            _ => self,
        }
    }

    /// Requests wait for what is to serve again.
    pub(in crate::machine) const fn hold(&self) -> Option<Hold> {
        match self.stage {
            UndoStage::Releasing { .. } => None,
            _ => self.hold,
        }
    }

    /// Whether what is to serve again has to be started again first.
    pub(in crate::machine) const fn recreates(&self) -> bool {
        self.hold.is_some()
    }
}

impl Serving {
    /// For how long requests wait when the standby has to be started again.
    pub(super) fn hold_back(&self, now: Timestamp) -> Option<Hold> {
        let standby = self.standby.as_ref().filter(|_| self.recreates())?;
        Some(Hold { until: now + over(&self.live, &standby.release), queue: QUEUE })
    }
}

impl Ground {
    /// What may not run beside `candidate`.
    pub(super) fn excluded_by(&self, candidate: &Release) -> Option<Release> {
        self.serving().map(|serving| &serving.live).filter(|live| candidate.excludes(live)).cloned()
    }
}
