//! Edits at any moment: the last one wins, and nothing is deployed twice.

use super::{STATES, deploying, serving};
use crate::sim::{Sim, secs};
use crate::world::faults::{Call, Fault};
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_proof::Proof;
use std::time::Duration;

/// How often a thousand edits are made.
const BURSTS: u64 = 8;

#[test]
fn an_edit_in_any_state_of_a_deployment_wins() {
    for state in STATES {
        let mut sim = deploying(state);
        let next = Version::of("good:3");
        sim.edit("web", &next);
        sim.until_serving("web", &next);
        sim.rest();
        sim.expect(sim.deployments("web").len() == 3, state);
    }
}

#[test]
fn an_edit_while_a_deployment_is_undone_wins() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    sim.until("web", "rolling_back");
    let next = Version::of("good:3");
    sim.deploy("web", &next);
    sim.edit("web", &Version::of("sick:4").watch(20));
    sim.until("web", "watching");
    sim.until("web", "rolling_back");
    sim.deploy("web", &Version::of("good:5"));
}

#[test]
fn of_a_thousand_edits_the_last_one_is_deployed() {
    let mut proof = Proof::of("P13", "simulation, a thousand edits in seconds");
    for seed in 0..BURSTS {
        let mut sim = Sim::seeded(seed);
        sim.start();
        sim.deploy("web", &Version::of("good:1"));
        for n in 0..1000 {
            sim.edit("web", &Version::of(&format!("slow:e{n}")));
            sim.pass(Duration::from_millis(4));
        }
        let quiet = sim.last_deployment("web");
        sim.rest();
        let (image, after) = (sim.image("web"), sim.last_deployment("web").0 - quiet.0);
        if image.as_deref() == Some("slow:e999") && after <= 2 {
            proof.kept();
        } else {
            proof.broken(format!("seed {seed}: {image:?} serves, {after} deployments began after quiet"));
        }
    }
    proof.conclude();
}

#[test]
fn a_change_of_comments_deploys_nothing() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:1").comment(&"why"));
    sim.rest();
    sim.restart();
    sim.rest();
    assert_eq!(sim.deployments("web").len(), 1);
    assert_eq!(sim.world.lock().database.configs.len(), 2, "it is stored as a version");
}

#[test]
fn back_and_forth_makes_three_versions() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:2"));
    sim.deploy("web", &Version::of("good:1"));
    assert_eq!(sim.world.lock().database.configs.len(), 3);
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
}

#[test]
fn an_edit_taken_back_before_it_was_deployed_ends_with_the_last_content() {
    for restart in [false, true] {
        let mut sim = serving();
        sim.edit("web", &Version::of("slow:2"));
        sim.until("web", "health_check");
        // The version in flight is superseded, and wanted again while it is being undone.
        sim.edit("web", &Version::of("good:3"));
        sim.until("web", "rolling_back");
        sim.edit("web", &Version::of("slow:2").comment(&"after all"));
        if restart {
            sim.restart();
        }
        sim.until_that("the last content serves", |sim| sim.image("web").as_deref() == Some("slow:2"));
        sim.rest();
    }
}

#[test]
fn an_edit_that_waits_is_not_lost_to_a_removal_that_is_refused() {
    let mut sim = deploying("watching");
    let next = Version::of("good:3");
    sim.edit("web", &next);
    assert!(sim.order("web", Command::Remove).is_some_and(|answer| answer.is_err()));
    sim.until_serving("web", &next);
    sim.rest();
}

#[test]
fn an_edit_is_not_lost_when_the_answer_of_the_commit_before_it_is() {
    let mut sim = serving();
    sim.plan(Call::Commit, [Fault::LostReply]);
    sim.edit("web", &Version::of("slow:2"));
    sim.until("web", "pulling");
    let next = Version::of("good:3");
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim.rest();
}

#[test]
fn a_deployment_in_flight_does_not_see_the_edit() {
    let mut sim = Sim::new();
    sim.edit("web", &Version::of("good:1").watch(10));
    sim.until("web", "watching");
    sim.edit("web", &Version::of("good:2").watch(0));
    let began = sim.world.lock().now();
    sim.until("web", "stable");
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took >= secs(9), "{took:?}");
    sim.rest();
}
