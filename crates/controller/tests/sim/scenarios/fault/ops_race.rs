//! Eight people order at once: the app does one thing after the other, and each of them is told what became
//! of the order.

use crate::rng::Rng;
use crate::sim::{Sim, app, secs};
use crate::world::files::Version;
use dockswap_controller::{Command, OrderError, Outcome};
use dockswap_core::{Color, DeploymentId};
use dockswap_proof::Proof;
use std::collections::BTreeSet;
use std::time::Duration;

const CLIENTS: usize = 8;

/// How often they do so.
const ROUNDS: u64 = 1_000;
const LONG_ROUNDS: u64 = 10_000;

/// How many rounds one app goes through before another one begins.
const ROUNDS_PER_WORLD: u64 = 50;

type Answer = Result<Outcome, OrderError>;

#[test]
fn eight_people_order_at_once() {
    let mut proof = Proof::of("ops.race", "simulation, eight orders at once");
    let rounds = if dockswap_proof::long() { LONG_ROUNDS } else { ROUNDS };
    for world in 0..rounds / ROUNDS_PER_WORLD {
        let mut rng = Rng::new(world);
        let mut sim = Sim::seeded(world);
        sim.start();
        sim.deploy("web", &Version::of("good:0"));
        for round in 0..ROUNDS_PER_WORLD {
            match race(&mut sim, &mut rng, round) {
                Ok(()) => proof.kept(),
                Err(why) => proof.broken(format!("seed {world}, round {round}: {why}")),
            }
        }
        sim.rest();
    }
    proof.conclude();
}

/// All of them order, with whatever state the app is in at the time.
fn race(sim: &mut Sim, rng: &mut Rng, round: u64) -> Result<(), String> {
    let version = Version::of(&format!("{}:{round}", rng.pick(&["good", "good", "slow", "crash"])))
        .watch(*rng.pick(&[0, 2]))
        .window(*rng.pick(&[0, 20]))
        .drain(1);
    let version = if rng.happens(200) { version.manual() } else { version };
    let orders: Vec<(Duration, Command)> =
        (0..CLIENTS - 1).map(|_| (rng.time(Duration::ZERO, secs(2)), order(rng, sim))).collect();
    let edit = rng.time(Duration::ZERO, secs(2));
    let before = Begun::of(sim);
    let answers = sim.at_once("web", &orders, (&version, edit));
    let after = Begun::of(sim);
    told_the_truth(&orders, &answers, &after.since(&before))?;
    sim.pass(rng.time(Duration::ZERO, secs(*rng.clone().pick(&[1, 8]))));
    Ok(())
}

fn order(rng: &mut Rng, sim: &Sim) -> Command {
    let some = sim.deployments("web");
    let earlier = rng.pick(&some).id;
    let commands = [
        Command::Deploy,
        Command::Deploy,
        Command::Rollback { to: None },
        Command::Rollback { to: None },
        Command::Rollback { to: Some(earlier) },
        Command::Switch { color: Color::Blue },
        Command::Switch { color: Color::Green },
        Command::Promote,
        Command::Cancel,
        Command::Cancel,
        Command::Recover,
        Command::Remove,
        Command::Pause { limit: Duration::from_secs(5), queue: 10 },
        Command::BeginMaintenance { page: None },
        Command::EndMaintenance,
    ];
    rng.pick(&commands).clone()
}

/// The events of orders that begin no deployment.
const BY_PEOPLE: [&str; 8] = [
    "promote",
    "cancel",
    "manual_recovery",
    "retire",
    "paused",
    "unpaused",
    "maintenance_began",
    "maintenance_ended",
];

/// How many events of each kind that people bring are on record.
struct Begun {
    deployments: BTreeSet<DeploymentId>,
    interventions: usize,
}

impl Begun {
    fn of(sim: &Sim) -> Self {
        let state = sim.world.lock();
        let web = app("web");
        let asked = |reason: &str| matches!(reason, "deploy" | "rollback" | "switch");
        let deployments = state
            .database
            .accepted(&web)
            .filter(|record| record.payload["event"]["reason"].as_str().is_some_and(asked))
            .map(|record| record.deployment_id)
            .collect();
        let by_people = |name: &&str| BY_PEOPLE.contains(name);
        let interventions = state.database.names(&web).iter().filter(|name| by_people(name)).count();
        Self { deployments, interventions }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            deployments: self.deployments.difference(&before.deployments).copied().collect(),
            interventions: self.interventions - before.interventions,
        }
    }
}

/// Who was told that something was begun finds it on record, and nothing else was begun.
fn told_the_truth(orders: &[(Duration, Command)], answers: &[Answer], begun: &Begun) -> Result<(), String> {
    let mut told = BTreeSet::new();
    let mut interventions = 0;
    for ((_, command), answer) in orders.iter().zip(answers) {
        let Ok(Outcome { deployment, begun: true }) = answer else { continue };
        match command {
            Command::Deploy | Command::Rollback { .. } | Command::Switch { .. } => {
                let id = deployment.ok_or_else(|| format!("{command:?} began nothing that has a number"))?;
                if !told.insert(id) {
                    return Err(format!("two people were told that {id} is theirs"));
                }
            }
            Command::Promote
            | Command::Cancel
            | Command::Recover
            | Command::Remove
            | Command::Pause { .. }
            | Command::Resume
            | Command::BeginMaintenance { .. }
            | Command::EndMaintenance => interventions += 1,
        }
    }
    if told != begun.deployments {
        return Err(format!("told were {told:?}, on record are {:?}: {answers:?}", begun.deployments));
    }
    if interventions != begun.interventions {
        return Err(format!(
            "{interventions} interventions were told, {} are on record",
            begun.interventions
        ));
    }
    Ok(())
}
