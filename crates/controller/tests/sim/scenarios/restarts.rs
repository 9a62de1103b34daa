//! The controller dies, at any instant, and another one goes on.

use super::{STATES, deploying, serving, with_warm_standby};
use crate::sim::{Sim, app, secs};
use crate::world::faults::{Call, Fault, Moment, Side};
use crate::world::files::Version;
use dockswap_controller::{Command, OrderError};
use dockswap_core::records::DeploymentStatus;
use dockswap_proof::Proof;

#[test]
fn a_restart_in_any_state_finishes_the_deployment() {
    for state in STATES {
        let mut sim = deploying(state);
        sim.restart();
        if state == "awaiting_promotion" {
            sim.command("web", Command::Promote);
        }
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), state);
        sim.expect(sim.deployments("web").len() == 2, state);
    }
}

#[test]
fn a_restart_while_undoing_and_while_retiring_finishes_that() {
    let mut sim = serving();
    sim.edit("web", &Version::of("crash:2"));
    sim.until("web", "rolling_back");
    sim.restart();
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    for state in ["draining", "stopping"] {
        let mut sim = serving();
        sim.command("web", Command::Remove);
        sim.until("web", state);
        sim.restart();
        sim.until("web", "retired");
        sim.rest();
    }
}

#[test]
fn an_edit_that_a_removal_dismissed_is_not_deployed_by_a_restart() {
    let mut sim = serving();
    // It is stored, and nothing more can be.
    sim.plan(Call::Commit, [Fault::Unavailable]);
    sim.edit("web", &Version::of("good:2"));
    sim.pass(secs(1));
    sim.command("web", Command::Remove);
    sim.until("web", "retired");
    sim.rest();
    sim.restart();
    sim.rest();
    assert_eq!(sim.state("web"), "retired");
    assert_eq!(sim.deployments("web").len(), 1);
}

/// Runs `story` with the controller dying before, and after, each call that it makes to the world.
fn at_every_call(name: &str, begin: fn() -> Sim, story: fn(&mut Sim)) {
    let mut proof = Proof::of("P7", format!("simulation, killed at each call of {name}"));
    let calls = {
        let mut sim = begin();
        let before = sim.world.lock().faults.calls;
        story(&mut sim);
        sim.rest();
        let after = sim.world.lock().faults.calls;
        after - before
    };
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let mut sim = begin();
            sim.dies_at(call, moment);
            story(&mut sim);
            sim.rest();
            proof.kept();
        }
    }
    proof.conclude();
}

#[test]
fn dying_at_any_call_of_the_return_of_a_removed_app_brings_it_back() {
    let removed = || {
        let mut sim = serving();
        sim.command("web", Command::Remove);
        sim.until("web", "retired");
        sim.rest();
        sim
    };
    at_every_call("an edit after a removal", removed, |sim| {
        let next = Version::of("good:2");
        sim.edit("web", &next);
        sim.until_serving("web", &next);
    });
}

#[test]
fn dying_at_any_call_of_a_deployment_finishes_it() {
    at_every_call("a deployment", serving, |sim| {
        let next = Version::of("good:2").replicas(2);
        sim.edit("web", &next);
        sim.until_serving("web", &next);
    });
}

#[test]
fn dying_at_any_call_of_a_failing_deployment_leaves_the_old_one() {
    at_every_call("a failing deployment", serving, |sim| {
        sim.edit("web", &Version::of("crash:2"));
        sim.until_that("it failed", |sim| {
            sim.deployments("web").last().is_some_and(|row| row.status == DeploymentStatus::Failed)
        });
        sim.expect(sim.image("web").as_deref() == Some("good:1"), "the old one serves");
    });
}

#[test]
fn dying_at_any_call_of_a_regression_gives_the_traffic_back() {
    at_every_call("a regression", serving, |sim| {
        sim.edit("web", &Version::of("sick:2").watch(30));
        sim.until_that("it was taken back", |sim| {
            sim.deployments("web").last().is_some_and(|row| row.status == DeploymentStatus::RolledBack)
        });
    });
}

#[test]
fn dying_at_any_call_of_a_rollback_goes_one_way_or_the_other() {
    at_every_call("a rollback", with_warm_standby, |sim| {
        if sim.order("web", Command::Rollback { to: None }).is_none() {
            sim.pass(secs(60));
        }
    });
}

#[test]
fn dying_at_any_call_of_a_removal_goes_one_way_or_the_other() {
    at_every_call("a removal", with_warm_standby, |sim| {
        if sim.order("web", Command::Remove).is_none() {
            sim.pass(secs(60));
        }
    });
}

#[test]
fn restarting_while_idle_changes_nothing() {
    let mut sim = with_warm_standby();
    sim.rest();
    let look = |sim: &Sim| {
        let state = sim.world.lock();
        (state.docker.containers.clone(), state.database.events.len(), state.docker.started)
    };
    let before = look(&sim);
    for _ in 0..10 {
        sim.restart();
        sim.pass(secs(40));
        assert!(look(&sim) == before, "no container is touched, no event written");
    }
    sim.rest();
}

#[test]
fn a_graceful_stop_in_any_state_is_resumed() {
    for state in STATES {
        let mut sim = deploying(state);
        sim.shutdown();
        sim.start();
        if state == "awaiting_promotion" {
            sim.command("web", Command::Promote);
        }
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), state);
    }
}

#[test]
fn a_start_waits_for_docker_and_for_the_proxy() {
    for side in [Side::Docker, Side::Proxy] {
        let mut sim = deploying("health_check");
        sim.crash();
        sim.away(side, secs(20));
        sim.start();
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), "it goes on");
    }
}

#[test]
fn an_edit_while_no_controller_ran_is_deployed() {
    let mut sim = serving();
    sim.crash();
    sim.save("web", &Version::of("good:2"));
    sim.start();
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:2"));
}

#[test]
fn who_comes_after_the_end_is_told_so() {
    let mut sim = serving();
    let controller = sim.outlived();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let late = Version::of("good:1").offer(&app("late"));
    let offered = runtime.block_on(controller.offer(late));
    assert!(matches!(offered, Err(OrderError::ShuttingDown)), "{offered:?}");
    let ordered = runtime.block_on(controller.command(&app("web"), Command::Deploy));
    assert!(matches!(ordered, Err(OrderError::ShuttingDown)), "{ordered:?}");
    assert!(controller.views().is_empty(), "nothing was begun");
}
