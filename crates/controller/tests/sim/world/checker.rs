//! The checker: what must hold, judged from Docker, the proxy and the database alone, never from the
//! controller's memory. Numbers 1 to 7 are those of `dockswap_core::invariants`.

use super::State;
use super::files::read;
use super::proxy::Snapshot;
use super::tally::Promise;
use dockswap_core::invariants::{self, AT_REST, ReleaseId, Stop, Traffic, View};
use dockswap_core::machine::{Machine, Phase};
use dockswap_core::name::ContainerId;
use dockswap_core::records::{DeploymentStatus, EventRecord};
use dockswap_core::spec::Strategy;
use dockswap_core::{AppName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after a harm nobody is to blame for not knowing what became of a release out of traffic: an
/// absence of Docker, a call that hangs, and the time from one look to the next.
const UNSEEN: Duration = Duration::from_secs(90);

/// How long the table of an app whose rollback was given up may wait for its turn at the proxy: another app's
/// table may be under way, slowly.
const GIVEN_UP: Duration = Duration::from_secs(20);

/// How long what was seen may take to come into force: Docker's answer is on its way, then another app's table and
/// its own, each until the proxy's deadline.
const LATE_TABLE: Duration = Duration::from_secs(20);

/// How long something may wait.
#[derive(Clone, Copy)]
enum Patience {
    Until(Timestamp),
    /// Whoever would do it died: until the first table of another one.
    NextTable,
}

/// What the checker remembers.
#[derive(Default)]
pub(crate) struct Checker {
    /// What was seen that must not be, first.
    pub(crate) violation: Option<Violation>,
    /// Until when a rollback that was given up may show in the routes.
    given_up: Option<Patience>,
    /// Nobody knows the route: the proxy's last answer is not there, or was lost.
    pub(crate) in_doubt: bool,
    trusted: BTreeMap<AppName, BTreeSet<ReleaseId>>,
    /// By release, with the time of the last harm.
    harmed: BTreeMap<AppName, BTreeMap<ReleaseId, Timestamp>>,
    /// Releases that go on with the life that was harmed, from when they were set right.
    set_right: BTreeMap<AppName, BTreeMap<ReleaseId, SetRight>>,
    served: BTreeSet<AppName>,
    /// Apps that the world itself keeps from being served.
    pub(crate) excused: BTreeSet<AppName>,
    stops: BTreeMap<AppName, Vec<Stop>>,
    /// The live containers of an app as they were when the deployment in flight began, for as long as
    /// nobody else has touched them.
    before: BTreeMap<AppName, Lives>,
}

/// A container was paused, or off its network, and answers again without a new start. From its life nobody can tell
/// that it was away: while it still had the route, it is whole at once, and yet the controller may know it as one that
/// answers nobody, from a look of before, and withdraw it once more. It is not to blame for that until it has seen
/// otherwise, and the table has had its turn that says so.
#[derive(Clone, Copy)]
struct SetRight {
    since: Timestamp,
    /// When Docker first said so to the controller.
    seen: Option<Timestamp>,
}

impl SetRight {
    /// Whether a table may yet come into force that is made of what was seen before.
    fn is_behind(&self, now: Timestamp) -> bool {
        let is_within = |since: Timestamp, patience| now.saturating_since(since) < patience;
        is_within(self.since, UNSEEN) && self.seen.is_none_or(|seen| is_within(seen, LATE_TABLE))
    }
}

/// Containers of one release, each with the start of its present life.
struct Lives {
    release: ReleaseId,
    containers: BTreeSet<(ContainerId, Timestamp)>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) what: String,
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
    pub(crate) fn violated(&mut self, promise: Promise, what: String) {
        if self.checker.violation.is_some() {
            return;
        }
        self.tell(format!("VIOLATED: {what}"));
        self.checker.violation = Some(Violation { promise, what });
    }

    /// The container is harmed from outside, and what was in flight on it is lost; we are not to blame for what
    /// follows.
    pub(crate) fn harm(&mut self, name: &str) {
        self.hang(name);
        if let Some(shell) = self.docker.containers.get(name) {
            let life = shell.shown.life.as_ref();
            self.proxy.requests.retain(|request| Some(&request.upstream) != life);
        }
    }

    /// The container is kept from answering, from outside: what was sent to it waits.
    pub(crate) fn hang(&mut self, name: &str) {
        let now = self.now();
        if let Some(shell) = self.docker.containers.get(name) {
            let release = (shell.shown.color, shell.shown.deployment);
            if self.checker.before.get(&shell.shown.app).is_some_and(|lives| lives.release == release) {
                self.checker.before.remove(&shell.shown.app);
            }
            self.checker.harmed.entry(shell.shown.app.clone()).or_default().insert(release, now);
        }
    }

    /// What somebody kept from answering answers again, in the same life.
    pub(crate) fn goes_on(&mut self, name: &str) {
        self.hang(name);
        let now = self.now();
        if let Some(shell) = self.docker.containers.get(name) {
            let release = (shell.shown.color, shell.shown.deployment);
            let set_right = SetRight { since: now, seen: None };
            self.checker.set_right.entry(shell.shown.app.clone()).or_default().insert(release, set_right);
        }
    }

    /// Docker tells the controller how the containers of `app` are, or of all apps.
    pub(crate) fn shown(&mut self, app: Option<&AppName>) {
        let now = self.now();
        let of = self.checker.set_right.iter_mut().filter(|(name, _)| app.is_none_or(|app| *name == app));
        for set_right in of.flat_map(|(_, releases)| releases.values_mut()) {
            set_right.seen.get_or_insert(now);
        }
    }

    /// The proxy ends, with everything in flight, and is started anew. That an older table leads to where
    /// nothing runs any more is not our doing.
    pub(crate) fn proxy_restarts(&mut self, snapshot: Snapshot) {
        let (now, before) = (self.now(), self.proxy.table.clone());
        self.proxy.restart(snapshot);
        for routes in &self.proxy.table.apps {
            if let Some(target) = routes.target.as_ref().filter(|_| !before.apps.contains(routes)) {
                let harmed = self.checker.harmed.entry(routes.app.clone()).or_default();
                harmed.insert((target.color, target.deployment), now);
            }
        }
    }

    /// We stop a container that runs, or is paused.
    pub(crate) fn stopped_by_us(&mut self, name: &str) {
        let shell = &self.docker.containers[name].shown;
        let (app, release) = (shell.app.clone(), (shell.color, shell.deployment));
        let id = shell.life.clone();
        let target =
            self.proxy.table.apps.iter().find(|routes| routes.app == app).and_then(|r| r.target.as_ref());
        let routed = target.is_some_and(|target| target.upstreams.iter().any(|u| Some(&u.id) == id.as_ref()));
        let mine =
            |request: &&super::proxy::Request| Some(&request.upstream) == id.as_ref() && !request.overdue;
        let in_flight = self.proxy.requests.iter().filter(mine).count();
        self.tally.stops += 1;
        self.checker.stops.entry(app).or_default().push(Stop {
            release,
            in_flight: u64::try_from(in_flight).unwrap_or(u64::MAX),
            was: if routed { Traffic::Routed } else { Traffic::Unrouted },
        });
        self.proxy.requests.retain(|request| Some(&request.upstream) != id.as_ref());
    }

    /// A client was turned away.
    pub(crate) fn refused_request(&mut self, app: &AppName, release: ReleaseId) {
        let harmed = self.checker.harmed.get(app).is_some_and(|harmed| harmed.contains_key(&release));
        if !harmed && !self.in_doubt() {
            let what = format!("a request to {} of deployment {} failed", release.0, release.1);
            self.violated(Promise::Service, what);
        }
    }

    /// Takes note of what a transition says about service.
    pub(crate) fn served(&mut self, app: &AppName, machine: &Machine, event: &EventRecord) {
        match event.event_type {
            "deploy" => self.remember(app),
            // What served is started again: it is not the same as before.
            "rollback_complete" if machine.is_held() => {
                self.checker.before.remove(app);
            }
            "rollback_complete" => self.compare(app),
            "retire" => {
                self.checker.served.remove(app);
            }
            // Going back was given up: where traffic is, the next table of the app's own tells.
            "rollback_failed" if !refused_by_the_proxy(event) => {
                self.checker.given_up = Some(Patience::Until(self.now() + GIVEN_UP));
            }
            "drain_timed_out" => {
                let live = machine.route().to.map(|release| (release.color, release.origin));
                let live: BTreeSet<_> = self
                    .docker
                    .of(app)
                    .filter(|shell| Some((shell.shown.color, shell.shown.deployment)) == live)
                    .filter_map(|shell| shell.shown.life.clone())
                    .collect();
                for request in &mut self.proxy.requests {
                    request.overdue |= request.app == *app && !live.contains(&request.upstream);
                }
            }
            _ => {}
        }
        if matches!(machine.phase(), Phase::Settled(_)) {
            self.checker.before.remove(app);
        }
        if machine.has_surrendered()
            && let Some(back) = machine.route().to
        {
            // It could not be brought back: that is on record, and people are told.
            let now = self.now();
            self.checker.harmed.entry(app.clone()).or_default().insert((back.color, back.origin), now);
        }
        if let Some(given_up) = machine.given_up() {
            // It may answer between two deaths, and is stopped all the same: that is on record too.
            let now = self.now();
            self.checker
                .harmed
                .entry(app.clone())
                .or_default()
                .insert((given_up.color, given_up.origin), now);
        }
        if machine.serving().is_some() && event.event_type == "traffic_switched" {
            self.tally.switches += 1;
            self.checker.served.insert(app.clone());
        }
    }

    /// A deployment begins: what serves must stay as it is if it fails.
    fn remember(&mut self, app: &AppName) {
        self.checker.before.remove(app);
        let Some(live) = self.database.machines.get(app).and_then(Machine::serving).map(|s| &s.live) else {
            return;
        };
        let release = (live.color, live.origin);
        let harmed = self.checker.harmed.get(app).is_some_and(|harmed| harmed.contains_key(&release));
        let containers = self.lives(app, release);
        if !harmed && containers.len() == usize::from(live.plan.replicas) {
            self.checker.before.insert(app.clone(), Lives { release, containers });
        }
    }

    /// A deployment was undone: what served before it serves untouched.
    fn compare(&mut self, app: &AppName) {
        let Some(Lives { release, containers }) = self.checker.before.remove(app) else { return };
        self.tally.undone += 1;
        if self.lives(app, release) != containers {
            let what =
                format!("{app}: {} of {} was touched by a deployment that failed", release.0, release.1);
            self.violated(Promise::Failure, what);
        }
    }

    /// The running containers of a release.
    fn lives(&self, app: &AppName, release: ReleaseId) -> BTreeSet<(ContainerId, Timestamp)> {
        self.docker
            .of(app)
            .filter(|shell| shell.runs() && (shell.shown.color, shell.shown.deployment) == release)
            .map(|shell| (shell.shown.id.clone(), shell.started))
            .collect()
    }

    /// What must hold at every instant.
    pub(crate) fn check(&mut self) {
        let apps: Vec<AppName> = self.database.machines.keys().cloned().collect();
        for app in &apps {
            let healthy = self.look(app);
            let verdict = self.judge(app, &healthy, invariants::check);
            self.checker.stops.remove(app);
            if let Err(violation) = verdict
                && !self.checker.excused.contains(app)
            {
                self.violated(Promise::of_invariant(violation.number), format!("{app}: {violation}"));
            }
        }
    }

    /// What must hold once everything was left alone for long enough.
    pub(crate) fn check_at_rest(&mut self) {
        let apps: Vec<AppName> = self.database.machines.keys().cloned().collect();
        for app in &apps {
            let healthy = self.look(app);
            if let Err(violation) = self.judge(app, &healthy, |view| AT_REST.check(view))
                && !self.checker.excused.contains(app)
            {
                self.violated(Promise::of_invariant(violation.number), format!("{app}: {violation}"));
            }
            let machine = self.database.machines[app].clone();
            match self.database.replay(app) {
                Ok(replayed) if replayed == machine => {}
                Ok(replayed) => {
                    let what = format!("{app}: all events lead to {}", replayed.state());
                    self.violated(Promise::Record, what);
                }
                Err(error) => self.violated(Promise::Record, format!("{app}: {error}")),
            }
            let used: BTreeSet<_> = machine.releases().iter().map(|r| (r.color, r.origin)).collect();
            let debris = self.docker.of(app).find(|c| !used.contains(&(c.shown.color, c.shown.deployment)));
            if let Some(debris) = debris.map(|shell| shell.shown.name.clone()) {
                self.violated(Promise::Leak, format!("{app}: {debris} is left over"));
            }
            let open = self.database.deployments.values().filter(|row| row.app_name == *app);
            let open =
                open.filter(|row| row.status == DeploymentStatus::InProgress && row.ended_at.is_some());
            if open.count() > 0 {
                self.violated(Promise::Record, format!("{app}: a deployment in progress has an end"));
            }
        }
        if self.checker.in_doubt {
            self.violated(Promise::Crash, "left alone, the proxy's table is still in doubt".to_owned());
        }
        self.tally.accounted = u64::try_from(self.database.deployments.len()).unwrap_or(u64::MAX);
    }

    /// Whether the controller cannot know where traffic is.
    fn in_doubt(&self) -> bool {
        self.checker.in_doubt || self.is_given_up()
    }

    fn is_given_up(&self) -> bool {
        match self.checker.given_up {
            Some(Patience::Until(until)) => self.now() < until,
            Some(Patience::NextTable) => true,
            None => false,
        }
    }

    /// The controller died: what it had not yet brought to the proxy, the next one brings at its start.
    pub(crate) fn waits_for_another_controller(&mut self) {
        self.checker.given_up = self.is_given_up().then_some(Patience::NextTable);
    }

    /// A table is in force.
    pub(crate) fn table_came(&mut self) {
        if let Some(Patience::NextTable) = self.checker.given_up {
            self.checker.given_up = Some(Patience::Until(self.now() + GIVEN_UP));
        }
    }

    fn routed(&self, app: &AppName) -> Option<ReleaseId> {
        let routes = self.proxy.table.apps.iter().find(|routes| routes.app == *app)?;
        routes.target.as_ref().map(|target| (target.color, target.deployment))
    }

    /// Brings what the checker remembers of an app up to date. Returns what is healthy.
    fn look(&mut self, app: &AppName) -> BTreeSet<ReleaseId> {
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
        let (routed, now) = (self.routed(app), self.now());
        let machine = &self.database.machines[app];
        // A release without containers that no state and no route names never comes back.
        let mut matters: BTreeSet<_> = machine.releases().iter().map(|r| (r.color, r.origin)).collect();
        matters.extend(routed);
        matters.extend(trusted.union(&wanting));
        let known = self.checker.trusted.entry(app.clone()).or_default();
        known.extend(trusted.difference(&wanting));
        known.retain(|release| matters.contains(release));
        let given_up = machine.given_up().map(|release| (release.color, release.origin));
        let none = BTreeMap::new();
        let set_right = self.checker.set_right.get(app).unwrap_or(&none);
        if let Some(harmed) = self.checker.harmed.get_mut(app) {
            // It is whole again when traffic has found it again; out of traffic, when it must have been seen.
            harmed.retain(|release, since| {
                let unseen = routed != Some(*release) && now.saturating_since(*since) < UNSEEN;
                let behind = set_right.get(release).is_some_and(|set_right| set_right.is_behind(now));
                let excused = unseen || behind || given_up == Some(*release);
                matters.contains(release) && (!healthy.contains(release) || excused)
            });
        }
        healthy
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

    /// Whether a release must run alone, by the config that it was deployed with.
    fn runs_alone(&self, app: &AppName, (_, deployment): ReleaseId) -> bool {
        let config = self.database.deployments.get(&deployment).map(|row| row.config_id);
        let row = self.database.configs.iter().find(|row| Some(row.id) == config);
        row.is_some_and(|row| read(app, &row.bytes).deployment.strategy == Strategy::Recreate)
    }

    fn judge<T>(&self, app: &AppName, healthy: &BTreeSet<ReleaseId>, ask: impl FnOnce(&View) -> T) -> T {
        let machine = &self.database.machines[app];
        let unknown = Machine::new(app.clone());
        let none = BTreeSet::new();
        let harmed = self.checker.harmed.get(app).map(|harmed| harmed.keys().copied().collect());
        let harmed: BTreeSet<_> = harmed.unwrap_or_default();
        let no_deployments = BTreeSet::new();
        let shells = self.docker.of(app).filter(|shell| shell.runs());
        let running: BTreeSet<_> = shells.map(|shell| (shell.shown.color, shell.shown.deployment)).collect();
        let alone = running.iter().copied().filter(|release| self.runs_alone(app, *release)).collect();
        ask(&View {
            running: &running,
            alone: &alone,
            machine,
            replayed: self.database.replayed.get(app).unwrap_or(&unknown),
            current: self.database.current.get(app),
            in_progress: self.database.in_progress.get(app).unwrap_or(&no_deployments),
            routed: self.routed(app),
            in_doubt: self.in_doubt(),
            healthy,
            harmed: &harmed,
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
