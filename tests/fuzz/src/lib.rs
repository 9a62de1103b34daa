//! What must hold for any bytes at all, one function a target: each takes bytes and panics when the
//! product broke its word.
//!
//! The functions are here, in a package of the workspace, and not in `fuzz/`, because two call them:
//! libFuzzer through the thin wrappers there (a workspace of its own, as `cargo fuzz` wants it), and an
//! ordinary test (`tests/corpus.rs`) on the corpus that libFuzzer has found, with seeded mutations of
//! it. The package reaches several adapters at once, as only tests may.
#![allow(clippy::missing_panics_doc, reason = "a target says by a panic that a promise was broken")]

#[cfg(feature = "api")]
mod api_bodies;
mod app_file;
#[cfg(feature = "api")]
mod bad_neighbor;
mod choices;
#[cfg(feature = "api")]
mod controller;
mod event_replay;
mod message;
#[cfg(feature = "api")]
mod nothing;
mod proxy_framing;
mod route_matcher;
mod settings;
mod stage;
mod upstream_answer;

#[cfg(feature = "api")]
pub use api_bodies::api_bodies;
pub use app_file::app_file;
#[cfg(feature = "api")]
pub use bad_neighbor::bad_neighbor;
pub use event_replay::event_replay;
#[cfg(feature = "api")]
pub use nothing::Nothing;
pub use proxy_framing::proxy_framing;
pub use route_matcher::route_matcher;
pub use settings::settings;
pub use upstream_answer::upstream_answer;
