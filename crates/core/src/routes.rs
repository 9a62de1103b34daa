//! The route table: where the proxy sends each request. Plain data, applied whole.

use crate::limits::TrafficLimits;
use crate::machine::{Machine, RouteIntent};
use crate::name::{AppName, Color, ContainerId, DeploymentId};
use crate::ports::Container;
use crate::spec::{Protocol, Route};
use crate::time::{Timestamp, millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::time::Duration;

/// What tells one life of one container from every other: Docker hands a freed address to the next
/// container at once, so an address alone is no identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpstreamId {
    /// The container.
    pub container: ContainerId,
    /// When this run of it began.
    pub started_at: Timestamp,
}

/// A place to send requests to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// Which life of which container.
    pub id: UpstreamId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it speaks there.
    #[serde(default)]
    pub protocol: Protocol,
}

/// The containers of one color that share an app's traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The color that serves.
    pub color: Color,
    /// The deployment whose containers these are.
    pub deployment: DeploymentId,
    /// One per replica that can be reached; empty: none can, the proxy answers 503.
    pub upstreams: Vec<Upstream>,
}

/// All routes of one app, and where they lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoutes {
    /// The app.
    pub app: AppName,
    /// Where its traffic comes in.
    pub routes: Vec<Route>,
    /// Where it goes; `None`: nowhere yet, the proxy answers 503.
    pub target: Option<Target>,
    /// Whether new requests pass.
    #[serde(default, skip_serializing_if = "Gate::is_open")]
    pub gate: Gate,
    /// What requests may take.
    #[serde(default, skip_serializing_if = "TrafficLimits::is_default")]
    pub limits: TrafficLimits,
}

/// Whether an app's new requests pass. What is in flight already, upgraded connections among it, goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// They go to the target.
    #[default]
    Open,
    /// They wait in the proxy.
    Held(Hold),
    /// They are answered 503.
    Closed {
        /// The app's own page, HTML; `None`: a plain one.
        page: Option<String>,
    },
}

impl Gate {
    /// Whether requests pass.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// For how long requests may wait in the proxy, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
pub struct Hold {
    /// At the latest: then they go to the target all the same, or are answered 503 where there is none. The proxy
    /// keeps to it without being told.
    #[serde(rename = "until_us")]
    pub until: Timestamp,
    /// And at most for so long after the proxy first heard of it, whatever the wall clock says.
    #[serde(with = "millis", rename = "limit_ms")]
    #[schemars(with = "u64")]
    pub limit: Duration,
    /// How many may wait at a time; one more is answered 503.
    pub queue: u32,
}

impl Hold {
    /// For `limit` from now on, in whole milliseconds, as it is stored.
    #[must_use]
    pub fn begin(limit: Duration, queue: u32, now: Timestamp) -> Self {
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        Self { until: now + limit, limit, queue }
    }

    /// After a restart, which makes it no longer. A clock that was set back meanwhile does not either.
    #[must_use]
    pub fn resume(self, now: Timestamp) -> Self {
        Self { until: self.until.min(now + self.limit), ..self }
    }

    /// The longer and the wider of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
            limit: self.limit.max(other.limit),
            queue: self.queue.max(other.queue),
        }
    }
}

/// How many requests wait for one app's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The app.
    pub app: AppName,
    /// How many.
    pub requests: u32,
}

/// The whole table under its revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every table; the proxy refuses one that is not newer than its own.
    pub revision: u64,
    /// Sorted by app name, each app at most once.
    pub apps: Vec<AppRoutes>,
}

impl RouteTable {
    /// Whether any route leads to one of `upstreams`.
    #[must_use]
    pub fn leads_to(&self, upstreams: &[UpstreamId]) -> bool {
        let targets = self.apps.iter().filter_map(|app| app.target.as_ref());
        targets.flat_map(|target| &target.upstreams).any(|upstream| upstreams.contains(&upstream.id))
    }
}

impl AppRoutes {
    /// The routes of one app: a pure function of its state, with the containers that Docker shows.
    /// `None` when nothing is routed.
    #[must_use]
    pub fn of(machine: &Machine, containers: &[Container]) -> Option<Self> {
        Self::leading(machine, machine.route(), containers)
    }

    /// The same for the first table of a controller: where what the state wants routed is no longer
    /// there, what was confirmed before, be it that requests wait. The effect that is owed decides then.
    #[must_use]
    pub fn at_start(machine: &Machine, containers: &[Container]) -> Option<Self> {
        let wanted = Self::of(machine, containers);
        let reaches_nothing = |routes: &Self| routes.target.as_ref().is_some_and(|t| t.upstreams.is_empty());
        match (wanted, machine.confirmed_route()) {
            (Some(wanted), Some(confirmed)) if reaches_nothing(&wanted) => {
                Self::leading(machine, confirmed, containers)
            }
            (wanted, _) => wanted,
        }
    }

    fn leading(machine: &Machine, intent: RouteIntent<'_>, containers: &[Container]) -> Option<Self> {
        if intent.routes.is_empty() {
            return None;
        }
        let target = intent.to.map(|release| Target {
            color: release.color,
            deployment: release.origin,
            upstreams: containers
                .iter()
                .filter(|container| container.app == *machine.app() && release.owns(container))
                // What runs of what was given up is about to be stopped.
                .filter(|_| machine.given_up() != Some(release))
                .filter_map(|container| container.upstream.clone())
                .collect(),
        });
        Some(Self {
            app: machine.app().clone(),
            routes: intent.routes.to_vec(),
            target,
            gate: machine.access().gate(intent.hold),
            limits: intent.limits.cloned().unwrap_or_default(),
        })
    }
}

/// What is in flight, counted apart by how long it may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default)]
pub struct InFlight {
    /// Ordinary requests, from their acceptance until the last byte of the answer.
    pub requests: u64,
    /// Requests that are answered by server-sent events (`text/event-stream`).
    pub event_streams: u64,
    /// gRPC calls (`application/grpc`).
    pub calls: u64,
    /// Open `WebSocket`s.
    pub websockets: u64,
    /// Other upgraded connections.
    pub tunnels: u64,
}

impl InFlight {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.requests + self.event_streams + self.calls + self.websockets + self.tunnels
    }
}

impl AddAssign for InFlight {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.event_streams += other.event_streams;
        self.calls += other.calls;
        self.websockets += other.websockets;
        self.tunnels += other.tunnels;
    }
}

impl<'a> Sum<&'a UpstreamLoad> for InFlight {
    fn sum<I: Iterator<Item = &'a UpstreamLoad>>(loads: I) -> Self {
        loads.fold(Self::default(), |mut sum, load| {
            sum += load.in_flight;
            sum
        })
    }
}

/// What is in flight on one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamLoad {
    /// Which upstream.
    pub id: UpstreamId,
    /// What is in flight on it.
    #[serde(flatten)]
    pub in_flight: InFlight,
}

impl UpstreamLoad {
    /// Whether nothing is in flight.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.in_flight.total() == 0
    }
}
