//! Every wait ends: Docker, the proxy or the database accept every call and answer none, for ever, and still
//! each state comes to its end, and each order is answered.

use super::{STATES, deploying, serving, with_warm_standby};
use crate::sim::{Sim, secs};
use crate::world::faults::Side;
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_proof::Proof;
use std::time::Duration;

/// Longer than anything here lasts.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// How long a deployment may take to be given up and undone: for each effect left, the minute for which it
/// tries again, the last call's deadline, and what the app itself may take.
const GIVEN_UP: Duration = Duration::from_secs(400);

/// How long a person waits for an answer.
const ANSWERED: Duration = Duration::from_secs(60);

const SIDES: [Side; 3] = [Side::Docker, Side::Proxy, Side::Database];

fn removing(state: &str) -> Sim {
    let mut sim = serving();
    sim.command("web", Command::Remove);
    sim.until("web", state);
    sim
}

fn undoing() -> Sim {
    let mut sim = serving();
    sim.edit("web", &Version::of("sick:2").watch(30));
    sim.until("web", "rolling_back");
    sim
}

/// An app in each state that waits for something.
fn waiting() -> Vec<(String, Sim)> {
    let deploying = STATES
        .into_iter()
        .filter(|state| *state != "awaiting_promotion")
        .map(|state| (state.to_owned(), deploying(state)));
    let removing = ["draining", "stopping"].map(|state| (format!("removed, {state}"), removing(state)));
    deploying.chain(removing).chain([("rolling_back".to_owned(), undoing())]).collect()
}

#[test]
fn no_state_lasts_for_ever() {
    let mut proof = Proof::of("P16", "simulation, one side hangs in each state");
    for side in [Side::Docker, Side::Proxy] {
        for (state, mut sim) in waiting() {
            sim.hangs(side, FOR_EVER);
            let began = sim.world.lock().now();
            sim.until_that(&format!("{state} ends while {side:?} hangs"), Sim::is_settled);
            let took = sim.world.lock().now().saturating_since(began);
            if took <= GIVEN_UP {
                proof.kept();
            } else {
                proof.broken(format!("{side:?} hung in {state}: settled after {took:?}"));
            }
        }
    }
    // Nothing can be written down while the database hangs: what waits goes on once it answers.
    for (_, mut sim) in waiting() {
        sim.hangs(Side::Database, secs(200));
        sim.pass(secs(200));
        sim.until_that("it goes on", Sim::is_settled);
        sim.rest();
        proof.kept();
    }
    proof.conclude();
}

#[test]
fn every_order_is_answered() {
    let commands = [
        Command::Deploy,
        Command::Rollback { to: None },
        Command::Switch { color: dockswap_core::Color::Blue },
        Command::Promote,
        Command::Cancel,
        Command::Recover,
        Command::Remove,
    ];
    let mut proof = Proof::of("P16", "simulation, an order while one side hangs");
    for side in SIDES {
        for command in &commands {
            let settled: fn() -> Sim = with_warm_standby;
            for begin in [settled, || deploying("health_check"), || deploying("watching"), undoing] {
                let mut sim = begin();
                sim.hangs(side, FOR_EVER);
                sim.pass(secs(3));
                let began = sim.world.lock().now();
                sim.order("web", command.clone());
                let took = sim.world.lock().now().saturating_since(began);
                if took <= ANSWERED {
                    proof.kept();
                } else {
                    proof.broken(format!("{side:?} hung: {command:?} was answered after {took:?}"));
                }
            }
        }
    }
    proof.conclude();
}

/// The table is one for all apps, and so is the hand that brings it to the proxy: who waits for that hand
/// waits no longer for it because others wait too.
#[test]
fn apps_do_not_wait_for_each_other_at_a_proxy_that_hangs() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut sim = Sim::seeded(1).max_concurrent(names.len());
    sim.start();
    for name in names {
        sim.deploy(name, &Version::of("good:1"));
    }
    for name in names {
        sim.edit(name, &Version::of("good:2"));
    }
    sim.until("h", "health_check");
    sim.hangs(Side::Proxy, FOR_EVER);
    sim.until_that("all are switching or have given up", |sim| {
        names.iter().all(|name| matches!(sim.state(name).as_str(), "switching" | "rolling_back"))
    });
    for name in names {
        let began = sim.world.lock().now();
        sim.order(name, Command::Cancel);
        let took = sim.world.lock().now().saturating_since(began);
        assert!(took <= 3 * Side::Proxy.deadline(), "{name} answered after {took:?}");
    }
    let began = sim.world.lock().now();
    sim.until_that("all are settled", Sim::is_settled);
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took <= secs(120), "given up after {took:?}");
}
