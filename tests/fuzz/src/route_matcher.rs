//! The proxy's lookup beside a naive reading of its contract: every route is tried, the best one wins.

use crate::choices::Choices;
use dockswap_core::Timestamp;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::name::{Color, ContainerId, DeploymentId};
use dockswap_core::routes::{AppRoutes, Gate, RouteTable, Target, Upstream, UpstreamId};
use dockswap_core::spec::{HostPattern, Protocol, Route};
use dockswap_proxy::Limits;
use dockswap_proxy::memory::{Found, MemoryProxy};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};

const COMMON_PORT: u16 = 80;
/// Labels and segments that contain each other, so that chosen ones often match or nearly do.
const LABELS: [&str; 6] = ["a", "b", "ab", "a-b", "b_1", "xn--a"];
const SEGMENTS: [&str; 7] = ["", "x", "xy", "x-y", "%78", "X", "~"];
const LISTENERS: [Option<u16>; 4] = [None, Some(COMMON_PORT), Some(8080), Some(9090)];

/// Makes a table and asks it, both as `bytes` choose.
pub fn route_matcher(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let apps: Vec<AppRoutes> = (0..=choices.below(5)).map(|nth| app(nth, &mut choices)).collect();
    let routes: Vec<(Route, Option<SocketAddr>)> = apps
        .iter()
        .flat_map(|app| {
            let upstream =
                app.target.as_ref().and_then(|target| target.upstreams.first()).map(|one| one.addr);
            app.routes.iter().map(move |route| (route.clone(), upstream))
        })
        .collect();
    let nobody = |_| Err(io::ErrorKind::ConnectionRefused.into());
    let table = RouteTable { revision: 1, apps };
    let proxy = MemoryProxy::new(Limits::default(), table, COMMON_PORT, nobody);
    for _ in 0..8 {
        let port = *choices.one_of(&[None, None, Some(8080), Some(7070)]);
        let (host, path) = (authority(&mut choices), path(&mut choices));
        let expected = best(&routes, port, host.as_deref(), &path);
        assert_eq!(
            proxy.find(port, host.as_deref(), &path),
            expected,
            "{port:?} {host:?} {path} {routes:#?}"
        );
    }
    // And with whatever is left as it stands.
    let text = String::from_utf8_lossy(choices.rest()).into_owned();
    let (host, path) = text.split_once('/').map_or((text.as_str(), ""), |(host, path)| (host, path));
    let path = format!("/{path}");
    let expected = best(&routes, None, Some(host), &path);
    assert_eq!(proxy.find(None, Some(host), &path), expected, "{host:?} {path:?} {routes:#?}");
}

fn app(nth: usize, choices: &mut Choices<'_>) -> AppRoutes {
    let target = || {
        let id = UpstreamId { container: ContainerId(nth.to_string()), started_at: Timestamp::default() };
        let port = 1_000 + u16::try_from(nth).expect("few apps");
        let upstreams = vec![Upstream { id, addr: ([10, 0, 0, 1], port).into(), protocol: Protocol::Http1 }];
        Target { color: Color::Blue, deployment: DeploymentId(1), upstreams }
    };
    AppRoutes {
        app: format!("app-{nth}").parse().expect("a name"),
        routes: (0..=choices.below(4)).map(|_| route(choices)).collect(),
        target: (choices.below(8) != 1).then(target),
        gate: Gate::Open,
        limits: TrafficLimits::default(),
    }
}

fn route(choices: &mut Choices<'_>) -> Route {
    let host = match choices.below(4) {
        0 | 1 => HostPattern::Exact(name(choices)),
        2 => HostPattern::Wildcard(name(choices)),
        _ => HostPattern::Any,
    };
    // As files are read: no slash at the end.
    let path = path(choices);
    let trimmed = path.trim_end_matches('/');
    let path_prefix = if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() };
    Route {
        host,
        path_prefix,
        strip_prefix: choices.flag(),
        listen_port: *choices.one_of(&LISTENERS),
        tls: None,
    }
}

fn name(choices: &mut Choices<'_>) -> String {
    let labels: Vec<&str> = (0..=choices.below(3)).map(|_| *choices.one_of(&LABELS)).collect();
    labels.join(".")
}

fn path(choices: &mut Choices<'_>) -> String {
    (0..=choices.below(4)).fold(String::new(), |path, _| {
        let segment: &&str = choices.one_of(&SEGMENTS);
        path + "/" + segment
    })
}

/// What a client may write for a host.
fn authority(choices: &mut Choices<'_>) -> Option<String> {
    let mut host = name(choices);
    match choices.below(8) {
        0 => return None,
        1 => host = host.to_ascii_uppercase(),
        2 => host.push('.'),
        3 => host.push_str(":8080"),
        4 => host.push_str(".:"),
        5 => host.insert(0, '.'),
        _ => {}
    }
    Some(host)
}

/// What the contract says: an exact host before a wildcard, the longer wildcard before the shorter,
/// any host last; within a host the longest prefix; of two equal routes the first.
fn best(
    routes: &[(Route, Option<SocketAddr>)],
    port: Option<u16>,
    authority: Option<&str>,
    path: &str,
) -> Option<Found> {
    let host = authority.and_then(normal);
    let mut best: Option<((usize, usize), Found)> = None;
    for (route, upstream) in routes {
        let own = route.listen_port.filter(|&port| port != COMMON_PORT);
        let by_host = match (&route.host, &host) {
            (HostPattern::Exact(name), Some(host)) if name == host => usize::MAX,
            (HostPattern::Wildcard(domain), Some(host)) if host.ends_with(&format!(".{domain}")) => {
                domain.len() + 1
            }
            (HostPattern::Any, _) => 0,
            _ => continue,
        };
        let prefix = route.path_prefix.trim_end_matches('/');
        let inside = path == prefix || path.starts_with(&format!("{prefix}/"));
        let rank = (by_host, prefix.len());
        if own == port && inside && best.is_none_or(|(other, _)| rank > other) {
            let strip = if route.strip_prefix { prefix.len() } else { 0 };
            best = Some((rank, Found { upstream: *upstream, strip }));
        }
    }
    best.map(|(_, found)| found)
}

/// The comparable form of an authority; `None`: it is no host.
fn normal(authority: &str) -> Option<String> {
    let digits = |text: &str| text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if digits(port) => host,
        _ => authority,
    };
    let valid = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (valid && (1..=253).contains(&host.len())).then(|| host.to_ascii_lowercase())
}
