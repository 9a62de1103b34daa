//! A proxy: it holds a table and counts what is in flight.

use super::faults::{Call, Fault};
use super::{State, World};
use async_trait::async_trait;
use dockswap_core::ports::{Router, RouterError, RouterStatus};
use dockswap_core::routes::{InFlight, RouteTable, UpstreamId, UpstreamLoad};
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many requests are remembered.
const LOG: usize = 10_000;

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The proxy.
#[derive(Default)]
pub(crate) struct Proxy {
    /// In force.
    pub(crate) table: RouteTable,
    /// The last one that is on its disk, which it is before it is confirmed: what a crash falls back to.
    confirmed: RouteTable,
    /// Ports that something else listens on.
    pub(crate) taken_ports: BTreeSet<u16>,
    pub(crate) requests: Vec<Request>,
    /// Which deployments' containers requests went to, in order, as far as anybody asks.
    pub(crate) log: Vec<DeploymentId>,
    /// No client comes.
    pub(crate) closed: bool,
}

/// A request in flight.
pub(crate) struct Request {
    pub(crate) app: AppName,
    pub(crate) upstream: UpstreamId,
    pub(crate) ends: Timestamp,
    /// Its drain is over: it was to be closed.
    pub(crate) overdue: bool,
}

/// What a proxy that was started anew holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Snapshot {
    /// The table that was in force.
    Last,
    /// The last one that it had confirmed.
    Confirmed,
    /// None: its disk is gone.
    Empty,
}

impl Proxy {
    /// It ends, with everything in flight, and is started anew.
    pub(super) fn restart(&mut self, snapshot: Snapshot) {
        self.requests.clear();
        match snapshot {
            Snapshot::Last => {}
            Snapshot::Confirmed => self.table = self.confirmed.clone(),
            Snapshot::Empty => self.table = RouteTable::default(),
        }
    }

    fn load(&self, upstreams: &[UpstreamId]) -> Vec<UpstreamLoad> {
        let mut load: BTreeMap<&UpstreamId, u64> = BTreeMap::new();
        for request in self.requests.iter().filter(|request| upstreams.contains(&request.upstream)) {
            *load.entry(&request.upstream).or_default() += 1;
        }
        load.into_iter()
            .map(|(id, requests)| UpstreamLoad {
                id: id.clone(),
                in_flight: InFlight { requests, ..InFlight::default() },
            })
            .collect()
    }

    fn offer(&mut self, table: &RouteTable, fault: Option<Fault>) -> Result<(), RouterError> {
        if table.revision <= self.table.revision {
            return Err(RouterError::Stale { current: self.table.revision, offered: table.revision });
        }
        let ports = table.apps.iter().flat_map(|app| &app.routes).filter_map(|route| route.listen_port);
        if let Some(port) = ports.into_iter().find(|port| self.taken_ports.contains(port)) {
            return Err(RouterError::Refused { message: format!("0.0.0.0:{port} is in use") });
        }
        self.table = table.clone();
        if fault != Some(Fault::LostReply) {
            self.confirmed = table.clone();
        }
        Ok(())
    }
}

impl State {
    /// One client of each app comes.
    pub(crate) fn requests(&mut self) {
        if self.proxy.closed {
            return;
        }
        let now = self.now();
        let tables: Vec<_> = self.proxy.table.apps.clone();
        // Who comes to a gate that is not open waits, or is turned away as it is meant to be.
        for routes in tables.into_iter().filter(|routes| routes.gate.is_open()) {
            let Some(target) = routes.target.filter(|target| !target.upstreams.is_empty()) else { continue };
            let upstream = self.rng.pick(&target.upstreams).clone();
            let quick = (Duration::from_millis(5), Duration::from_millis(400));
            let long = (Duration::from_secs(1), Duration::from_secs(12));
            let (low, high) = if self.rng.happens(self.faults.long_requests) { long } else { quick };
            let ends = now + self.rng.time(low, high);
            self.tally.requests += 1;
            self.proxy.log.push(target.deployment);
            self.proxy.log.truncate(LOG);
            if self.docker.serves(&upstream, now) {
                let request = Request { app: routes.app, upstream: upstream.id, ends, overdue: false };
                self.proxy.requests.push(request);
            } else {
                self.refused_request(&routes.app, (target.color, target.deployment));
            }
        }
    }
}

fn lost(call: Call) -> RouterError {
    RouterError::Unavailable { message: format!("simulated: {call:?}") }
}

#[async_trait]
impl Router for World {
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError> {
        let about = format!("revision {} {}", table.revision, brief(table));
        let doubted = std::mem::replace(&mut self.lock().checker.in_doubt, true);
        let result =
            self.call(Call::Apply, about, lost, |state, fault| state.proxy.offer(table, fault)).await;
        let mut state = self.lock();
        match &result {
            Ok(()) => {
                state.checker.in_doubt = false;
                state.table_came();
            }
            Err(RouterError::Unavailable { .. }) => {}
            Err(RouterError::Stale { .. } | RouterError::Refused { .. }) => state.checker.in_doubt = doubted,
        }
        result
    }

    async fn status(&self) -> Result<RouterStatus, RouterError> {
        self.call(Call::Status, "", lost, |state, _| {
            Ok(RouterStatus {
                version: "sim".to_owned(),
                pid: 1,
                table: state.proxy.table.clone(),
                listeners: Vec::new(),
                load: Vec::new(),
                waiting: Vec::new(),
            })
        })
        .await
    }

    async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError> {
        let until = self.lock().now() + patience;
        loop {
            let load = self.call(Call::Drained, "", lost, |state, _| Ok(state.proxy.load(upstreams))).await?;
            if load.is_empty() || self.lock().now() >= until {
                return Ok(load);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError> {
        self.call(Call::Close, "", lost, |state, _| {
            state.proxy.requests.retain(|request| !upstreams.contains(&request.upstream));
            Ok(())
        })
        .await
    }
}

fn brief(table: &RouteTable) -> String {
    let apps = table.apps.iter().map(|app| {
        let target = app.target.as_ref();
        let to = target
            .map(|target| format!("{} of {}, {}", target.color, target.deployment, target.upstreams.len()));
        format!("{} to {}", app.app, to.unwrap_or_else(|| "nowhere".to_owned()))
    });
    apps.collect::<Vec<_>>().join("; ")
}
