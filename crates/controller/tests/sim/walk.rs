//! The random walk: people, strangers and faults in any order, from a seed.

use crate::rng::Rng;
use crate::sim::{Sim, app, secs};
use crate::world::faults::{Moment, Side};
use crate::world::files::Version;
use crate::world::proxy::Snapshot;
use dockswap_controller::Command;
use dockswap_core::{Color, DeploymentId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many seeds are walked when nothing else is asked for.
const SEEDS: u64 = 256;

/// How many things happen in one walk.
const STEPS: usize = 30;

const APPS: [&str; 2] = ["api", "web"];

const IMAGES: [&str; 10] =
    ["good", "good", "good", "slow", "never", "crash", "dies", "sick", "broken", "missing"];

#[test]
fn random_walks_break_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("DOCKSWAP_SIM_SEED") {
        walk(seed);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let hands = std::thread::available_parallelism().map_or(2, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..hands)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return failed;
                        }
                        if catch_unwind(AssertUnwindSafe(|| walk(seed))).is_err() {
                            eprintln!("seed {seed} failed: replay it with DOCKSWAP_SIM_SEED={seed}");
                            failed.push(seed);
                        }
                    }
                })
            })
            .collect();
        walkers.into_iter().flat_map(|walker| walker.join().unwrap()).collect()
    });
    println!("{seeds} walks of {STEPS} steps, {} failures {failed:?}", failed.len());
    assert!(failed.is_empty(), "replay with DOCKSWAP_SIM_SEED: {failed:?}");
}

fn walk(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut sim = Sim::seeded(seed).max_concurrent(1 + rng.below(2));
    sim.world.lock().docker.add_foreign("canary");
    sim.start();
    for name in APPS {
        sim.deploy(name, &Version::of("good:0"));
    }
    for step in 1..=STEPS {
        one(&mut sim, &mut rng, step);
        if rng.happens(700) {
            let time = rng.time(Duration::from_millis(1), secs(*rng.clone().pick(&[1, 1, 5, 30])));
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
    }
    sim.rest();
    sim.expect(sim.world.lock().docker.containers["canary"].runs(), "what is foreign is not touched");
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
            state.proxy.restart(snapshot);
        }
        15..=17 => {
            let side = *rng.pick(&[Side::Docker, Side::Proxy, Side::Database]);
            sim.away(side, rng.time(Duration::from_millis(100), secs(20)));
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
        20 => sim.restart(),
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
    match rng.below(5) {
        0 => state.remove_by_hand(&container),
        1 => state.stop_by_hand(&container),
        2 => state.restart_by_hand(&container),
        3 => state.sickens(&container),
        _ => state.crashes(&container),
    }
}
