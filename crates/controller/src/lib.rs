//! The controller: it acts. One task per app takes events in, commits what `core` decides about
//! them, and performs what the new state is owed. It knows the ports and no adapter: Docker, the
//! proxy and the database are whatever it was handed.

mod alone;
mod app;
mod containers;
mod controller;
mod crash;
mod crash_loop;
mod drift;
mod effects;
mod gate;
mod group;
mod held;
mod incoming;
mod keeper;
mod lineage;
mod monitor;
mod orders;
mod probe;
mod questions;
mod redact;
mod retention;
mod signature;
mod specs;
mod stopwatch;
mod upkeep;
mod vacate;
mod view;

pub use controller::{Controller, ControllerSettings, Ports, StartError};
pub use drift::ContainerDrift;
pub use orders::{Command, OrderError, Outcome};
pub use probe::{SystemClock, UpstreamProber};
pub use questions::HealthError;
pub use retention::{PruneMode, PruneOutcome, Rest, Retention};
pub use signature::{Expectation, Signature};
pub use specs::Offer;
pub use view::{AppView, FileStatus, GateView, Notice, Progress, StandbyView};
