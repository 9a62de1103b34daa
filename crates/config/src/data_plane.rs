//! The `proxy` section of `dockswap.yaml`: where the proxy listens, as whom, whom it believes, and what every client may
//! take before it is known for which app it comes. It must not know how these are kept.

use crate::fields::{Field, Fields, Item, Shape};
use crate::problem::Report;
use crate::settings::{address, replace};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the proxy listens, as whom, and what clients may take of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// For HTTP.
    pub http: SocketAddr,
    /// For HTTPS.
    pub https: SocketAddr,
    /// The port by which clients reach that; `None`: its own.
    pub public_https_port: Option<u16>,
    /// The user that it runs as, of the system's or as `UID:GID`; `None`: the one that starts it.
    pub user: Option<String>,
    /// Whose word on where requests come from is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of theirs begin with the header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What any client may take.
    pub limits: ClientLimits,
    /// How long one that another has taken over from may finish what it carries; `None`: as long as the proxy finds
    /// right.
    pub handover_timeout: Option<Duration>,
    /// Whether each request is a line, and in what form.
    pub access_log: AccessLogForm,
    /// Where these lines go, an absolute path; `None`: to its standard output.
    pub access_log_file: Option<PathBuf>,
}

/// What any client may take, whatever it asks for. `None`: as much as the proxy finds right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// From the first byte of a request's head until its last.
    pub header_timeout: Option<Duration>,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Option<Duration>,
    /// How long a client may neither send the next bytes of a body nor take any of an answer.
    pub stall_timeout: Option<Duration>,
    /// Connections in all.
    pub max_connections: Option<usize>,
    /// Connections from one address.
    pub max_connections_per_ip: Option<usize>,
    /// Requests in flight over HTTP/2 from one address.
    pub max_streams_per_ip: Option<u32>,
}

/// Whether connections of trusted proxies begin with the header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// They must.
    Required,
}

/// Whether each request is a line of the access log, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogForm {
    /// It is not.
    Off,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for ProxySettings {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            http: any(80),
            https: any(443),
            public_https_port: None,
            user: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            limits: ClientLimits::default(),
            handover_timeout: None,
            access_log: AccessLogForm::Off,
            access_log_file: None,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("http", Shape::Address, "Default 0.0.0.0:80."),
    Field::new("https", Shape::Address, "Default 0.0.0.0:443."),
    Field::new(
        "public_https_port",
        Shape::Port,
        "The port by which clients reach https, where another one is mapped to it: plain requests are sent on there; default that of https.",
    ),
    Field::new(
        "user",
        Shape::Text,
        "The user that the proxy runs as, when root starts it: a name or UID:GID; default root.",
    ),
    Field::new(
        "trusted_proxies",
        Shape::Networks,
        "Addresses or networks (10.0.0.0/8) of load balancers in front, whose X-Forwarded-For, -Proto and -Host are believed; default none.",
    ),
    Field::new(
        "proxy_protocol",
        Shape::Bool,
        "true: connections of trusted_proxies must begin with the header of the PROXY protocol, version 1 or 2; default false.",
    ),
    Field::new(
        "header_timeout",
        Shape::Duration { min: SECOND, max: Duration::from_secs(300) },
        "From the first byte of a request's head until its last; default 10s.",
    ),
    Field::new(
        "idle_timeout",
        Shape::Duration { min: SECOND, max: DAY },
        "How long a client's connection may rest between two requests; default 75s.",
    ),
    Field::new(
        "stall_timeout",
        Shape::Duration { min: SECOND, max: DAY },
        "How long a client may neither send the next bytes of a body nor take any of an answer; default 60s. limits.idle_timeout of an app wins.",
    ),
    Field::new(
        "max_connections",
        Shape::Integer { min: 1, max: 1_000_000 },
        "Connections of clients at a time; default 10000.",
    ),
    Field::new(
        "max_connections_per_ip",
        Shape::Integer { min: 1, max: 1_000_000 },
        "The same from one address, loopback and trusted_proxies apart; default 512.",
    ),
    Field::new(
        "max_streams_per_ip",
        Shape::Integer { min: 1, max: 1_000_000 },
        "Requests in flight over HTTP/2 from one address, on all its connections; more are answered 429; default 1024.",
    ),
    Field::new(
        "handover_timeout",
        Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(7 * 86_400) },
        "How long a proxy that another one has taken over from may finish what it carries; default 10m.",
    ),
    Field::new(
        "access_log",
        Shape::Choice(&["off", "text", "json"]),
        "A line for each request, when it is over; default off.",
    ),
    Field::new(
        "access_log_file",
        Shape::Text,
        "Where these lines go, an absolute path; default the proxy's standard output.",
    ),
];

impl ProxySettings {
    /// Lays what `fields` hold over what is there.
    pub(crate) fn overlay(&mut self, fields: &Fields<'_>, report: &mut Report) {
        replace(&mut self.http, address(fields, "http", report));
        replace(&mut self.https, address(fields, "https", report));
        replace(&mut self.public_https_port, fields.integer("public_https_port", report).map(Some));
        replace(&mut self.user, fields.text("user", report).map(Some));
        let trusted = fields.take("trusted_proxies").and_then(|item| networks(&item, report));
        replace(&mut self.trusted_proxies, trusted);
        let rule = |on| if on { ProxyProtocol::Required } else { ProxyProtocol::Off };
        replace(&mut self.proxy_protocol, fields.bool("proxy_protocol", report).map(rule));
        let limits = &mut self.limits;
        for (key, time) in [
            ("header_timeout", &mut limits.header_timeout),
            ("idle_timeout", &mut limits.idle_timeout),
            ("stall_timeout", &mut limits.stall_timeout),
            ("handover_timeout", &mut self.handover_timeout),
        ] {
            replace(time, fields.duration(key, report).map(Some));
        }
        replace(&mut limits.max_connections, fields.integer("max_connections", report).map(Some));
        replace(
            &mut limits.max_connections_per_ip,
            fields.integer("max_connections_per_ip", report).map(Some),
        );
        replace(&mut limits.max_streams_per_ip, fields.integer("max_streams_per_ip", report).map(Some));
        let form = fields.choice("access_log", report).map(|word| match word {
            "json" => AccessLogForm::Json,
            "text" => AccessLogForm::Text,
            _ => AccessLogForm::Off,
        });
        replace(&mut self.access_log, form);
        let file = fields.take("access_log_file").and_then(|item| absolute(&item, report));
        replace(&mut self.access_log_file, file.map(Some));
    }
}

fn absolute(item: &Item<'_>, report: &mut Report) -> Option<PathBuf> {
    let path = PathBuf::from(item.text(report)?);
    if path.is_absolute() { Some(path) } else { item.wrong("an absolute path", report) }
}

/// Networks or single addresses: a list, or one text with commas.
fn networks(item: &Item<'_>, report: &mut Report) -> Option<Vec<IpNet>> {
    let expected = "addresses or networks, as in 10.0.0.0/8";
    let mut networks = Vec::new();
    for item in item.one_or_many(report, expected)? {
        let Some(text) = item.text(report) else { continue };
        for one in text.split(',').map(str::trim) {
            match one.parse::<IpNet>().or_else(|error| one.parse().map(IpAddr::into).map_err(|_| error)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    item.wrong::<()>(expected, report);
                }
            }
        }
    }
    Some(networks)
}
