//! One story a test: what a person does, what goes wrong, and what must be so afterwards.

mod database;
mod deploys;
mod docker;
mod drift;
mod edits;
mod fault;
mod gates;
mod orders;
mod proxy;
mod pruning;
mod recreate;
mod restarts;
mod restores;
mod rollbacks;
mod scars;
mod strangers;
mod waits;
mod watch;

use crate::sim::Sim;
use crate::world::files::Version;

/// `web` serves `good:1`, and nothing else is going on.
fn serving() -> Sim {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("good:1"));
    sim
}

/// `web` serves `good:2` in green, `good:1` is its standby in blue, and runs.
fn with_warm_standby() -> Sim {
    let mut sim = serving();
    let next = Version::of("good:2").window(600);
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim
}

/// The states that a deployment passes through, in order.
const STATES: [&str; 7] =
    ["pulling", "starting", "health_check", "awaiting_promotion", "switching", "draining", "watching"];

/// A deployment of `good:2` over `good:1` has just reached `state`.
fn deploying(state: &str) -> Sim {
    let mut sim = serving();
    let next = Version::of("good:2");
    sim.edit("web", &if state == "awaiting_promotion" { next.manual() } else { next });
    sim.until("web", state);
    sim
}
