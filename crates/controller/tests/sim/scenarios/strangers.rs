//! Other people at the same Docker, and containers that fail on their own.

use super::serving;
use crate::sim::{Sim, secs};
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_core::DeploymentId;
use std::time::Duration;

fn healed(harm: fn(&Sim)) -> Sim {
    let mut sim = serving();
    harm(&sim);
    sim.pass(secs(5));
    sim.expect(sim.routed("web") == ["web-blue-1"], "the route follows the new address");
    sim.rest();
    sim.expect(sim.deployments("web").len() == 1, "no deployment was needed");
    sim.expect(sim.view("web").degraded.is_none(), "it is whole again");
    sim
}

#[test]
fn a_live_container_that_was_removed_is_made_again() {
    let sim = healed(|sim| sim.world.lock().remove_by_hand("web-blue-1"));
    assert!(sim.events("web").ends_with(&["external_change", "healed"]), "{:?}", sim.events("web"));
}

#[test]
fn a_live_container_that_was_stopped_is_started_again() {
    let sim = healed(|sim| sim.world.lock().stop_by_hand("web-blue-1"));
    assert!(sim.events("web").ends_with(&["external_change", "healed"]), "{:?}", sim.events("web"));
}

#[test]
fn harm_that_is_done_again_soon_is_on_record_again() {
    let mut sim = healed(|sim| sim.world.lock().remove_by_hand("web-blue-1"));
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.pass(secs(15));
    sim.expect(sim.view("web").degraded.is_none(), "it is whole again");
    let told = sim.events("web").iter().filter(|event| **event == "external_change").count();
    sim.expect(told == 2, "each time is told");
}

#[test]
fn a_live_container_that_died_is_brought_back_by_docker_and_routed_at_its_new_address() {
    healed(|sim| sim.world.lock().crashes("web-blue-1"));
}

#[test]
fn a_live_container_that_was_restarted_is_routed_at_its_new_address() {
    healed(|sim| sim.world.lock().restart_by_hand("web-blue-1"));
}

#[test]
fn harm_is_noticed_without_hints() {
    let mut sim = serving();
    sim.world.lock().faults.hint_chance = 1000;
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.pass(secs(35));
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.rest();
}

#[test]
fn a_live_container_that_moves_while_another_deploys_is_still_followed() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    sim.until("web", "health_check");
    // Just before the gate gives its verdict: what it saw last is the new address.
    sim.pass(Duration::from_millis(200));
    sim.world.lock().restart_by_hand("web-blue-1");
    sim.until("web", "stable");
    sim.pass(secs(3));
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.rest();
}

#[test]
fn a_replica_that_is_removed_at_the_gate_fails_it() {
    let mut sim = serving();
    sim.edit("web", &Version::of("slow:2").replicas(2));
    sim.until("web", "health_check");
    sim.world.lock().remove_by_hand("web-green-2-2");
    sim.until("web", "stable");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.rest();
}

#[test]
fn what_is_left_over_is_removed_and_what_is_foreign_is_not_touched() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:2"));
    {
        let mut state = sim.world.lock();
        state.docker.add_foreign("canary");
        state.docker.add_foreign("web-blue-7");
        let mut debris = state.docker.containers["web-green-2"].clone();
        debris.shown.deployment = DeploymentId(1);
        debris.shown.color = dockswap_core::Color::Green;
        debris.shown.name = "web-green-1".to_owned();
        (debris.shown.life, debris.shown.upstream) = (None, None);
        state.docker.containers.insert("web-green-1".to_owned(), debris);
    }
    sim.rest();
    let state = sim.world.lock();
    assert!(!state.docker.containers.contains_key("web-green-1"));
    assert!(state.docker.containers["canary"].runs() && state.docker.containers["web-blue-7"].runs());
}

#[test]
fn a_name_that_a_stranger_has_fails_the_deployment_and_says_so() {
    let mut sim = serving();
    sim.world.lock().docker.add_foreign("web-green-2");
    sim.edit("web", &Version::of("good:2"));
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    assert!(
        sim.error_of("web", "container_failed").contains("web-green-2 exists and was not made by dockswap")
    );
    assert!(sim.world.lock().docker.containers["web-green-2"].runs());
}

#[test]
fn traffic_that_goes_back_finds_the_old_color_at_its_new_address() {
    // At some of these moments nobody has looked at Docker since.
    for millis in [50, 250, 450, 650, 850] {
        let mut sim = super::deploying("watching");
        sim.pass(Duration::from_millis(millis));
        sim.world.lock().faults.hint_chance = 1000;
        sim.world.lock().restart_by_hand("web-blue-1");
        sim.pass(Duration::from_millis(260));
        sim.command("web", Command::Cancel);
        sim.rest();
        assert_eq!(sim.routed("web"), ["web-blue-1"]);
    }
}
