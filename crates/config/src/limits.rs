//! The `limits` section: what requests to the app may take of the proxy.

use crate::fields::{Field, Fields, Shape};
use crate::problem::Report;
use crate::scalar::quantity;
use dockswap_core::limits::TrafficLimits;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "max_body",
        Shape::Size,
        "The longest body of a request, as in 512k or 10m; more is answered 413; default none.",
    ),
    Field::new(
        "connect_timeout",
        Shape::Duration { min: Duration::from_millis(10), max: Duration::from_secs(300) },
        "How long a container may take to accept a connection; default 5s.",
    ),
    Field::new(
        "response_timeout",
        Shape::Duration { min: Duration::from_millis(10), max: DAY },
        "How long the app may take to begin its answer, from the end of the request on; then 504; default 60s.",
    ),
    Field::new(
        "idle_timeout",
        Shape::Duration { min: Duration::from_millis(100), max: DAY },
        "How long a body may stand still; default 1h for the app, and for the client proxy.stall_timeout in dockswap.yaml.",
    ),
    Field::new(
        "stream_idle_timeout",
        Shape::Duration { min: Duration::from_millis(100), max: Duration::from_secs(365 * 86_400) },
        "The same for event streams, gRPC calls, WebSockets and other upgraded connections; default none.",
    ),
    Field::new(
        "max_requests",
        Shape::Integer { min: 1, max: 1_000_000 },
        "Requests in flight at a time; more are answered 503; default none.",
    ),
    Field::new(
        "max_websockets",
        Shape::Integer { min: 1, max: 1_000_000 },
        "WebSockets and other upgraded connections at a time; more are answered 503; default none.",
    ),
];

/// Reads the section; `None`: it is absent.
pub(crate) fn decode(section: Option<&Fields<'_>>, report: &mut Report) -> TrafficLimits {
    let Some(fields) = section else { return TrafficLimits::default() };
    TrafficLimits {
        max_body_bytes: fields.take("max_body").and_then(|item| {
            let text = item.word("a number of bytes such as 512k or 10m", report)?;
            item.parsed(quantity::bytes(text), report)
        }),
        connect_timeout: fields.duration("connect_timeout", report),
        response_timeout: fields.duration("response_timeout", report),
        idle_timeout: fields.duration("idle_timeout", report),
        stream_idle_timeout: fields.duration("stream_idle_timeout", report),
        max_requests: fields.integer("max_requests", report),
        max_websockets: fields.integer("max_websockets", report),
    }
}
