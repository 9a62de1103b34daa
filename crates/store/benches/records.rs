//! What the records cost: durable transitions a second with few and with many apps at once, beside what
//! SQLite itself does on the same disk; and what a page of history takes once there are 10⁵ deployments and
//! 10⁶ events. Printed as Markdown, for `scripts/bench records`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark ends when something fails")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../src/tests/cluster.rs"]
mod cluster;

use cluster::Cluster;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::machine::{Event, Machine, Order, OrderReason, OrderTarget, Plan};
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::NewConfig;
use dockswap_core::spec::{
    DeploymentPolicy, HealthCheck, HttpCheck, OnRegression, Promotion, Route, Strategy,
};
use dockswap_core::{AppName, ConfigId, ConfigSha, DeploymentId, ImageId, Timestamp};
use dockswap_store::{Database, EventScope, Holder, Page, connect};
use futures_util::future::join_all;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long each number of apps is measured.
const ROUND: Duration = Duration::from_secs(5);

/// How many apps commit at once.
const APPS: [usize; 4] = [1, 8, 100, 1_000];

/// Apps and deployments of each, for the pages; a deployment is eight events.
const PAGES: (usize, usize) = (100, 1_250);

/// How often each page is asked for.
const ASKED: usize = 500;

/// Transitions of a deployment that succeeds.
const STEPS: usize = 8;

/// 2026-11-21T07:38:26.123456Z.
const MORNING: i64 = 1_795_246_706_123_456;

/// An app whose deployments all succeed.
struct Story {
    machine: Machine,
    config: ConfigId,
    seat: i64,
    deployments: i64,
    micros: i64,
}

impl Story {
    async fn of(database: &Database, name: &str, seat: usize) -> Self {
        let machine = Machine::new(name.parse().unwrap());
        let mut story = Self {
            machine,
            config: ConfigId(0),
            seat: i64::try_from(seat).unwrap(),
            deployments: 0,
            micros: 0,
        };
        story.edit(database).await;
        story
    }

    /// Stores another version of its file.
    async fn edit(&mut self, database: &Database) {
        let app = self.machine.app().clone();
        let bytes = format!("name: {app}\nimage: registry.example/{app}:{}\n", self.deployments);
        let sha = ConfigSha(format!("{:064x}", self.deployments));
        let at = Timestamp::from_micros(MORNING + self.micros);
        let bytes = bytes.repeat(8).into_bytes();
        let new = NewConfig { app, bytes, sha, at, project: None, audit: None };
        self.config = database.insert_config(&new).await.unwrap();
    }

    async fn advance(&mut self, database: &Database) {
        // Longer than any wait of the plan.
        self.micros += 2_000_000;
        let event = match self.machine.state() {
            "pulling" => Event::ImageReady(Image {
                id: ImageId(format!("sha256:{:064x}", self.deployments)),
                digest: Some(format!("registry.example/web@sha256:{:064x}", self.deployments)),
            }),
            "starting" => Event::ContainerStarted,
            "health_check" => Event::HealthCheckPassed,
            "switching" => Event::TrafficSwitched { revision: 1 },
            "draining" => Event::DrainComplete,
            "watching" => Event::WatchPassed,
            "stopping" => Event::ContainerStopped,
            _ => {
                self.deployments += 1;
                Event::Deploy(Order {
                    // Ids of one story never meet those of another.
                    deployment: DeploymentId(self.deployments * 1_000 + self.seat),
                    target: OrderTarget::Config(plan(self.config)),
                    reason: OrderReason::Edit,
                })
            }
        };
        let transition = self.machine.step(&event, Timestamp::from_micros(MORNING + self.micros)).unwrap();
        database.commit(&transition).await.unwrap();
        self.machine = transition.committed();
    }
}

fn plan(config: ConfigId) -> Plan {
    let second = Duration::from_secs(1);
    Plan {
        config,
        image: "registry.example/team/web:2026-11-21".to_owned(),
        replicas: 2,
        health_check: HealthCheck {
            http: None::<HttpCheck>,
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
            rollback_window: Duration::ZERO,
            promotion: Promotion::Auto,
            strategy: Strategy::BlueGreen,
        },
        routes: Vec::<Route>::new(),
        limits: TrafficLimits::default(),
    }
}

async fn open(url: &str) -> Database {
    let since = Timestamp::from_micros(MORNING);
    connect(url, &Holder { pid: std::process::id(), host: "bench".to_owned(), since }).await.unwrap()
}

/// Durable transitions a second, `apps` at once.
async fn rate(url: &str, apps: usize) -> f64 {
    let database = open(url).await;
    let mut stories = Vec::new();
    for seat in 0..apps {
        stories.push(Story::of(&database, &format!("app-{seat}"), seat).await);
    }
    let began = Instant::now();
    let done = join_all(stories.into_iter().map(async |mut story| {
        let mut done = 0_usize;
        while began.elapsed() < ROUND {
            story.advance(&database).await;
            done += 1;
        }
        done
    }))
    .await;
    let rate = done.into_iter().sum::<usize>() as f64 / began.elapsed().as_secs_f64();
    database.close().await;
    rate
}

/// What the same disk and SQLite give without us: rows as large as an event's, `group` in a transaction.
fn floor_of_sqlite(directory: &Path, group: usize) -> f64 {
    let path = directory.join(format!("floor-{group}.db"));
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE rows (id INTEGER PRIMARY KEY, app TEXT NOT NULL, payload TEXT NOT NULL);
         CREATE INDEX rows_by_app ON rows (app, id);",
    )
    .unwrap();
    let payload = "x".repeat(1_000);
    let mut insert = raw.prepare("INSERT INTO rows (app, payload) VALUES (?, ?)").unwrap();
    let (began, mut rows) = (Instant::now(), 0_usize);
    while began.elapsed() < ROUND {
        raw.execute_batch("BEGIN IMMEDIATE").unwrap();
        for seat in 0..group {
            insert.execute((format!("app-{seat}"), &payload)).unwrap();
        }
        raw.execute_batch("COMMIT").unwrap();
        rows += group;
    }
    rows as f64 / began.elapsed().as_secs_f64()
}

/// How many appends of 4 KiB the disk makes durable in a second.
fn floor_of_disk(directory: &Path) -> f64 {
    let mut file =
        OpenOptions::new().create_new(true).append(true).open(directory.join("floor.log")).unwrap();
    let (began, mut appends) = (Instant::now(), 0_usize);
    while began.elapsed() < ROUND {
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
        appends += 1;
    }
    appends as f64 / began.elapsed().as_secs_f64()
}

/// Fills a database, and says what a page of it takes.
async fn pages(url: &str) -> (f64, Vec<(&'static str, Duration, Duration)>) {
    let database = open(url).await;
    let (apps, deployments) = PAGES;
    let began = Instant::now();
    join_all((0..apps).map(async |seat| {
        let mut story = Story::of(&database, &format!("app-{seat}"), seat).await;
        for _ in 0..deployments {
            story.edit(&database).await;
            for _ in 0..STEPS {
                story.advance(&database).await;
            }
        }
    }))
    .await;
    let filled = (apps * deployments * STEPS) as f64 / began.elapsed().as_secs_f64();
    let history = database.history().clone();
    let (first, deep) =
        (|limit| Page { limit, offset: 0 }, |rows: usize| Page { limit: 50, offset: rows as u64 - 50 });
    let app = |number: usize| -> AppName { format!("app-{}", number % apps).parse().unwrap() };
    let mut lines = Vec::new();
    macro_rules! ask {
        ($name:literal, $rows:expr, |$app:ident| $call:expr) => {{
            let mut times = Vec::with_capacity(ASKED);
            for number in 0..ASKED {
                let $app = app(number);
                let began = Instant::now();
                let rows = $call.await.unwrap().len();
                times.push(began.elapsed());
                assert_eq!(rows, $rows, $name);
            }
            times.sort_unstable();
            lines.push(($name, times[ASKED / 2], times[ASKED * 99 / 100]));
        }};
    }
    ask!("status: the current state of every app", apps, |_app| history.current_states());
    ask!("history of an app, first page", 50, |app| history.deployments(&app, first(50)));
    ask!("history of an app, last page", 50, |app| history.deployments(&app, deep(deployments)));
    ask!("events of an app, first page", 50, |app| history.events(&EventScope::App(app), first(50)));
    ask!("events of an app, last page", 50, |app| history
        .events(&EventScope::App(app), deep(deployments * STEPS)));
    ask!("events of all apps, first page", 50, |_app| history.events(&EventScope::All, first(50)));
    ask!("events of all apps, followed from the middle", 50, |_app| history.events_after(
        &EventScope::All,
        500_000,
        50
    ));
    let one = EventScope::Deployment(DeploymentId(700 * 1_000 + 7));
    ask!("events of a deployment", STEPS, |_app| history.events(&one, first(50)));
    ask!("configs of an app, first page", 50, |app| history.configs(&app, first(50)));
    ask!("configs of an app, last page", 50, |app| history.configs(&app, deep(deployments)));
    database.close().await;
    (filled, lines)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = tempfile::Builder::new()
        .prefix("records")
        .tempdir_in(std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into))
        .unwrap();
    let cluster = Cluster::durable();
    let sqlite =
        |name: &str| format!("sqlite://{}", directory.path().join(name).join("dockswap.db").display());
    let mut postgres = Vec::new();
    if let Some(cluster) = &cluster {
        for name in APPS.iter().map(|apps| format!("apps_{apps}")).chain(["pages".to_owned()]) {
            cluster.create(&name);
            postgres.push(cluster.url(&name));
        }
    }
    println!("| apps at once | transitions/s on SQLite | on PostgreSQL |");
    println!("|---:|---:|---:|");
    for (nth, apps) in APPS.into_iter().enumerate() {
        let on_sqlite = rate(&sqlite(&format!("apps-{apps}")), apps).await;
        let on_postgres = match postgres.get(nth) {
            Some(url) => format!("{:.0}", rate(url, apps).await),
            None => "-".to_owned(),
        };
        println!("| {apps} | {on_sqlite:.0} | {on_postgres} |");
    }
    println!();
    println!(
        "Beside them, on the same disk in the same run: {:.0} appends of 4 KiB a second with `fdatasync`;",
        floor_of_disk(directory.path())
    );
    println!(
        "SQLite alone, one table and one index, one row of 1 KB a transaction: {:.0} rows/s,",
        floor_of_sqlite(directory.path(), 1)
    );
    println!("64 rows a transaction: {:.0} rows/s.", floor_of_sqlite(directory.path(), 64));
    if std::env::var_os("BENCH_RATES_ONLY").is_some() {
        return;
    }
    let (filled, on_sqlite) = pages(&sqlite("pages")).await;
    let on_postgres = match postgres.last() {
        Some(url) => Some(pages(url).await),
        None => None,
    };
    let (apps, deployments) = PAGES;
    println!();
    println!(
        "{} deployments and {} events of {apps} apps, written at {filled:.0} transitions/s on SQLite{}:",
        apps * deployments,
        apps * deployments * STEPS,
        on_postgres.as_ref().map_or_else(String::new, |(filled, _)| format!(", {filled:.0} on PostgreSQL")),
    );
    println!();
    println!("| a page of 50 | SQLite p50 | p99 | PostgreSQL p50 | p99 |");
    println!("|---|---:|---:|---:|---:|");
    for (nth, (name, half, most)) in on_sqlite.into_iter().enumerate() {
        let [other_half, other_most] = match &on_postgres {
            Some((_, lines)) => [shown(lines[nth].1), shown(lines[nth].2)],
            None => ["-".to_owned(), "-".to_owned()],
        };
        println!("| {name} | {} | {} | {other_half} | {other_most} |", shown(half), shown(most));
    }
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}
