//! The controller as a whole: it takes up what was left, starts a task per app, and passes on
//! versions, orders and hints.

use crate::app::{App, AppHandle, Message};
use crate::held::Held;
use crate::keeper::Keeper;
use crate::orders::{Command, OrderError, Outcome};
use crate::signature::{Expectation, Expected, Signature};
use crate::specs::{Offer, Specs, Stored};
use crate::stopwatch::Stopwatch;
use crate::view::{AppView, FileStatus, Notice};
use dockswap_core::machine::Machine;
use dockswap_core::ports::{AppFiles, Clock, Container, Engine, Hint, Prober, Router, RouterError, Store};
use dockswap_core::records::StoreError;
use dockswap_core::routes::AppRoutes;
use dockswap_core::{AppName, ConfigSha, DeploymentId};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the proxy is asked whether it still holds the table.
const PROXY_CHECK: Duration = Duration::from_secs(2);

/// How often Docker or the proxy is asked again while they do not answer at start.
const START_RETRY: Duration = Duration::from_millis(500);

/// The outside, as the controller is handed it.
#[derive(Clone)]
pub struct Ports {
    /// Docker.
    pub engine: Arc<dyn Engine>,
    /// The proxy.
    pub router: Arc<dyn Router>,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The format of app files.
    pub files: Arc<dyn AppFiles>,
    /// Probing containers.
    pub prober: Arc<dyn Prober>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How the controller works.
#[derive(Clone, Copy, Debug)]
pub struct ControllerSettings {
    /// Deployments in flight at once, over all apps. Rollbacks do not wait. With 0 no edit is deployed
    /// at all.
    pub max_concurrent: usize,
}

/// Why the controller cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error("the recorded state cannot be read")]
    Store(#[from] StoreError),
    /// It was stopped while it waited for Docker or the proxy.
    #[error("stopped before the controller was ready")]
    Stopped,
}

/// What the tasks of all apps share.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) keeper: Keeper,
    pub(crate) specs: Specs,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    pub(crate) stopwatch: Stopwatch,
    /// The traffic that was found where the records do not send it.
    held: BTreeMap<AppName, Held>,
    deployments: AtomicI64,
    /// Whose orders wrote files that are about to be found.
    pub(crate) expected: Arc<Expected>,
    /// The newest deployment on record, and the newest that was found in Docker, when this began.
    at_start: (DeploymentId, DeploymentId),
}

/// Ids above this are no counting of ours.
const HIGHEST_DEPLOYMENT: i64 = 1 << 53;

impl Shared {
    /// A deployment id that was never given before. One controller per database: nobody else gives
    /// any.
    pub(crate) fn next_deployment(&self) -> DeploymentId {
        DeploymentId(self.deployments.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whether the containers of `deployment` were there before this controller, and no record of them:
    /// records may have been set back.
    pub(crate) fn is_unrecorded(&self, deployment: DeploymentId) -> bool {
        let (recorded, found) = self.at_start;
        deployment > recorded && deployment <= found
    }

    /// The apps whose traffic was found where the records do not send it.
    pub(crate) fn held_apps(&self) -> impl Iterator<Item = &AppName> {
        self.held.keys()
    }

    /// The traffic of `app` that was found where the records do not send it.
    pub(crate) fn held(&self, app: &AppName) -> Held {
        self.held.get(app).cloned().unwrap_or_default()
    }
}

/// The running controller. Dropping it does not stop it: [`Controller::shutdown`] does.
pub struct Controller {
    pub(crate) shared: Arc<Shared>,
    apps: Mutex<BTreeMap<AppName, AppHandle>>,
    taken_up: Vec<Offer>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Controller {
    /// Takes up what the last controller left: reads every app's state, looks at Docker, applies
    /// the whole route table, and goes on with what was in flight. Waits until Docker and the proxy
    /// answer; until then the proxy serves what it last knew.
    ///
    /// # Errors
    /// When the recorded state cannot be read, or `stop` ends the wait.
    pub async fn start(
        ports: Ports,
        settings: ControllerSettings,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let machines = ports.store.machines().await?;
        let recorded = ports.store.last_deployment().await?;
        let specs = Specs::new(ports.store.clone(), ports.files.clone());
        let mut newest: BTreeMap<AppName, Stored> = BTreeMap::new();
        for row in ports.store.newest_configs().await? {
            let id = row.id;
            match ports.files.parse(&row) {
                Ok(spec) => {
                    newest.insert(row.app.clone(), specs.remember(row, spec));
                }
                Err(error) => {
                    tracing::warn!(app = %row.app, config = id.0, %error, "a stored version is passed over");
                }
            }
        }
        let seen = wait(&stop, "docker", || ports.engine.observe(None)).await?;
        let counted = seen.iter().map(|container| container.deployment);
        let found = counted.filter(|id| id.0 < HIGHEST_DEPLOYMENT).max().unwrap_or(recorded).max(recorded);
        let mut containers: BTreeMap<AppName, Vec<Container>> = BTreeMap::new();
        for container in seen {
            containers.entry(container.app.clone()).or_default().push(container);
        }
        let none = Vec::new();
        let mut table: BTreeMap<AppName, AppRoutes> = machines
            .iter()
            .filter_map(|machine| {
                AppRoutes::at_start(machine, containers.get(machine.app()).unwrap_or(&none))
            })
            .map(|routes| (routes.app.clone(), routes))
            .collect();
        let mut held = BTreeMap::new();
        for in_force in wait(&stop, "the proxy", || ports.router.status()).await?.table.apps {
            let app = in_force.app.clone();
            let seen = containers.get(&app).unwrap_or(&none);
            let machine = machines.iter().find(|machine| *machine.app() == app);
            let Some(kept) = Held::at_start(machine, recorded, table.get(&app), &in_force, seen) else {
                continue;
            };
            tracing::warn!(%app, routes = ?in_force.target, "has its traffic where the records do not send it: it is left there");
            if let Some(routes) = kept.routes(seen, machine.map(Machine::gate).unwrap_or_default()) {
                table.insert(app.clone(), routes);
            }
            held.insert(app, kept);
        }
        let (notices, _) = broadcast::channel(1024);
        let shared = Arc::new(Shared {
            keeper: Keeper::new(ports.router.clone()),
            specs,
            notices,
            turns: Arc::new(Semaphore::new(settings.max_concurrent)),
            stop,
            stopwatch: Stopwatch::new(),
            held,
            deployments: AtomicI64::new(found.0),
            expected: Arc::default(),
            at_start: (recorded, found),
            ports,
        });
        let revision = wait(&shared.stop, "the proxy", || shared.keeper.begin(table.clone())).await?;
        tracing::info!(apps = machines.len(), revision, "taken up");

        let in_service = |newest: &Stored| {
            machines.iter().find(|machine| *machine.app() == newest.row.app).is_none_or(|machine| {
                machine.state() != "retired" || machine.considered() < Some(newest.row.id)
            })
        };
        let taken_up = newest.values().filter(|stored| in_service(stored)).map(Stored::offer).collect();
        let controller = Arc::new(Self {
            shared: shared.clone(),
            apps: Mutex::default(),
            taken_up,
            tasks: Mutex::default(),
        });
        for machine in machines {
            let app = machine.app().clone();
            let seen = containers.remove(&app).unwrap_or_default();
            controller.spawn(App::spawn(&shared, machine, newest.remove(&app), seen), app);
        }
        // Versions that were stored and never deployed.
        for (app, stored) in newest {
            let seen = containers.remove(&app).unwrap_or_default();
            controller.spawn(App::spawn(&shared, Machine::new(app.clone()), Some(stored), seen), app);
        }
        let background = [tokio::spawn(follow_docker(controller.clone())), tokio::spawn(check_proxy(shared))];
        controller.tasks().extend(background);
        Ok(controller)
    }

    pub(crate) fn apps(&self) -> std::sync::MutexGuard<'_, BTreeMap<AppName, AppHandle>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, (handle, task): (AppHandle, JoinHandle<()>), app: AppName) {
        self.apps().insert(app, handle);
        self.tasks().push(task);
    }

    pub(crate) fn handle(&self, app: &AppName) -> Result<AppHandle, OrderError> {
        let known = self.apps().get(app).cloned();
        known.ok_or_else(|| {
            if self.shared.stop.is_cancelled() {
                OrderError::ShuttingDown
            } else {
                OrderError::UnknownApp(app.clone())
            }
        })
    }

    /// A version of an app's file was found. Returns once it is stored, or known not to be new;
    /// whether it deploys is decided then, and shows in the app's view.
    ///
    /// # Errors
    /// When it could not be stored: offer it again.
    pub async fn offer(&self, offer: Offer) -> Result<(), OrderError> {
        let app = offer.spec.name.clone();
        let handle = {
            let mut apps = self.apps();
            // Whoever comes too late must not begin an app that nobody ends.
            if self.shared.stop.is_cancelled() {
                return Err(OrderError::ShuttingDown);
            }
            match apps.get(&app) {
                Some(handle) => handle.clone(),
                None => {
                    let (handle, task) =
                        App::spawn(&self.shared, Machine::new(app.clone()), None, Vec::new());
                    self.tasks().push(task);
                    apps.insert(app, handle.clone());
                    handle
                }
            }
        };
        let (reply, answer) = oneshot::channel();
        let sent = handle.inbox.send(Message::Offer(offer, reply)).await;
        sent.map_err(|_| OrderError::ShuttingDown)?;
        answer.await.map_err(|_| OrderError::ShuttingDown)?
    }

    /// The newest version of each app in service, as it was stored when this controller started:
    /// what they hold, others cannot have.
    #[must_use]
    pub fn taken_up(&self) -> &[Offer] {
        &self.taken_up
    }

    /// Says how an app's file stands. An app that is not known is none of ours yet.
    pub async fn file(&self, app: &AppName, status: FileStatus) {
        if let Ok(handle) = self.handle(app) {
            let _ = handle.inbox.send(Message::File(status)).await;
        }
    }

    /// Carries out a person's order. Returns once it is begun (or was refused), not once it is done.
    ///
    /// # Errors
    /// Why it was not carried out; nothing has changed then.
    pub async fn command(&self, app: &AppName, command: Command) -> Result<Outcome, OrderError> {
        self.ordered(app, command, Signature::default()).await
    }

    /// The same, and whose order it is goes on record with the first thing that is written for it. What `signature`
    /// still holds afterwards is on record nowhere. Whoever stops waiting leaves that to the controller.
    ///
    /// # Errors
    /// As [`Controller::command`].
    pub async fn ordered(
        &self,
        app: &AppName,
        command: Command,
        signature: Signature,
    ) -> Result<Outcome, OrderError> {
        let handle = self.handle(app)?;
        let (reply, answer) = oneshot::channel();
        let sent = handle.inbox.send(Message::Command(command, signature, reply)).await;
        sent.map_err(|_| OrderError::ShuttingDown)?;
        answer.await.map_err(|_| OrderError::ShuttingDown)?
    }

    /// Says whose order writes a file of `app` whose bytes have this hash. The order goes on record with the version
    /// that is stored for it, as long as the answer lives.
    #[must_use]
    pub fn expect(&self, app: &AppName, sha: &ConfigSha, signature: &Signature) -> Expectation {
        Expectation::of(&self.shared.expected, app.clone(), sha.clone(), signature.clone())
    }

    /// Every app, by name.
    #[must_use]
    pub fn views(&self) -> Vec<AppView> {
        self.apps().values().map(|handle| handle.view.borrow().clone()).collect()
    }

    /// One app.
    #[must_use]
    pub fn view(&self, app: &AppName) -> Option<AppView> {
        self.apps().get(app).map(|handle| handle.view.borrow().clone())
    }

    /// What happens from now on. A follower that is too slow misses notices, not events: those are
    /// in the database.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    /// How long effects took, in the text format of `OpenMetrics` without its last line (`# EOF`).
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.stopwatch.text()
    }

    /// Whether the proxy and the database answer.
    ///
    /// # Errors
    /// What does not, in words.
    pub async fn ready(&self) -> Result<(), String> {
        self.shared.keeper.check().await.map_err(|error| error.to_string())?;
        self.shared.ports.store.last_deployment().await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Stops at a safe point: what was decided is in the database, and the next controller goes on
    /// from there. Containers and routes stay as they are.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.apps().clear();
        let tasks = std::mem::take(&mut *self.tasks());
        for task in tasks {
            let _ = task.await;
        }
    }
}

/// Waits until `what` answers.
async fn wait<T, E, F, Fut>(stop: &CancellationToken, what: &str, ask: F) -> Result<T, StartError>
where
    E: std::fmt::Display,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut told = None;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error.to_string(),
        };
        if told.as_ref() != Some(&error) {
            tracing::warn!(error, "waiting for {what}");
            told = Some(error);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(StartError::Stopped),
            () = tokio::time::sleep(START_RETRY) => {}
        }
    }
}

/// Passes Docker's hints on to the apps.
async fn follow_docker(controller: Arc<Controller>) {
    let mut hints = controller.shared.ports.engine.hints();
    loop {
        let hint = tokio::select! {
            biased;
            () = controller.shared.stop.cancelled() => return,
            hint = hints.next() => hint,
        };
        let bump = |handle: &AppHandle| handle.hint.send_modify(|count| *count += 1);
        match hint {
            Some(Hint::App(app)) => {
                if let Some(handle) = controller.apps().get(&app) {
                    bump(handle);
                }
            }
            Some(Hint::Everything) => controller.apps().values().for_each(bump),
            None => return,
        }
    }
}

/// Brings the table back to a proxy that was restarted or away.
async fn check_proxy(shared: Arc<Shared>) {
    let mut told: Option<String> = None;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(PROXY_CHECK) => {}
        }
        let error = shared.keeper.check().await.err().map(|error: RouterError| error.to_string());
        if error != told {
            match &error {
                Some(error) => tracing::error!(error, "the proxy does not hold the table"),
                None => tracing::info!("the proxy holds the table again"),
            }
            told = error;
        }
    }
}
