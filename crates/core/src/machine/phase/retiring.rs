//! The arrows of a retirement: routes, requests in flight, containers.

use super::{Failed, Ground, Healing, RetireStage, Retiring};
use crate::machine::event::Failure;
use crate::machine::release::Serving;
use crate::name::DeploymentId;
use crate::time::Timestamp;

impl Ground {
    pub(in crate::machine) fn retire(self) -> Option<Retiring> {
        let last = self.deployment()?;
        let serving = self.serving().cloned();
        Some(Retiring { last, serving, stage: RetireStage::Unrouting })
    }
}

impl Retiring {
    pub(in crate::machine) fn unrouted(self, now: Timestamp) -> Self {
        let patience = self.serving.as_ref().map(|serving| serving.live.plan.policy.drain_timeout);
        Self { stage: RetireStage::Draining { until: now + patience.unwrap_or_default() }, ..self }
    }

    /// After a restart: a drain begins anew, as after a switch.
    pub(in crate::machine) fn resume(self, now: Timestamp) -> Self {
        match self.stage {
            RetireStage::Draining { .. } => self.unrouted(now),
            RetireStage::Unrouting | RetireStage::Removing => self,
        }
    }

    pub(in crate::machine) fn drained(self) -> Self {
        Self { stage: RetireStage::Removing, ..self }
    }

    pub(in crate::machine) fn complete(self) -> Ground {
        Ground::Retired { last: self.last }
    }

    /// The routes could not be withdrawn: it serves on.
    pub(in crate::machine) fn still_routed(self, reason: Failure) -> Failed {
        Failed { deployment: self.last, serving: self.serving, reason, healing: Healing::GoesOn }
    }

    pub(in crate::machine) fn fail(self, reason: Failure) -> Failed {
        Failed { deployment: self.last, serving: None, reason, healing: Healing::GoesOn }
    }

    pub(in crate::machine) const fn last(&self) -> DeploymentId {
        self.last
    }

    /// What has, or had, the traffic.
    pub(in crate::machine) const fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    pub(in crate::machine) const fn stage(&self) -> RetireStage {
        self.stage
    }
}
