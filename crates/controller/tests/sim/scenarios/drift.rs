//! What serves is not what was recorded any more: it is noticed once, set right, and on record; and what ends again
//! and again is given up.

use super::serving;
use crate::sim::{Sim, secs};
use crate::world::faults::Side;
use crate::world::files::Version;
use dockswap_controller::Command;

fn told(sim: &Sim, event: &str) -> usize {
    sim.events("web").iter().filter(|other| **other == event).count()
}

/// Somebody changes what serves, and everything becomes as it was, which is on record once each.
fn set_right(harm: fn(&Sim)) -> Sim {
    let mut sim = serving();
    harm(&sim);
    sim.pass(secs(20));
    sim.expect(sim.routed("web") == ["web-blue-1"], "traffic goes where it went");
    sim.rest();
    sim.expect(sim.view("web").degraded.is_none(), "nothing is wrong");
    sim.expect(told(&sim, "external_change") == 1, "it is noticed once");
    sim.expect(told(&sim, "healed") == 1, "it is set right once");
    let live = sim.containers("web").remove(0).shown;
    sim.expect(live.drift.is_empty(), "it is what was asked for");
    sim.expect(live.restart == dockswap_core::spec::RestartPolicy::UnlessStopped, "under its own policy");
    sim
}

#[test]
fn a_live_container_that_was_updated_is_set_back() {
    let sim = set_right(|sim| sim.world.lock().update_by_hand("web-blue-1"));
    assert!(sim.world.lock().docker.started == 1, "it ran on meanwhile");
}

#[test]
fn a_live_container_that_was_taken_off_its_network_is_connected_again() {
    set_right(|sim| sim.world.lock().disconnect_by_hand("web-blue-1"));
}

#[test]
fn a_live_container_that_was_paused_goes_on() {
    set_right(|sim| sim.world.lock().pause_by_hand("web-blue-1"));
}

#[test]
fn a_replica_that_begins_a_new_life_gets_traffic_once_it_has_proven_itself() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("slow:1").replicas(2));
    sim.world.lock().remove_by_hand("web-blue-1");
    sim.pass(secs(2));
    sim.expect(sim.containers("web").len() == 2, "it is made again at once");
    sim.expect(sim.routed("web") == ["web-blue-1-2"], "the other one carries on, and alone");
    sim.pass(secs(5));
    sim.expect(sim.routed("web") == ["web-blue-1", "web-blue-1-2"], "both, once it answers");
    sim.rest();
    sim.expect(told(&sim, "healed") == 1, "it is on record");
}

#[test]
fn what_never_answers_again_gets_traffic_only_where_nothing_else_does() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("slow:1"));
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.pass(secs(1));
    let name = "web-blue-1".to_owned();
    sim.world.lock().sickens(&name);
    sim.pass(secs(10));
    sim.expect(sim.routed("web").is_empty(), "it does not answer as it should");
    sim.pass(secs(20));
    sim.expect(sim.routed("web") == ["web-blue-1"], "what it answers is better than nothing");
    sim.expect(told(&sim, "healed") == 0, "which is not to say that it is healed");
}

/// What serves dies three seconds after each start.
fn crash_looping() -> Sim {
    let mut sim = serving();
    sim.edit("web", &Version::of("dies:2").watch(0).window(0));
    sim.until("web", "stable");
    sim.until("web", "failed");
    sim
}

#[test]
fn a_crash_loop_is_stopped_and_explained() {
    let mut sim = crash_looping();
    sim.until_that("people are told", |sim| sim.view("web").failed.is_some());
    let why = sim.view("web").failed.unwrap_or_default();
    for words in [
        "crash loop: died 8 times",
        "last exit 1",
        "dockswap rollback web",
        "dockswap recover web",
        "last words",
    ] {
        sim.expect(why.contains(words), &format!("{words:?} is in {why:?}"));
    }
    sim.rest();
    assert!(
        sim.routed("web").is_empty() && !sim.containers("web").iter().any(crate::world::docker::Shell::runs)
    );
    let started = sim.world.lock().docker.started;
    sim.pass(secs(3_600));
    assert_eq!(sim.world.lock().docker.started, started, "nobody starts it again");
    assert_eq!(told(&sim, "given_up"), 1);
    sim.restart();
    sim.rest();
    assert_eq!(sim.world.lock().docker.started, started, "nor does another controller");
}

#[test]
fn a_crash_loop_is_told_before_it_is_stopped() {
    let mut sim = serving();
    sim.edit("web", &Version::of("dies:2").watch(0).window(0));
    sim.until("web", "stable");
    sim.until_that("it is called a loop", |sim| {
        sim.view("web")
            .degraded
            .is_some_and(|why| why.starts_with("crash loop: died") && why.contains("last words"))
    });
    assert_eq!(sim.state("web"), "stable");
}

#[test]
fn what_was_given_up_runs_again_by_order_alone() {
    let mut sim = crash_looping();
    sim.command("web", Command::Recover);
    sim.until_that("it is tried again", |sim| !sim.routed("web").is_empty());
    sim.until("web", "failed");
    sim.command("web", Command::Rollback { to: None });
    sim.until("web", "stable");
    sim.rest();
    sim.expect(sim.image("web").as_deref() == Some("good:1"), "the version before serves");
    let mut sim = crash_looping();
    sim.deploy("web", &Version::of("good:3"));
    sim.rest();
}

#[test]
fn one_replica_that_dies_again_and_again_does_not_stop_the_others() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("good:1").replicas(2));
    for _ in 0..12 {
        sim.world.lock().crashes("web-blue-1");
        sim.pass(secs(4));
    }
    assert_eq!(sim.state("web"), "stable");
    sim.expect(sim.view("web").degraded.is_some_and(|why| why.starts_with("crash loop")), "it is told");
    sim.pass(secs(70));
    assert_eq!(sim.routed("web"), ["web-blue-1", "web-blue-1-2"]);
}

/// What is not to run beside another is stopped for it, and proven again where that fails: then it has the traffic.
#[test]
fn what_was_given_up_serves_again_where_a_deploy_that_stopped_it_fails() {
    let mut sim = crash_looping();
    sim.edit("web", &Version::of("crash:3").recreate());
    sim.until_that("it was undone", |sim| {
        sim.events("web").contains(&"container_failed") || told(sim, "rollback_complete") > 0
    });
    sim.until_that("what served has the traffic", |sim| !sim.routed("web").is_empty());
}

#[test]
fn a_version_that_runs_alone_gets_the_traffic_of_what_was_given_up() {
    let mut sim = crash_looping();
    sim.deploy("web", &Version::of("good:3").recreate().replicas(2));
    sim.expect(sim.routed("web") == ["web-blue-3", "web-blue-3-2"], "all of it");
    sim.rest();
    sim.expect(sim.state("web") == "stable" && sim.view("web").degraded.is_none(), "nothing is wrong");
    sim.expect(sim.image("web").as_deref() == Some("good:3"), "it serves");
}

/// The proxy does not have requests wait in time, and somebody starts what was given up meanwhile.
#[test]
fn what_was_given_up_has_no_traffic_where_a_deploy_does_not_come_to_stop_it() {
    let mut sim = crash_looping();
    sim.away(Side::Proxy, secs(7));
    sim.edit("web", &Version::of("good:3").recreate());
    sim.until("web", "holding");
    sim.pass(secs(5));
    sim.world.lock().restart_by_hand("web-green-2");
    sim.until("web", "rolling_back");
    sim.until("web", "failed");
    sim.expect(sim.routed("web").is_empty(), "it has not proven itself");
    sim.pass(secs(1));
    sim.expect(!sim.containers("web").iter().any(crate::world::docker::Shell::runs), "it is stopped again");
    sim.rest();
}
