//! What operators order: promote, cancel, switch, remove, recover, deploy.

use super::{STATES, deploying, serving, with_warm_standby};
use crate::sim::{Sim, secs};
use crate::world::faults::{Call, Fault};
use crate::world::files::Version;
use dockswap_controller::{Command, OrderError};
use dockswap_core::Color;
use dockswap_core::records::DeploymentStatus::{Cancelled, RolledBack, Success};

#[test]
fn a_promotion_is_waited_for() {
    let mut sim = deploying("awaiting_promotion");
    sim.pass(secs(3600));
    assert_eq!(sim.state("web"), "awaiting_promotion");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.command("web", Command::Promote);
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:2"));
    sim.rest();
}

#[test]
fn a_candidate_that_dies_before_its_promotion_is_undone() {
    let mut sim = deploying("awaiting_promotion");
    sim.world.lock().crashes("web-green-2");
    sim.until("web", "stable");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.rest();
}

#[test]
fn cancelling_in_any_state_leaves_the_old_version_serving() {
    for state in STATES {
        let mut sim = deploying(state);
        let answer = sim.order("web", Command::Cancel).expect("the controller lives");
        if state == "switching" {
            sim.expect(matches!(answer, Err(OrderError::Refused(_))), "a switch is not interrupted");
            sim.rest();
            continue;
        }
        sim.expect(answer.is_ok(), state);
        sim.rest();
        sim.expect(sim.routed("web") == ["web-blue-1"], state);
        sim.expect(sim.statuses("web") == [Success, Cancelled], state);
    }
}

#[test]
fn a_switch_moves_the_traffic_to_the_standby_and_back() {
    let mut sim = with_warm_standby();
    sim.command("web", Command::Switch { color: Color::Blue });
    sim.until("web", "stable");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    assert_eq!(sim.statuses("web"), [Success, RolledBack, Success]);
    let there = sim.command("web", Command::Switch { color: Color::Blue });
    assert!(!there.begun, "it is there already");
    sim.command("web", Command::Switch { color: Color::Green });
    sim.until("web", "stable");
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    sim.rest();
}

#[test]
fn a_switch_to_a_color_that_does_not_run_is_refused() {
    let mut sim = serving();
    let answer = sim.order("web", Command::Switch { color: Color::Green });
    assert!(matches!(answer, Some(Err(OrderError::NoStandby { .. }))));
}

#[test]
fn a_removed_app_leaves_nothing_but_its_history() {
    let mut sim = with_warm_standby();
    sim.command("web", Command::Remove);
    sim.until("web", "retired");
    sim.rest();
    assert!(sim.containers("web").is_empty());
    assert_eq!(sim.routes("web"), None);
    assert!(!sim.command("web", Command::Remove).begun);
    sim.restart();
    sim.rest();
    assert_eq!(sim.state("web"), "retired", "the file alone does not bring it back");
    sim.command("web", Command::Deploy);
    sim.until("web", "stable");
    sim.rest();
}

#[test]
fn recovering_settles_on_what_is_healthy() {
    let mut sim = serving();
    // The old color is away when the new one turns unhealthy: the deployment fails.
    sim.edit("web", &Version::of("sick:2").watch(30).window(600));
    sim.until("web", "watching");
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.until("web", "failed");
    assert!(sim.order("web", Command::Recover).is_some_and(|answer| answer.is_err()), "nothing is healthy");
    sim.world.lock().restart_by_hand("web-blue-1");
    sim.pass(secs(1));
    sim.command("web", Command::Recover);
    sim.until("web", "stable");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.rest();
}

#[test]
fn deploying_the_same_version_again_makes_new_containers() {
    let mut sim = serving();
    let outcome = sim.command("web", Command::Deploy);
    assert!(outcome.begun);
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-green-2"]);
}

#[test]
fn deploying_what_is_being_deployed_follows_it() {
    let mut sim = deploying("health_check");
    let outcome = sim.command("web", Command::Deploy);
    assert!(!outcome.begun);
    assert_eq!(outcome.deployment, Some(sim.last_deployment("web")));
    sim.rest();
}

#[test]
fn an_order_for_nobody_is_told_so() {
    let mut sim = Sim::new();
    assert!(matches!(sim.order("web", Command::Cancel), Some(Err(OrderError::UnknownApp(_)))));
}

#[test]
fn a_deployment_that_could_not_begin_gives_its_turn_back() {
    let mut sim = Sim::seeded(1).max_concurrent(1);
    sim.start();
    sim.deploy("web", &Version::of("good:1"));
    sim.plan(Call::Commit, [Fault::Unavailable]);
    assert!(matches!(sim.order("web", Command::Deploy), Some(Err(OrderError::Store(_)))));
    sim.deploy("other", &Version::of("good:1"));
}
