//! The health gate: every replica of a candidate has to prove that it can serve. One loop, one
//! deadline. An exit ends it at once; a fast app passes after its first good probe.

use crate::containers::{belongs, describe_end};
use crate::effects::Work;
use crate::view::Progress;
use dockswap_core::Timestamp;
use dockswap_core::machine::{Event, Failure, Release};
use dockswap_core::ports::{Container, DockerHealth, Probe};
use dockswap_core::spec::HealthCheck;
use futures_util::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The first wait between two probes; it grows by half up to the check's interval.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest wait between two probes while requests wait: each is one that they wait for too.
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// How often Docker is looked at when it gives no hint: its events are dropped under load.
const LOOK: Duration = Duration::from_secs(1);

/// Brings `release` through its gate; `None` when cancelled.
pub(crate) async fn pass(work: &Work, release: &Release, until: Timestamp) -> Option<Event> {
    // Where the database kept an earlier verdict from being written down, the time may be over: a
    // candidate that is healthy still gets the time for one probe to say so.
    let one_probe = release.plan.health_check.timeout.min(release.plan.policy.startup_timeout);
    let left = until.saturating_since(work.shared.ports.clock.now()).max(one_probe);
    let last = Arc::new(std::sync::Mutex::new(None::<String>));
    let verdict = tokio::select! {
        // An exit is the better explanation when both are ready.
        biased;
        () = work.cancel.cancelled() => return None,
        failure = exit(work, release) => Err(failure),
        () = healthy(work, release, &last) => Ok(()),
        () = tokio::time::sleep(left) => Err(late(work, release, &last).await),
    };
    Some(match verdict {
        Ok(()) => Event::HealthCheckPassed,
        Err(failure) => Event::HealthCheckFailed(failure),
    })
}

/// Ends when every replica is healthy.
async fn healthy(work: &Work, release: &Release, last: &Arc<std::sync::Mutex<Option<String>>>) {
    if is_started(work, release) {
        tokio::time::sleep(release.plan.policy.startup_delay).await;
    }
    let is_whole = || work.containers.of(release).len() >= usize::from(release.plan.replicas);
    while !is_whole() {
        if work.observe().await.is_err() || !is_whole() {
            tokio::time::sleep(LOOK).await;
        }
    }
    let probes = AtomicU32::new(0);
    let replicas = work.containers.of(release);
    future::join_all(replicas.iter().map(|container| one(work, release, container, &probes, last))).await;
}

/// Whether the deployment brings the release.
pub(crate) fn is_new(work: &Work, release: &Release) -> bool {
    work.machine.in_flight() == Some(release.origin)
}

/// Whether the release has just been started, for the first time or again. A standby that has been running has only
/// to show that it still can serve: one good probe, at once.
fn is_started(work: &Work, release: &Release) -> bool {
    is_new(work, release) || work.machine.is_held()
}

/// Ends when one replica has passed `success_threshold` probes in a row.
async fn one(
    work: &Work,
    release: &Release,
    container: &Container,
    probes: &AtomicU32,
    last: &Arc<std::sync::Mutex<Option<String>>>,
) {
    let check = &release.plan.health_check;
    let mut pause = FIRST_PAUSE.min(check.interval);
    let longest = if work.machine.is_held() { check.interval.min(HELD_PAUSE) } else { check.interval };
    let threshold = if is_started(work, release) { check.success_threshold } else { 1 };
    let mut passed = 0;
    loop {
        let probe = ask(work, release, container, check).await;
        let count = probes.fetch_add(1, Ordering::Relaxed) + 1;
        let seen = match probe {
            Probe::Healthy => {
                passed += 1;
                if passed >= threshold {
                    return;
                }
                // The next good one must be another observation, not the same one twice.
                pause = check.interval;
                None
            }
            Probe::Unhealthy(seen) => {
                passed = 0;
                Some(seen)
            }
        };
        if let Ok(mut last) = last.lock() {
            *last = Some(match (&seen, last.take()) {
                (Some(seen), _) => seen.clone(),
                // What went wrong before it is the better explanation.
                (None, Some(earlier)) => earlier,
                (None, None) => format!("{passed} of {threshold} good probes in a row"),
            });
        }
        tracing::debug!(app = %work.app(), container = container.name, probe = count, seen, "not passed yet");
        (work.show)(Progress::Probing { probes: count, last: seen });
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(1.5).min(longest);
    }
}

/// One probe; without an HTTP check the image's own HEALTHCHECK has a say too.
pub(crate) async fn ask(work: &Work, release: &Release, container: &Container, check: &HealthCheck) -> Probe {
    let current = work.containers.of(release).into_iter().find(|other| other.id == container.id);
    let Some(upstream) = current.as_ref().and_then(|container| container.upstream.as_ref()) else {
        let ended = current.as_ref().and_then(describe_end);
        let addressless = || format!("container {} has no address yet", container.name);
        return Probe::Unhealthy(ended.unwrap_or_else(addressless));
    };
    if let probe @ Probe::Unhealthy(_) = work.shared.ports.prober.probe(upstream, check).await {
        return probe;
    }
    if check.http.is_some() || container.health == DockerHealth::Absent {
        return Probe::Healthy;
    }
    if work.observe().await.is_err() {
        return Probe::Unhealthy("docker does not answer".to_owned());
    }
    let health =
        work.containers.of(release).into_iter().find(|other| other.id == container.id).map(|c| c.health);
    match health {
        Some(DockerHealth::Absent | DockerHealth::Healthy) => Probe::Healthy,
        Some(DockerHealth::Starting) => {
            Probe::Unhealthy("the image's HEALTHCHECK has no verdict yet".to_owned())
        }
        Some(DockerHealth::Unhealthy(output)) => {
            let output = output.lines().map(str::to_owned).collect();
            let output = work.shared.masked(work.app(), release, output).await.join(" ");
            Probe::Unhealthy(format!("the image's HEALTHCHECK says unhealthy: {}", output.trim()))
        }
        None => Probe::Unhealthy(format!("container {} is gone", container.name)),
    }
}

/// Ends when a replica has ended, with what it said last.
async fn exit(work: &Work, release: &Release) -> Failure {
    let mut changed = work.changed.clone();
    loop {
        let _ = tokio::time::timeout(LOOK, changed.changed()).await;
        if work.observe().await.is_err() {
            continue;
        }
        let all = work.containers.all();
        let mine: Vec<&Container> = all.iter().filter(|container| belongs(container, release)).collect();
        if mine.len() < usize::from(release.plan.replicas) {
            return Failure::new(format!(
                "{} of {} containers of the candidate are gone: somebody else removed them",
                usize::from(release.plan.replicas) - mine.len(),
                release.plan.replicas
            ));
        }
        for container in mine {
            if let Some(summary) = describe_end(container) {
                let evidence = work.shared.evidence(work.app(), release, container).await;
                return Failure { summary, evidence };
            }
        }
    }
}

/// The gate's time is over: what the last probe saw, and what the app said last.
async fn late(work: &Work, release: &Release, last: &Arc<std::sync::Mutex<Option<String>>>) -> Failure {
    let seen = last.lock().ok().and_then(|last| last.clone());
    let summary = format!(
        "not healthy within {:?}: {}",
        release.plan.policy.startup_timeout,
        seen.unwrap_or_else(|| "no probe was answered".to_owned())
    );
    let evidence = match work.containers.of(release).first() {
        Some(container) => work.shared.evidence(work.app(), release, container).await,
        None => Vec::new(),
    };
    Failure { summary, evidence }
}
