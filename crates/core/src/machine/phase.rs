//! The phases, each with the data that only it has. A phase is made from its predecessor, by
//! value, in this file alone: a skipped step does not compile.

use super::event::Failure;
use super::release::{Plan, Release, Serving, Standby, Warmth};
use crate::name::{Color, DeploymentId, ImageId};
use crate::ports::Image;
use crate::records::DeploymentStatus;
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
    /// The candidate's containers are being started.
    Starting(Starting),
    /// The candidate is at its gate.
    HealthCheck(HealthCheck),
    /// The candidate is healthy and waits for an operator.
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
}

/// The image is being fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pulling {
    attempt: Attempt,
    color: Color,
    plan: Plan,
    pinned: Option<ImageId>,
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

/// The candidate is healthy and waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AwaitingPromotion {
    attempt: Attempt,
    candidate: Release,
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

// ------------------------------------------------------------ arrows, each by value

impl Ground {
    /// A deployment from a config begins.
    pub(super) fn pull(
        self,
        deployment: DeploymentId,
        undoes: Option<DeploymentId>,
        plan: Plan,
        pinned: Option<ImageId>,
    ) -> Pulling {
        let color = self.free_color();
        Pulling { attempt: Attempt { deployment, undoes, ground: self }, color, plan, pinned }
    }

    /// A deployment of the standby that still runs begins, at the gate.
    pub(super) fn rewarm(
        mut self,
        deployment: DeploymentId,
        undoes: Option<DeploymentId>,
        now: Timestamp,
    ) -> Option<HealthCheck> {
        self.serving()?.warm_standby()?;
        let candidate = self.take_standby()?.release;
        let until = now + candidate.plan.policy.startup_timeout;
        Some(HealthCheck { attempt: Attempt { deployment, undoes, ground: self }, candidate, until })
    }

    pub(super) fn retire(self) -> Option<Retiring> {
        let last = self.deployment()?;
        let serving = self.serving().cloned();
        Some(Retiring { last, serving, stage: RetireStage::Unrouting })
    }
}

impl Serving {
    pub(super) fn stop_standby(self) -> Stopping {
        Stopping { serving: self }
    }

    /// The standby takes over, as `Ground`, and what was live is what must go.
    fn swapped(self) -> Option<(Self, Release)> {
        let standby = self.standby?;
        Some((Self { deployment: standby.deployment, live: standby.release, standby: None }, self.live))
    }
}

impl Pulling {
    pub(super) fn image_ready(self, image: Image) -> Starting {
        let Self { mut attempt, color, plan, pinned: _ } = self;
        // Its slot is needed now.
        attempt.ground.take_standby();
        let candidate = Release { origin: attempt.deployment, color, image_id: image.id, plan };
        Starting { attempt, candidate }
    }

    pub(super) fn undo(self, cause: Cause) -> RollingBack {
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Nothing { routes: self.plan.routes },
            cause,
            stage: UndoStage::Removing,
        }
    }

    pub(super) fn request(&self) -> (&Attempt, Color, &Plan, Option<&ImageId>) {
        (&self.attempt, self.color, &self.plan, self.pinned.as_ref())
    }
}

impl Starting {
    pub(super) fn started(self, now: Timestamp) -> HealthCheck {
        let until = now + self.candidate.plan.policy.startup_timeout;
        HealthCheck { attempt: self.attempt, candidate: self.candidate, until }
    }
}

impl HealthCheck {
    pub(super) fn await_promotion(self) -> AwaitingPromotion {
        AwaitingPromotion { attempt: self.attempt, candidate: self.candidate }
    }

    pub(super) fn switch(self) -> Switching {
        Switching { attempt: self.attempt, candidate: self.candidate }
    }

    /// The gate begins anew: nobody probed while the controller was away.
    pub(super) fn resume(self, now: Timestamp) -> Self {
        let until = now + self.candidate.plan.policy.startup_timeout;
        Self { until, ..self }
    }

    pub(super) const fn until(&self) -> Timestamp {
        self.until
    }
}

impl AwaitingPromotion {
    pub(super) fn promoted(self) -> Switching {
        Switching { attempt: self.attempt, candidate: self.candidate }
    }
}

macro_rules! before_the_switch {
    ($($phase:ident),*) => {$(
        impl $phase {
            pub(super) fn undo(self, cause: Cause) -> RollingBack {
                RollingBack::before_the_switch(self.attempt, self.candidate, cause)
            }

            pub(super) const fn attempt(&self) -> &Attempt {
                &self.attempt
            }

            pub(super) const fn candidate(&self) -> &Release {
                &self.candidate
            }
        }
    )*};
}
before_the_switch!(Starting, HealthCheck, AwaitingPromotion);

impl Switching {
    /// The proxy has confirmed: the candidate is live, what was live is its standby.
    pub(super) fn switched(self, now: Timestamp) -> Draining {
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
    pub(super) fn undo(self, cause: Cause) -> RollingBack {
        let confirmed = self.attempt.ground.serving().cloned();
        RollingBack {
            deployment: self.attempt.deployment,
            restores: None,
            ground: self.attempt.ground,
            candidate: Candidate::Release(self.candidate),
            cause,
            stage: UndoStage::Routing { confirmed },
        }
    }

    pub(super) const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    pub(super) const fn candidate(&self) -> &Release {
        &self.candidate
    }
}

impl Taken {
    /// What has the traffic, and what had it before.
    pub(super) const fn serving(&self) -> &Serving {
        &self.serving
    }

    pub(super) const fn watch_until(&self) -> Timestamp {
        self.watch_until
    }

    /// A regression that was recorded and not acted on.
    pub(super) const fn regression(&self) -> Option<&Failure> {
        self.regression.as_ref()
    }

    fn resume(self, now: Timestamp) -> Self {
        // Nobody watched while the controller was away: the watch begins anew.
        let watch_until = now + self.serving.live.plan.policy.watch;
        Self { watch_until, ..self }
    }

    /// Traffic goes back to the standby; `None` when there is none.
    fn undo(self, cause: Cause) -> Option<RollingBack> {
        let confirmed = Some(self.serving.clone());
        let deployment = self.serving.deployment;
        let (ground, bad) = self.serving.swapped()?;
        Some(RollingBack {
            deployment,
            restores: self.undid,
            ground: Ground::Serving(ground),
            candidate: Candidate::Release(bad),
            cause,
            stage: UndoStage::Routing { confirmed },
        })
    }
}

impl Draining {
    pub(super) fn drained(self) -> Watching {
        Watching { taken: self.taken }
    }

    pub(super) fn resume(self, now: Timestamp) -> Self {
        let longest = self.previous().map_or(self.until, |previous| now + previous.plan.policy.drain_timeout);
        Self { until: self.until.min(longest), taken: self.taken.resume(now) }
    }

    pub(super) const fn until(&self) -> Timestamp {
        self.until
    }

    /// What is drained.
    pub(super) fn previous(&self) -> Option<&Release> {
        self.taken.serving.standby.as_ref().map(|standby| &standby.release)
    }
}

impl Watching {
    pub(super) fn resume(self, now: Timestamp) -> Self {
        Self { taken: self.taken.resume(now) }
    }
}

macro_rules! after_the_switch {
    ($($phase:ident),*) => {$(
        impl $phase {
            pub(super) const fn taken(&self) -> &Taken {
                &self.taken
            }

            pub(super) fn undo(self, cause: Cause) -> Option<RollingBack> {
                self.taken.undo(cause)
            }

            pub(super) fn with_regression(mut self, failure: Failure) -> Self {
                self.taken.regression = Some(failure);
                self
            }

            /// The deployment is over; what it brought serves on.
            pub(super) fn into_serving(self) -> Serving {
                self.taken.serving
            }
        }
    )*};
}
after_the_switch!(Draining, Watching);

impl Stopping {
    pub(super) fn stopped(mut self) -> Serving {
        if let Some(standby) = &mut self.serving.standby {
            standby.warmth = Warmth::Stopped;
        }
        self.serving
    }

    pub(super) const fn serving(&self) -> &Serving {
        &self.serving
    }
}

impl RollingBack {
    /// The candidate had not been switched to. Containers of this deployment never had traffic: they
    /// are only removed. A standby that was to serve again may still have requests, and after a
    /// rollback that failed even the route: it goes the whole way back.
    fn before_the_switch(attempt: Attempt, candidate: Release, cause: Cause) -> Self {
        let stage = if candidate.origin == attempt.deployment {
            UndoStage::Removing
        } else {
            UndoStage::Routing { confirmed: attempt.ground.serving().cloned() }
        };
        Self {
            deployment: attempt.deployment,
            restores: None,
            ground: attempt.ground,
            candidate: Candidate::Release(candidate),
            cause,
            stage,
        }
    }

    pub(super) fn routed(self, now: Timestamp) -> Self {
        let until = now
            + match &self.candidate {
                Candidate::Release(release) => release.plan.policy.drain_timeout,
                Candidate::Nothing { .. } => std::time::Duration::ZERO,
            };
        Self { stage: UndoStage::Draining { until }, ..self }
    }

    pub(super) fn drained(self) -> Self {
        Self { stage: UndoStage::Removing, ..self }
    }

    /// Nothing is left of it: back to the ground, which remembers what was tried when it never
    /// served.
    pub(super) fn complete(self) -> Ground {
        let routes = match self.candidate {
            Candidate::Nothing { routes } => routes,
            Candidate::Release(release) => release.plan.routes,
        };
        match self.ground {
            Ground::Pending(_) => Ground::Pending(Some(Tried { deployment: self.deployment, routes })),
            ground @ (Ground::Serving(_) | Ground::Failed(_) | Ground::Retired { .. }) => ground,
        }
    }

    pub(super) fn fail(self, reason: Failure) -> Failed {
        let serving = self.confirmed().cloned();
        Failed { deployment: self.deployment, serving, reason }
    }

    /// What has the traffic, as far as the proxy has confirmed.
    pub(super) const fn confirmed(&self) -> Option<&Serving> {
        match &self.stage {
            UndoStage::Routing { confirmed } => confirmed.as_ref(),
            UndoStage::Draining { .. } | UndoStage::Removing => self.ground.serving(),
        }
    }

    pub(super) const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    pub(super) const fn restores(&self) -> Option<DeploymentId> {
        self.restores
    }

    pub(super) const fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(super) const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    pub(super) const fn cause(&self) -> &Cause {
        &self.cause
    }

    pub(super) const fn stage(&self) -> &UndoStage {
        &self.stage
    }
}

impl Failed {
    /// What serves is healthy after all.
    pub(super) fn recovered(self) -> Option<Serving> {
        self.serving
    }

    /// Only the standby is healthy: traffic goes to it, and what was live is removed.
    pub(super) fn fall_back(self) -> Option<RollingBack> {
        let serving = self.serving?;
        let confirmed = Some(serving.clone());
        let (ground, bad) = serving.swapped()?;
        Some(RollingBack {
            deployment: self.deployment,
            restores: None,
            ground: Ground::Serving(ground),
            candidate: Candidate::Release(bad),
            cause: Cause::Regressed(self.reason),
            stage: UndoStage::Routing { confirmed },
        })
    }
}

impl Retiring {
    pub(super) fn unrouted(self, now: Timestamp) -> Self {
        let patience = self.serving.as_ref().map(|serving| serving.live.plan.policy.drain_timeout);
        Self { stage: RetireStage::Draining { until: now + patience.unwrap_or_default() }, ..self }
    }

    pub(super) fn drained(self) -> Self {
        Self { stage: RetireStage::Removing, ..self }
    }

    pub(super) fn complete(self) -> Ground {
        Ground::Retired { last: self.last }
    }

    /// The routes could not be withdrawn: it serves on.
    pub(super) fn still_routed(self, reason: Failure) -> Failed {
        Failed { deployment: self.last, serving: self.serving, reason }
    }

    pub(super) fn fail(self, reason: Failure) -> Failed {
        Failed { deployment: self.last, serving: None, reason }
    }

    pub(super) const fn last(&self) -> DeploymentId {
        self.last
    }

    /// What has, or had, the traffic.
    pub(super) const fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    pub(super) const fn stage(&self) -> RetireStage {
        self.stage
    }
}
