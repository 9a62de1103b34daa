//! How much of everything a client may take. Plain numbers; who enforces them is said beside each.

use std::time::Duration;

/// The proxy's limits; an app may have others ([`dockswap_core::limits::TrafficLimits`]) where one says so. The defaults suit a host on the open internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, request line included; more is answered 431. At least 8 KiB.
    /// (Over HTTP/1.1 a head of more than 100 fields is answered 431 as well; over HTTP/2 their bytes alone count, each
    /// field with 32 more than it has: RFC 9113, section 6.5.2.)
    pub head_bytes: usize,
    /// Bytes of a request target; more is answered 414.
    pub uri_bytes: usize,
    /// From the first byte of a head until its last, in all.
    pub head_time: Duration,
    /// Requests that a client may have in flight on one HTTP/2 connection.
    pub streams: u32,
    /// How long a client connection may rest between two requests. (In HTTP/2 that is noticed within twice this
    /// time.)
    pub idle_time: Duration,
    /// How long a client may neither send the next bytes of a body nor take any of an answer. Apps may say otherwise.
    pub stall_time: Duration,
    /// How long a connection that was answered before it sent all may still send, so that it gets to
    /// read the answer.
    pub linger_time: Duration,
    /// How long an upstream may take to accept a connection. Enough for two repetitions of a lost
    /// first packet (after 1 s and 3 s): a full accept queue is no dead upstream. Apps may say otherwise.
    pub connect_time: Duration,
    /// How long an upstream may take for the head of its answer, from the last byte of the request
    /// that it was sent; then 504. Long polls need more than they wait. Apps may say
    /// otherwise.
    pub answer_time: Duration,
    /// How long an upstream may send nothing in the middle of an answer. Apps may say otherwise. Event streams, gRPC
    /// calls and what was upgraded may be silent as long as they like, unless their app says otherwise.
    pub silence_time: Duration,
    /// Client connections in all; one more is closed at once.
    pub connections: usize,
    /// Client connections from one address; loopback is exempt.
    pub connections_per_ip: usize,
    /// Requests in flight over HTTP/2 from one address, on all its connections; one more is answered 429. Who is exempt
    /// there is here.
    pub streams_per_ip: u32,
    /// How long an idle connection to an upstream is kept.
    pub upstream_idle_time: Duration,
    /// How many idle connections are kept for one upstream.
    pub upstream_idle_connections: usize,
    /// How long an upstream that refused a connection is asked only after all others.
    pub refused_time: Duration,
    /// How long a proxy may finish what it carries when another one has taken over: its longest connections, in most
    /// cases `WebSocket`s, end then.
    pub handover_time: Duration,
    /// How long a stopping proxy waits for what is in flight.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            uri_bytes: 16 * 1024,
            head_time: Duration::from_secs(10),
            streams: 100,
            idle_time: Duration::from_secs(75),
            stall_time: Duration::from_mins(1),
            linger_time: Duration::from_secs(2),
            connect_time: Duration::from_secs(5),
            answer_time: Duration::from_mins(1),
            silence_time: Duration::from_hours(1),
            connections: 10_000,
            connections_per_ip: 512,
            streams_per_ip: 1024,
            upstream_idle_time: Duration::from_secs(30),
            upstream_idle_connections: 256,
            refused_time: Duration::from_secs(1),
            handover_time: Duration::from_mins(10),
            drain_time: Duration::from_secs(30),
        }
    }
}
