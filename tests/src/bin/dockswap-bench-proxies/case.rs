//! What is measured: the cases, and for which proxies each is to be had.

use crate::load::{Each, Tool};
use crate::peer::Doors;

/// Routes of the proxies that have many.
pub(crate) const MANY: usize = 1000;

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) tool: Tool,
    pub(crate) path: &'static str,
    pub(crate) door: Door,
    pub(crate) routes: usize,
}

/// What is spoken with the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    H2c,
    Https,
}

impl Door {
    /// Scheme and port; `None`: this proxy does not have it.
    pub(crate) fn url(self, doors: Doors) -> Option<(&'static str, u16)> {
        match self {
            Self::Http => Some(("http", doors.http)),
            Self::H2c => Some(("http", doors.h2c)),
            Self::Https => Some(("https", doors.https?)),
        }
    }
}

const fn wrk(connections: u32, each: Each) -> Tool {
    Tool::Wrk { connections, each, hosts: 0 }
}

const H2: Tool = Tool::H2load { connections: 8, streams: 8 };

const fn case(name: &'static str, tool: Tool, door: Door) -> Case {
    Case { name, tool, path: "/tiny", door, routes: 1 }
}

/// Names that the reading of the results looks for.
pub(crate) const KEEP_ALIVE: &str = "keep-alive, 64 connections";
pub(crate) const PACED: &str = "keep-alive, 64 connections, 16,000 requests a second";
pub(crate) const ONE_SHOT: &str = "one request a connection";
pub(crate) const LARGE: &str = "10 KiB answers";
pub(crate) const TLS_KEEP_ALIVE: &str = "TLS, keep-alive";
pub(crate) const TLS_ONE_SHOT: &str = "TLS, one request a connection";
pub(crate) const ONE_ROUTE: &str = "1 route";
pub(crate) const MANY_ROUTES: &str = "1,000 routes, asked for in turn";

/// All cases, in the order of the tables.
pub(crate) const CASES: [Case; 11] = [
    case(KEEP_ALIVE, wrk(64, Each::ManyRequests), Door::Http),
    case(PACED, Tool::Paced { connections: 64, per_second: 16_000 }, Door::Http),
    case(ONE_SHOT, wrk(64, Each::OneRequest), Door::Http),
    Case { path: "/10k", ..case(LARGE, wrk(64, Each::ManyRequests), Door::Http) },
    case("1,000 connections", wrk(1000, Each::ManyRequests), Door::Http),
    case(TLS_KEEP_ALIVE, wrk(64, Each::ManyRequests), Door::Https),
    case(TLS_ONE_SHOT, Tool::Handshakes { connections: 64 }, Door::Https),
    case("HTTP/2, 8 connections with 8 streams", H2, Door::H2c),
    case("HTTP/2 over TLS, 8 connections with 8 streams", H2, Door::Https),
    case(ONE_ROUTE, Tool::Wrk { connections: 64, each: Each::ManyRequests, hosts: 1 }, Door::Http),
    Case {
        routes: MANY,
        ..case(MANY_ROUTES, Tool::Wrk { connections: 64, each: Each::ManyRequests, hosts: MANY }, Door::Http)
    },
];
