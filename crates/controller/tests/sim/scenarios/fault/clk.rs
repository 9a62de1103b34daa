//! The clock is set, by an hour or a year either way, and a controller that was started after that goes on
//! exactly as one on a clock that was left alone.

use crate::rng::Rng;
use crate::scenarios::{STATES, deploying, serving, with_warm_standby};
use crate::sim::{Sim, secs};
use crate::walk::JUMPS;
use crate::world::docker::Shell;
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_core::Timestamp;
use dockswap_proof::Proof;
use std::time::Duration;

/// A state that a restart may meet in the middle of something, and how an app gets there.
type Way = (&'static str, fn(&mut Sim));

const MOMENTS: [Way; 4] = [
    ("going back", |sim| {
        sim.edit("web", &Version::of("sick:2").watch(30).drain(10));
        sim.until("web", "rolling_back");
    }),
    ("draining after going back", |sim| {
        sim.edit("web", &Version::of("sick:2").watch(30).drain(10));
        sim.until("web", "rolling_back");
        let switched =
            |sim: &Sim| sim.events("web").iter().filter(|name| **name == "traffic_switched").count();
        let before = switched(sim);
        sim.until_that("traffic went back", |sim| switched(sim) > before);
    }),
    ("draining before it is removed", |sim| {
        sim.command("web", Command::Remove);
        sim.until("web", "draining");
    }),
    ("being removed", |sim| {
        sim.command("web", Command::Remove);
        sim.until("web", "stopping");
    }),
];

/// Which events came, and when in the world's time.
type History = Vec<(&'static str, Timestamp)>;

/// What came of an app whose controller was restarted now, on a clock set by so many seconds.
fn restarted(mut sim: Sim, jump: i64) -> History {
    sim.clock_jumps(jump);
    sim.restart();
    if sim.state("web") == "awaiting_promotion" {
        sim.command("web", Command::Promote);
    }
    sim.rest();
    sim.history("web")
}

/// Requests take longer than a drain lasts, so that it matters when a drain ends.
fn busy(sim: Sim) -> Sim {
    sim.world.lock().faults.long_requests = 1_000;
    sim
}

#[test]
fn a_jump_changes_nothing_that_is_in_flight() {
    let mut proof = Proof::of("clk", "simulation, a jump and a restart in each state");
    let mut promise = Proof::of("P19", "simulation, a jump and a restart in each state");
    let mut tried = |name: &str, begin: &dyn Fn() -> Sim| {
        let expected = restarted(begin(), 0);
        for jump in JUMPS {
            let history = restarted(begin(), jump);
            if history == expected {
                proof.kept();
                promise.kept();
            } else {
                let why = format!("{name}, {jump} s: {history:?} and not {expected:?}");
                proof.broken(&why);
                promise.broken(&why);
            }
        }
    };
    for state in STATES {
        tried(state, &|| {
            let mut sim = busy(serving());
            let next = Version::of("good:2").drain(3);
            sim.edit("web", &if state == "awaiting_promotion" { next.manual() } else { next });
            sim.until("web", state);
            sim
        });
    }
    for (name, get_there) in MOMENTS {
        tried(name, &|| {
            let mut sim = busy(serving());
            get_there(&mut sim);
            sim
        });
    }
    proof.conclude();
    promise.conclude();
}

/// The one end that is reckoned on the wall clock across restarts: that of a rollback window. A clock set
/// forward looks like time that has passed; one set back makes no window longer than windows are.
#[test]
fn a_window_never_lasts_longer_than_it_is_long() {
    for jump in JUMPS.into_iter().filter(|jump| *jump < 0) {
        let mut sim = with_warm_standby();
        let window = secs(600);
        sim.clock_jumps(jump);
        sim.restart();
        let began = sim.world.lock().now();
        sim.pass(secs(300));
        sim.expect(sim.containers("web").iter().all(Shell::runs), "the standby is still warm");
        sim.pass(secs(400));
        let passed = sim.history("web").into_iter().find(|(name, _)| *name == "window_passed");
        let lasted = passed.map(|(_, at)| at.saturating_since(began));
        assert!(lasted.is_some_and(|lasted| lasted <= window + secs(5)), "{jump} s: {lasted:?}");
        sim.rest();
    }
}

/// As often as it is set, a clock does no harm.
#[test]
fn a_clock_that_is_set_all_the_time_keeps_no_app_from_being_deployed() {
    let mut rng = Rng::new(19);
    let mut sim = deploying("pulling");
    for _ in 0..20 {
        sim.clock_jumps(*rng.pick(&JUMPS));
        sim.pass(rng.time(Duration::from_millis(1), secs(2)));
        sim.restart();
    }
    sim.until_serving("web", &Version::of("good:2"));
    sim.rest();
}
