//! The command that is run once a deployment is a success. It stands beside the phase, as a pause does: whatever
//! comes of it changes nothing about what serves, and no deployment and no rollback waits for it.

use super::event::Event;
use super::owed::Effect;
use super::phase::{HookStage, Phase};
use super::refusal::Refusal;
use super::release::Release;
use crate::hooks::Hook;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The command of a version that has succeeded, until nothing is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Errand {
    release: Release,
    stage: ErrandStage,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ErrandStage {
    /// Its container is made, started and waited for.
    Under(HookStage),
    /// It is over, or no longer wanted: its container is removed.
    Removing,
}

impl Errand {
    /// Whose command it is.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// Whether it has been made, and has not ended yet.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.stage, ErrandStage::Under(HookStage::Running { .. }))
    }

    fn removed(self) -> Self {
        Self { stage: ErrandStage::Removing, ..self }
    }

    fn timeout(&self) -> Duration {
        self.release.plan.hooks.timeout(Hook::PostDeploy)
    }

    fn resume(self, now: Timestamp) -> Self {
        let stage = match self.stage {
            ErrandStage::Under(stage) => ErrandStage::Under(stage.resume(self.timeout(), now)),
            ErrandStage::Removing => ErrandStage::Removing,
        };
        Self { stage, ..self }
    }

    /// What the world owes it.
    pub(super) fn owed(&self) -> Effect {
        let (hook, release) = (Hook::PostDeploy, self.release.clone());
        match self.stage {
            ErrandStage::Under(HookStage::Making) => Effect::MakeHook { hook, release },
            ErrandStage::Under(HookStage::Running { until }) => Effect::RunHook { hook, release, until },
            ErrandStage::Removing => Effect::RemoveHook { hook, release },
        }
    }

    /// What a report makes of it; `None`: nothing is left of it.
    fn after(self, event: &Event, phase: &Phase, now: Timestamp) -> Result<Option<Self>, Refusal> {
        Ok(match (event, self.stage) {
            (Event::HookCreated { .. }, ErrandStage::Under(HookStage::Making)) => {
                let stage = ErrandStage::Under(HookStage::begin(self.timeout(), now));
                Some(Self { stage, ..self })
            }
            (Event::HookPassed { .. }, ErrandStage::Under(HookStage::Running { .. }))
            | (Event::HookFailed { .. }, ErrandStage::Under(_)) => Some(self.removed()),
            // What cannot be removed now is removed later.
            (Event::HookRemoved { .. } | Event::HookFailed { .. }, ErrandStage::Removing) => None,
            _ => return Err(not_now(event, phase)),
        })
    }
}

const fn not_now(event: &Event, phase: &Phase) -> Refusal {
    Refusal::NotNow { event: event.name(), state: phase.name() }
}

/// Whether `event` is about a command that runs beside the phases.
pub(super) const fn is_about(event: &Event) -> bool {
    matches!(
        event,
        Event::HookCreated { hook: Hook::PostDeploy }
            | Event::HookPassed { hook: Hook::PostDeploy, .. }
            | Event::HookFailed { hook: Hook::PostDeploy, .. }
            | Event::HookRemoved { .. }
    )
}

/// What a report makes of `errand` in `phase`; `None`: it is no report about it.
pub(super) fn reported(
    errand: Option<&Errand>,
    event: &Event,
    phase: &Phase,
    now: Timestamp,
) -> Option<Result<Option<Errand>, Refusal>> {
    if !is_about(event) {
        return None;
    }
    Some(match errand.cloned() {
        Some(errand) => errand.after(event, phase, now),
        None => Err(not_now(event, phase)),
    })
}

/// What becomes of `errand` when `event` leads from one phase to another. A success begins its own, if it brought
/// anything new; one that is still under way then is of a version that is no longer wanted.
pub(super) fn beside(
    errand: Option<&Errand>,
    event: &Event,
    before: &Phase,
    after: &Phase,
    now: Timestamp,
) -> Option<Errand> {
    match (event, before, after.serving()) {
        (Event::WatchPassed, Phase::Watching(watching), Some(serving)) => {
            let begins = watching.taken().undid().is_none() && serving.live.plan.hooks.post_deploy.is_some();
            if begins {
                let stage = ErrandStage::Under(HookStage::Making);
                return Some(Errand { release: serving.live.clone(), stage });
            }
            errand.cloned().map(Errand::removed)
        }
        // Its container goes with all the others.
        (Event::Retire { .. }, _, _) => None,
        (Event::Resumed, _, _) => errand.cloned().map(|errand| errand.resume(now)),
        _ => errand.cloned(),
    }
}
