//! Docker is away, slow, or loses its answers.

use super::{deploying, serving};
use crate::sim::{app, secs};
use crate::world::faults::{Call, Fault, Side};
use crate::world::files::Version;
use std::time::Duration;

#[test]
fn docker_may_be_away_for_a_while_in_any_state() {
    for state in ["starting", "health_check", "switching", "draining", "watching"] {
        let mut sim = deploying(state);
        sim.away(Side::Docker, secs(8));
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), state);
    }
}

#[test]
fn a_lost_answer_never_makes_a_second_container() {
    for call in [Call::Image, Call::Run, Call::Remove, Call::Stop] {
        let mut sim = serving();
        let made = sim.world.lock().docker.created;
        sim.plan(call, [Fault::LostReply, Fault::LostReply]);
        sim.edit("web", &Version::of("good:2"));
        sim.rest();
        if call != Call::Image {
            sim.expect(sim.image("web").as_deref() == Some("good:2"), "it arrives");
            sim.expect(sim.world.lock().docker.created == made + 1, "with one container");
        }
    }
}

#[test]
fn half_made_containers_are_removed() {
    let mut sim = serving();
    sim.plan(Call::Run, [Fault::HalfDone]);
    sim.edit("web", &Version::of("good:2").replicas(3));
    sim.until("web", "rolling_back");
    sim.rest();
    assert_eq!(sim.containers("web").len(), 1);
}

#[test]
fn containers_that_cannot_be_removed_at_once_are_removed_later() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    sim.until("web", "health_check");
    sim.plan(Call::Remove, [Fault::HalfDone]);
    sim.until("web", "failed");
    sim.pass(secs(40));
    sim.deploy("web", &Version::of("good:3"));
    assert_eq!(sim.containers("web").len(), 2);
}

#[test]
fn an_answer_from_before_the_switch_does_not_undo_the_route() {
    let mut sim = serving();
    // Somebody looks while the candidate is being started, and is told of it only after the switch.
    sim.edit("web", &Version::of("good:2"));
    sim.until("web", "starting");
    sim.plan(Call::Run, [Fault::Slow(Duration::from_millis(400))]);
    let hint = app("web");
    sim.world.lock().hint(&hint);
    sim.pass(Duration::from_millis(95));
    sim.plan(Call::Observe, [Fault::Late(Duration::from_millis(1500))]);
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-green-2"]);
}

#[test]
fn docker_is_not_asked_without_a_pause_while_it_is_away() {
    let mut sim = serving();
    // A first attempt to heal fails, and then nobody answers any more.
    sim.plan(Call::Run, [Fault::Unavailable]);
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.pass(secs(1));
    sim.away(Side::Docker, secs(60));
    let before = sim.world.lock().faults.observations;
    sim.pass(secs(50));
    let asked = sim.world.lock().faults.observations - before;
    assert!(asked <= 100, "{asked} times in 50 s");
    sim.pass(secs(30));
    sim.rest();
}

#[test]
fn one_hand_at_a_time_is_at_an_app() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    sim.until("web", "health_check");
    // The verdict cannot be written down; an operator cancels before it is tried again.
    sim.plan(Call::Commit, [Fault::Unavailable]);
    sim.pass(Duration::from_millis(600));
    sim.plan(Call::Remove, [Fault::Slow(secs(6)), Fault::Slow(secs(6))]);
    sim.command("web", dockswap_controller::Command::Cancel);
    sim.rest();
    let most = sim.world.lock().docker.hands[&app("web")].1;
    assert_eq!(most, 1);
}
