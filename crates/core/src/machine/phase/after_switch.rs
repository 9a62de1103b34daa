//! The arrows after the switch: drain, watch, and what becomes of the standby.

use super::{Candidate, Cause, Draining, Ground, RollingBack, Stopping, Taken, UndoStage, Watching};
use crate::machine::event::Failure;
use crate::machine::release::{Release, Serving, Standby, Warmth};
use crate::name::DeploymentId;
use crate::time::Timestamp;

impl Serving {
    /// After a restart: the window ends at most as long from now as windows last. Its end was reckoned on
    /// another controller's clock, which may have been set since.
    pub(in crate::machine) fn resume(mut self, now: Timestamp) -> Self {
        let latest = now + self.live.plan.policy.rollback_window;
        if let Some(Standby { warmth: Warmth::Running { until }, .. }) = &mut self.standby {
            *until = latest.min(*until);
        }
        self
    }

    pub(in crate::machine) fn stop_standby(self) -> Stopping {
        Stopping { serving: self }
    }

    /// The standby takes over, as `Ground`, and what was live is what must go.
    pub(super) fn swapped(self) -> Option<(Self, Release)> {
        let standby = self.standby?;
        Some((Self { deployment: standby.deployment, live: standby.release, standby: None }, self.live))
    }
}

impl Taken {
    /// What the deployment undid.
    pub(in crate::machine) const fn undid(&self) -> Option<DeploymentId> {
        self.undid
    }

    /// What has the traffic, and what had it before.
    pub(in crate::machine) const fn serving(&self) -> &Serving {
        &self.serving
    }

    pub(in crate::machine) const fn watch_until(&self) -> Timestamp {
        self.watch_until
    }

    /// A regression that was recorded and not acted on.
    pub(in crate::machine) const fn regression(&self) -> Option<&Failure> {
        self.regression.as_ref()
    }

    fn resume(mut self, now: Timestamp) -> Self {
        // Nobody watched while the controller was away: the watch begins anew, and the window with it.
        let policy = &self.serving.live.plan.policy;
        self.watch_until = now + policy.watch;
        if let Some(Standby { warmth: Warmth::Running { until }, .. }) = &mut self.serving.standby {
            *until = now + policy.rollback_window;
        }
        self
    }

    /// Traffic goes back to the standby; `None` when there is none.
    fn undo(self, cause: Cause, now: Timestamp) -> Option<RollingBack> {
        let confirmed = Some(self.serving.clone());
        let hold = self.serving.hold_back(now);
        let deployment = self.serving.deployment;
        let (ground, bad) = self.serving.swapped()?;
        Some(RollingBack {
            deployment,
            restores: self.undid,
            ground: Ground::Serving(ground),
            candidate: Candidate::Release(bad),
            cause,
            stage: UndoStage::Routing { confirmed },
            hold,
        })
    }
}

impl Draining {
    pub(in crate::machine) fn drained(self) -> Watching {
        Watching { taken: self.taken }
    }

    /// The drain begins anew: its end was reckoned on another controller's clock, and nobody's request is
    /// closed because that was set.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let until =
            now + self.previous().map(|previous| previous.plan.policy.drain_timeout).unwrap_or_default();
        Self { until, taken: self.taken.resume(now) }
    }

    pub(in crate::machine) const fn until(&self) -> Timestamp {
        self.until
    }

    /// What is drained.
    pub(in crate::machine) fn previous(&self) -> Option<&Release> {
        self.taken.serving.standby.as_ref().map(|standby| &standby.release)
    }
}

impl Watching {
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        Self { taken: self.taken.resume(now) }
    }
}

macro_rules! after_the_switch {
    ($($phase:ident),*) => {$(
        impl $phase {
            pub(in crate::machine) const fn taken(&self) -> &Taken {
                &self.taken
            }

            pub(in crate::machine) fn undo(self, cause: Cause, now: Timestamp) -> Option<RollingBack> {
                self.taken.undo(cause, now)
            }

            pub(in crate::machine) fn with_regression(mut self, failure: Failure) -> Self {
                self.taken.regression = Some(failure);
                self
            }

            /// The deployment is over; what it brought serves on.
            pub(in crate::machine) fn into_serving(self) -> Serving {
                self.taken.serving
            }
        }
    )*};
}
after_the_switch!(Draining, Watching);

impl Stopping {
    pub(in crate::machine) fn stopped(mut self) -> Serving {
        if let Some(standby) = &mut self.serving.standby {
            standby.warmth = Warmth::Stopped;
        }
        self.serving
    }

    pub(in crate::machine) const fn serving(&self) -> &Serving {
        &self.serving
    }
}
