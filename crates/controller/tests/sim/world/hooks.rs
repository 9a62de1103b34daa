//! The containers of hooks: commands that do as their first word says, each run once at most.

use super::State;
use super::docker::refused;
use super::faults::Fault;
use super::tally::Promise;
use dockswap_core::hooks::Hook;
use dockswap_core::name::ContainerId;
use dockswap_core::ports::{
    ContainerState, DeploymentFilter, EngineError, Exit, HookContainer, HookId, HookRun, Selector,
};
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What hooks did and do.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Containers that exist.
    pub(crate) containers: BTreeMap<HookId, Cask>,
    /// Commands that were ever started.
    pub(crate) ran: BTreeSet<HookId>,
    /// Commands that have ended well.
    pub(crate) passed: BTreeSet<HookId>,
}

/// The container of a hook.
pub(crate) struct Cask {
    /// How long the command takes, and how it ends; `None`: never.
    course: Option<(Duration, i64)>,
    started: Option<Timestamp>,
}

impl Cask {
    fn of(command: Option<&String>) -> Self {
        let course = match command.map(String::as_str) {
            Some("fail") => Some((Duration::from_millis(400), 1)),
            Some("hang") => None,
            Some("slow") => Some((Duration::from_secs(8), 0)),
            _ => Some((Duration::from_millis(300), 0)),
        };
        Self { course, started: None }
    }

    /// How it is now.
    fn state(&self, now: Timestamp) -> ContainerState {
        match (self.started, self.course) {
            (None, _) => ContainerState::Created,
            (Some(started), Some((takes, code))) if now.saturating_since(started) >= takes => {
                ContainerState::Exited(Exit { code, ..Exit::default() })
            }
            (Some(_), _) => ContainerState::Running,
        }
    }
}

impl State {
    pub(crate) fn make_hook(&mut self, hook: &HookContainer) {
        let id = hook.id();
        if hook.hook == Hook::PreDeploy && self.is_rollback(id.deployment) {
            self.violated(Promise::Failure, format!("{} is made for a rollback", id.container_name()));
        }
        let command = hook.group.options.command.as_ref().and_then(|words| words.first());
        self.hooks.containers.entry(id).or_insert_with(|| Cask::of(command));
    }

    pub(crate) fn begin_hook(
        &mut self,
        id: &HookId,
        fault: Option<Fault>,
    ) -> Result<Option<HookRun>, EngineError> {
        let now = self.now();
        let Some(cask) = self.hooks.containers.get_mut(id) else { return Ok(None) };
        if fault == Some(Fault::HalfDone) && cask.started.is_none() {
            return Err(refused(&format!("start container {}", id.container_name()), "simulated"));
        }
        let begins = cask.started.is_none();
        cask.started.get_or_insert(now);
        let state = cask.state(now);
        if begins {
            let first = self.hooks.ran.insert(id.clone());
            self.tell(format!("{} runs", id.container_name()));
            if !first {
                self.violated(Promise::Crash, format!("{} is run a second time", id.container_name()));
            }
        }
        if matches!(&state, ContainerState::Exited(exit) if exit.code == 0) {
            self.hooks.passed.insert(id.clone());
        }
        Ok(Some(HookRun { id: ContainerId(id.container_name()), state }))
    }

    /// Removes those that `selector` takes.
    pub(crate) fn remove_hooks(&mut self, selector: &Selector) {
        self.hooks.containers.retain(|id, _| {
            let taken = id.app == selector.app
                && selector.color.is_none_or(|color| color == id.color)
                && match selector.deployment {
                    DeploymentFilter::Any => true,
                    DeploymentFilter::Only(wanted) => id.deployment == wanted,
                    DeploymentFilter::Except(other) => id.deployment != other,
                };
            !taken
        });
    }

    /// Nothing of a version with a hook is made before that has ended well.
    pub(crate) fn judge_start(&mut self, app: &AppName, deployment: DeploymentId) {
        let Some(machine) = self.database.machines.get(app) else { return };
        let hooked = machine
            .releases()
            .into_iter()
            .any(|release| release.origin == deployment && release.plan.hooks.pre_deploy.is_some());
        let passed = self
            .hooks
            .passed
            .iter()
            .any(|id| id.app == *app && id.deployment == deployment && id.hook == Hook::PreDeploy);
        if hooked && !passed {
            self.violated(Promise::Failure, format!("{app}: {deployment} starts before its hook has ended"));
        }
    }

    fn is_rollback(&self, deployment: DeploymentId) -> bool {
        self.database.deployments.get(&deployment).is_some_and(|row| row.rollback_of.is_some())
    }
}
