//! The controller dies at every moment of every transition, and at moments that nobody chose, while people
//! use what it deploys. Whenever it is started again it must finish, or fail with a reason, and nobody may
//! notice but by the history.

mod campaign;
mod host;
mod judge;
mod points;
mod rng;
mod scene;
mod tally;
mod track;

use campaign::{Campaign, at_every_point};
use dockswap_proof::long;
use dockswap_tests::Mix;
use host::Host;
use points::Strike;
use rng::Rng;
use std::time::Duration;
use track::Program;

/// So many requests a second.
fn load(requests: u32) -> Mix {
    Mix { keep_alive: 2, one_shot: 1, posts: 1, period: Duration::from_secs(4) / requests, path: "/" }
}

#[test]
fn every_point_on_the_scripted_docker() {
    let kills = at_every_point(if long() { 200 } else { 8 });
    let program = Program::WithCrashPoints;
    Campaign { host: Host::Scripted, program, sites: 6, mix: load(24), what: "each crash point" }
        .goes_through(kills);
}

#[test]
fn every_point_on_the_real_docker() {
    let kills = at_every_point(if long() { 5 } else { 1 });
    let program = Program::WithCrashPoints;
    Campaign { host: Host::Real, program, sites: 3, mix: load(100), what: "each crash point" }
        .goes_through(kills);
}

#[test]
fn random_instants_on_the_real_docker() {
    let mut rng = Rng::seeded();
    let kills = (0..if long() { 200 } else { 10 }).map(|_| Strike::After(rng.below(250))).collect();
    let program = Program::Shipped;
    Campaign { host: Host::Real, program, sites: 1, mix: load(100), what: "random instants" }
        .goes_through(kills);
}
