//! Versions that may not run beside others: what is stopped before one is started, and how it comes back where no
//! record says what it was.

use crate::containers::{belongs, only};
use crate::controller::Shared;
use crate::effects::{PATIENCE, Work, is_unavailable};
use dockswap_core::DeploymentId;
use dockswap_core::machine::{Failure, Machine, Release};
use dockswap_core::ports::{Container, Probe};
use dockswap_core::spec::{RestartPolicy, Strategy};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How often what was started again is asked whether it serves.
const PROBE: Duration = Duration::from_millis(200);

impl Shared {
    /// Those of `seen` that may not run beside `release`: it must run alone, or they must. Of what the state knows no
    /// more the records tell.
    pub(crate) async fn excluded(
        &self,
        machine: &Machine,
        release: &Release,
        seen: Vec<Container>,
    ) -> Vec<Container> {
        let known = machine.releases();
        let others: Vec<Container> =
            seen.into_iter().filter(|container| !belongs(container, release)).collect();
        // Asked once of each version: it is stopped as a whole, so that one answer must hold for all that runs of it.
        let version = |container: &Container| (container.color, container.deployment);
        let mut is_excluded = BTreeMap::new();
        for container in &others {
            if is_excluded.contains_key(&version(container)) {
                continue;
            }
            let excluded = release.runs_alone()
                || match known.iter().find(|other| other.owns(container)) {
                    Some(other) => other.runs_alone(),
                    None => self.ran_alone(container.deployment).await,
                };
            is_excluded.insert(version(container), excluded);
        }
        others.into_iter().filter(|container| is_excluded[&version(container)]).collect()
    }

    /// Whether the version that `deployment` brought must run alone. Where that cannot be read, it is taken for one
    /// that must; where nothing is on record, for one that need not.
    async fn ran_alone(&self, deployment: DeploymentId) -> bool {
        match self.ports.store.deployment(deployment).await {
            Ok(Some(row)) => match self.specs.load(row.config_id).await {
                Ok(stored) => stored.spec.deployment.strategy == Strategy::Recreate,
                Err(_) => true,
            },
            Ok(None) => false,
            Err(_) => true,
        }
    }
}

impl Work {
    /// Stops whatever may not run beside `release`. A release that runs alone finds everything else stopped already,
    /// nearly always: a stranger may have started it, an earlier controller failed to stop it, or no record knows of
    /// it. That it was seen stopped says nothing: Docker may be about to start it again.
    pub(crate) async fn clear_the_way(&self, release: &Release) -> Result<(), Failure> {
        let beside = self.shared.excluded(&self.machine, release, self.containers.all()).await;
        if beside.is_empty() {
            return Ok(());
        }
        self.withhold(release, &beside).await?;
        self.vacate(&beside, release.plan.policy.drain_timeout).await?;
        let releases: BTreeSet<_> =
            beside.iter().map(|container| (container.color, container.deployment)).collect();
        for (color, deployment) in releases {
            let selector = only(self.app(), color, deployment);
            let timeout = release.plan.policy.stop_timeout;
            let stopped = self.persist(PATIENCE, is_unavailable, || {
                self.shared.ports.engine.ensure_stopped(&selector, timeout)
            });
            stopped.await.map_err(|error| {
                Failure::new(format!("{color} of deployment {deployment} may not run beside it: {error}"))
            })?;
        }
        Ok(())
    }

    /// Has requests wait, where what is to be stopped has traffic that no record knows of.
    async fn withhold(&self, release: &Release, beside: &[Container]) -> Result<(), Failure> {
        let held = self.shared.held(self.app());
        let now = self.shared.ports.clock.now();
        if !held.withhold(beside, &release.plan.policy, now) {
            return Ok(());
        }
        let routes = held.routes(beside, self.machine.gate());
        self.publish(PATIENCE, routes).await.map(drop).map_err(|error| Failure::new(error.to_string()))
    }

    /// Starts again what had traffic that no record knows of, once `failed` is gone that was to follow it. It is the
    /// same app: what would have shown that the one serves shows it of the other.
    pub(crate) async fn bring_back(&self, failed: &Release) {
        let held = self.shared.held(self.app());
        let Some((color, deployment)) = held.withheld() else { return };
        let selector = only(self.app(), color, deployment);
        let start = || self.shared.ports.engine.ensure_started(&selector, RestartPolicy::UnlessStopped);
        match self.persist(PATIENCE, is_unavailable, start).await {
            Ok(started) => {
                let until = Instant::now() + failed.plan.policy.startup_timeout;
                while Instant::now() < until && !self.all_answer(&started, failed).await {
                    tokio::time::sleep(PROBE).await;
                }
            }
            Err(error) => {
                tracing::error!(app = %self.app(), %error, "what served before does not start again");
            }
        }
        // Its address may be another one now.
        if let Err(error) = self.observe().await {
            tracing::warn!(app = %self.app(), %error, "docker does not say where it is");
        }
        held.give_back();
    }

    async fn all_answer(&self, containers: &[Container], like: &Release) -> bool {
        for upstream in containers.iter().filter_map(|container| container.upstream.as_ref()) {
            let probe = self.shared.ports.prober.probe(upstream, &like.plan.health_check).await;
            if probe != Probe::Healthy {
                return false;
            }
        }
        true
    }
}
