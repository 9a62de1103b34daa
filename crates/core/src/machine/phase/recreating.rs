//! The arrows of a deployment whose old and new version never run side by side: requests wait, what serves is
//! drained and stopped, and on the way back it is started again.

use super::{
    Attempt, Candidate, Cause, Failed, Ground, Healing, HoldStage, Holding, RollingBack, Starting, Switching,
    Taken, UndoStage, Watching,
};
use crate::machine::event::Failure;
use crate::machine::owed::RouteIntent;
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
    Hold::begin(over(live, candidate) + over(candidate, live), QUEUE, now)
}

/// After a restart it lasts no longer than it was to. One that is over has let go who waited, and is needed still.
fn resumed(hold: Hold, now: Timestamp) -> Hold {
    if hold.until > now { hold.resume(now) } else { Hold::begin(hold.limit, hold.queue, now) }
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

    /// After a restart: the drain begins anew.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let ground = self.attempt.ground.resume(now);
        let attempt = Attempt { ground, ..self.attempt };
        let holding = Self { attempt, hold: resumed(self.hold, now), ..self };
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
            HoldStage::Routing | HoldStage::Draining { .. } => self.attempt.ground.serving(),
            HoldStage::Stopping => None,
        }
    }

    /// Requests wait. As long as what serves is not being stopped it is where they go at the hold's end.
    pub(in crate::machine) fn route(&self) -> RouteIntent<'_> {
        match self.stage {
            HoldStage::Routing | HoldStage::Draining { .. } => {
                RouteIntent { hold: Some(self.hold), ..self.attempt.ground.route(&[]) }
            }
            HoldStage::Stopping => self.attempt.ground.held(self.hold),
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
}

impl Attempt {
    /// After a restart.
    pub(super) fn resume(self, now: Timestamp) -> Self {
        Self { hold: self.hold.map(|hold| resumed(hold, now)), ..self }
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
        // Also what was given up: it has the traffic again, and is looked after.
        Self {
            stage: UndoStage::Releasing { fault: None, tries: 0 },
            ground: self.ground.looked_after(),
            ..self
        }
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
        Failed { deployment: self.deployment, serving, reason, healing: Healing::GoesOn }
    }

    /// After a restart, of what a way back has besides: the hold, and what must prove itself.
    pub(super) fn resume_recreating(self, now: Timestamp) -> Self {
        let undoing = Self { hold: self.hold.map(|hold| resumed(hold, now)), ..self };
        match undoing.stage {
            UndoStage::Proving { .. } => undoing.restarted(now),
            _ => undoing,
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
        Some(Hold::begin(over(&self.live, &standby.release), QUEUE, now))
    }
}

impl Ground {
    /// What may not run beside `candidate`.
    pub(super) fn excluded_by(&self, candidate: &Release) -> Option<Release> {
        self.serving().map(|serving| &serving.live).filter(|live| candidate.excludes(live)).cloned()
    }
}
