//! The proxy as its users meet it: real sockets, upstreams in this process, the control port as the
//! controller uses it.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

mod access_log;
mod app_limits;
mod connections;
mod control;
mod faults;
mod forwarding;
mod framing;
mod front;
mod gate;
mod grpc;
mod h2c;
mod h2load;
mod http2;
mod limits;
mod listeners;
mod pool;
mod routing;
mod smuggling;
mod stress;
mod support;
mod swap;
mod takeover;
mod tls;
mod upgrades;
mod upstreams;
