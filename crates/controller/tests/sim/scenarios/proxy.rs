//! The proxy is restarted, away, or refuses a table.

use super::{STATES, deploying, serving};
use crate::sim::{Sim, secs};
use crate::world::faults::{Call, Fault, Side};
use crate::world::files::Version;
use crate::world::proxy::Snapshot;
use dockswap_controller::Command;
use dockswap_core::records::DeploymentStatus::{Failed, Success};
use std::time::Duration;

#[test]
fn a_proxy_that_lost_its_table_gets_it_back() {
    for snapshot in [Snapshot::Empty, Snapshot::Last, Snapshot::Confirmed] {
        let mut sim = serving();
        {
            let mut state = sim.world.lock();
            // Nothing is routed for the moment, and it is not by our doing.
            state.checker.in_doubt = true;
            state.proxy_restarts(snapshot);
            state.checker.forgive_outage();
        }
        sim.pass(secs(5));
        sim.expect(sim.routed("web") == ["web-blue-1"], "the table is back");
        sim.world.lock().checker.in_doubt = false;
        sim.rest();
    }
}

#[test]
fn a_proxy_restarted_in_any_state_of_a_deployment_costs_nothing_but_its_requests() {
    for state in STATES {
        let mut sim = deploying(state);
        sim.world.lock().proxy_restarts(Snapshot::Confirmed);
        if state == "awaiting_promotion" {
            sim.command("web", dockswap_controller::Command::Promote);
        }
        sim.rest();
        sim.expect(sim.image("web").as_deref() == Some("good:2"), state);
    }
}

#[test]
fn a_switch_is_given_up_when_the_proxy_stays_away_and_nothing_is_lost() {
    let mut sim = deploying("switching");
    sim.away(Side::Proxy, secs(25));
    sim.until("web", "stable");
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    assert_eq!(sim.statuses("web"), [Success, Failed]);
}

#[test]
fn a_switch_whose_answer_was_lost_is_confirmed() {
    let mut sim = deploying("switching");
    sim.plan(Call::Apply, [Fault::LostReply]);
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:2"));
}

#[test]
fn a_refused_port_hurts_only_its_own_app() {
    let mut sim = Sim::new();
    sim.world.lock().proxy.taken_ports.insert(5432);
    sim.deploy("web", &Version::of("good:1"));
    sim.edit("bad", &Version::of("good:1").listen_port(5432));
    sim.rest();
    assert_eq!(sim.statuses("bad"), [Failed]);
    assert!(sim.error_of("bad", "switch_failed").contains("0.0.0.0:5432 is in use"));
    sim.deploy("web", &Version::of("good:2"));
    sim.deploy("later", &Version::of("good:1"));
}

#[test]
fn a_port_that_is_taken_later_does_not_keep_the_controller_from_starting() {
    let mut sim = Sim::new();
    sim.deploy("api", &Version::of("good:1").listen_port(5432));
    sim.deploy("web", &Version::of("good:1"));
    sim.crash();
    {
        let mut state = sim.world.lock();
        // The machine was rebooted: the proxy begins with nothing, and the port is somebody else's.
        state.proxy.taken_ports.insert(5432);
        state.proxy_restarts(Snapshot::Empty);
        state.checker.in_doubt = true;
        state.checker.forgive_outage();
        state.checker.excused.insert(crate::sim::app("api"));
    }
    sim.start();
    sim.pass(secs(5));
    assert_eq!(sim.routed("web"), ["web-blue-2"]);
    sim.deploy("other", &Version::of("good:1"));
    sim.world.lock().proxy.taken_ports.clear();
    sim.pass(secs(10));
    assert_eq!(sim.routed("api"), ["api-blue-1"]);
    sim.world.lock().checker.excused.clear();
    sim.rest();
}

#[test]
fn a_removal_that_the_proxy_does_not_answer_leaves_the_app_in_service() {
    let mut sim = serving();
    sim.away(Side::Proxy, secs(12));
    sim.command("web", dockswap_controller::Command::Remove);
    sim.until("web", "failed");
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-blue-1"], "it serves on");
    sim.command("web", dockswap_controller::Command::Remove);
    sim.until("web", "retired");
    sim.rest();
}

#[test]
fn a_first_deployment_whose_port_is_taken_leaves_the_app_pending() {
    let mut sim = Sim::new();
    sim.world.lock().proxy.taken_ports.insert(8080);
    sim.edit("web", &Version::of("good:1").listen_port(8080));
    sim.until_that("it failed", |sim| sim.statuses("web") == [Failed]);
    sim.rest();
    assert_eq!(sim.state("web"), "pending");
    assert_eq!(sim.containers("web").len(), 0);
    assert!(sim.error_of("web", "switch_failed").contains("8080"), "said which");
    // Once it is free, the next order gets it.
    sim.world.lock().proxy.taken_ports.clear();
    sim.command("web", Command::Deploy);
    sim.until("web", "stable");
    sim.rest();
}

#[test]
fn a_removal_that_was_given_up_is_not_carried_out_by_another_apps_table() {
    for millis in (8_000..12_000).step_by(100) {
        let mut sim = serving();
        sim.deploy("api", &Version::of("good:1"));
        sim.world.lock().faults.latency = Duration::from_millis(400);
        sim.away(Side::Proxy, secs(11));
        sim.command("api", Command::Remove);
        sim.pass(Duration::from_millis(millis));
        sim.command("web", Command::Remove);
        sim.rest();
    }
}
