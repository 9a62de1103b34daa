//! Watching a release whose failure the machine has an arrow for: the new color after a switch, or
//! a candidate that waits for its promotion.

use crate::containers::{belongs, describe_end};
use crate::effects::Work;
use crate::gate;
use dockswap_core::machine::{Event, Failure, Fallback, Release, Watch};
use dockswap_core::ports::{Container, Probe};
use futures_util::future;
use std::time::Duration;

/// How often Docker is looked at when it gives no hint.
const LOOK: Duration = Duration::from_secs(1);

/// How long traffic that is to go back waits for Docker to say whether the silent container has ended.
const GLANCE: Duration = Duration::from_millis(500);

/// How often the fallback is asked before it counts as unfit.
const FALLBACK_PROBES: u32 = 3;

/// Ends when `watch.release` has failed, with the event to tell; `None` when cancelled.
pub(crate) async fn regression(work: &Work, watch: &Watch) -> Option<Event> {
    let failure = tokio::select! {
        biased;
        () = work.cancel.cancelled() => return None,
        failure = ended(work, &watch.release) => failure,
        failure = unhealthy(work, &watch.release) => failure,
    };
    let fallback = match &watch.fallback {
        Some(release) if fit(work, release).await => Fallback::Healthy,
        Some(_) | None => Fallback::Unfit,
    };
    Some(Event::TargetUnhealthy { origin: watch.release.origin, failure, fallback })
}

/// Ends when a replica has ended, was started anew, or is gone.
async fn ended(work: &Work, release: &Release) -> Failure {
    let before = work.containers.of(release);
    let mut changed = work.changed.clone();
    loop {
        let _ = tokio::time::timeout(LOOK, changed.changed()).await;
        if work.observe().await.is_err() {
            continue;
        }
        let now = work.containers.of(release);
        for container in &now {
            let restarted = || {
                let earlier = before.iter().find(|earlier| earlier.id == container.id)?;
                let (earlier, later) = (earlier.life.as_ref()?, container.life.as_ref()?);
                (earlier != later)
                    .then(|| format!("container {} ended and was started again", container.name))
            };
            if let Some(summary) = describe_end(container).or_else(restarted) {
                let evidence = work.shared.evidence(work.app(), release, container).await;
                return Failure { summary, evidence };
            }
        }
        if now.len() < usize::from(release.plan.replicas) {
            return Failure::new("a container of the new version was removed from outside");
        }
    }
}

/// Ends when one replica has failed `retries` probes in a row.
async fn unhealthy(work: &Work, release: &Release) -> Failure {
    let containers: Vec<Container> =
        work.containers.all().into_iter().filter(|container| belongs(container, release)).collect();
    let failing = containers.iter().map(|container| Box::pin(failing(work, release, container)));
    if containers.is_empty() {
        return future::pending().await;
    }
    let (failure, _, _) = future::select_all(failing).await;
    failure
}

async fn failing(work: &Work, release: &Release, container: &Container) -> Failure {
    let check = &release.plan.health_check;
    let mut failed = 0;
    loop {
        tokio::time::sleep(check.interval).await;
        match gate::ask(work, release, container, check).await {
            Probe::Healthy => failed = 0,
            Probe::Unhealthy(seen) => {
                failed += 1;
                if failed >= check.retries {
                    let summary = explained(work, release, container).await.unwrap_or_else(|| {
                        format!("container {} failed {failed} probes in a row: {seen}", container.name)
                    });
                    let evidence = work.shared.evidence(work.app(), release, container).await;
                    return Failure { summary, evidence };
                }
            }
        }
    }
}

/// What has ended answers no probe: how it ended is the better reason, when that is known by now.
async fn explained(work: &Work, release: &Release, container: &Container) -> Option<String> {
    // Where Docker does not tell in time, what it told last decides.
    let _ = tokio::time::timeout(GLANCE, work.observe()).await;
    let now = work.containers.of(release);
    now.iter().find(|now| now.id == container.id).and_then(describe_end)
}

/// Whether every replica of `release` runs and answers a probe as it should.
async fn fit(work: &Work, release: &Release) -> bool {
    let containers = work.containers.of(release);
    if containers.len() < usize::from(release.plan.replicas) {
        return false;
    }
    future::join_all(containers.iter().map(|container| answers(work, release, container)))
        .await
        .into_iter()
        .all(|ok| ok)
}

pub(crate) async fn answers(work: &Work, release: &Release, container: &Container) -> bool {
    if describe_end(container).is_some() {
        return false;
    }
    for _ in 0..FALLBACK_PROBES {
        if gate::ask(work, release, container, &release.plan.health_check).await == Probe::Healthy {
            return true;
        }
    }
    false
}
