//! The arrows up to the switch: from the ground to a confirmed route.

use super::{
    Attempt, AwaitingPromotion, Candidate, Cause, Draining, Ground, HealthCheck, Holding, Phase, Pulling,
    Readiness, RollingBack, Starting, Switching, Taken, UndoStage,
};
use crate::machine::release::{Plan, Release, Serving, Standby, Warmth};
use crate::name::{Color, DeploymentId, ImageId};
use crate::ports::Image;
use crate::spec::Promotion;
use crate::time::Timestamp;

impl Ground {
    /// A deployment from a config begins.
    pub(in crate::machine) fn pull(
        self,
        deployment: DeploymentId,
        undoes: Option<DeploymentId>,
        plan: Plan,
        pinned: Option<ImageId>,
    ) -> Pulling {
        let color = self.free_color();
        Pulling { attempt: Attempt { deployment, undoes, ground: self, hold: None }, color, plan, pinned }
    }

    /// A deployment of the standby that still runs begins, at the gate.
    pub(in crate::machine) fn rewarm(
        mut self,
        deployment: DeploymentId,
        undoes: Option<DeploymentId>,
        now: Timestamp,
    ) -> Option<HealthCheck> {
        self.serving()?.warm_standby()?;
        let candidate = self.take_standby()?.release;
        let until = now + candidate.plan.policy.startup_timeout;
        let attempt = Attempt { deployment, undoes, ground: self, hold: None };
        Some(HealthCheck { attempt, candidate, until })
    }
}

impl Pulling {
    pub(in crate::machine) fn resume(mut self, now: Timestamp) -> Self {
        self.attempt.ground = self.attempt.ground.resume(now);
        self
    }

    /// The candidate can be started, at once or after what serves has been stopped.
    pub(in crate::machine) fn image_ready(self, image: Image, now: Timestamp) -> Phase {
        let Self { mut attempt, color, plan, pinned: _ } = self;
        // Its slot is needed now.
        attempt.ground.take_standby();
        let candidate = Release { origin: attempt.deployment, color, image_id: image.id, plan };
        match attempt.ground.excluded_by(&candidate) {
            // A rollback does not wait for a promotion: somebody has just asked for it.
            Some(_) if candidate.plan.policy.promotion == Promotion::Manual && attempt.undoes.is_none() => {
                let readiness = Readiness::Pulled;
                Phase::AwaitingPromotion(AwaitingPromotion { attempt, candidate, readiness })
            }
            Some(live) => Phase::Holding(Holding::begin(attempt, candidate, &live, now)),
            None => Phase::Starting(Starting { attempt, candidate }),
        }
    }

    pub(in crate::machine) fn undo(self, cause: Cause) -> RollingBack {
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Nothing { routes: self.plan.routes },
            cause,
            stage: UndoStage::Removing,
            hold: None,
        }
    }

    pub(in crate::machine) fn request(&self) -> (&Attempt, Color, &Plan, Option<&ImageId>) {
        (&self.attempt, self.color, &self.plan, self.pinned.as_ref())
    }
}

impl Starting {
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        Self { attempt: self.attempt.resume(now), ..self }
    }

    pub(in crate::machine) fn started(self, now: Timestamp) -> HealthCheck {
        let until = now + self.candidate.plan.policy.startup_timeout;
        HealthCheck { attempt: self.attempt, candidate: self.candidate, until }
    }
}

impl HealthCheck {
    pub(in crate::machine) fn await_promotion(self) -> AwaitingPromotion {
        let readiness = Readiness::Proven;
        AwaitingPromotion { attempt: self.attempt, candidate: self.candidate, readiness }
    }

    pub(in crate::machine) fn switch(self) -> Switching {
        Switching { attempt: self.attempt, candidate: self.candidate }
    }

    /// The gate begins anew: nobody probed while the controller was away.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let until = now + self.candidate.plan.policy.startup_timeout;
        Self { until, attempt: self.attempt.resume(now), ..self }
    }

    pub(in crate::machine) const fn until(&self) -> Timestamp {
        self.until
    }
}

impl AwaitingPromotion {
    pub(in crate::machine) fn promoted(self, now: Timestamp) -> Phase {
        match (self.readiness, self.attempt.ground.excluded_by(&self.candidate)) {
            (Readiness::Pulled, Some(live)) => {
                Phase::Holding(Holding::begin(self.attempt, self.candidate, &live, now))
            }
            (Readiness::Pulled, None) => {
                Phase::Starting(Starting { attempt: self.attempt, candidate: self.candidate })
            }
            (Readiness::Proven, _) => {
                Phase::Switching(Switching { attempt: self.attempt, candidate: self.candidate })
            }
        }
    }

    /// What runs and waits.
    pub(in crate::machine) fn running(&self) -> Option<&Release> {
        self.readiness.is_proven().then_some(&self.candidate)
    }
}

macro_rules! before_the_switch {
    ($($phase:ident),*) => {$(
        impl $phase {
            pub(in crate::machine) fn undo(self, cause: Cause) -> RollingBack {
                RollingBack::before_the_switch(self.attempt, self.candidate, cause)
            }

            pub(in crate::machine) const fn attempt(&self) -> &Attempt {
                &self.attempt
            }

            pub(in crate::machine) const fn candidate(&self) -> &Release {
                &self.candidate
            }
        }
    )*};
}
before_the_switch!(Starting, HealthCheck, AwaitingPromotion);

impl Switching {
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        Self { attempt: self.attempt.resume(now), ..self }
    }

    /// The proxy has confirmed: the candidate is live, what was live is its standby.
    pub(in crate::machine) fn switched(self, now: Timestamp) -> Draining {
        let Self { attempt, candidate } = self;
        let policy = &candidate.plan.policy;
        let window_until = now + policy.rollback_window;
        let watch_until = now + policy.watch;
        let standby = attempt.ground.serving().cloned().map(|previous| Standby {
            deployment: previous.deployment,
            release: previous.live,
            warmth: Warmth::Running { until: window_until },
        });
        let until =
            now + standby.as_ref().map_or(policy, |standby| &standby.release.plan.policy).drain_timeout;
        let serving = Serving { deployment: attempt.deployment, live: candidate, standby };
        Draining { taken: Taken { serving, undid: attempt.undoes, watch_until, regression: None }, until }
    }

    /// Whether the route moved is not known: it is put back first.
    pub(in crate::machine) fn undo(self, cause: Cause) -> RollingBack {
        let confirmed = self.attempt.serving().cloned();
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Release(self.candidate),
            cause,
            stage: UndoStage::Routing { confirmed },
            hold: self.attempt.hold,
        }
    }

    pub(in crate::machine) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub(in crate::machine) const fn candidate(&self) -> &Release {
        &self.candidate
    }
}
