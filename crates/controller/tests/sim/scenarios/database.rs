//! The database is away, full, or loses its answers.

use super::{STATES, deploying, serving};
use crate::sim::secs;
use crate::world::faults::{Call, Fault, Side};
use crate::world::files::Version;
use dockswap_controller::Command;

#[test]
fn a_database_that_is_away_in_any_state_delays_and_breaks_nothing() {
    for state in STATES {
        let mut sim = deploying(state);
        sim.away(Side::Database, secs(90));
        sim.pass(secs(91));
        sim.pass(secs(10));
        if state == "awaiting_promotion" {
            sim.command("web", Command::Promote);
        }
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), state);
        let refused = sim.world.lock().database.events.iter().filter(|row| row.refused).count();
        sim.expect(refused <= 2, &format!("{refused} refusals were recorded for one outage"));
    }
}

#[test]
fn an_edit_while_the_database_is_full_is_deployed_when_there_is_room_again() {
    let mut sim = serving();
    sim.away(Side::Database, secs(30));
    let next = Version::of("good:2");
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim.rest();
}

#[test]
fn a_deployment_that_could_not_be_recorded_begins_within_seconds_of_better_times() {
    let mut sim = serving();
    sim.plan(Call::Commit, [Fault::Unavailable]);
    sim.edit("web", &Version::of("good:2"));
    sim.pass(secs(5));
    sim.expect(sim.deployments("web").len() == 2, "it has begun");
    sim.rest();
}

#[test]
fn a_commit_whose_answer_is_lost_is_known_at_the_next() {
    for skip in 0..8 {
        let mut sim = serving();
        sim.edit("web", &Version::of("good:2"));
        sim.until_that("so far", |sim| sim.events("web").len() >= 9 + skip);
        sim.plan(Call::Commit, [Fault::LostReply]);
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), "it arrives");
        sim.expect(sim.deployments("web").len() == 2, "once");
    }
}

#[test]
fn a_regression_is_not_lost_with_the_answer_of_a_commit() {
    let mut sim = serving();
    sim.edit("web", &Version::of("dies:2").watch(60));
    sim.until("web", "draining");
    // The end of the drain is recorded, and nobody knows; then the new color dies.
    sim.plan(Call::Commit, [Fault::LostReply]);
    sim.until("web", "watching");
    sim.world.lock().crashes("web-green-2");
    sim.until_that("the old color is routed", |sim| sim.routed("web") == ["web-blue-1"]);
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
}

#[test]
fn orders_are_answered_with_the_failure() {
    let mut sim = deploying("awaiting_promotion");
    sim.away(Side::Database, secs(10));
    assert!(sim.order("web", Command::Promote).is_some_and(|answer| answer.is_err()));
    sim.pass(secs(11));
    sim.command("web", Command::Promote);
    sim.rest();
}

#[test]
fn a_version_whose_storing_was_not_answered_is_stored_once() {
    let mut sim = serving();
    sim.plan(Call::Insert, [Fault::LostReply, Fault::LostReply]);
    let next = Version::of("good:2");
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim.rest();
    assert_eq!(sim.world.lock().database.configs.len(), 2);
    assert_eq!(sim.deployments("web").len(), 2);
}
