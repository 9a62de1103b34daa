//! The data plane: it carries traffic, and it decides nothing.
//!
//! A process of its own ([`serve`]) that accepts HTTP/1.1 and HTTP/2, plain and over TLS, finds the route of each request in the
//! table in force, and forwards it to a container. The controller drives it over a Unix socket
//! ([`ProxyClient`]). It never holds the Docker socket or the database.

mod admission;
mod alarm;
mod answer;
mod app;
mod certificates;
mod client;
mod client_io;
mod client_stream;
mod closing;
mod connection;
mod control;
mod detour;
mod dialer;
mod ending;
mod exchange;
mod extent;
mod fields;
mod form;
mod forward;
mod front;
mod gather;
mod handover;
mod handshake;
mod headers;
mod hold;
mod host;
mod http1;
mod http2;
mod inbound;
mod inherited;
mod journal;
mod kept;
mod keyfile;
mod limits;
mod listeners;
#[cfg(feature = "in-memory")]
pub mod memory;
mod message;
mod meter;
mod notable;
mod pages;
mod parcel;
mod pool;
mod predecessor;
mod proxy;
mod question;
mod reach;
mod reading;
mod record;
mod request_body;
mod room;
mod server;
mod silence;
mod snapshot;
mod sniff;
mod socket;
mod stall;
mod stop;
mod switchboard;
mod sync;
mod table;
mod target;
mod tunnel;
mod upstream;
mod upstream_stream;
mod websocket;
mod wire;

pub use client::ProxyClient;
pub use front::{Front, Greeting};
pub use handover::TakeoverError;
pub use journal::{AccessLog, Form};
pub use keyfile::last_keyring;
pub use limits::Limits;
pub use server::{ProxyConfig, ServeError, Start, serve};
