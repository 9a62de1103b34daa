//! Hooks in the small world: a command is run when its container is first started, and never again.

use super::fixture::failure;
use super::perform::Outcome;
use super::{Ended, HookContainer, HookId, World};
use dockswap_core::hooks::Hook;
use dockswap_core::machine::{Event, Machine, Phase, Release};

impl World {
    /// How a command may end: as it has ended, if it was run.
    pub(super) fn endings(&self, id: HookId) -> Vec<Outcome> {
        match self.hooks.get(&id) {
            Some(HookContainer::Created) if self.left.failures > 0 => {
                vec![Outcome::Works, Outcome::Fails, Outcome::Deceives]
            }
            Some(HookContainer::Created | HookContainer::Ended(Ended::Well)) => vec![Outcome::Works],
            Some(HookContainer::Ended(Ended::Ill)) | None => vec![Outcome::Fails],
        }
    }

    pub(super) fn make_hook(&mut self, id: HookId) {
        // The one before it is not waited for any longer.
        if id.1 == Hook::PostDeploy {
            self.hooks.retain(|other, _| other.0 == id.0);
        }
        self.hooks.entry(id).or_insert(HookContainer::Created);
    }

    pub(super) fn run_hook(&mut self, id: HookId, outcome: Outcome) {
        if self.hooks.get(&id) != Some(&HookContainer::Created) {
            return;
        }
        assert!(self.past.ran.insert(id), "{id:?} is run a second time");
        // A command that was begun and not waited for has ended by the time that anybody looks again.
        let ended = if outcome == Outcome::Fails { Ended::Ill } else { Ended::Well };
        self.hooks.insert(id, HookContainer::Ended(ended));
    }

    /// What a deployment brings is started after its command has ended well, and not before.
    pub(super) fn past_its_hook(&mut self, machine: &Machine, release: &Release) {
        let id = (release.origin, Hook::PreDeploy);
        let is_new =
            matches!(machine.phase(), Phase::Starting(_)) && machine.in_flight() == Some(release.origin);
        if is_new
            && release.plan.hooks.pre_deploy.is_some()
            && !self.docker.contains_key(&(release.color, release.origin))
        {
            assert!(self.past.ran.contains(&id), "{id:?} was not run before");
        }
        self.hooks.remove(&id);
    }
}

pub(super) fn made(hook: Hook, good: bool) -> Event {
    if good {
        Event::HookCreated { hook }
    } else {
        Event::HookFailed { hook, failure: failure("docker does not make it") }
    }
}

pub(super) fn ended(hook: Hook, good: bool) -> Event {
    if good {
        Event::HookPassed { hook, lines: Vec::new() }
    } else {
        Event::HookFailed { hook, failure: failure("exited with code 1") }
    }
}

pub(super) fn removed(hook: Hook, good: bool) -> Event {
    if good {
        Event::HookRemoved { hook }
    } else {
        Event::HookFailed { hook, failure: failure("it cannot be removed") }
    }
}
