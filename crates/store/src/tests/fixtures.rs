//! What the cases are made of.

use super::cluster::Cluster;
use crate::location::Location;
use crate::write::{Unit, Write};
use crate::writer::Scribe;
use crate::{Database, Holder, connect};
use dockswap_core::audit::{AuditRecord, AuditResult};
use dockswap_core::limits::TrafficLimits;
use dockswap_core::machine::Plan;
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::{
    CurrentState, DeploymentRow, DeploymentStatus, DeploymentWrite, EventRecord, NewConfig,
};
use dockswap_core::spec::{DeploymentPolicy, HealthCheck, OnRegression, Promotion, Strategy};
use dockswap_core::{AppName, Color, ConfigId, ConfigSha, DeploymentId, ImageId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// 2026-11-21T07:38:26.123456Z.
pub(super) const MORNING: i64 = 1_795_246_706_123_456;

/// A database that is not there yet, for one test.
pub(super) struct Place {
    pub(super) url: String,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    pub(super) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("data/dockswap.db").display());
        Self { url, _directory: Some(directory) }
    }

    pub(super) async fn postgres(cluster: &Cluster, case: &str) -> Self {
        let name: String = case.chars().take(60).collect();
        let server = sea_orm::Database::connect(cluster.url("postgres")).await.unwrap();
        server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        server.close().await.unwrap();
        Self { url: cluster.url(&name), _directory: None }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// The database as a controller has it.
    pub(super) async fn open(&self) -> Database {
        connect(&self.url, &holder()).await.unwrap()
    }

    /// A connection of our own, without any of the store's care.
    pub(super) async fn raw(&self) -> DatabaseConnection {
        let mut options = sea_orm::ConnectOptions::new(&self.url);
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.unwrap()
    }
}

/// The file of a SQLite database.
pub(super) fn path(place: &Place) -> PathBuf {
    path_of(&place.url)
}

/// The file that `url` names.
pub(super) fn path_of(url: &str) -> PathBuf {
    let Location::Sqlite(path) = url.parse().unwrap() else { panic!("{url}") };
    path
}

pub(super) fn holder() -> Holder {
    Holder { pid: 71, host: "build-1".to_owned(), since: Timestamp::from_micros(MORNING) }
}

pub(super) fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(MORNING + micros)
}

pub(super) fn config(name: &str, bytes: &[u8], micros: i64) -> NewConfig {
    NewConfig {
        app: app(name),
        project: None,
        bytes: bytes.to_vec(),
        sha: ConfigSha(format!("{:064x}", bytes.len())),
        at: at(micros),
        audit: None,
    }
}

pub(super) fn event(name: &str, deployment: i64, micros: i64) -> EventRecord {
    EventRecord {
        deployment_id: DeploymentId(deployment),
        app_name: app(name),
        event_type: "deploy",
        payload: json!({ "from": "pending", "to": "pulling", "color": "blue" }),
        error: None,
        at: at(micros),
    }
}

/// An order that is put on record; each verb is another request.
pub(super) fn order(verb: &str) -> AuditRecord {
    AuditRecord {
        at: at(0),
        actor: "token:ci".to_owned(),
        token: Some("Token0000001".parse().unwrap()),
        address: Some("192.0.2.7".to_owned()),
        verb: verb.to_owned(),
        target: "app/web".to_owned(),
        detail: json!({ "said": "so" }),
        result: AuditResult::Done,
        deployment: None,
        request: format!("request-{verb}"),
    }
}

/// The first transition of an app: it begins `deployment`.
pub(super) fn beginning(name: &str, config: ConfigId, deployment: i64) -> Unit {
    Unit {
        app: app(name),
        expected: 0,
        version: 1,
        state: json!({ "app": name, "version": 1 }).to_string(),
        event: event(name, deployment, 0),
        deployments: vec![DeploymentWrite::Begin(DeploymentRow {
            id: DeploymentId(deployment),
            app_name: app(name),
            config_id: config,
            image: "web:v1".to_owned(),
            started_at: at(0),
            ended_at: None,
            status: DeploymentStatus::InProgress,
            active_color: Color::Blue,
            rollback_of: None,
        })],
        current: CurrentState {
            app_name: app(name),
            deployment_id: DeploymentId(deployment),
            active_color: None,
            image: None,
            status: "pulling".to_owned(),
            updated_at: at(0),
        },
        image: None,
        audit: None,
    }
}

/// The transition after `before`: it ends its deployment, which serves now.
pub(super) fn success(before: &Unit) -> Unit {
    let version = before.version + 1;
    let id = before.current.deployment_id;
    let time = at(version);
    Unit {
        expected: before.version,
        version,
        state: json!({ "app": before.app, "version": version }).to_string(),
        event: EventRecord { event_type: "watch_passed", at: time, ..before.event.clone() },
        deployments: vec![DeploymentWrite::End { id, status: DeploymentStatus::Success, at: time }],
        current: CurrentState {
            active_color: Some(Color::Blue),
            image: Some("web:v1".to_owned()),
            status: "stable".to_owned(),
            updated_at: time,
            ..before.current.clone()
        },
        image: Some((
            id,
            Image { id: ImageId("sha256:1".to_owned()), digest: Some("web@sha256:2".to_owned()) },
        )),
        audit: None,
        app: before.app.clone(),
    }
}

/// A plan that takes no time.
pub(crate) fn plan(config: ConfigId) -> Plan {
    let second = Duration::from_secs(1);
    Plan {
        config,
        image: "web:v1".to_owned(),
        replicas: 1,
        health_check: HealthCheck {
            http: None,
            interval: second,
            timeout: second,
            retries: 3,
            success_threshold: 1,
        },
        policy: DeploymentPolicy {
            startup_delay: second,
            startup_timeout: second,
            drain_timeout: second,
            stop_timeout: second,
            watch: second,
            on_regression: OnRegression::RollBack,
            rollback_window: second,
            promotion: Promotion::Auto,
            strategy: Strategy::BlueGreen,
        },
        routes: Vec::new(),
        limits: TrafficLimits::default(),
    }
}

/// A stored config of `name`, to deploy.
pub(super) async fn stored(database: &Database, name: &str) -> ConfigId {
    database.insert_config(&config(name, b"name: web\n", 0)).await.unwrap()
}

pub(super) fn transition(unit: &Unit) -> Write {
    Write::Transition(Box::new(unit.clone()))
}

/// What the writing task owns, without the task.
pub(super) async fn scribe(place: &Place) -> Scribe {
    place.open().await.close().await;
    let db = place.raw().await;
    let epoch = number(&db, "SELECT epoch FROM controller_lease").await;
    Scribe {
        db,
        epoch,
        presence: None,
        fenced: tokio::sync::watch::Sender::new(false),
        slow: std::sync::Arc::default(),
    }
}

/// The first column of every row of `sql`, as text.
pub(super) async fn texts(db: &DatabaseConnection, sql: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect()
}

/// The one number that `sql` gives.
pub(super) async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// The numbers in the first column of every row of `sql`.
pub(super) async fn numbers(db: &DatabaseConnection, sql: &str) -> Vec<u64> {
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index::<i64>(0).unwrap().unsigned_abs()).collect()
}

/// How many machines, versions, events, deployments and current states there are: a whole
/// transition moves the first four together.
pub(super) async fn counts(place: &Place) -> [i64; 5] {
    let raw = place.raw().await;
    let mut counts = [0; 5];
    for (count, sql) in counts.iter_mut().zip([
        "SELECT count(*) FROM app_machines",
        "SELECT CAST(coalesce(sum(version), 0) AS bigint) FROM app_machines",
        "SELECT count(*) FROM deployment_events",
        "SELECT count(*) FROM deployments",
        "SELECT count(*) FROM current_state",
    ]) {
        *count = number(&raw, sql).await;
    }
    raw.close().await.unwrap();
    counts
}
