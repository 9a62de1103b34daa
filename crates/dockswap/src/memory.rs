//! The controller's API without sockets and without a process around it, for those who try it with
//! requests of their own. Database, intake and controller are those that run; Docker, the proxy and
//! the probes are handed in.

use crate::api;
use crate::api::access::{Peer, Porter};
use crate::api::audit::Ledger;
use crate::run::backups::Backups;
use crate::run::facts::Facts;
use crate::run::intake::{Intake, Rules};
use crate::run::state::State;
use crate::run::upkeep::LastRound;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use dockswap_config::{BackupSettings, Policy, RetentionSettings, StoredFiles, Trust};
use dockswap_controller::{Controller, ControllerSettings, Ports, SystemClock};
use dockswap_core::ports::{self, Clock, Engine, Prober};
use dockswap_docker::Docker;
use dockswap_proxy::ProxyClient;
use dockswap_store::{AuditScope, Holder, Page};
use http::{Request, Response};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// An address at which no Docker answers: what asks Docker past the engine is told so.
const NO_DOCKER: &str = "tcp://127.0.0.1:1";

/// A controller that is asked without a socket.
pub struct MemoryApi {
    router: Router,
    controller: Arc<Controller>,
    intake: Intake,
    stop: CancellationToken,
    state: Arc<State>,
}

impl MemoryApi {
    /// Starts a controller on the app files in `dir`/apps; its database is made in `dir`.
    ///
    /// # Errors
    /// When the database cannot be had, or the directory cannot be read.
    pub async fn start(
        dir: &Path,
        engine: Arc<dyn Engine>,
        router: Arc<dyn ports::Router>,
        prober: Arc<dyn Prober>,
    ) -> Result<Self> {
        let apps = dir.join("apps");
        std::fs::create_dir_all(&apps).with_context(|| format!("cannot create {}", apps.display()))?;
        let clock = Arc::new(SystemClock::new());
        let url = format!("sqlite://{}", dir.join("dockswap.db").display());
        let database = Arc::new(dockswap_store::connect(&url, &Holder::this_process(clock.now())).await?);
        let files = Arc::new(StoredFiles::new(apps.clone(), Policy::default()));
        let facts = Facts::new(clock.clone());
        let ports = Ports { engine, router, store: database.clone(), files, prober, clock: clock.clone() };
        let stop = CancellationToken::new();
        let settings = ControllerSettings { max_concurrent: 4 };
        let controller = Controller::start(ports, settings, stop.clone()).await?;
        let projects = controller.taken_up().iter().map(|offer| (offer.spec.name.clone(), offer.project()));
        database.note_projects(projects.collect()).await?;
        let rules = Rules { trust: Trust::Any, policy: Policy::default(), reserved: Vec::new() };
        let intake = Intake::start(apps, rules, controller.clone(), stop.clone()).await?;
        let by_hand = BackupSettings { every: Duration::ZERO, ..BackupSettings::default() };
        let state = Arc::new(State {
            controller: controller.clone(),
            porter: Porter::new(database.clone()),
            rates: crate::api::front::Rates::default(),
            ledger: Ledger::new(database.clone()),
            database,
            docker: Arc::new(Docker::connect(Some(NO_DOCKER))?),
            proxy: Arc::new(ProxyClient::new(dir.join("proxy.sock"))),
            facts,
            intake: intake.handle(),
            certificates: None,
            retention: RetentionSettings::default(),
            pruning: tokio::sync::Mutex::default(),
            prune_on: tokio::sync::Notify::default(),
            last_round: LastRound(dir.join("last-round")),
            backups: Backups::in_directory(Some(dir.join("backups")), by_hand),
            clock: clock.clone(),
            stop: stop.clone(),
        });
        Ok(Self { router: api::router(&state), controller, intake, stop, state })
    }

    /// Answers one request of this user's, or of whose token it shows. The bodies of streams end only with the controller.
    pub async fn ask(&self, request: Request<Bytes>) -> Response<Body> {
        let mut request = request.map(Body::from);
        let peer = Peer::Local(Some(rustix::process::geteuid().as_raw()));
        request.extensions_mut().insert(ConnectInfo(peer));
        let Ok(answer) = self.router.clone().call(request).await;
        answer
    }

    /// Every method and path that has a door; the router has no others.
    #[must_use]
    pub fn doors() -> Vec<(http::Method, &'static str)> {
        api::doors::routes().into_iter().map(|route| (route.method, route.path)).collect()
    }

    /// Stops as `dockswap run` does.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.intake.ended().await;
        self.controller.shutdown().await;
        self.state.ledger.close().await;
    }
}

/// The verbs and details of the newest orders on record in `dir`, newest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn audit(dir: &Path) -> Result<Vec<(String, serde_json::Value)>> {
    let url = format!("sqlite://{}", dir.join("dockswap.db").display());
    let history = dockswap_store::connect_read_only(&url).await?;
    let rows = history.audit(&AuditScope::default(), Page::first(100)).await?;
    Ok(rows.into_iter().map(|row| (row.record.verb, row.record.detail)).collect())
}
