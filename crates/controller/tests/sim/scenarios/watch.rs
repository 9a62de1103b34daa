//! After the switch: the drain, and the watch over the new color.

use super::serving;
use crate::sim::secs;
use crate::world::files::Version;
use crate::world::proxy::Request;
use dockswap_core::records::DeploymentStatus::{Failed, RolledBack, Success};

#[test]
fn a_color_that_turns_unhealthy_gives_the_traffic_back() {
    let mut sim = serving();
    sim.edit("web", &Version::of("sick:2").watch(20));
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, RolledBack]);
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    assert!(sim.error_of("web", "target_unhealthy").contains("failed 2 probes in a row"));
}

#[test]
fn a_color_that_dies_gives_the_traffic_back_at_once() {
    let mut sim = serving();
    sim.edit("web", &Version::of("dies:2").watch(20));
    sim.until("web", "watching");
    sim.until_that("it has ended", |sim| sim.containers("web").iter().any(|shell| !shell.runs()));
    let ended = sim.world.lock().now();
    sim.until_that("the old color is routed", |sim| sim.routed("web") == ["web-blue-1"]);
    assert!(sim.world.lock().now().saturating_since(ended) <= secs(1));
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, RolledBack]);
}

#[test]
fn without_a_healthy_color_the_deployment_fails_and_serves_for_want_of_better() {
    let mut sim = serving();
    sim.edit("web", &Version::of("sick:2").watch(30));
    sim.until("web", "watching");
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.until("web", "failed");
    assert_eq!(sim.statuses("web"), [Success, Failed]);
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    sim.pass(secs(1));
    assert!(sim.view("web").failed.is_some());
    let next = Version::of("good:3");
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim.rest();
}

#[test]
fn with_auto_rollback_off_a_regression_is_recorded_only() {
    let mut sim = serving();
    sim.edit("web", &Version::of("sick:2").watch(20).only_recorded());
    sim.until("web", "watching");
    sim.until("web", "stable");
    assert_eq!(sim.statuses("web"), [Success, Success]);
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    let recorded = sim.events("web").iter().filter(|name| **name == "target_unhealthy").count();
    assert_eq!(recorded, 1, "once, not at every probe");
}

/// A request that takes `seconds` comes in on `web-blue-1`.
fn long_request(sim: &crate::sim::Sim, seconds: u64) {
    let mut state = sim.world.lock();
    let upstream = state.docker.containers["web-blue-1"].shown.upstream.clone().expect("it runs").id;
    let ends = state.now() + secs(seconds);
    let app = crate::sim::app("web");
    state.proxy.requests.push(Request { app, upstream, ends, overdue: false });
}

#[test]
fn a_request_in_flight_is_waited_for() {
    let mut sim = serving();
    long_request(&sim, 20);
    sim.edit("web", &Version::of("good:2").window(0).watch(0));
    sim.until("web", "draining");
    sim.pass(secs(1));
    // The old color's own patience counts: 5 s.
    sim.until("web", "watching");
    assert_eq!(sim.events("web").last(), Some(&"drain_timed_out"));
    sim.rest();
}

#[test]
fn a_color_is_not_stopped_before_its_last_answer() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:1").drain(60).comment(&"patient"));
    sim.deploy("web", &Version::of("good:1b").drain(60));
    let live = sim.routed("web")[0].clone();
    {
        let mut state = sim.world.lock();
        let upstream = state.docker.containers[&live].shown.upstream.clone().expect("it runs").id;
        let ends = state.now() + secs(30);
        state.proxy.requests.push(Request { app: crate::sim::app("web"), upstream, ends, overdue: false });
    }
    let began = sim.world.lock().now();
    sim.edit("web", &Version::of("good:2").window(0).watch(0));
    sim.until("web", "watching");
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took >= secs(29), "{took:?}");
    assert_eq!(sim.events("web").last(), Some(&"drain_complete"));
    sim.rest();
}
