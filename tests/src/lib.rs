//! The harness: the real binary as a process, real containers, a load that counts every request that
//! fails. It knows dockswap only from the outside: by its files, sockets, commands and tables.
//!
//! Everything here fails by panicking, with what was expected and what was seen: it is for tests,
//! for the benchmark and for the demo.

#![allow(clippy::missing_panics_doc, reason = "a harness fails by panicking")]
#![allow(clippy::must_use_candidate, reason = "things are as often asked for what they do")]

mod app_file;
mod authority;
mod binary;
mod checker;
mod command;
mod database;
pub mod docker;
mod dockerd;
mod frozen;
mod image_store;
mod judge;
mod load;
mod machine;
mod pebble;
mod postgres;
mod promises;
mod registry;
mod rest;
pub mod scripted;
mod site;
mod story;
mod time;
mod versions;
mod wait;
mod websocket;
mod witness;

pub use app_file::AppFile;
pub use authority::{Authority, TestPair, curl};
pub use binary::{dockswap, dockswap_with_crash_points};
pub use checker::{assert_records_fit, assert_traffic_follows_switches};
pub use command::Done;
pub use database::{Database, Row};
pub use dockerd::{Dockerd, LiveRestore};
pub use frozen::Frozen;
pub use image_store::ImageStore;
pub use judge::Judge;
pub use load::{Failure, Kind, Load, Mix, Report, Sample, get, once};
pub use machine::{Machine, package};
pub use pebble::{Pebble, PebbleConfig};
pub use postgres::Postgres;
pub use promises::Promises;
pub use registry::{Registry, RegistryMood};
pub use rest::unix_get;
pub use site::{Site, free_port, send};
pub use story::Story;
pub use time::{Micros, micros, now, stamp};
pub use wait::{holds, until, within};
pub use websocket::WebSocket;
pub use witness::{Seen, Witness};
