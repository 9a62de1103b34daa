//! `dockswap run`: the controller process, put together from its parts and taken apart again.

pub(crate) mod backups;
mod certificates;
pub(crate) mod doorway;
pub(crate) mod facts;
pub(crate) mod intake;
mod offline;
mod private;
mod privileges;
mod proxy;
mod service_manager;
mod signals;
pub(crate) mod state;
mod supervise;
mod telemetry;
mod upgrade;
pub(crate) mod upkeep;

pub(crate) use offline::offline_rollback;
pub(crate) use proxy::Proxy;
pub(crate) use upgrade::Program;

use crate::api::access::Porter;
use crate::api::audit::Ledger;
use crate::cli::RunArgs;
use crate::paths::Paths;
use anyhow::{Context, Result};
use backups::Backups;
use dockswap_certs::Custodian;
use dockswap_config::{Policy, Settings, StoredFiles};
use dockswap_controller::{Controller, ControllerSettings, Ports, SystemClock, UpstreamProber};
use dockswap_core::ports::Clock;
use dockswap_docker::{Docker, Room};
use dockswap_proxy::ProxyClient;
use dockswap_store::{Database, Holder};
use facts::{Facts, Sources};
use intake::{Intake, Rules};
use private::{bind_private, keep_to_ourselves, make_private_dir};
use sd_notify::NotifyState;
use signals::{Asked, Signals};
use state::State;
use std::sync::Arc;
use std::time::Duration;
use supervise::Supervisor;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use upkeep::LastRound;

/// The parts that the controller is handed, and that people ask directly.
struct Parts {
    database: Arc<Database>,
    docker: Arc<Docker>,
    proxy: Arc<ProxyClient>,
    policy: Policy,
    clock: Arc<SystemClock>,
    facts: Facts,
}

impl Parts {
    /// Opens the database as its only controller, and finds Docker and the proxy.
    async fn open(paths: &Paths, settings: &Settings) -> Result<Self> {
        keep_to_ourselves();
        make_private_dir(&paths.data_dir)?;
        let clock = Arc::new(SystemClock::new());
        let holder = Holder::this_process(clock.now());
        let database = dockswap_store::connect_checked(&paths.database_url(settings), &holder).await?;
        database.tell_slow(settings.log.slow_query);
        let mut policy = settings.policy.clone();
        paths.complete(&mut policy);
        let facts = Facts::new(clock.clone());
        let known = facts.clone();
        let room = Room::new(settings.min_free_disk_bytes, move || known.image_disk());
        Ok(Self {
            database: Arc::new(database),
            docker: Arc::new(Docker::connect(settings.docker_host.as_deref())?.with_room(room)),
            proxy: Arc::new(ProxyClient::new(paths.proxy_socket())),
            policy,
            clock,
            facts,
        })
    }

    /// Whom the facts are asked of.
    fn sources(&self, paths: &Paths, certificates: Arc<Custodian>) -> Sources {
        Sources {
            docker: self.docker.clone(),
            proxy: self.proxy.clone(),
            data_dir: paths.data_dir.clone(),
            certificates: Arc::new(move || {
                certificates.views().iter().map(|view| (view.host.clone(), view.expires_at_us)).collect()
            }),
        }
    }

    fn ports(&self, paths: &Paths) -> Ports {
        Ports {
            engine: self.docker.clone(),
            router: self.proxy.clone(),
            store: self.database.clone(),
            files: Arc::new(StoredFiles::new(paths.apps_dir(), self.policy.clone())),
            prober: Arc::new(UpstreamProber),
            clock: self.clock.clone(),
        }
    }
}

/// How long a backup that is being given up may take to be so.
const LAST_COPY: Duration = Duration::from_secs(5);

/// How a controller ends that was told to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// For good.
    ForGood,
    /// To go on as this program; the proxy runs.
    ToGoOnAs(Program),
}

/// Runs the controller until SIGTERM or SIGINT, or until it is to go on as another program.
///
/// # Errors
/// When it cannot start, or another controller took over its database.
pub(crate) async fn run(paths: &Paths, args: &RunArgs, mut settings: Settings) -> Result<Ended> {
    // First of all: until then, a signal that asks for something ends the process.
    let signals = Signals::new().context("signals cannot be handled")?;
    let program = Program::this()?;
    overlay(&mut settings, args);
    telemetry::init(&settings.log);
    // A look at the whole database may take longer than the manager's patience.
    let _reassuring = service_manager::reassure();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // Before anything that takes its time: a mistake in the settings is told at once.
    let doorway = doorway::open(&settings.api).await?;
    std::fs::create_dir_all(paths.apps_dir())
        .with_context(|| format!("cannot create {}", paths.apps_dir().display()))?;
    let mut early = Early { signals, upgrade: false };
    let Some(parts) = early.unless_ended(Parts::open(paths, &settings)).await else {
        return Ok(Ended::ForGood);
    };
    let parts = parts?;
    let started = Supervisor::start(paths, &settings.proxy, parts.proxy.clone());
    let Some(supervisor) = early.unless_ended(started).await else { return Ok(Ended::ForGood) };
    let supervisor = supervisor?;
    let stop = CancellationToken::new();
    let limits = ControllerSettings { max_concurrent: settings.max_concurrent };
    let started = Controller::start(parts.ports(paths), limits, stop.clone());
    let Some(controller) = early.unless_ended(started).await else {
        supervisor.end().await;
        return Ok(Ended::ForGood);
    };
    let controller = controller?;
    let projects =
        controller.taken_up().iter().map(|offer| (offer.spec.name.clone(), offer.project())).collect();
    parts.database.note_projects(projects).await.context("the projects of apps cannot be noted")?;
    let intake = Intake::start(
        paths.apps_dir(),
        Rules { trust: settings.trust, policy: parts.policy.clone(), reserved: settings.reserved_ports() },
        controller.clone(),
        stop.clone(),
    )
    .await?;
    let certificates = Arc::new(certificates::start(paths, &parts, &settings, controller.clone()));
    let facts = parts.facts.keep(parts.sources(paths, certificates.clone()), stop.clone());
    let state = Arc::new(State {
        controller: controller.clone(),
        database: parts.database.clone(),
        docker: parts.docker.clone(),
        proxy: parts.proxy.clone(),
        facts: parts.facts.clone(),
        intake: intake.handle(),
        certificates: Some(certificates.clone()),
        retention: settings.retention.clone(),
        pruning: Mutex::default(),
        prune_on: Notify::default(),
        last_round: LastRound(paths.last_round()),
        backups: Backups::new(paths, &settings),
        clock: parts.clock.clone(),
        porter: Porter::new(parts.database.clone()),
        rates: crate::api::front::Rates::default(),
        ledger: Ledger::new(parts.database.clone()),
        stop: stop.clone(),
    });
    let api = tokio::spawn(crate::api::serve(state.clone(), bind_private(&paths.api_socket())?));
    let upkeep = tokio::spawn(upkeep::run(state.clone()));
    let copying = backups::start(state.clone()).context("no thread can be started")?;
    let listen = doorway.as_ref().and_then(|doorway| doorway.listener.local_addr().ok());
    let doorway = doorway.map(|doorway| tokio::spawn(crate::api::serve_tcp(state.clone(), doorway)));
    tracing::info!(
        apps = %paths.apps_dir().display(),
        socket = %paths.api_socket().display(),
        http = %settings.proxy.http,
        api = listen.map(tracing::field::display),
        "ready"
    );
    service_manager::tell(NotifyState::Ready);

    let outcome = carry_on(&state, program, early).await;
    tracing::info!("ending");
    if !matches!(outcome, Ok(Ended::ToGoOnAs(_))) {
        // A service manager that hears this while the process goes on kills it in the end.
        service_manager::tell(NotifyState::Stopping);
    }
    stop.cancel();
    let _ = upkeep.await;
    // A directory that hangs keeps nobody from ending.
    let _ = tokio::time::timeout(LAST_COPY, copying).await;
    intake.ended().await;
    certificates.end().await;
    controller.shutdown().await;
    let _ = api.await;
    let _ = facts.await;
    if let Some(doorway) = doorway {
        let _ = doorway.await;
    }
    state.ledger.close().await;
    let _ = std::fs::remove_file(paths.api_socket());
    match outcome {
        Ok(Ended::ToGoOnAs(_)) => supervisor.leave().await,
        Ok(Ended::ForGood) | Err(_) => supervisor.end().await,
    }
    outcome
}

/// Does what signals ask for, until the controller is to end.
async fn carry_on(state: &State, program: Program, early: Early) -> Result<Ended> {
    let Early { mut signals, upgrade } = early;
    let mut asked_early = upgrade.then_some(Asked::Upgrade);
    loop {
        let asked = match asked_early.take() {
            Some(asked) => asked,
            None => tokio::select! {
                asked = signals.next() => asked,
                () = state.database.fenced() => {
                    return Err(anyhow::anyhow!("another controller has taken over this database"));
                }
            },
        };
        match asked {
            Asked::End => return Ok(Ended::ForGood),
            Asked::Reload => state.reload().await,
            Asked::Upgrade => match program.try_out().await {
                Ok(version) => {
                    tracing::info!(version, "going on as another program");
                    return Ok(Ended::ToGoOnAs(program));
                }
                Err(error) => tracing::error!("this program goes on: {error:#}"),
            },
        }
    }
}

/// The signals of a controller that is not ready.
struct Early {
    signals: Signals,
    /// It is to go on as another program, as soon as there is something that can be ended at a safe point.
    upgrade: bool,
}

impl Early {
    /// What comes of `work`; `None`: the controller is to end.
    async fn unless_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                asked = self.signals.next() => match asked {
                    Asked::End => return None,
                    Asked::Upgrade => self.upgrade = true,
                    Asked::Reload => {}
                },
            }
        }
    }
}

/// Flags win over environment and file.
fn overlay(settings: &mut Settings, args: &RunArgs) {
    if let Some(url) = &args.database_url {
        settings.database_url = Some(url.clone());
    }
    if let Some(http) = args.proxy_http {
        settings.proxy.http = http;
    }
    if let Some(https) = args.proxy_https {
        settings.proxy.https = https;
    }
    if let Some(host) = &args.docker_host {
        settings.docker_host = Some(host.clone());
    }
    if let Some(most) = args.max_concurrent {
        settings.max_concurrent = most;
    }
    if let Some(level) = &args.log_level {
        settings.log.level.clone_from(level);
    }
    if let Some(format) = args.log_format {
        settings.log.format = format;
    }
}
