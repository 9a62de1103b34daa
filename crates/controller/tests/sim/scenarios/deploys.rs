//! Deployments that go well, and those that do not.

use super::serving;
use crate::sim::{Sim, secs};
use crate::world::files::Version;
use dockswap_core::records::DeploymentStatus::{Failed, Success};

#[test]
fn an_edit_takes_over_the_traffic() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2"));
    sim.until("web", "draining");
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    sim.until("web", "stable");
    let steps = [
        "deploy",
        "image_ready",
        "container_started",
        "health_check_passed",
        "traffic_switched",
        "drain_complete",
        "watch_passed",
    ];
    assert_eq!(sim.events("web")[7..], steps);
    sim.rest();
    assert_eq!(sim.events("web")[14..], ["window_passed", "container_stopped"]);
    assert_eq!(sim.statuses("web"), [Success, Success]);
    assert_eq!(sim.containers("web").len(), 2, "the standby is kept");
}

#[test]
fn every_replica_shares_the_traffic() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("slow:2").replicas(3));
    assert_eq!(sim.routed("web"), ["web-green-2", "web-green-2-2", "web-green-2-3"]);
}

/// A deployment that fails, and the live containers that know nothing of it.
fn fails(version: &Version, event: &str) -> Sim {
    let mut sim = serving();
    let before = sim.containers("web");
    sim.edit("web", version);
    sim.rest();
    sim.expect(sim.state("web") == "stable", "the old version serves on");
    sim.expect(sim.containers("web") == before, "its container is the same, and nothing else is left");
    sim.expect(sim.statuses("web") == [Success, Failed], "the deployment failed");
    sim.expect(!sim.error_of("web", event).is_empty(), "the event says why");
    sim
}

#[test]
fn an_image_that_does_not_exist_changes_nothing() {
    let sim = fails(&Version::of("missing:2"), "image_failed");
    assert!(sim.error_of("web", "image_failed").contains("missing:2 was not found: manifest unknown"));
}

#[test]
fn a_container_that_docker_cannot_start_is_removed() {
    let sim = fails(&Version::of("broken:2"), "container_failed");
    assert!(sim.error_of("web", "container_failed").contains("exec: no such file"));
}

#[test]
fn an_app_that_exits_is_told_at_once_with_its_last_words_and_no_secret() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    let began = sim.world.lock().now();
    sim.until("web", "rolling_back");
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took <= secs(2), "an exit does not wait for the gate's deadline: {took:?}");
    let sim = fails(&Version::of("crash:2"), "health_check_failed");
    assert!(sim.error_of("web", "health_check_failed").contains("exited with code 1"));
    let state = sim.world.lock();
    let told = format!("{:?}", state.database.events.iter().map(|row| &row.record).collect::<Vec<_>>());
    assert!(told.contains("last words") && told.contains("cannot log in with [redacted]"), "{told}");
}

#[test]
fn an_app_that_never_gets_healthy_fails_at_its_deadline() {
    let mut sim = serving();
    sim.edit("web", &Version::of("never:2"));
    sim.until("web", "health_check");
    let began = sim.world.lock().now();
    sim.until("web", "rolling_back");
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took >= secs(15) && took <= secs(16), "{took:?}");
    let sim = fails(&Version::of("never:2"), "health_check_failed");
    assert!(sim.error_of("web", "health_check_failed").contains("GET /health was refused"));
}

#[test]
fn an_images_own_healthcheck_has_a_say_and_shows_no_secret() {
    let sim = fails(&Version::of("unwell:2").tcp(), "health_check_failed");
    assert!(sim.error_of("web", "health_check_failed").contains("HEALTHCHECK says unhealthy"));
}

#[test]
fn a_reference_that_cannot_be_resolved_fails_the_deployment_alone() {
    let mut sim = serving();
    sim.world.lock().unresolvable = Some("${env:TOKEN}".to_owned());
    sim.edit("web", &Version::of("good:2"));
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Failed]);
    assert!(sim.error_of("web", "container_failed").contains("${env:TOKEN}"));
}

#[test]
fn a_first_deployment_that_fails_answers_503_and_the_next_one_serves() {
    let mut sim = Sim::new();
    sim.edit("web", &Version::of("never:1"));
    sim.until("web", "health_check");
    sim.pass(secs(1));
    sim.rest();
    assert_eq!(sim.state("web"), "pending");
    let routes = sim.routes("web").expect("the route is known");
    assert_eq!(routes.target, None, "and leads nowhere yet");
    sim.deploy("web", &Version::of("good:2"));
    assert_eq!(sim.routed("web"), ["web-blue-2"]);
}

#[test]
fn at_most_so_many_deploy_at_once_and_all_arrive() {
    let mut sim = Sim::seeded(1).max_concurrent(3);
    sim.start();
    let names: Vec<String> = (1..=20).map(|n| format!("app-{n}")).collect();
    for name in &names {
        sim.edit(name, &Version::of("slow:1").watch(1));
    }
    let stable = |sim: &Sim| names.iter().all(|name| sim.state(name) == "stable");
    sim.until_that("all serve", |sim| {
        let state = sim.world.lock();
        let in_flight =
            state.database.machines.values().filter(|machine| machine.in_flight().is_some()).count();
        drop(state);
        sim.expect(in_flight <= 3, "no more than three at once");
        stable(sim)
    });
    for name in &names {
        sim.edit(name, &Version::of("good:2").watch(1));
    }
    sim.until_that("all serve anew", |sim| {
        let state = sim.world.lock();
        let in_flight =
            state.database.machines.values().filter(|machine| machine.in_flight().is_some()).count();
        drop(state);
        sim.expect(in_flight <= 3, "no more than three at once");
        names.iter().all(|name| sim.image(name).as_deref() == Some("good:2"))
    });
    sim.rest();
}
