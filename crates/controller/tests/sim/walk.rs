//! The random walk: people, strangers and faults in any order, from a seed.

use crate::rng::Rng;
use crate::sim::{Sim, app, secs};
use crate::world::World;
use crate::world::faults::{Moment, Side};
use crate::world::files::Version;
use crate::world::proxy::Snapshot;
use crate::world::tally::{Promise, Tally};
use dockswap_controller::Command;
use dockswap_core::{Color, DeploymentId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far the walks go: how many seeds, and how many things happen in the walk of each.
#[derive(Clone, Copy)]
struct Distance {
    seeds: u64,
    steps: usize,
}

/// In an ordinary run: few seeds, each through years of an operator's life.
const ORDINARY: Distance = Distance { seeds: 256, steps: 3_000 };

/// In the long mode: many seeds, each as far as half an hour on two cores allows.
const LONG: Distance = Distance { seeds: 10_000, steps: 500 };

/// How often a controller is restarted that has nothing to do, at the end of a walk.
const IDLE_RESTARTS: u64 = 2;

const APPS: [&str; 2] = ["api", "web"];

/// By how many seconds somebody sets the clock: an hour, a year, either way.
pub(crate) const JUMPS: [i64; 4] = [-31_536_000, -3_600, 3_600, 31_536_000];

const IMAGES: [&str; 10] =
    ["good", "good", "good", "slow", "never", "crash", "dies", "sick", "broken", "missing"];

#[test]
fn random_walks_break_nothing() {
    let Distance { seeds, steps } = if dockswap_proof::long() { LONG } else { ORDINARY };
    if let Some(seed) = std::env::var("DOCKSWAP_SIM_SEED").ok().and_then(|text| text.parse().ok()) {
        walk(&Arc::new(World::new(seed)), seed, steps);
        return;
    }
    let next = AtomicU64::new(0);
    let hands = std::thread::available_parallelism().map_or(2, usize::from);
    let walked: Vec<(Tally, Vec<Promise>)> = std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..hands).map(|_| scope.spawn(|| walker(&next, seeds, steps))).collect();
        walkers.into_iter().map(|walker| walker.join().unwrap()).collect()
    });
    let (mut tally, mut broken) = (Tally::default(), Vec::new());
    for (walked, broke) in walked {
        tally += walked;
        broken.extend(broke);
    }
    println!("{seeds} walks of {steps} steps, {} of them failed: {tally:?}", broken.len());
    // What is broken panics: first the others are written down.
    let mut promises = Promise::ALL;
    promises.sort_by_key(|promise| broken.contains(promise));
    for promise in promises {
        promise.proof(&tally, &broken).conclude();
    }
}

/// Walks seed after seed until all are walked; what was tried, and the promises that were broken.
fn walker(next: &AtomicU64, seeds: u64, steps: usize) -> (Tally, Vec<Promise>) {
    let (mut tally, mut broken) = (Tally::default(), Vec::new());
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return (tally, broken);
        }
        let world = Arc::new(World::new(seed));
        let walked = catch_unwind(AssertUnwindSafe(|| walk(&world, seed, steps)));
        let state = world.lock();
        tally += state.tally;
        if walked.is_err() {
            let long = if dockswap_proof::long() { " DOCKSWAP_LONG=1" } else { "" };
            eprintln!("seed {seed} failed: replay it with DOCKSWAP_SIM_SEED={seed}{long}");
            // Where no promise was seen broken, the walk has not come to its end: something is wedged.
            broken.push(state.checker.violation.as_ref().map_or(Promise::Crash, |seen| seen.promise));
        }
    }
}

/// A seed tells the whole story: what fails once fails again, at the same call.
#[test]
fn a_seed_replays_byte_for_byte() {
    let story = |seed| {
        let world = Arc::new(World::new(seed));
        world.lock().trace = Some(String::new());
        walk(&world, seed, 150);
        world.lock().trace.take().unwrap()
    };
    for seed in 1_000..1_004 {
        let (first, second) = (story(seed), story(seed));
        assert!(first.lines().count() > 1_000, "a story");
        let differs = first.lines().zip(second.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert!(first == second, "seed {seed}: one is longer");
    }
}

fn walk(world: &Arc<World>, seed: u64, steps: usize) {
    let mut rng = Rng::new(seed);
    let mut sim = Sim::of(world.clone()).max_concurrent(1 + rng.below(2));
    sim.world.lock().docker.add_foreign("canary");
    sim.start();
    for name in APPS {
        sim.deploy(name, &Version::of("good:0"));
    }
    for step in 1..=steps {
        one(&mut sim, &mut rng, step);
        if rng.happens(700) {
            let most = *rng.pick(&[1, 1, 1, 5, 5, 20]);
            let time = rng.time(Duration::from_millis(1), secs(most));
            sim.pass(time);
        }
    }
    // Fair weather: everything comes to rest, and nothing is wedged.
    {
        let mut state = sim.world.lock();
        state.faults.clear();
        state.tell("fair weather");
    }
    for name in APPS {
        let last = Version::of("good:last");
        sim.edit(name, &last);
        sim.until_that(&format!("{name} serves again"), |sim| {
            sim.image(name).as_deref() == Some("good:last") && sim.state(name) == "stable"
        });
        sim.world.lock().tally.last_edits += 1;
    }
    sim.rest();
    for nth in 0..IDLE_RESTARTS {
        restart_idle(&mut sim, nth);
    }
    let untouched = sim.world.lock().docker.containers["canary"].runs();
    sim.expect_kept(Promise::Leak, untouched, "what is foreign is not touched");
}

/// A controller that has nothing to do is followed by another one, which finds that so.
fn restart_idle(sim: &mut Sim, nth: u64) {
    let look = |sim: &Sim| {
        let state = sim.world.lock();
        (state.docker.containers.clone(), state.database.events.len(), state.docker.started)
    };
    let before = look(sim);
    if nth.is_multiple_of(2) {
        sim.restart();
    } else {
        sim.shutdown();
        sim.start();
    }
    sim.rest();
    sim.world.lock().tally.idle_restarts += 1;
    let same = look(sim) == before;
    sim.expect_kept(Promise::Restart, same, "a restart with nothing to do does nothing");
}

fn version(rng: &mut Rng, step: usize) -> Version {
    let version = Version::of(&format!("{}:{step}", rng.pick(&IMAGES)))
        .watch(*rng.pick(&[0, 3, 10]))
        .window(*rng.pick(&[0, 10, 60]))
        .drain(*rng.pick(&[0, 2, 10]));
    match rng.below(8) {
        0 => version.replicas(2),
        1 => version.manual(),
        2 => version.only_recorded(),
        3 => version.replicas(3),
        4 => version.recreate(),
        5 => version.recreate().replicas(2),
        _ => version,
    }
}

fn one(sim: &mut Sim, rng: &mut Rng, step: usize) {
    let name = *rng.pick(&APPS);
    match rng.below(24) {
        0..=5 => sim.edit(name, &version(rng, step)),
        6 => sim.comment(name, step),
        7..=11 => {
            let earlier = DeploymentId(1 + i64::try_from(rng.below(step)).unwrap());
            let command = rng
                .pick(&[
                    Command::Deploy,
                    Command::Rollback { to: None },
                    Command::Rollback { to: None },
                    Command::Rollback { to: Some(earlier) },
                    Command::Switch { color: Color::Blue },
                    Command::Switch { color: Color::Green },
                    Command::Promote,
                    Command::Cancel,
                    Command::Recover,
                    Command::Remove,
                    Command::Pause { limit: secs(5), queue: 10 },
                    Command::Resume,
                    Command::BeginMaintenance { page: None },
                    Command::EndMaintenance,
                ])
                .clone();
            if command != Command::Remove || rng.happens(300) {
                sim.world.lock().tell(format!("order on {name}: {command:?}"));
                sim.order(name, command);
            }
        }
        12..=13 => stranger(sim, rng, name),
        14 => {
            let snapshot = *rng.pick(&[Snapshot::Last, Snapshot::Confirmed]);
            let mut state = sim.world.lock();
            state.tell(format!("the proxy restarts with its {snapshot:?} table"));
            state.proxy_restarts(snapshot);
        }
        15..=17 => {
            let side = *rng.pick(&[Side::Docker, Side::Proxy, Side::Database]);
            let time = rng.time(Duration::from_millis(100), secs(20));
            if rng.happens(300) {
                sim.hangs(side, time);
            } else {
                sim.away(side, time);
            }
        }
        18..=19 => {
            let (chance, latency) = (*rng.pick(&[0, 20, 100]), *rng.pick(&[5, 50, 400]));
            let mut state = sim.world.lock();
            state.tell(format!("weather: {chance} in a thousand fail, {latency} ms"));
            state.faults.chance = chance;
            state.faults.latency = Duration::from_millis(latency);
            state.faults.hint_chance = *rng.pick(&[0, 300, 1000]);
            state.faults.long_requests = *rng.pick(&[0, 30, 100]);
        }
        20 => {
            if rng.happens(300) {
                sim.clock_jumps(*rng.pick(&JUMPS));
            }
            sim.restart();
        }
        21 => {
            sim.shutdown();
            sim.start();
        }
        _ => sim.dies_at(1 + rng.below(6), *rng.pick(&[Moment::Before, Moment::After])),
    }
}

fn stranger(sim: &Sim, rng: &mut Rng, name: &str) {
    let mut state = sim.world.lock();
    let running: Vec<String> = state
        .docker
        .of(&app(name))
        .filter(|shell| shell.runs())
        .map(|shell| shell.shown.name.clone())
        .collect();
    if running.is_empty() {
        return;
    }
    let container = rng.pick(&running).clone();
    match rng.below(8) {
        5 => state.pause_by_hand(&container),
        6 => state.update_by_hand(&container),
        7 => state.disconnect_by_hand(&container),
        0 => state.remove_by_hand(&container),
        1 => state.stop_by_hand(&container),
        2 => state.restart_by_hand(&container),
        3 => state.sickens(&container),
        _ => state.crashes(&container),
    }
}
