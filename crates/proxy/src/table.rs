//! The route table compiled for looking up: one hash per question, however many routes there are.
//! Knows upstreams by name only; what a request does with its place is not its business.

use crate::app::App;
use crate::hold::Hold;
use crate::limits::Limits;
use crate::meter::Meter;
use crate::upstream::{Upstream, Upstreams};
use bytes::Bytes;
use dockswap_core::AppName;
use dockswap_core::routes::{Gate, RouteTable, Waiting};
use dockswap_core::spec::{HostPattern, Route};
use http::HeaderValue;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Through which listener a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Door {
    /// The common one.
    Common,
    /// The common one for TLS, open while a route wants it.
    Secure,
    /// One that routes asked for by `listen_port`.
    Own(u16),
}

/// A table in force.
#[derive(Debug, Default)]
pub(crate) struct Table {
    source: RouteTable,
    doors: BTreeMap<Door, Hosts>,
    apps: BTreeMap<AppName, Arc<App>>,
    /// Where requests wait, by app.
    holds: BTreeMap<AppName, Arc<Hold>>,
    /// The doors that routes ask for besides the common one, each with the first app that does.
    asked: BTreeMap<Door, Asked>,
    https_port: u16,
}

/// A door that routes ask for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The first app that does.
    pub(crate) app: String,
    secure: bool,
}

/// The ports of the common listeners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    /// Where plain requests are sent to.
    pub(crate) https: u16,
}

#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<str>, Paths>,
    wildcard: HashMap<Box<str>, Paths>,
    any: Paths,
}

/// The routes of one host pattern, by path prefix without its trailing slash.
#[derive(Debug, Default)]
struct Paths {
    by_prefix: BTreeMap<Box<str>, Place>,
    longest: usize,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// How many bytes of the path are cut off.
    pub(crate) strip: usize,
    /// `None` or empty: nowhere at present.
    pub(crate) replicas: Option<Arc<Replicas>>,
    /// Whose it is.
    pub(crate) app: Arc<App>,
    /// `None`: requests pass, as they nearly always do.
    pub(crate) barrier: Option<Barrier>,
    pub(crate) entrance: Entrance,
}

/// What keeps requests from an app.
#[derive(Clone, Debug)]
pub(crate) enum Barrier {
    /// They wait.
    Held(Arc<Hold>),
    /// They are answered 503, with this page or a plain one.
    Closed(Option<Bytes>),
}

/// How a request gets to a place.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// As it came.
    Open,
    /// As it came, and what goes back says for how long to come by HTTPS only.
    Hsts(HeaderValue),
    /// Not at all, once whoever comes again by HTTPS gets through, by a route for these hosts. Until then as it came: a
    /// site that is to be served over TLS is served while its certificate is on its way.
    OverHttps(HostPattern),
}

/// The upstreams that share an app's traffic.
#[derive(Debug)]
pub(crate) struct Replicas {
    upstreams: Vec<Arc<Upstream>>,
    /// Where the next search begins, so that equally busy ones take turns.
    turn: AtomicUsize,
}

impl Table {
    /// Compiles `source`. A route with the common listener's own port belongs to the common
    /// listener. Of two equal routes the first stands, and on one port all have TLS or none. Where no plain
    /// route stands beside one with TLS on the common listeners, plain requests are for it too. Whoever waits since
    /// the table `before` waits on.
    pub(crate) fn compile(
        source: RouteTable,
        ports: Ports,
        upstreams: &Upstreams,
        meter: &Meter,
        limits: &Limits,
        before: &Self,
    ) -> Self {
        let mut table = Self { https_port: ports.https, ..Self::default() };
        let mut over_https = Vec::new();
        for app in &source.apps {
            let replicas = app.target.as_ref().map(|target| {
                Arc::new(Replicas {
                    upstreams: target.upstreams.iter().map(|one| upstreams.adopt(one)).collect(),
                    turn: AtomicUsize::new(0),
                })
            });
            let tally = meter.tally(&app.app, app.target.as_ref().map(|target| target.color));
            let one = Arc::new(App::new(app, limits, tally, before.apps.get(&app.app)));
            table.apps.insert(app.app.clone(), Arc::clone(&one));
            let barrier = match &app.gate {
                Gate::Open => None,
                Gate::Held(asked) => {
                    let hold = Hold::after(before.holds.get(&app.app), *asked);
                    table.holds.insert(app.app.clone(), Arc::clone(&hold));
                    Some(Barrier::Held(hold))
                }
                Gate::Closed { page } => Some(Barrier::Closed(page.clone().map(Bytes::from))),
            };
            for route in &app.routes {
                let secure = route.tls.is_some();
                let door = match route.listen_port {
                    Some(port) if port != ports.http => Door::Own(port),
                    _ if secure => Door::Secure,
                    _ => Door::Common,
                };
                if door != Door::Common {
                    let asked = table.asked.entry(door);
                    let asked = asked.or_insert_with(|| Asked { app: app.app.to_string(), secure });
                    if asked.secure != secure {
                        tracing::warn!(app = %app.app, %route, "of the routes on this port some have TLS; it is left out");
                        continue;
                    }
                }
                let place = Place {
                    strip: if route.strip_prefix { prefix_of(route).len() } else { 0 },
                    replicas: replicas.clone(),
                    app: Arc::clone(&one),
                    barrier: barrier.clone(),
                    entrance: match route.tls.as_ref().and_then(|tls| tls.hsts_secs) {
                        Some(seconds) => Entrance::hsts(seconds),
                        None => Entrance::Open,
                    },
                };
                if secure && route.listen_port.is_none() {
                    let entrance = Entrance::OverHttps(route.host.clone());
                    over_https.push((route, Place { entrance, ..place.clone() }));
                }
                if !table.insert(door, route, place) {
                    tracing::warn!(app = %app.app, %route, "another app has this route; it is left out");
                }
            }
        }
        for (route, place) in over_https {
            let _plain_one_stands = table.insert(Door::Common, route, place);
        }
        table.source = source;
        table
    }

    /// The table as it was given.
    pub(crate) const fn source(&self) -> &RouteTable {
        &self.source
    }

    /// Whether the place of `route` was free.
    fn insert(&mut self, door: Door, route: &Route, place: Place) -> bool {
        let hosts = self.doors.entry(door).or_default();
        let paths = match &route.host {
            HostPattern::Exact(host) => hosts.exact.entry(host.as_str().into()).or_default(),
            HostPattern::Wildcard(domain) => hosts.wildcard.entry(domain.as_str().into()).or_default(),
            HostPattern::Any => &mut hosts.any,
        };
        paths.insert(prefix_of(route), place)
    }

    /// The doors that it needs besides the common one.
    pub(crate) const fn asked(&self) -> &BTreeMap<Door, Asked> {
        &self.asked
    }

    /// Whether TLS is spoken at a door.
    pub(crate) fn is_secure(&self, door: Door) -> bool {
        match door {
            Door::Common => false,
            Door::Secure => true,
            Door::Own(_) => self.asked.get(&door).is_some_and(|asked| asked.secure),
        }
    }

    /// Where plain requests for a route with TLS are sent to.
    pub(crate) const fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Lets go who waits at a hold that `next` has no more.
    pub(crate) fn release(&self, next: &Self) {
        for (app, hold) in &self.holds {
            if next.holds.get(app).is_none_or(|kept| !Arc::ptr_eq(kept, hold)) {
                hold.end();
            }
        }
    }

    /// Every app for which requests wait.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waiting =
            self.holds.iter().map(|(app, hold)| Waiting { app: app.clone(), requests: hold.waiting() });
        waiting.filter(|waiting| waiting.requests > 0).collect()
    }

    /// The place of a request: an exact host before a wildcard, the longer wildcard before the
    /// shorter, any host last; within a host the longest prefix. `host` is normalized.
    pub(crate) fn find(&self, door: Door, host: Option<&str>, path: &str) -> Option<&Place> {
        let hosts = self.doors.get(&door)?;
        host.and_then(|host| {
            let exact = hosts.exact.get(host).and_then(|paths| paths.find(path));
            exact.or_else(|| hosts.find_wildcard(host, path))
        })
        .or_else(|| hosts.any.find(path))
    }
}

/// The path prefix of a route, without its trailing slash.
fn prefix_of(route: &Route) -> &str {
    route.path_prefix.trim_end_matches('/')
}

impl Entrance {
    fn hsts(seconds: u64) -> Self {
        // Digits are always a header's value.
        HeaderValue::from_str(&format!("max-age={seconds}")).map_or(Self::Open, Self::Hsts)
    }
}

impl Hosts {
    fn find_wildcard(&self, host: &str, path: &str) -> Option<&Place> {
        if self.wildcard.is_empty() {
            return None;
        }
        let domains = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        domains.filter_map(|domain| self.wildcard.get(domain)).find_map(|paths| paths.find(path))
    }
}

impl Paths {
    /// Whether the prefix was free.
    fn insert(&mut self, prefix: &str, place: Place) -> bool {
        self.longest = self.longest.max(prefix.len());
        match self.by_prefix.entry(prefix.into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(place);
                true
            }
        }
    }

    fn find(&self, path: &str) -> Option<&Place> {
        if self.by_prefix.is_empty() {
            return None;
        }
        let path = path.as_bytes();
        let mut end = path.len().min(self.longest);
        loop {
            let whole_segments = end == path.len() || path[end] == b'/';
            if whole_segments
                && let Ok(prefix) = std::str::from_utf8(&path[..end])
                && let Some(place) = self.by_prefix.get(prefix)
            {
                return Some(place);
            }
            end = path[..end].iter().rposition(|&b| b == b'/')?;
        }
    }
}

impl Replicas {
    /// The upstream with the least in flight that is not in `tried`; one that refused a connection
    /// just now only when there is no other.
    pub(crate) fn pick(&self, tried: &[Arc<Upstream>]) -> Option<&Arc<Upstream>> {
        if let ([only], []) = (self.upstreams.as_slice(), tried) {
            return Some(only);
        }
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.upstreams.len().max(1);
        let (before, from) = self.upstreams.split_at(start);
        from.iter()
            .chain(before)
            .filter(|one| !tried.iter().any(|other| Arc::ptr_eq(one, other)))
            .min_by_key(|one| (one.refuses(), one.in_flight()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use dockswap_core::limits::TrafficLimits;
    use dockswap_core::routes::AppRoutes;
    use proptest::prelude::*;

    /// A few names that contain each other, so that random ones often match.
    fn host() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b"], 1..4).prop_map(|labels| labels.join("."))
    }

    fn pattern() -> impl Strategy<Value = HostPattern> {
        prop_oneof![
            host().prop_map(HostPattern::Exact),
            host().prop_map(HostPattern::Wildcard),
            Just(HostPattern::Any)
        ]
    }

    fn path() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["", "x", "xy"], 1..5)
            .prop_map(|segments| format!("/{}", segments.join("/")))
    }

    fn route() -> impl Strategy<Value = Route> {
        (pattern(), path(), prop_oneof![Just(None), Just(Some(1))]).prop_map(
            |(host, path_prefix, listen_port)| Route {
                host,
                path_prefix,
                strip_prefix: true,
                listen_port,
                tls: None,
            },
        )
    }

    /// How well `route` matches, said as the contract says it; `None`: not at all.
    fn rank(route: &Route, door: Door, host: &str, path: &str) -> Option<(usize, usize)> {
        let own = route.listen_port.map_or(Door::Common, Door::Own);
        let by_host = match &route.host {
            HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
            HostPattern::Wildcard(domain) => {
                host.strip_suffix(domain).filter(|rest| rest.ends_with('.')).map(|_| 1 + domain.len())
            }
            HostPattern::Any => Some(0),
        };
        let prefix = route.path_prefix.trim_end_matches('/');
        let by_path = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        (own == door).then_some((by_host?, by_path.map(|_| prefix.len())?))
    }

    proptest! {
        #[test]
        fn the_longest_match_is_found(
            routes in proptest::collection::vec(route(), 0..12),
            own in any::<bool>(),
            host in host(),
            path in path(),
        ) {
            let door = if own { Door::Own(1) } else { Door::Common };
            let apps = vec![AppRoutes { app: "a".parse().unwrap(), routes: routes.clone(), target: None, gate: Gate::Open, limits: TrafficLimits::default() }];
            let upstreams = Upstreams::new(Arc::new(Limits::default()));
            let source = RouteTable { revision: 1, apps };
            let ports = Ports { http: 80, https: 443 };
            let table = Table::compile(source, ports, &upstreams, &Meter::new(), &Limits::default(), &Table::default());
            let best = routes.iter().filter_map(|route| rank(route, door, &host, &path)).max();
            let found = table.find(door, Some(&host), &path).map(|place| place.strip);
            prop_assert_eq!(found, best.map(|(_, prefix)| prefix));
        }
    }
}
