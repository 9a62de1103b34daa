//! Driving Docker: the `Engine` port over bollard. Ensure verbs, labels, images, logs and hints.
//!
//! It knows the Docker API and nothing of policy: what should run is decided elsewhere. It touches
//! only what carries dockswap's labels.

mod container;
mod create;
mod credentials;
mod daemon;
mod drift;
mod engine;
mod escape;
mod failure;
#[cfg(test)]
mod fixture;
mod hints;
mod image;
mod info;
mod labels;
mod logs;
mod network;
mod pull;
mod pulled;
mod reference;
mod restoring;
mod room;
mod run_command;
mod running;
mod stopping;

pub use daemon::Docker;
pub use info::EngineInfo;
pub use logs::Follow;
pub use room::{ImageDisk, Room};
pub use run_command::docker_run_command;
