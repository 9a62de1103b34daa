//! The simulation: the real controller on a small world in memory, in simulated time, with every
//! fault that the world can think of. The checker judges the world alone, after every call.
//!
//! `DOCKSWAP_SIM_SEED=N` replays one walk, `DOCKSWAP_LONG=1` walks many more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rng;
mod scenarios;
mod sim;
mod walk;
mod world;
