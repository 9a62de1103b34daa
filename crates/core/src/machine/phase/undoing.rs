//! The arrows of undoing: traffic first, then requests in flight, then containers.

use super::{Attempt, Candidate, Cause, Failed, Ground, Healing, RollingBack, Tried, UndoStage};
use crate::machine::event::Failure;
use crate::machine::release::{Release, Serving};
use crate::name::DeploymentId;
use crate::time::Timestamp;
use std::time::Duration;

impl RollingBack {
    /// The candidate had not been switched to. Containers of this deployment never had traffic: they
    /// are only removed. A standby that was to serve again may still have requests, and after a
    /// rollback that failed even the route: it goes the whole way back.
    pub(super) fn before_the_switch(attempt: Attempt, candidate: Release, cause: Cause) -> Self {
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
            hold: attempt.hold,
        }
    }

    pub(in crate::machine) fn routed(self, now: Timestamp) -> Self {
        let patience = match &self.candidate {
            Candidate::Release(release) => release.plan.policy.drain_timeout,
            Candidate::Nothing { .. } => Duration::ZERO,
        };
        Self { stage: UndoStage::Draining { until: now + patience }, ..self }
    }

    /// After a restart: a drain begins anew, as after a switch.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        let ground = self.ground.resume(now);
        let undoing = Self { ground, ..self }.resume_recreating(now);
        match undoing.stage {
            UndoStage::Draining { .. } => undoing.routed(now),
            UndoStage::Routing { .. }
            | UndoStage::Removing
            | UndoStage::Restarting
            | UndoStage::Proving { .. }
            | UndoStage::Releasing { .. } => undoing,
        }
    }

    pub(in crate::machine) fn drained(self) -> Self {
        Self { stage: UndoStage::Removing, ..self }
    }

    /// Nothing is left of it: back to the ground, which remembers what was tried when it never
    /// served.
    pub(in crate::machine) fn complete(self) -> Ground {
        let routes = match self.candidate {
            Candidate::Nothing { routes } => routes,
            Candidate::Release(release) => release.plan.routes,
        };
        match self.ground {
            Ground::Pending(_) => Ground::Pending(Some(Tried { deployment: self.deployment, routes })),
            ground @ (Ground::Serving(_) | Ground::Failed(_) | Ground::Retired { .. }) => ground,
        }
    }

    pub(in crate::machine) fn fail(self, reason: Failure) -> Failed {
        let serving = self.confirmed().cloned();
        Failed { deployment: self.deployment, serving, reason, healing: Healing::GoesOn }
    }

    /// What has the traffic, as far as the proxy has confirmed.
    pub(in crate::machine) const fn confirmed(&self) -> Option<&Serving> {
        match &self.stage {
            UndoStage::Routing { confirmed } => confirmed.as_ref(),
            _ if self.recreates() => None,
            _ => self.ground.serving(),
        }
    }

    pub(in crate::machine) const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// The deployment that it had undone, which serves again: once traffic has gone back, not before.
    pub(in crate::machine) const fn restores(&self) -> Option<DeploymentId> {
        match self.stage {
            UndoStage::Routing { .. } => None,
            _ => self.restores,
        }
    }

    pub(in crate::machine) const fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(in crate::machine) const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    pub(in crate::machine) const fn cause(&self) -> &Cause {
        &self.cause
    }

    pub(in crate::machine) const fn stage(&self) -> &UndoStage {
        &self.stage
    }
}

impl Failed {
    /// What serves is healthy after all. The state may have lasted over restarts.
    pub(in crate::machine) fn recovered(self, now: Timestamp) -> Option<Serving> {
        self.serving.map(|serving| serving.resume(now))
    }

    /// Only the standby is healthy: traffic goes to it, and what was live is removed.
    pub(in crate::machine) fn fall_back(self) -> Option<RollingBack> {
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
            hold: None,
        })
    }
}
