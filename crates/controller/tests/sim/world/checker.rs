//! The checker: what must hold, judged from Docker, the proxy and the database alone, never from the
//! controller's memory. Numbers 1 to 7 are those of `dockswap_core::invariants`.

use super::State;
use dockswap_core::AppName;
use dockswap_core::invariants::{self, AT_REST, ReleaseId, Stop, Traffic, View};
use dockswap_core::machine::Machine;
use dockswap_core::records::{DeploymentStatus, EventRecord};
use std::collections::{BTreeMap, BTreeSet};

/// What the checker remembers.
#[derive(Default)]
pub(crate) struct Checker {
    /// What was seen that must not be.
    pub(crate) violations: Vec<String>,
    /// Nobody knows the route: the proxy's last answer is not there, or was lost.
    pub(crate) in_doubt: bool,
    trusted: BTreeMap<AppName, BTreeSet<ReleaseId>>,
    harmed: BTreeMap<AppName, BTreeSet<ReleaseId>>,
    served: BTreeSet<AppName>,
    /// Apps that the world itself keeps from being served.
    pub(crate) excused: BTreeSet<AppName>,
    stops: BTreeMap<AppName, Vec<Stop>>,
}

impl Checker {
    /// The proxy lost its table: that nothing is routed is no fault of the controller's, until it has
    /// switched traffic again.
    pub(crate) fn forgive_outage(&mut self) {
        self.served.clear();
    }
}

impl State {
    /// The first violation is the story's point: what follows from it is not told.
    pub(crate) fn violated(&mut self, what: String) {
        if !self.checker.violations.is_empty() {
            return;
        }
        self.tell(format!("VIOLATED: {what}"));
        self.checker.violations.push(what);
    }

    /// The container is harmed from outside; we are not to blame for what follows.
    pub(crate) fn harm(&mut self, name: &str) {
        if let Some(shell) = self.docker.containers.get(name) {
            let release = (shell.shown.color, shell.shown.deployment);
            self.checker.harmed.entry(shell.shown.app.clone()).or_default().insert(release);
            let upstream = shell.shown.upstream.as_ref().map(|upstream| upstream.id.clone());
            self.proxy.requests.retain(|request| Some(&request.upstream) != upstream.as_ref());
        }
    }

    /// We stop a container that runs.
    pub(crate) fn stopped_by_us(&mut self, name: &str) {
        let shell = &self.docker.containers[name].shown;
        let (app, release) = (shell.app.clone(), (shell.color, shell.deployment));
        let id = shell.upstream.as_ref().map(|upstream| upstream.id.clone());
        let target =
            self.proxy.table.apps.iter().find(|routes| routes.app == app).and_then(|r| r.target.as_ref());
        let routed = target.is_some_and(|target| target.upstreams.iter().any(|u| Some(&u.id) == id.as_ref()));
        let mine =
            |request: &&super::proxy::Request| Some(&request.upstream) == id.as_ref() && !request.overdue;
        let in_flight = self.proxy.requests.iter().filter(mine).count();
        self.checker.stops.entry(app).or_default().push(Stop {
            release,
            in_flight: u64::try_from(in_flight).unwrap_or(u64::MAX),
            was: if routed { Traffic::Routed } else { Traffic::Unrouted },
        });
        self.proxy.requests.retain(|request| Some(&request.upstream) != id.as_ref());
    }

    /// A client was turned away.
    pub(crate) fn refused_request(&mut self, app: &AppName, release: ReleaseId) {
        let harmed = self.checker.harmed.get(app).is_some_and(|harmed| harmed.contains(&release));
        if !harmed && !self.checker.in_doubt {
            self.violated(format!("a request to {} of deployment {} failed", release.0, release.1));
        }
    }

    /// Takes note of what a transition says about service.
    pub(crate) fn served(&mut self, app: &AppName, machine: &Machine, event: &EventRecord) {
        match event.event_type {
            "retire" => {
                self.checker.served.remove(app);
            }
            // Going back was given up: where traffic is, the next table tells.
            "rollback_failed" if !refused_by_the_proxy(event) => self.checker.in_doubt = true,
            "drain_timed_out" => {
                let live = machine.route().to.map(|release| (release.color, release.origin));
                let live: BTreeSet<_> = self
                    .docker
                    .of(app)
                    .filter(|shell| Some((shell.shown.color, shell.shown.deployment)) == live)
                    .filter_map(|shell| shell.shown.upstream.as_ref().map(|upstream| upstream.id.clone()))
                    .collect();
                for request in &mut self.proxy.requests {
                    request.overdue |= request.app == *app && !live.contains(&request.upstream);
                }
            }
            _ => {}
        }
        if machine.serving().is_some() && event.event_type == "traffic_switched" {
            self.checker.served.insert(app.clone());
        }
    }

    /// What must hold at every instant.
    pub(crate) fn check(&mut self) {
        let apps: Vec<AppName> = self.database.machines.keys().cloned().collect();
        for app in &apps {
            self.look(app);
            let verdict = self.judge(app, invariants::check);
            self.checker.stops.remove(app);
            if let Err(violation) = verdict
                && !self.checker.excused.contains(app)
            {
                self.violated(format!("{app}: {violation}"));
            }
        }
    }

    /// What must hold once everything was left alone for long enough.
    pub(crate) fn check_at_rest(&mut self) {
        let apps: Vec<AppName> = self.database.machines.keys().cloned().collect();
        for app in &apps {
            self.look(app);
            if let Err(violation) = self.judge(app, |view| AT_REST.check(view))
                && !self.checker.excused.contains(app)
            {
                self.violated(format!("{app}: {violation}"));
            }
            let machine = self.database.machines[app].clone();
            match self.database.replay(app) {
                Ok(replayed) if replayed == machine => {}
                Ok(replayed) => self.violated(format!("{app}: all events lead to {}", replayed.state())),
                Err(error) => self.violated(format!("{app}: {error}")),
            }
            let used: BTreeSet<_> = machine.releases().iter().map(|r| (r.color, r.origin)).collect();
            let debris = self.docker.of(app).find(|c| !used.contains(&(c.shown.color, c.shown.deployment)));
            if let Some(debris) = debris.map(|shell| shell.shown.name.clone()) {
                self.violated(format!("{app}: {debris} is left over"));
            }
            let open = self.database.deployments.values().filter(|row| row.app_name == *app);
            let open =
                open.filter(|row| row.status == DeploymentStatus::InProgress && row.ended_at.is_some());
            if open.count() > 0 {
                self.violated(format!("{app}: a deployment in progress has an end"));
            }
        }
        if self.checker.in_doubt {
            self.violated("left alone, the proxy's table is still in doubt".to_owned());
        }
    }

    fn routed(&self, app: &AppName) -> Option<ReleaseId> {
        let routes = self.proxy.table.apps.iter().find(|routes| routes.app == *app)?;
        routes.target.as_ref().map(|target| (target.color, target.deployment))
    }

    /// Brings what the checker remembers of an app up to date.
    fn look(&mut self, app: &AppName) {
        let healthy = self.healthy(app);
        let mut trusted = BTreeSet::new();
        let mut wanting = BTreeSet::new();
        for shell in self.docker.of(app) {
            let release = (shell.shown.color, shell.shown.deployment);
            if shell.proven {
                trusted.insert(release);
            } else {
                wanting.insert(release);
            }
        }
        let known = self.checker.trusted.entry(app.clone()).or_default();
        known.extend(trusted.difference(&wanting));
        // What is wanted in traffic is whole again when traffic has found it again.
        let wanted = self.database.machines[app].route().to.map(|release| (release.color, release.origin));
        let routed = self.routed(app);
        if let Some(harmed) = self.checker.harmed.get_mut(app) {
            harmed.retain(|release| {
                !healthy.contains(release) || (wanted == Some(*release) && routed != wanted)
            });
        }
    }

    /// The releases of an app of which every container serves; and what is routed, only where the
    /// routes lead to the containers as they are now.
    fn healthy(&self, app: &AppName) -> BTreeSet<ReleaseId> {
        let now = self.now();
        let mut all: BTreeMap<ReleaseId, (bool, BTreeSet<_>)> = BTreeMap::new();
        for shell in self.docker.of(app) {
            let entry =
                all.entry((shell.shown.color, shell.shown.deployment)).or_insert((true, BTreeSet::new()));
            entry.0 &= shell.healthy(now);
            entry.1.extend(shell.shown.upstream.clone());
        }
        let routes = self.proxy.table.apps.iter().find(|routes| routes.app == *app);
        let target = routes.and_then(|routes| routes.target.as_ref());
        // A release that was harmed is whole again when every replica is back, not before.
        let releases = self.database.machines.get(app).map(|machine| machine.releases()).unwrap_or_default();
        let replicas = |release: &ReleaseId| {
            let found = releases.iter().find(|other| (other.color, other.origin) == *release);
            found.map(|release| usize::from(release.plan.replicas))
        };
        all.into_iter()
            .filter(|(release, (_, upstreams))| replicas(release).is_none_or(|want| upstreams.len() == want))
            .filter(|(release, (healthy, upstreams))| {
                let here = target.filter(|target| (target.color, target.deployment) == *release);
                let follows = here.is_none_or(|target| {
                    !target.upstreams.is_empty()
                        && target.upstreams.iter().cloned().collect::<BTreeSet<_>>() == *upstreams
                });
                *healthy && follows
            })
            .map(|(release, _)| release)
            .collect()
    }

    fn judge<T>(&self, app: &AppName, ask: impl FnOnce(&View) -> T) -> T {
        let machine = &self.database.machines[app];
        let unknown = Machine::new(app.clone());
        let in_progress = self
            .database
            .deployments
            .values()
            .filter(|row| row.app_name == *app && row.status == DeploymentStatus::InProgress)
            .map(|row| row.id)
            .collect();
        let none = BTreeSet::new();
        ask(&View {
            machine,
            replayed: self.database.replayed.get(app).unwrap_or(&unknown),
            current: self.database.current.get(app),
            in_progress: &in_progress,
            routed: self.routed(app),
            in_doubt: self.checker.in_doubt,
            healthy: &self.healthy(app),
            harmed: self.checker.harmed.get(app).unwrap_or(&none),
            trusted: self.checker.trusted.get(app).unwrap_or(&none),
            has_served: self.checker.served.contains(app),
            stops: self.checker.stops.get(app).map_or(&[], Vec::as_slice),
        })
    }
}

/// Then the table in force stays, and everybody knows which that is.
fn refused_by_the_proxy(event: &EventRecord) -> bool {
    event.error.as_ref().is_some_and(|error| error.contains("the proxy refused the table"))
}
