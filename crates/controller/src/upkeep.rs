//! Upkeep: what must be so as long as a phase lasts. Level-triggered: a hint, a change of state and
//! the clock all mean "look again"; what is missing is made, what is too much is removed.

mod mourning;
mod proving;
mod restoring;

use proving::Proving;
use restoring::{Restoring, UnderPolicy};

use crate::app::{AppHandle, Message};
use crate::containers::{Containers, belongs, describe_end, only};
use crate::controller::Shared;
use crate::crash_loop::CrashLoop;
use crate::held::Held;
use dockswap_core::DeploymentId;
use dockswap_core::machine::{Event, Failure, Ground, Machine, Phase, Release, Upkeep};
use dockswap_core::ports::{Container, ContainerState, DockerHealth, Probe};
use dockswap_core::routes::UpstreamId;
use dockswap_core::spec::RestartPolicy;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often is looked without any hint: Docker's events are dropped under load.
const RELIST: Duration = Duration::from_secs(30);

/// How soon Docker is asked again when it did not answer.
const AWAY: Duration = Duration::from_secs(5);

/// The shortest wait until the next look when something is to be healed: Docker may be away.
const RETRY: Duration = Duration::from_secs(1);

/// Hints come in bursts.
const QUIET: Duration = Duration::from_millis(100);

/// The longest wait between two attempts to heal the same release.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long requests in flight, and then the app's own end, may take where the policy is not known any
/// more: the defaults of an app file.
const DRAIN: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);

/// Keeps one app as it must be.
pub(crate) struct Upkeeper {
    shared: Arc<Shared>,
    app: AppHandle,
    containers: Containers,
    held: Held,
    /// The lives of the live release whose restart policy has been set: whoever starts it again sets another one.
    policed: Option<(Release, BTreeSet<UpstreamId>)>,
    /// Attempts to heal in a row, and when the next one may be.
    attempts: u32,
    not_before: Instant,
    /// What is missing now, as it is on record.
    recorded: Option<String>,
    proving: Proving,
    crash_loop: CrashLoop,
    /// Whose deaths are counted.
    mourned: Option<DeploymentId>,
    restoring: Restoring,
}

impl Upkeeper {
    pub(crate) fn new(shared: Arc<Shared>, app: AppHandle, containers: Containers, held: Held) -> Self {
        Self {
            shared,
            app,
            containers,
            held,
            policed: None,
            attempts: 0,
            not_before: Instant::now(),
            recorded: None,
            proving: Proving::default(),
            crash_loop: CrashLoop::default(),
            mourned: None,
            restoring: Restoring::default(),
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut hint = self.app.hint.subscribe();
        let mut machine = self.app.machine.clone();
        loop {
            let looked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                looked = self.pass() => looked,
            };
            let now = Instant::now();
            let next = match looked {
                None => now + AWAY,
                Some(()) if self.attempts > 0 => self.not_before.max(now + RETRY),
                Some(()) => now + RELIST,
            };
            let next = self.sooner(next);
            let woken = async {
                tokio::select! {
                    biased;
                    _ = hint.changed() => tokio::time::sleep(QUIET).await,
                    () = calms(&mut machine) => {}
                    () = tokio::time::sleep_until(next) => {}
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = woken => {}
            }
        }
    }

    fn machine(&self) -> Arc<Machine> {
        self.app.machine.borrow().clone()
    }

    async fn tell(&self, message: Message) {
        let _ = self.app.inbox.send(message).await;
    }

    async fn observe(&self) -> Option<Vec<Container>> {
        let machine = self.machine();
        match self.containers.look(self.shared.ports.engine.as_ref(), machine.app()).await {
            Ok(seen) => {
                self.tell(Message::Observed).await;
                Some(seen)
            }
            Err(error) => {
                self.tell(Message::Degraded(Some(error.to_string()))).await;
                None
            }
        }
    }

    /// Docker as it is, and the state that it was looked at for: what was seen in a state that is
    /// over says nothing about the next one.
    async fn look(&self) -> Option<(Vec<Container>, Arc<Machine>)> {
        loop {
            let machine = self.machine();
            let seen = self.observe().await?;
            if self.machine().version() == machine.version() {
                return Some((seen, machine));
            }
        }
    }

    /// Looks, and does what is to be done; `None`: Docker did not answer.
    async fn pass(&mut self) -> Option<()> {
        let (seen, machine) = self.look().await?;
        if let Some(held) = self.held.look(&seen) {
            // The records are not what runs: nothing is healed, stopped or removed by them.
            self.tell(Message::Degraded(Some(held))).await;
            return Some(());
        }
        let upkeep = machine.upkeep();
        if upkeep.live.is_none() {
            // Whoever orders it to run again has it begin anew.
            self.crash_loop.forget();
        }
        match upkeep.live.clone() {
            Some(live) => self.keep_live(&machine, &live, &seen).await,
            None if settled(&machine) => self.tell(Message::Degraded(None)).await,
            None => {}
        }
        if settled(&machine) {
            self.keep_standby(&machine, &upkeep, &seen).await;
        }
        if is_calm(&machine) {
            self.clear_debris(&machine, &seen).await;
        }
        Some(())
    }

    async fn keep_live(&mut self, machine: &Machine, live: &Release, seen: &[Container]) {
        self.prove(live).await;
        if self.mourn(machine, live, seen).await {
            return;
        }
        let fault = missing(live, seen);
        let unhealthy = match &fault {
            None => self.unhealthy(live, seen).await,
            Some(fault) => Some(fault.clone()),
        };
        let is_well = unhealthy.is_none();
        self.tell(Message::Degraded(self.crash_loop.in_words().or(unhealthy))).await;
        match fault {
            Some(fault) => self.heal(machine, live, &fault, seen).await,
            None => {
                let under = self.restore(machine, live, seen).await;
                // Not before it has lasted: what dies every second is not healed every second.
                if Instant::now() >= self.not_before + LONGEST_PAUSE {
                    self.attempts = 0;
                }
                if self.police(machine, live, seen, under).await && is_well {
                    self.record_healed(machine).await;
                }
            }
        }
    }

    async fn keep_standby(&self, machine: &Machine, upkeep: &Upkeep, seen: &[Container]) {
        // In `failed` a standby that is away is still what a recovery may find healthy.
        let counts = matches!(machine.phase(), Phase::Settled(Ground::Serving(_)));
        for release in upkeep.warm.iter().filter(|_| counts) {
            if let Some(fault) = missing(release, seen) {
                self.tell(Message::Noticed(Event::StandbyLost(Failure::new(fault)))).await;
            }
        }
        for release in &upkeep.cold {
            let mine: Vec<&Container> =
                seen.iter().filter(|container| belongs(container, release) && runs(container)).collect();
            if !mine.is_empty() {
                self.chill(machine, release, mine).await;
            }
        }
    }

    /// Stops a standby that should not run any more.
    async fn chill(&self, machine: &Machine, release: &Release, mine: Vec<&Container>) {
        let policy = &release.plan.policy;
        if let Err(error) = self.shared.vacate(mine, policy.drain_timeout).await {
            tracing::warn!(app = %machine.app(), %error, "the standby is not stopped");
            return;
        }
        let _hand = self.containers.hand().await;
        // Somebody may have ordered it back meanwhile.
        if !self.machine().upkeep().cold.contains(release) {
            return;
        }
        let selector = only(machine.app(), release.color, release.origin);
        if let Err(error) = self.shared.ports.engine.ensure_stopped(&selector, policy.stop_timeout).await {
            tracing::warn!(app = %machine.app(), %error, "the standby does not stop");
        }
    }

    /// Makes the live color whole again, at growing intervals when that does not last.
    async fn heal(&mut self, machine: &Machine, live: &Release, fault: &str, seen: &[Container]) {
        // Docker's restart policy is at it already.
        if seen.iter().any(|c| belongs(c, live) && matches!(c.state, ContainerState::Restarting(_))) {
            self.attempts = self.attempts.max(1);
            self.not_before = Instant::now() + Duration::from_secs(1);
            return;
        }
        if Instant::now() < self.not_before && self.attempts > 0 {
            return;
        }
        let beside = seen.iter().filter(|container| runs(container)).cloned().collect();
        if let Some(other) = self.shared.excluded(machine, live, beside).await.first() {
            self.attempts = self.attempts.max(1);
            self.not_before = Instant::now() + RETRY;
            let name = &other.name;
            tracing::warn!(app = %machine.app(), container = name, "the live version may not run beside this, which runs still");
            return;
        }
        self.record(machine, fault).await;
        self.attempts += 1;
        let pause = Duration::from_millis(500).saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        self.not_before = Instant::now() + pause;
        self.ensure_live(machine, live).await;
        self.observe().await;
    }

    /// That something is wrong is on record once, until it is right again.
    async fn record(&mut self, machine: &Machine, fault: &str) {
        if self.recorded.is_none() && settled(machine) {
            self.recorded = Some(fault.to_owned());
            let told = Failure::new(format!("{fault}: it is made to run again"));
            self.tell(Message::Noticed(Event::ExternalChange(told))).await;
        }
    }

    /// And that it is right again, once traffic goes to all of it.
    async fn record_healed(&mut self, machine: &Machine) {
        if settled(machine)
            && self.containers.unproven().is_empty()
            && let Some(what) = self.recorded.take()
        {
            self.tell(Message::Noticed(Event::Healed { what })).await;
        }
    }

    /// The live color runs under the configured restart policy, once it has proven itself. Returns whether it was
    /// seen to.
    async fn police(
        &mut self,
        machine: &Machine,
        live: &Release,
        seen: &[Container],
        under: UnderPolicy,
    ) -> bool {
        let policed = Some((live.clone(), lives(live, seen)));
        if !settled(machine) {
            return true;
        }
        if self.policed == policed && under == UnderPolicy::Configured {
            return true;
        }
        let ensured = self.ensure_live(machine, live).await;
        if ensured {
            self.policed = policed;
        }
        ensured && under == UnderPolicy::Configured
    }

    /// Whether the release runs now, under its restart policy.
    async fn ensure_live(&self, machine: &Machine, live: &Release) -> bool {
        let restart = match self.shared.specs.load(live.plan.config).await {
            Ok(stored) => stored.spec.container.restart_policy,
            Err(error) => {
                tracing::warn!(app = %machine.app(), %error, "the live version's config cannot be read");
                RestartPolicy::UnlessStopped
            }
        };
        let _hand = self.containers.hand().await;
        // The state may have moved on while Docker was asked.
        if self.machine().upkeep().live.as_ref() != Some(live) {
            return false;
        }
        let error = match self.shared.run_again(machine.app(), live, restart).await {
            Ok(containers) => {
                self.shared.claim(&containers).await;
                return true;
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(app = %machine.app(), error, "the live color could not be made whole");
        self.tell(Message::Degraded(Some(error))).await;
        false
    }

    async fn unhealthy(&self, live: &Release, seen: &[Container]) -> Option<String> {
        for container in seen.iter().filter(|container| belongs(container, live)) {
            if let DockerHealth::Unhealthy(_) = container.health
                && live.plan.health_check.http.is_none()
            {
                return Some(format!("container {}: the image's HEALTHCHECK says unhealthy", container.name));
            }
            let Some(upstream) = &container.upstream else {
                return Some(format!("container {} has no address", container.name));
            };
            if let Probe::Unhealthy(what) =
                self.shared.ports.prober.probe(upstream, &live.plan.health_check).await
            {
                return Some(format!("container {}: {what}", container.name));
            }
        }
        None
    }

    /// How long the containers of a deployment that is over may take to finish and to end.
    async fn patience(&self, deployment: DeploymentId) -> (Duration, Duration) {
        let row = self.shared.ports.store.deployment(deployment).await.ok().flatten();
        let Some(row) = row else { return (DRAIN, STOP) };
        match self.shared.specs.load(row.config_id).await {
            Ok(stored) => (stored.spec.deployment.drain_timeout, stored.spec.deployment.stop_timeout),
            Err(_) => (DRAIN, STOP),
        }
    }

    /// Removes containers of ours that no state has a use for.
    async fn clear_debris(&self, machine: &Machine, seen: &[Container]) {
        let used: BTreeSet<_> =
            machine.releases().iter().map(|release| (release.color, release.origin)).collect();
        let debris: BTreeSet<_> = seen
            .iter()
            .map(|container| (container.color, container.deployment))
            .filter(|key| !used.contains(key))
            // What is newer than the records may be wanted by records that are brought back yet.
            .filter(|key| !self.shared.is_unrecorded(key.1) || machine.deployment() > Some(key.1))
            .collect();
        for (color, deployment) in debris {
            if self.machine().version() != machine.version() {
                return;
            }
            let containers = seen.iter().filter(|c| c.color == color && c.deployment == deployment);
            let (drain, stop) = self.patience(deployment).await;
            if let Err(error) = self.shared.vacate(containers, drain).await {
                tracing::warn!(app = %machine.app(), deployment = deployment.0, %error, "left-over containers stay");
                continue;
            }
            let selector = only(machine.app(), color, deployment);
            tracing::info!(app = %machine.app(), deployment = deployment.0, %color, "removing containers that are left over");
            if let Err(error) = self.shared.ports.engine.ensure_gone(&selector, stop).await {
                tracing::warn!(app = %machine.app(), deployment = deployment.0, %error, "left-over containers stay");
            }
        }
    }
}

/// Ends when a new state is in force in which Docker is left alone by the effects. In the others they
/// look for themselves.
async fn calms(machine: &mut watch::Receiver<Arc<Machine>>) {
    while machine.changed().await.is_ok() {
        if is_calm(&machine.borrow()) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Whether containers that nobody has a use for can be removed: before the switch they are left, for
/// a deployment in flight should have the machine to itself.
fn is_calm(machine: &Machine) -> bool {
    matches!(machine.phase(), Phase::Settled(_) | Phase::Watching(_))
}

fn settled(machine: &Machine) -> bool {
    matches!(machine.phase(), Phase::Settled(_))
}

fn runs(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running | ContainerState::Restarting(_))
}

/// The present lives of a release.
fn lives(live: &Release, seen: &[Container]) -> BTreeSet<UpstreamId> {
    let mine = seen.iter().filter(|container| belongs(container, live));
    mine.filter_map(|container| container.life.clone()).collect()
}

/// What is missing of a release that should run whole.
fn missing(release: &Release, seen: &[Container]) -> Option<String> {
    let mine: Vec<&Container> = seen.iter().filter(|container| belongs(container, release)).collect();
    if let Some(ended) = mine.iter().find_map(|container| describe_end(container)) {
        return Some(ended);
    }
    let (have, want) = (mine.len(), usize::from(release.plan.replicas));
    (have < want).then(|| format!("{} of {want} {} containers are gone", want - have, release.color))
}
