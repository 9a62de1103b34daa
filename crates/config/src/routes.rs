//! Where traffic comes in: the `routes` list, the older `proxy` section, and the `ports` section.

use crate::app::Surroundings;
use crate::fields::{Field, Fields, Item, Shape};
use crate::policy::{HostPortRule, Policy};
use crate::problem::Report;
use crate::scalar::host;
use crate::tls;
use dockswap_core::AppName;
use dockswap_core::spec::{HostPattern, HostPorts, Route};

/// The fields of a route.
pub(crate) const ROUTE: &[Field] = &[
    Field::new("host", Shape::Host, "Host name, or *.example.com; absent: any."),
    Field::new("path_prefix", Shape::Path, "Path prefix, whole segments; default /."),
    Field::new(
        "strip_prefix",
        Shape::Bool,
        "Whether the prefix is cut off before the request goes to the app; default false.",
    ),
    Field::new(
        "listen_port",
        Shape::Port,
        "A listener of the route's own; absent: the common one (proxy.http in dockswap.yaml).",
    ),
    Field::new(
        "tls",
        Shape::Tls,
        "true: HTTPS, with a certificate that is got by ACME; or a mapping of cert and key, files in PEM; default false.",
    ),
];

/// The fields of the `proxy` section.
pub(crate) const PROXY: &[Field] = &[
    Field::new("listen_port", Shape::Port, "As routes[].listen_port."),
    Field::new("host", Shape::Host, "As routes[].host."),
    Field::new("path_prefix", Shape::Path, "As routes[].path_prefix."),
];

/// The fields of the `ports` section.
pub(crate) const PORTS: &[Field] = &[
    Field::new("blue", Shape::Port, "Host port of the blue slot on 127.0.0.1; absent: none is published."),
    Field::new("green", Shape::Port, "Host port of the green slot on 127.0.0.1; absent: none is published."),
    Field::new("proxy", Shape::Port, "Another spelling of proxy.listen_port."),
];

/// Reads the host ports; `None`: the section is absent.
pub(crate) fn host_ports(ports: Option<&Fields<'_>>, policy: &Policy, report: &mut Report) -> HostPorts {
    let Some(ports) = ports else { return HostPorts::default() };
    if policy.host_ports == HostPortRule::Refused {
        for item in ["blue", "green"].iter().filter_map(|key| ports.take(key)) {
            let message = "app files may not publish host ports: leave it out, or set policy.host_ports in dockswap.yaml";
            item.refuse::<()>(message, report);
        }
    }
    let host_ports = HostPorts { blue: ports.integer("blue", report), green: ports.integer("green", report) };
    if let (Some(item), Some(port), true) =
        (ports.take("green"), host_ports.green, host_ports.blue == host_ports.green)
    {
        item.refuse::<()>(format!("{port} is the port of blue already: write another"), report);
    }
    host_ports
}

/// Reads the routes, in whichever spelling: at least one, unless there are problems.
pub(crate) fn routes(
    app: &Fields<'_>,
    ports: Option<&Fields<'_>>,
    name: Option<&AppName>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Route> {
    let alias = ports.and_then(|ports| ports.take("proxy"));
    let older = app.take("proxy").or_else(|| alias.clone());
    match (app.take("routes"), older) {
        (Some(_), Some(older)) => {
            let message =
                "stands beside `routes`, which says the same: move it into `routes` as one more item";
            older.refuse::<()>(message, report);
            Vec::new()
        }
        (Some(_), None) => listed(app, around, report),
        (None, Some(_)) => proxy(app, alias.as_ref(), report).into_iter().collect(),
        (None, None) => {
            let host = |name: &AppName| HostPattern::Exact(format!("{name}.localhost"));
            name.map(|name| Route { host: host(name), ..any() }).into_iter().collect()
        }
    }
}

fn any() -> Route {
    Route {
        host: HostPattern::Any,
        path_prefix: "/".to_owned(),
        strip_prefix: false,
        listen_port: None,
        tls: None,
    }
}

fn listed(app: &Fields<'_>, around: &Surroundings<'_>, report: &mut Report) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let Some(sections) = app.sections("routes", report) else { return routes };
    if let Some(item) = app.take("routes").filter(|item| item.node.item(0).is_none()) {
        let message = "an empty list leaves the app without traffic: write a route, or leave `routes` out for <name>.localhost";
        item.refuse::<()>(message, report);
    }
    for fields in &sections {
        let route = Route {
            strip_prefix: fields.bool("strip_prefix", report).unwrap_or(false),
            ..common(fields, report)
        };
        let tls = fields.take("tls").and_then(|item| tls::decode(&item, &route.host, around, report));
        let route = Route { tls, ..route };
        if let Some(port) = route.listen_port
            && let Some(index) = routes.iter().position(|earlier| {
                earlier.listen_port == Some(port) && earlier.tls.is_some() != route.tls.is_some()
            })
        {
            let message = format!(
                "routes[{index}] is on port {port} too, and one of them alone has TLS: write `tls` in both, or another listen_port"
            );
            report.add(fields.at, &fields.path, message);
        } else if let Some(index) = routes.iter().position(|earlier| earlier.repeats(&route)) {
            report.add(
                fields.at,
                &fields.path,
                format!("{route} is routes[{index}] already: remove one of them"),
            );
        }
        routes.push(route);
    }
    routes
}

/// What `routes[]` and `proxy` have in common.
fn common(fields: &Fields<'_>, report: &mut Report) -> Route {
    let mut route = any();
    if let Some(item) = fields.take("host") {
        let pattern = item.text(report).and_then(|text| item.parsed(host::pattern(text), report));
        route.host = pattern.unwrap_or(route.host);
    }
    if let Some(item) = fields.take("path_prefix") {
        let prefix = item.text(report).and_then(|text| item.parsed(host::path_prefix(text), report));
        route.path_prefix = prefix.unwrap_or(route.path_prefix);
    }
    route.listen_port = fields.integer("listen_port", report);
    route
}

fn proxy(app: &Fields<'_>, alias: Option<&Item<'_>>, report: &mut Report) -> Option<Route> {
    let Some(item) = app.take("proxy") else {
        return Some(Route { listen_port: Some(alias?.integer(report)?), ..any() });
    };
    let fields = item.section(PROXY, report)?;
    let mut route = common(&fields, report);
    if let Some(alias) = alias {
        if fields.take("listen_port").is_some() {
            alias.refuse::<()>("stands also under proxy.listen_port: remove one of them", report);
        }
        route.listen_port = alias.integer(report);
    }
    Some(route)
}
