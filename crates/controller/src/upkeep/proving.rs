//! The gate of a live container that has begun a new life: it was made again, or started again, by us, by Docker or
//! by a person. It gets no traffic before it has answered as a candidate has to; other replicas carry on meanwhile.

use super::Upkeeper;
use crate::app::Message;
use dockswap_core::machine::Release;
use dockswap_core::ports::{Container, DockerHealth, Probe};
use dockswap_core::routes::UpstreamId;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait between two probes; it grows by half up to the check's interval.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The lives that are at the gate.
#[derive(Debug, Default)]
pub(super) struct Proving {
    lives: BTreeMap<UpstreamId, Life>,
    /// Until they are asked again.
    pause: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    since: Instant,
    /// Good probes in a row.
    passed: u32,
}

impl Upkeeper {
    /// Asks every life that has yet to prove itself once, and lets in those that have. One that does not come up in
    /// time is let in where nothing else serves: what it answers is better than nothing.
    pub(super) async fn prove(&mut self, release: &Release) {
        let unproven = self.containers.unproven();
        let now = Instant::now();
        let lives: BTreeMap<UpstreamId, Life> = unproven
            .iter()
            .filter_map(|container| {
                let id = container.upstream.as_ref()?.id.clone();
                let life = self.proving.lives.get(&id).copied().unwrap_or(Life { since: now, passed: 0 });
                Some((id, life))
            })
            .collect();
        self.proving.lives = lives;
        if unproven.is_empty() {
            self.proving.pause = None;
            return;
        }
        let policy = &release.plan.policy;
        let check = &release.plan.health_check;
        let (mut good, mut admitted) = (false, false);
        let answers = join_all(unproven.iter().map(|container| self.asked(release, container))).await;
        for (container, is_healthy) in unproven.iter().zip(answers) {
            let Some(id) = container.upstream.as_ref().map(|upstream| &upstream.id) else { continue };
            let Some(life) = self.proving.lives.get_mut(id) else { continue };
            if now < life.since + policy.startup_delay {
                continue;
            }
            life.passed = if is_healthy { life.passed + 1 } else { 0 };
            good |= is_healthy;
            let is_late = now >= life.since + policy.startup_timeout && !self.containers.admits_any();
            if life.passed >= check.success_threshold || is_late {
                if life.passed == 0 {
                    tracing::warn!(app = %self.machine().app(), container = container.name, "gets traffic unproven: nothing else serves");
                }
                self.containers.admit(id);
                admitted = true;
            }
        }
        // The next good one must be another observation, not the same one twice.
        let longest =
            if good { check.interval } else { self.proving.pause.unwrap_or(FIRST_PAUSE).mul_f64(1.5) };
        self.proving.pause = (!self.containers.unproven().is_empty()).then_some(longest.min(check.interval));
        if admitted {
            self.tell(Message::Observed).await;
        }
    }

    /// One probe; without an HTTP check the image's own HEALTHCHECK has a say too.
    async fn asked(&self, live: &Release, container: &Container) -> bool {
        let check = &live.plan.health_check;
        let Some(upstream) = &container.upstream else { return false };
        let is_well =
            check.http.is_some() || matches!(container.health, DockerHealth::Absent | DockerHealth::Healthy);
        is_well && self.shared.ports.prober.probe(upstream, check).await == Probe::Healthy
    }

    /// When is looked next: sooner than `next`, where somebody waits for it.
    pub(super) fn sooner(&self, next: Instant) -> Instant {
        let now = Instant::now();
        let probe = self.proving.pause.map(|pause| now + pause);
        [probe, self.restoring.next()].into_iter().flatten().fold(next, Instant::min).max(now)
    }
}
