//! Histories that could have been: an app that is deployed again and again by the real machine. And
//! chance that comes back by its seed.

use super::fixtures::{app, at, plan};
use crate::check::hash;
use crate::history::{EventScope, History, Page};
use crate::{Database, Verdict};
use dockswap_core::machine::{Event, Machine, Order, OrderReason, OrderTarget, Transition};
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::{ConfigRow, CurrentState, NewConfig};
use dockswap_core::{ConfigId, ConfigSha, DeploymentId, ImageId};

/// An app whose deployments all succeed.
pub(super) struct Story {
    pub(super) machine: Machine,
    config: ConfigId,
    /// Its deployments have the ids that leave this remainder, so that two stories never share one.
    seat: i64,
    deployments: i64,
    seconds: i64,
}

/// How many stories there can be in one database.
const SEATS: i64 = 100;

impl Story {
    /// Stores a file for `name`, and begins.
    pub(super) async fn of(database: &Database, name: &str, seat: i64) -> Self {
        let bytes = format!("name: {name}\nimage: web:v1\n").repeat(20).into_bytes();
        let sha = ConfigSha(hash(&bytes));
        let config = NewConfig { app: app(name), bytes, sha, at: at(0), project: None, audit: None };
        let config = database.insert_config(&config).await.unwrap();
        Self { machine: Machine::new(app(name)), config, seat, deployments: 0, seconds: 0 }
    }

    /// Goes on where the records of `name` are.
    pub(super) async fn resumed(database: &Database, name: &str, seat: i64) -> Self {
        let machine = database.machines().await.unwrap().into_iter().find(|m| *m.app() == app(name)).unwrap();
        let config = machine.considered().unwrap();
        let newest = database.deployments(&app(name), None, 1).await.unwrap()[0].id;
        let newest_event =
            database.history().events(&EventScope::App(app(name)), Page::first(1)).await.unwrap();
        let seconds = (newest_event[0].created_at.as_micros() - at(0).as_micros()) / 1_000_000;
        Self { machine, config, seat, deployments: newest.0 / SEATS, seconds }
    }

    /// What happens next.
    pub(super) fn next(&mut self) -> Transition {
        self.seconds += 10;
        let event = match self.machine.state() {
            "pulling" => {
                let id = format!("sha256:{:064x}", self.deployments);
                Event::ImageReady(Image { id: ImageId(id), digest: None })
            }
            "starting" => Event::ContainerStarted,
            "health_check" => Event::HealthCheckPassed,
            "switching" => Event::TrafficSwitched { revision: 1 },
            "draining" => Event::DrainComplete,
            "watching" => Event::WatchPassed,
            "stopping" => Event::ContainerStopped,
            _ => {
                self.deployments += 1;
                Event::Deploy(Order {
                    deployment: DeploymentId(self.deployments * SEATS + self.seat),
                    target: OrderTarget::Config(plan(self.config)),
                    reason: OrderReason::Edit,
                })
            }
        };
        self.machine.step(&event, at(self.seconds * 1_000_000)).unwrap()
    }

    /// Commits what happens next.
    pub(super) async fn advance(&mut self, database: &Database) {
        let transition = self.next();
        database.commit(&transition).await.unwrap();
        self.machine = transition.committed();
    }
}

/// A database with `apps` stories of `steps` transitions each, closed.
pub(super) async fn told(url: &str, apps: i64, steps: usize) {
    let database = crate::connect(url, &super::fixtures::holder()).await.unwrap();
    for seat in 0..apps {
        let mut story = Story::of(&database, &format!("app-{seat}"), seat).await;
        for _ in 0..steps {
            story.advance(&database).await;
        }
    }
    database.close().await;
}

/// What decisions rest upon.
#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    machines: Vec<Machine>,
    current: Vec<CurrentState>,
    deployments: Vec<String>,
    configs: Vec<ConfigRow>,
}

impl Facts {
    pub(super) async fn of(history: &History) -> Self {
        let mut deployments = Vec::new();
        for name in history.apps().await.unwrap() {
            let records = history.records(&name).await.unwrap();
            deployments.push(format!("{:?} {:?}", records.deployments, records.images));
        }
        Self {
            machines: history.machines().await.unwrap(),
            current: history.current_states().await.unwrap(),
            deployments,
            configs: history.newest_configs().await.unwrap(),
        }
    }

    /// The version of every machine, by app.
    pub(super) fn versions(&self) -> Vec<u64> {
        self.machines.iter().map(|machine| machine.version().0).collect()
    }
}

/// Panics unless everything on record fits together.
pub(super) async fn assert_sound(history: &History) -> Verdict {
    let verdict = history.check().await.unwrap();
    assert!(verdict.is_sound(), "{:#?}", verdict.findings);
    verdict
}

/// Chance: splitmix64.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = u128::from(bits ^ (bits >> 31)) * u128::try_from(bound).unwrap();
        usize::try_from(drawn >> 64).unwrap()
    }
}
