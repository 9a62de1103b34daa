//! Driving the world and the controller in it: time passes only while this is asked to let it.

use crate::world::World;
use crate::world::docker::Shell;
use crate::world::faults::{Absence, Call, Fault, Moment, Side};
use crate::world::files::{CANARY, CANARY_LINES, Version};
use crate::world::tally::Promise;
use dockswap_controller::{
    AppView, Command, Controller, ControllerSettings, OrderError, Outcome, Ports, PruneMode, Retention,
};
use dockswap_core::machine::Phase;
use dockswap_core::records::{DeploymentRow, DeploymentStatus};
use dockswap_core::retention::Pruned;
use dockswap_core::routes::AppRoutes;
use dockswap_core::spec::CertificateSource;
use dockswap_core::{AppName, DeploymentId, Timestamp};
use futures_util::future::{join, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// The longest that anything may take to come to rest, in simulated time.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long rest has to last: longer than the controller's slowest look around.
const REST: Duration = Duration::from_secs(65);

/// One life of a controller. Dropping its runtime ends it as `kill -9` does: at whatever it awaits.
struct Life {
    runtime: Runtime,
    controller: Arc<Controller>,
}

/// A world with a controller in it.
pub(crate) struct Sim {
    pub(crate) world: Arc<World>,
    life: Option<Life>,
    /// The config directory.
    files: BTreeMap<AppName, Version>,
    max_concurrent: usize,
}

/// Seconds, for short.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An app's name.
pub(crate) fn app(name: &str) -> AppName {
    name.parse().expect("a name")
}

impl Sim {
    /// A world with a controller that has nothing to do.
    pub(crate) fn new() -> Self {
        let mut sim = Self::seeded(1);
        sim.start();
        sim
    }

    /// A world without a controller.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::of(Arc::new(World::new(seed)))
    }

    /// The same, in a world that outlives it.
    pub(crate) fn of(world: Arc<World>) -> Self {
        Self { world, life: None, files: BTreeMap::new(), max_concurrent: 4 }
    }

    pub(crate) fn max_concurrent(mut self, most: usize) -> Self {
        self.max_concurrent = most;
        self
    }

    // ------------------------------------------------------------ lives

    /// Starts a controller, and offers it every file, as the config directory does.
    pub(crate) fn start(&mut self) {
        assert!(self.life.is_none(), "one controller at a time");
        while !self.try_start() {}
        let offers: Vec<_> = self.files.iter().map(|(app, version)| (app.clone(), version.clone())).collect();
        for (app, version) in offers {
            self.offer(&app, &version);
        }
    }

    fn try_start(&mut self) -> bool {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let world = self.world.clone();
        world.born();
        let settings = ControllerSettings { max_concurrent: self.max_concurrent };
        let controller = runtime.block_on(async {
            world.thaw();
            let traffic = world.clone();
            tokio::spawn(async move { traffic.traffic().await });
            let ports = Ports {
                engine: world.clone(),
                router: world.clone(),
                store: world.clone(),
                files: world.clone(),
                prober: world.clone(),
                clock: world.clone(),
            };
            let started = tokio::select! {
                biased;
                () = world.died.notified() => None,
                started = Controller::start(ports, settings, CancellationToken::new()) => started.ok(),
            };
            world.freeze();
            started
        });
        let Some(controller) = controller else {
            drop(runtime);
            self.world.dead();
            return false;
        };
        self.life = Some(Life { runtime, controller });
        true
    }

    /// The controller dies where it stands.
    pub(crate) fn crash(&mut self) {
        if let Some(life) = self.life.take() {
            drop(life);
            self.world.dead();
        }
    }

    /// The controller dies, and another one starts.
    pub(crate) fn restart(&mut self) {
        self.crash();
        self.start();
    }

    /// The controller is asked to stop, and does; here it is all the same.
    pub(crate) fn outlived(&mut self) -> Arc<Controller> {
        let controller = self.controller();
        self.shutdown();
        controller
    }

    /// The controller is asked to stop, and does.
    pub(crate) fn shutdown(&mut self) {
        if let Some(Life { runtime, controller }) = self.life.take() {
            let done = runtime.block_on(async {
                self.world.thaw();
                let done = tokio::select! {
                    biased;
                    () = self.world.died.notified() => true,
                    done = tokio::time::timeout(secs(120), controller.shutdown()) => done.is_ok(),
                };
                self.world.freeze();
                done
            });
            drop((controller, runtime));
            self.world.dead();
            self.expect(done, "the controller stops when it is asked to");
        }
    }

    /// Lets time pass until `work` is done; `None` when the controller died first: then another one
    /// has started.
    fn drive<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let life = self.life.as_ref().expect("a controller");
        let world = self.world.clone();
        let done = life.runtime.block_on(async {
            world.thaw();
            let done = tokio::select! {
                biased;
                () = world.died.notified() => None,
                done = work => Some(done),
            };
            world.freeze();
            done
        });
        if done.is_none() {
            self.restart();
        }
        self.sound();
        done
    }

    /// The certificate files that routes of the app want.
    pub(crate) fn certificates(&self, name: &str) -> BTreeSet<String> {
        let routes = self.controller().secure_routes().into_iter().filter(|(of, _)| *of == app(name));
        let sources = routes.filter_map(|(_, route)| Some(route.tls?.source));
        sources
            .filter_map(|source| match source {
                CertificateSource::Files { cert, .. } => Some(cert),
                CertificateSource::Acme => None,
            })
            .collect()
    }

    fn controller(&self) -> Arc<Controller> {
        self.life.as_ref().expect("a controller").controller.clone()
    }

    // ------------------------------------------------------------ doing

    /// Saves a version of an app's file.
    pub(crate) fn edit(&mut self, name: &str, version: &Version) {
        let app = app(name);
        self.files.insert(app.clone(), version.clone());
        self.offer(&app, version);
    }

    /// Changes a comment of an app's file.
    pub(crate) fn comment(&mut self, name: &str, text: usize) {
        if let Some(version) = self.files.get(&app(name)).cloned() {
            self.edit(name, &version.comment(&text));
        }
    }

    /// Saves a version while no controller runs.
    pub(crate) fn save(&mut self, name: &str, version: &Version) {
        self.files.insert(app(name), version.clone());
    }

    /// Nothing stands in the config directory any more; nobody has looked yet.
    pub(crate) fn files_are_gone(&mut self) {
        self.files.clear();
    }

    fn offer(&mut self, app: &AppName, version: &Version) {
        let controller = self.controller();
        let offer = version.offer(app);
        // As the config directory does: what could not be stored is offered again.
        self.drive(async move {
            while controller.offer(offer.clone()).await.is_err() {
                tokio::time::sleep(secs(1)).await;
            }
        });
    }

    /// Gives an order; `None` when the controller died over it.
    pub(crate) fn order(&mut self, name: &str, command: Command) -> Option<Result<Outcome, OrderError>> {
        let (app, controller) = (app(name), self.controller());
        self.drive(async move { tokio::time::timeout(PATIENCE, controller.command(&app, command)).await })
            .map(|answered| answered.expect("an order is answered in time"))
    }

    /// Removes what is old of an app, for it to go back `deployments` versions.
    pub(crate) fn prune(&mut self, name: &str, deployments: usize, mode: PruneMode) -> Pruned {
        let (app, controller, before) = (app(name), self.controller(), self.world.lock().now());
        let retention = Retention { deployments, before, mode, time: secs(60) };
        let pruned = self.drive(async move { controller.prune(&app, &retention).await });
        match pruned {
            Some(Ok(outcome)) => outcome.pruned,
            other => self.fail(&format!("pruning {name}: {other:?}")),
        }
    }

    /// Gives an order that is carried out.
    pub(crate) fn command(&mut self, name: &str, command: Command) -> Outcome {
        let what = format!("{command:?} on {name}");
        match self.order(name, command) {
            Some(Ok(outcome)) => outcome,
            other => self.fail(&format!("{what}: {other:?}")),
        }
    }

    /// Gives orders at once, each after its own delay, while a version of the file is saved; every one of them
    /// is answered.
    pub(crate) fn at_once(
        &mut self,
        name: &str,
        orders: &[(Duration, Command)],
        edit: (&Version, Duration),
    ) -> Vec<Result<Outcome, OrderError>> {
        let (app, controller) = (app(name), self.controller());
        let (version, delay) = edit;
        self.files.insert(app.clone(), version.clone());
        let offer = version.offer(&app);
        let saved = async {
            tokio::time::sleep(delay).await;
            controller.offer(offer).await
        };
        let ordered = orders.iter().map(|(delay, command)| {
            let (app, controller) = (&app, &controller);
            async move {
                tokio::time::sleep(*delay).await;
                tokio::time::timeout(PATIENCE, controller.command(app, command.clone())).await
            }
        });
        let done = self.drive(join(saved, join_all(ordered)));
        let (saved, answers) = done.expect("a controller that lives");
        saved.expect("a version that is stored");
        answers.into_iter().map(|answer| answer.expect("an order is answered in time")).collect()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.world.lock().now() + time;
        loop {
            let left = end.saturating_since(self.world.lock().now());
            if left.is_zero() {
                return;
            }
            self.drive(async move { tokio::time::sleep(left).await });
        }
    }

    /// Lets time pass until the app's recorded state is `state`, and not a moment longer.
    pub(crate) fn until(&mut self, name: &str, state: &str) {
        self.until_that(&format!("{name} is {state}"), |sim| sim.state(name) == state);
    }

    /// Lets time pass until `so`; asked after each commit and each 50 ms.
    pub(crate) fn until_that(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = self.world.lock().now() + PATIENCE;
        while !so(self) {
            let world = self.world.clone();
            self.drive(async {
                let _ = tokio::time::timeout(Duration::from_millis(50), world.committed.notified()).await;
            });
            if self.world.lock().now() >= end {
                self.fail(&format!("it never came about that {what}"));
            }
        }
    }

    /// Whether no app has anything in flight, but for what waits for a person.
    pub(crate) fn is_settled(&self) -> bool {
        let settled = |phase: &Phase| matches!(phase, Phase::Settled(_) | Phase::AwaitingPromotion(_));
        self.world.lock().database.machines.values().all(|machine| settled(machine.phase()))
    }

    /// Lets everything come to rest, and judges.
    pub(crate) fn rest(&mut self) {
        self.until_that("everything rests", |sim| {
            sim.is_settled() && sim.views().iter().all(|view| !view.waiting)
        });
        self.pass(REST);
        self.world.lock().check_at_rest();
        self.sound();
        self.no_secret_shows();
    }

    /// Deploys, and waits until it serves and its standby is stopped.
    pub(crate) fn deploy(&mut self, name: &str, version: &Version) {
        self.edit(name, version);
        self.until_serving(name, version);
        self.rest();
    }

    /// Waits until a version's image serves, in state `stable`.
    pub(crate) fn until_serving(&mut self, name: &str, version: &Version) {
        let image = version.offer(&app(name)).spec.image.clone();
        self.until_that(&format!("{name} serves {image}"), |sim| {
            sim.state(name) == "stable" && sim.image(name).as_deref() == Some(image.as_str())
        });
    }

    pub(crate) fn plan(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.world.lock().faults.plan(call, faults);
    }

    /// Nobody answers on `side` for `time`.
    pub(crate) fn away(&self, side: Side, time: Duration) {
        self.absent(side, Absence::Gone, time);
    }

    /// `side` accepts every call for `time`, and answers none.
    pub(crate) fn hangs(&self, side: Side, time: Duration) {
        self.absent(side, Absence::Hung, time);
    }

    fn absent(&self, side: Side, absence: Absence, time: Duration) {
        let mut state = self.world.lock();
        let until = state.now() + time;
        state.tell(format!("{side:?} is {absence:?} for {time:?}"));
        state.faults.away(side, until, absence);
    }

    /// Somebody sets the wall clock, by so many seconds.
    pub(crate) fn clock_jumps(&self, seconds: i64) {
        let mut state = self.world.lock();
        state.wall += seconds * 1_000_000;
        state.tell(format!("the clock jumps by {seconds} s"));
    }

    /// The controller dies at the `at`th call from now.
    pub(crate) fn dies_at(&self, at: usize, moment: Moment) {
        let mut state = self.world.lock();
        state.faults.death = Some((state.faults.calls + at, moment));
    }

    // ------------------------------------------------------------ looking

    /// The recorded state; empty when there is none.
    pub(crate) fn state(&self, name: &str) -> String {
        let state = self.world.lock();
        state.database.current.get(&app(name)).map(|row| row.status.clone()).unwrap_or_default()
    }

    /// The recorded image.
    pub(crate) fn image(&self, name: &str) -> Option<String> {
        self.world.lock().database.current.get(&app(name)).and_then(|row| row.image.clone())
    }

    /// The rows of `deployments` of an app, oldest first.
    pub(crate) fn deployments(&self, name: &str) -> Vec<DeploymentRow> {
        let state = self.world.lock();
        state.database.deployments.values().filter(|row| row.app_name == app(name)).cloned().collect()
    }

    pub(crate) fn statuses(&self, name: &str) -> Vec<DeploymentStatus> {
        self.deployments(name).iter().map(|row| row.status).collect()
    }

    pub(crate) fn last_deployment(&self, name: &str) -> DeploymentId {
        self.deployments(name).last().expect("a deployment").id
    }

    /// Accepted events, by name.
    pub(crate) fn events(&self, name: &str) -> Vec<&'static str> {
        self.world.lock().database.names(&app(name))
    }

    /// Accepted events, by name, each with the world's time of its commit.
    pub(crate) fn history(&self, name: &str) -> Vec<(&'static str, Timestamp)> {
        let (app, state) = (app(name), self.world.lock());
        let rows = state.database.events.iter().filter(|row| !row.refused && row.record.app_name == app);
        rows.map(|row| (row.record.event_type, row.at)).collect()
    }

    /// The error of the newest event of this name.
    pub(crate) fn error_of(&self, name: &str, event: &str) -> String {
        let (app, state) = (app(name), self.world.lock());
        let newest = state.database.accepted(&app).filter(|record| record.event_type == event).last();
        newest.and_then(|record| record.error.clone()).unwrap_or_default()
    }

    /// The containers of an app.
    pub(crate) fn containers(&self, name: &str) -> Vec<Shell> {
        self.world.lock().docker.of(&app(name)).cloned().collect()
    }

    /// What the proxy does for an app.
    pub(crate) fn routes(&self, name: &str) -> Option<AppRoutes> {
        self.world.lock().proxy.table.apps.iter().find(|routes| routes.app == app(name)).cloned()
    }

    /// The names of the containers that traffic goes to.
    pub(crate) fn routed(&self, name: &str) -> Vec<String> {
        let target = self.routes(name).and_then(|routes| routes.target);
        let upstreams = target.map(|target| target.upstreams).unwrap_or_default();
        let routed = |shell: &Shell| shell.shown.upstream.as_ref().is_some_and(|u| upstreams.contains(u));
        self.containers(name)
            .iter()
            .filter(|shell| routed(shell))
            .map(|shell| shell.shown.name.clone())
            .collect()
    }

    pub(crate) fn view(&self, name: &str) -> AppView {
        self.controller().view(&app(name)).expect("an app")
    }

    fn views(&self) -> Vec<AppView> {
        self.controller().views()
    }

    // ------------------------------------------------------------ judging

    pub(crate) fn expect(&self, so: bool, what: &str) {
        if !so {
            self.fail(what);
        }
    }

    /// As [`Sim::expect`], of something that was promised.
    pub(crate) fn expect_kept(&self, promise: Promise, so: bool, what: &str) {
        if !so {
            self.world.lock().violated(promise, what.to_owned());
            self.fail(what);
        }
    }

    /// Nothing was seen so far that must not be.
    pub(crate) fn sound(&self) {
        let violation = self.world.lock().checker.violation.clone();
        if let Some(violation) = violation {
            self.fail(&violation.what);
        }
    }

    fn no_secret_shows(&self) {
        let state = self.world.lock();
        let events = state.database.events.iter().map(|row| format!("{:?}", row.record));
        let views = self.views().into_iter().map(|view| format!("{view:?}"));
        let leak = events
            .chain(views)
            .find(|text| [CANARY].iter().chain(&CANARY_LINES).any(|secret| text.contains(secret)));
        drop(state);
        if let Some(leak) = leak {
            self.fail(&format!("a secret shows in {leak}"));
        }
    }

    pub(crate) fn fail(&self, why: &str) -> ! {
        let story: Vec<String> = self.world.lock().story.iter().cloned().collect();
        panic!("{why}\n{}\n{why}", story.join("\n"));
    }
}
