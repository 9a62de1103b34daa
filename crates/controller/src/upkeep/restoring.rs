//! Live containers that run and are not what was asked for: what can be set back in place is, and both is on record.

use super::{LONGEST_PAUSE, RETRY, Upkeeper, lives, settled};
use crate::app::Message;
use crate::containers::belongs;
use dockswap_core::machine::{Event, Failure, Machine, Release};
use dockswap_core::ports::{Container, Remedy};
use dockswap_core::spec::RestartPolicy;
use tokio::time::Instant;

/// What was found changed, and when it is tried again to set it back.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// As it is on record.
    found: Option<String>,
    tries: u32,
    not_before: Option<Instant>,
}

impl Restoring {
    /// When is to be looked next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.found.as_ref()?;
        self.not_before
    }
}

/// Under which restart policy what serves runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnderPolicy {
    /// The one that is configured, as far as it has been set yet.
    Configured,
    /// Another one, which somebody set since.
    Another,
}

impl Upkeeper {
    /// Sets back what was changed of the live containers, but for their restart policy: returns how that is.
    pub(super) async fn restore(
        &mut self,
        machine: &Machine,
        live: &Release,
        seen: &[Container],
    ) -> UnderPolicy {
        let mine = seen.iter().filter(|container| belongs(container, live));
        let is_wrong =
            |container: &&Container| container.drift.iter().any(|drift| drift.remedy == Remedy::SetBack);
        let wrong: Vec<&Container> = mine.clone().filter(is_wrong).collect();
        let mut found: Vec<String> = wrong.iter().map(|container| in_words(container)).collect();
        let (mut under, wanted) = (UnderPolicy::Configured, self.policy_in_force(live, seen).await);
        for container in mine {
            if let Some(wanted) = wanted.filter(|wanted| !container.restart.is_same(*wanted)) {
                under = UnderPolicy::Another;
                let (name, has) = (&container.name, container.restart);
                found.push(format!("container {name}: restart policy is {has}, and {wanted} was asked for"));
            }
        }
        if found.is_empty() {
            self.restored(machine).await;
            return under;
        }
        if !settled(machine) {
            return under;
        }
        let found = found.join("; ");
        if self.restoring.found.as_ref() != Some(&found) {
            if self.restoring.found.is_none() {
                let told = Failure::new(format!("{found}: it is set back"));
                self.tell(Message::Noticed(Event::ExternalChange(told))).await;
            }
            self.restoring = Restoring { found: Some(found), ..Restoring::default() };
        }
        let now = Instant::now();
        if self.restoring.not_before.is_some_and(|not_before| now < not_before) {
            return under;
        }
        self.restoring.tries += 1;
        let pause = RETRY.saturating_mul(1 << self.restoring.tries.min(10)).min(LONGEST_PAUSE);
        self.restoring.not_before = Some(now + pause);
        let _hand = self.containers.hand().await;
        if self.machine().upkeep().live.as_ref() != Some(live) {
            return under;
        }
        for container in wrong {
            if let Err(error) = self.shared.ports.engine.ensure_as_asked(&container.id).await {
                tracing::warn!(app = %machine.app(), container = container.name, %error, "what was changed could not be set back");
                self.tell(Message::Degraded(Some(format!("{}; {error}", in_words(container))))).await;
            }
        }
        under
    }

    /// Nothing is wrong any more.
    async fn restored(&mut self, machine: &Machine) {
        if settled(machine)
            && let Some(what) = self.restoring.found.take()
        {
            self.restoring = Restoring::default();
            self.tell(Message::Noticed(Event::Healed { what })).await;
        }
    }

    /// The restart policy that has been set for what runs now; `None`: it is about to be.
    async fn policy_in_force(&self, live: &Release, seen: &[Container]) -> Option<RestartPolicy> {
        let (policed, of) = self.policed.as_ref()?;
        if policed != live || *of != lives(live, seen) {
            return None;
        }
        let stored = self.shared.specs.load(live.plan.config).await.ok()?;
        Some(stored.spec.container.restart_policy)
    }
}

/// What is wrong with a container, field by field.
fn in_words(container: &Container) -> String {
    let fields = container.drift.iter().filter(|drift| drift.remedy == Remedy::SetBack);
    let fields: Vec<String> = fields
        .map(|drift| format!("{} is {}, and {} was asked for", drift.field, drift.found, drift.asked))
        .collect();
    format!("container {}: {}", container.name, fields.join(", "))
}
