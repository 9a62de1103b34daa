//! The commands of hooks: made, run once, waited for, read, removed. What their outcome means for the deployment is
//! not known here.
//!
//! None is run twice. That its container was made is committed before it is started, so whoever comes after a crash
//! finds it: running, and waits for it; ended, and reads how; or gone, and says so.

use crate::containers::{Hooks, only, why_not_running};
use crate::effects::{PATIENCE, Work, is_unavailable};
use dockswap_core::Timestamp;
use dockswap_core::hooks::Hook;
use dockswap_core::machine::{Event, Failure, Release};
use dockswap_core::ports::{ContainerState, DeploymentFilter, EngineError, HookId, HookRun, Selector};
use std::time::Duration;

/// How often it is looked at when Docker gives no hint: its events are dropped under load.
const LOOK: Duration = Duration::from_secs(1);

fn failed(hook: Hook, what: impl std::fmt::Display, evidence: Vec<String>) -> Event {
    let summary = format!("hooks.{hook}: {what}");
    Event::HookFailed { hook, failure: Failure { summary, evidence } }
}

impl Work {
    fn hook_id(&self, hook: Hook, release: &Release) -> HookId {
        let Release { origin, color, .. } = release;
        HookId { app: self.app().clone(), color: *color, deployment: *origin, hook }
    }

    /// Not cancelled half way: what Docker was asked to make must be known before it is removed.
    pub(crate) async fn make_hook(&self, hook: Hook, release: &Release) -> Event {
        let container = match self.shared.hook(self.app(), hook, release).await {
            Ok(container) => container,
            Err(error) => return failed(hook, error, Vec::new()),
        };
        if hook == Hook::PostDeploy {
            // The one of the version before may still run: nobody waits for it any longer.
            let others = Selector {
                app: self.app().clone(),
                color: None,
                deployment: DeploymentFilter::Except(release.origin),
            };
            self.clear_hooks(&others, release).await.unwrap_or_else(|error| {
                tracing::warn!(app = %self.app(), %error, "the hook of an earlier version stays");
            });
        }
        // Upkeep that removes what earlier ones left is not to find this one, and looks for what this one leaves.
        let _hand = self.containers.hand().await;
        self.containers.have_hooks(Hooks::Made);
        let make = || self.shared.ports.engine.ensure_hook_made(&container);
        match self.persist(PATIENCE, is_unavailable, make).await {
            Ok(()) => Event::HookCreated { hook },
            Err(error) => failed(hook, error, Vec::new()),
        }
    }

    /// Starts it, unless it was, and waits for its end; `None` when cancelled.
    pub(crate) async fn run_hook(&self, hook: Hook, release: &Release, until: Timestamp) -> Option<Event> {
        let id = self.hook_id(hook, release);
        let mut changed = self.changed.clone();
        loop {
            if self.cancel.is_cancelled() {
                return None;
            }
            changed.borrow_and_update();
            // Not cancelled half way either: whoever removes it must know whether it was started.
            let seen = self.shared.ports.engine.ensure_hook_begun(&id).await;
            let left = until.saturating_since(self.shared.ports.clock.now());
            match seen {
                Ok(Some(run)) => {
                    if let Some(event) = self.outcome(hook, release, &run).await {
                        return Some(event);
                    }
                    if left.is_zero() {
                        let timeout = release.plan.hooks.timeout(hook);
                        let evidence = self.shared.evidence(self.app(), release, &run.id).await;
                        return Some(failed(hook, format!("not ended within {timeout:?}"), evidence));
                    }
                }
                Ok(None) => {
                    let name = id.container_name();
                    let what = format!(
                        "container {name} was removed by somebody else: how far it came is not known, and it is not \
                         run again"
                    );
                    return Some(failed(hook, what, Vec::new()));
                }
                Err(error @ EngineError::Unavailable { .. }) if !left.is_zero() => {
                    tracing::warn!(app = %self.app(), %error, "trying again");
                }
                Err(error) => return Some(failed(hook, error, Vec::new())),
            }
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                _ = tokio::time::timeout(LOOK.min(left), changed.changed()) => {}
            }
        }
    }

    /// How it ended; `None`: it has not.
    async fn outcome(&self, hook: Hook, release: &Release, run: &HookRun) -> Option<Event> {
        let ContainerState::Exited(exit) = &run.state else { return None };
        let lines = self.shared.evidence(self.app(), release, &run.id).await;
        if exit.code == 0 && !exit.oom_killed && exit.error.is_none() {
            return Some(Event::HookPassed { hook, lines });
        }
        let name = self.hook_id(hook, release).container_name();
        let what = why_not_running(&name, &run.state).unwrap_or_default();
        Some(failed(hook, what, lines))
    }

    pub(crate) async fn remove_hook(&self, hook: Hook, release: &Release) -> Event {
        let own = only(self.app(), release.color, release.origin);
        match self.clear_hooks(&own, release).await {
            Ok(()) => Event::HookRemoved { hook },
            Err(error) => {
                let _hand = self.containers.hand().await;
                self.containers.have_hooks(Hooks::Made);
                failed(hook, error, Vec::new())
            }
        }
    }

    /// Removes what a hook ran in before the release is started. Where that cannot be, upkeep does.
    pub(crate) async fn forget_hook(&self, release: &Release) {
        if release.plan.hooks.pre_deploy.is_none() || self.machine.in_flight() != Some(release.origin) {
            return;
        }
        let own = only(self.app(), release.color, release.origin);
        self.clear_hooks(&own, release).await.unwrap_or_else(|error| {
            tracing::warn!(app = %self.app(), %error, "the container of a hook that has ended stays");
        });
    }

    async fn clear_hooks(&self, selector: &Selector, release: &Release) -> Result<(), EngineError> {
        let timeout = release.plan.policy.stop_timeout;
        let clear = || self.shared.ports.engine.ensure_hooks_gone(selector, timeout);
        self.persist(PATIENCE, is_unavailable, clear).await
    }
}
