//! What all connections share: the table in force, the upstreams, the limits, the signals to stop.
//! Swapping the table is done here; everything that a swap needs besides is its caller's.

use crate::admission::Admission;
use crate::app::App;
use crate::certificates::{Certificates, Engine};
use crate::dialer::Dialer;
use crate::front::Front;
use crate::hold::Hold;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::meter::Meter;
use crate::stop::Stop;
use crate::table::{Barrier, Door, Entrance, Table};
use crate::upstream::{InFlight, Upstream, Upstreams};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use dockswap_core::spec::{HostPattern, Protocol};
use http::HeaderValue;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// The heart of a running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) limits: Arc<Limits>,
    pub(crate) upstreams: Upstreams,
    pub(crate) admission: Arc<Admission>,
    pub(crate) front: Arc<Front>,
    /// Every client connection and tunnel.
    pub(crate) connections: TaskTracker,
    /// The proxy ends: whoever waits for something else is answered.
    pub(crate) closing: Stop,
    /// Connections end after the next request that they ask; those that rest are left to rest.
    pub(crate) parting: Stop,
    /// Connections end after the request that they are at.
    pub(crate) draining: Stop,
    /// Connections end at once.
    pub(crate) ending: Stop,
    pub(crate) dialer: Dialer,
    pub(crate) meter: Meter,
    /// `None`: requests are not written down.
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) engine: Engine,
    table: ArcSwap<Table>,
    certificates: ArcSwap<Certificates>,
}

/// Why a request does not get an upstream.
#[derive(Clone, Debug)]
pub(crate) enum NoEntry {
    /// No route matches.
    NoRoute,
    /// The route is served over HTTPS alone, on this port.
    OverHttps(u16),
    /// The route leads nowhere at present, or to none but those already tried.
    NoUpstream,
    /// It has to wait here, and then ask again.
    Held(Arc<Hold>),
    /// The app is closed; its own page, if it has one.
    Closed(Option<Bytes>),
}

/// A request that may start: it is counted, and the table in force leads it there.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) in_flight: InFlight,
    /// How many bytes of the path are cut off.
    pub(crate) strip: usize,
    /// How often the upstream had been closed when the request was counted in.
    pub(crate) closings: u64,
    /// Whose it is.
    pub(crate) app: Arc<App>,
    /// What the answer says of HTTPS.
    pub(crate) hsts: Option<HeaderValue>,
}

impl Entry {
    /// Whether it leads where gRPC can be spoken.
    pub(crate) fn is_for_calls(&self) -> bool {
        self.in_flight.upstream().protocol() == Protocol::H2c
    }
}

impl Proxy {
    pub(crate) fn new(limits: Limits, front: Front) -> Self {
        Self::reaching(Dialer::Tcp, limits, front)
    }

    /// A proxy that reaches its upstreams by `dialer`.
    pub(crate) fn reaching(dialer: Dialer, limits: Limits, front: Front) -> Self {
        let (limits, front) = (Arc::new(limits), Arc::new(front));
        Self {
            upstreams: Upstreams::new(Arc::clone(&limits)),
            admission: Arc::new(Admission::new(&limits, Arc::clone(&front))),
            front,
            limits,
            connections: TaskTracker::new(),
            closing: Stop::default(),
            parting: Stop::default(),
            draining: Stop::default(),
            ending: Stop::default(),
            dialer,
            meter: Meter::new(),
            journal: None,
            engine: Engine::new(),
            table: ArcSwap::default(),
            certificates: ArcSwap::default(),
        }
    }

    /// The table in force.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Puts `table` in force. When this returns, every request that begins later sees it, and every
    /// request that saw the one before and goes on is counted on its upstream.
    pub(crate) fn swap(&self, table: &Arc<Table>) {
        let targets = || table.source().apps.iter().filter_map(|app| app.target.as_ref());
        let routed = || targets().flat_map(|target| &target.upstreams);
        self.upstreams.route_also(routed());
        let before = self.table.swap(Arc::clone(table));
        before.release(table);
        self.meter.keep_only(table.source());
        self.upstreams.route_only(routed());
    }

    /// The certificates in force.
    pub(crate) fn certificates(&self) -> Guard<Arc<Certificates>> {
        self.certificates.load()
    }

    /// Puts `certificates` in force, for the handshakes that begin later.
    pub(crate) fn show(&self, certificates: Certificates) {
        self.certificates.store(Arc::new(certificates));
    }

    /// Whether a client that asks for `host` by a route for `hosts` gets through a handshake; `None`: nobody has said
    /// yet which certificates there are, as after a start without any. Then it may be a site that was never served
    /// plainly, and nobody should find out.
    fn is_secured(&self, host: Option<&str>, hosts: &HostPattern) -> Option<bool> {
        let certificates = self.certificates();
        // One that names no host cannot be sent on, and is told so.
        certificates.are_known().then(|| host.is_none_or(|host| certificates.cover(host, hosts)))
    }

    /// Finds the place of a request and counts it in there. `app` is told whose it is.
    pub(crate) fn enter(
        &self,
        door: Door,
        host: Option<&str>,
        path: &str,
        tried: &[Arc<Upstream>],
        app: &mut Option<Arc<App>>,
    ) -> Result<Entry, NoEntry> {
        loop {
            let table = self.table.load();
            let place = table.find(door, host, path).ok_or(NoEntry::NoRoute)?;
            *app = Some(Arc::clone(&place.app));
            let hsts = match &place.entrance {
                Entrance::Open => None,
                Entrance::Hsts(value) => Some(value.clone()),
                Entrance::OverHttps(hosts) => match self.is_secured(host, hosts) {
                    Some(true) => return Err(NoEntry::OverHttps(table.https_port())),
                    Some(false) => None,
                    None => return Err(NoEntry::NoUpstream),
                },
            };
            match &place.barrier {
                None => {}
                Some(Barrier::Held(hold)) if hold.is_over() => {}
                Some(Barrier::Held(hold)) => return Err(NoEntry::Held(Arc::clone(hold))),
                Some(Barrier::Closed(page)) => return Err(NoEntry::Closed(page.clone())),
            }
            let replicas = place.replicas.as_ref().ok_or(NoEntry::NoUpstream)?;
            let upstream = replicas.pick(tried).ok_or(NoEntry::NoUpstream)?;
            let closings = upstream.closings();
            let in_flight = InFlight::begin(upstream);
            if Arc::ptr_eq(&table, &self.table.load()) {
                let app = Arc::clone(&place.app);
                return Ok(Entry { in_flight, strip: place.strip, closings, hsts, app });
            }
            // The table changed while the request was counted in: whoever swapped it may already
            // have seen this upstream idle.
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use dockswap_core::limits::TrafficLimits;
    use dockswap_core::name::{Color, ContainerId, DeploymentId};
    use dockswap_core::routes::{self, AppRoutes, Gate, RouteTable, Target, UpstreamId};
    use dockswap_core::spec::{HostPattern, Route};
    use dockswap_core::time::Timestamp;
    use std::sync::atomic::{AtomicBool, Ordering};

    const SWAPS: u16 = 10_000;

    /// A table that leads everything to the upstream of one version, told apart by its port.
    fn table(proxy: &Proxy, version: u16) -> Arc<Table> {
        let id = UpstreamId { container: ContainerId(version.to_string()), started_at: Timestamp::default() };
        let upstreams =
            vec![routes::Upstream { id, addr: ([127, 0, 0, 1], version).into(), protocol: Protocol::Http1 }];
        let target = Target { color: Color::Blue, deployment: DeploymentId(1), upstreams };
        let any = Route {
            host: HostPattern::Any,
            path_prefix: "/".into(),
            strip_prefix: false,
            listen_port: None,
            tls: None,
        };
        let app = "web".parse().unwrap();
        let apps = vec![AppRoutes {
            app,
            routes: vec![any],
            target: Some(target),
            gate: Gate::Open,
            limits: TrafficLimits::default(),
        }];
        let source = RouteTable { revision: version.into(), apps };
        let ports = crate::table::Ports { http: 80, https: 443 };
        Arc::new(Table::compile(source, ports, &proxy.upstreams, &proxy.meter, &proxy.limits, &proxy.table()))
    }

    #[test]
    fn what_was_swapped_away_and_seen_idle_is_never_entered_again() {
        let proxy = Proxy::new(Limits::default(), Front::default());
        proxy.swap(&table(&proxy, 0));
        let stopped: Vec<AtomicBool> = (0..=SWAPS).map(|_| AtomicBool::new(false)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stopped[usize::from(SWAPS) - 1].load(Ordering::SeqCst) {
                        let entry = proxy.enter(Door::Common, None, "/", &[], &mut None).unwrap();
                        let version = usize::from(entry.in_flight.upstream().addr().port());
                        assert!(!stopped[version].load(Ordering::SeqCst), "version {version} was stopped");
                    }
                });
            }
            for version in 1..=SWAPS {
                proxy.swap(&table(&proxy, version));
                while proxy.upstreams.loads().iter().any(|load| load.id.container.0 != version.to_string()) {
                    proxy.upstreams.tidy();
                }
                stopped[usize::from(version) - 1].store(true, Ordering::SeqCst);
            }
        });
    }
}
