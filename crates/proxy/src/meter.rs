//! What the proxy counts, for whoever watches it: requests by app, color and outcome, and how long they took. How a
//! request is carried is not its business. There are as many series as there are apps in the table, times a constant.

use crate::sync::lock;
use dockswap_core::name::{AppName, Color};
use dockswap_core::routes::RouteTable;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The classes of status codes.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The app.
    App,
    /// The proxy, in its place.
    Proxy,
}

/// What a connection to an upstream was, for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Opened.
    Anew,
    /// There from a request before.
    Again,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    app: String,
    color: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    app: String,
    color: &'static str,
    class: &'static str,
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Use {
    app: String,
    color: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Meter {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Of, Histogram, fn() -> Histogram>,
    connections: Family<Use, Counter>,
    unrouted: Family<Class, Counter>,
    refused: Counter,
    unlogged: Counter,
    tallies: Mutex<Tallies>,
}

/// By app, and by the color that has its traffic.
type Tallies = BTreeMap<(AppName, Option<Color>), Arc<Tally>>;

/// What is counted of one color of one app.
#[derive(Debug)]
pub(crate) struct Tally {
    by_app: [Counter; CLASSES.len()],
    by_proxy: [Counter; CLASSES.len()],
    seconds: Histogram,
    opened: Counter,
    reused: Counter,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("dockswap_proxy");
        let requests = Family::<Outcome, Counter>::default();
        let seconds =
            Family::<Of, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let connections = Family::<Use, Counter>::default();
        let unrouted = Family::<Class, Counter>::default();
        let refused = Counter::default();
        let unlogged = Counter::default();
        registry.register(
            "requests",
            "Requests that were answered, by app, color, class of status, and who answered: the app, or the proxy in its place",
            requests.clone(),
        );
        registry.register_with_unit(
            "request",
            "From the head of a request to the head of its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register(
            "upstream_connections",
            "Connections to containers that requests went over: opened for them, or reused",
            connections.clone(),
        );
        registry.register(
            "unrouted_requests",
            "Requests that were answered before an app was found for them",
            unrouted.clone(),
        );
        registry.register(
            "refused_connections",
            "Connections that were closed at once, because there were too many",
            refused.clone(),
        );
        registry.register(
            "access_log_dropped_lines",
            "Lines of the access log that were dropped, because too many waited or none could be written",
            unlogged.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            connections,
            unrouted,
            refused,
            unlogged,
            tallies: Mutex::default(),
        }
    }

    /// What is counted of `color` of `app`; `None`: of requests that come while it has none.
    pub(crate) fn tally(&self, app: &AppName, color: Option<Color>) -> Arc<Tally> {
        let mut tallies = lock(&self.tallies);
        let tally = tallies.entry((app.clone(), color)).or_insert_with(|| {
            let (app, color) = (app.to_string(), color.map_or("none", Color::as_str));
            let outcomes = |by| {
                CLASSES.map(|class| {
                    self.requests.get_or_create_owned(&Outcome { app: app.clone(), color, class, by })
                })
            };
            let connections =
                |kind| self.connections.get_or_create_owned(&Use { app: app.clone(), color, kind });
            Arc::new(Tally {
                by_app: outcomes("app"),
                by_proxy: outcomes("proxy"),
                seconds: self.seconds.get_or_create_owned(&Of { app: app.clone(), color }),
                opened: connections("opened"),
                reused: connections("reused"),
            })
        });
        Arc::clone(tally)
    }

    /// Forgets what is counted of apps that are not in `table`.
    pub(crate) fn keep_only(&self, table: &RouteTable) {
        let kept: BTreeSet<&AppName> = table.apps.iter().map(|app| &app.app).collect();
        lock(&self.tallies).retain(|(app, color), _| {
            if kept.contains(app) {
                return true;
            }
            let (app, color) = (app.to_string(), color.map_or("none", Color::as_str));
            for (by, class) in ["app", "proxy"].into_iter().flat_map(|by| CLASSES.map(|class| (by, class))) {
                self.requests.remove(&Outcome { app: app.clone(), color, class, by });
            }
            for kind in ["opened", "reused"] {
                self.connections.remove(&Use { app: app.clone(), color, kind });
            }
            self.seconds.remove(&Of { app, color });
            false
        });
    }

    /// A request was answered before an app was found for it.
    pub(crate) fn unrouted(&self, status: StatusCode) {
        self.unrouted.get_or_create(&Class { class: CLASSES[class(status)] }).inc();
    }

    /// A connection was closed at once.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Counts the lines of the access log that are dropped.
    pub(crate) fn unlogged(&self) -> Counter {
        self.unlogged.clone()
    }

    /// All of it in the text format of `OpenMetrics`, without its last line: more may follow.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        text
    }
}

impl Tally {
    /// A request was answered.
    pub(crate) fn answered(&self, by: By, status: StatusCode, after: Duration) {
        let counters = match by {
            By::App => &self.by_app,
            By::Proxy => &self.by_proxy,
        };
        counters[class(status)].inc();
        self.seconds.observe(after.as_secs_f64());
    }

    /// A request went over a connection.
    pub(crate) fn reached(&self, reached: Reached) {
        match reached {
            Reached::Anew => self.opened.inc(),
            Reached::Again => self.reused.inc(),
        };
    }
}

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).saturating_sub(1).min(CLASSES.len() - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use dockswap_core::limits::TrafficLimits;
    use dockswap_core::routes::{AppRoutes, Gate};

    fn table(apps: &[&str]) -> RouteTable {
        let routes = |name: &&str| AppRoutes {
            app: name.parse().unwrap(),
            routes: Vec::new(),
            target: None,
            gate: Gate::Open,
            limits: TrafficLimits::default(),
        };
        RouteTable { revision: 1, apps: apps.iter().map(routes).collect() }
    }

    #[test]
    fn what_happens_is_counted_once_where_it_belongs() {
        let meter = Meter::new();
        let web = meter.tally(&"web".parse().unwrap(), Some(Color::Blue));
        web.answered(By::App, StatusCode::OK, Duration::from_millis(3));
        web.answered(By::Proxy, StatusCode::BAD_GATEWAY, Duration::from_secs(60));
        web.reached(Reached::Anew);
        web.reached(Reached::Again);
        meter.unrouted(StatusCode::NOT_FOUND);
        meter.refused();
        let text = meter.text();
        for line in [
            r#"dockswap_proxy_requests_total{app="web",color="blue",class="2xx",by="app"} 1"#,
            r#"dockswap_proxy_requests_total{app="web",color="blue",class="5xx",by="app"} 0"#,
            r#"dockswap_proxy_requests_total{app="web",color="blue",class="5xx",by="proxy"} 1"#,
            r#"dockswap_proxy_request_seconds_bucket{le="0.0025",app="web",color="blue"} 0"#,
            r#"dockswap_proxy_request_seconds_bucket{le="0.005",app="web",color="blue"} 1"#,
            r#"dockswap_proxy_request_seconds_count{app="web",color="blue"} 2"#,
            r#"dockswap_proxy_upstream_connections_total{app="web",color="blue",kind="reused"} 1"#,
            r#"dockswap_proxy_unrouted_requests_total{class="4xx"} 1"#,
            "dockswap_proxy_refused_connections_total 1",
            "dockswap_proxy_access_log_dropped_lines_total 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }

    /// Names come from files that anybody may write: what is gone must not stay.
    #[test]
    fn there_are_no_more_series_than_apps_call_for() {
        let meter = Meter::new();
        let series = || meter.text().lines().filter(|line| !line.starts_with('#')).count();
        let none = series();
        for name in ["one", "two", "three"] {
            for color in [None, Some(Color::Blue), Some(Color::Green)] {
                meter.tally(&name.parse().unwrap(), color);
            }
        }
        let all = series();
        meter.keep_only(&table(&["two"]));
        assert_eq!((series() - none) * 3, all - none);
        assert!(meter.text().contains(r#"app="two""#) && !meter.text().contains(r#"app="one""#));
        meter.keep_only(&table(&[]));
        assert_eq!(series(), none);
    }
}
