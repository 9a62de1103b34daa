//! Pause and maintenance: in force when the order is answered, kept over restarts, ended in time.

use super::{deploying, serving};
use crate::sim::{Sim, app, secs};
use crate::world::faults::Side;
use crate::world::files::Version;
use dockswap_controller::{Command, GateView, OrderError};
use dockswap_core::machine::Refusal;
use dockswap_core::routes::Gate;

const PAUSE: Command = Command::Pause { limit: secs(30), queue: 10 };

/// The gate that the proxy holds for an app.
fn gate(sim: &Sim) -> Gate {
    let state = sim.world.lock();
    let routes = state.proxy.table.apps.iter().find(|routes| routes.app == app("web"));
    routes.map(|routes| routes.gate.clone()).unwrap_or_default()
}

fn is_held(sim: &Sim) -> bool {
    matches!(gate(sim), Gate::Held(hold) if hold.queue == 10)
}

#[test]
fn a_pause_is_in_force_at_once_survives_a_restart_and_ends_in_time() {
    let mut sim = serving();
    sim.command("web", PAUSE);
    sim.expect(is_held(&sim), "the proxy holds requests when the order is answered");
    sim.expect(matches!(sim.view("web").gate, GateView::Paused(_)), "it is shown");
    sim.restart();
    sim.expect(is_held(&sim), "also after a restart");
    sim.expect(!sim.routed("web").is_empty(), "what serves stays in the table");
    sim.until_that("the pause ends", |sim| gate(sim).is_open());
    assert_eq!(sim.events("web").last(), Some(&"pause_ended"));
    sim.rest();
}

#[test]
fn a_deployment_goes_on_behind_a_pause_and_the_resume_lets_in_to_the_new_version() {
    let mut sim = serving();
    sim.command("web", PAUSE);
    sim.edit("web", &Version::of("good:2"));
    sim.until("web", "watching");
    sim.expect(is_held(&sim), "the switch does not open the gate");
    sim.command("web", Command::Resume);
    sim.expect(gate(&sim).is_open(), "the resume does");
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    assert!(!sim.command("web", Command::Resume).begun, "it is so already");
    sim.rest();
}

#[test]
fn a_pause_in_any_state_of_a_deployment_lets_it_come_to_its_end() {
    for state in ["pulling", "starting", "health_check", "switching", "draining", "watching"] {
        let mut sim = deploying(state);
        sim.command("web", PAUSE);
        sim.until_that("the new version serves", |sim| sim.image("web").as_deref() == Some("good:2"));
        sim.expect(is_held(&sim), state);
        sim.command("web", Command::Resume);
        sim.rest();
        sim.expect(gate(&sim).is_open(), state);
    }
}

#[test]
fn maintenance_lasts_and_its_page_is_in_the_table() {
    let mut sim = serving();
    let page = Some("<h1>soon</h1>".to_owned());
    sim.command("web", Command::BeginMaintenance { page: page.clone() });
    assert_eq!(gate(&sim), Gate::Closed { page: page.clone() });
    sim.deploy("web", &Version::of("good:2"));
    sim.restart();
    sim.rest();
    assert_eq!(gate(&sim), Gate::Closed { page });
    assert_eq!(sim.view("web").gate, GateView::Maintenance { page_bytes: Some(13) });
    let refused = sim.order("web", PAUSE);
    assert!(matches!(refused, Some(Err(OrderError::Refused(Refusal::InMaintenance)))));
    sim.command("web", Command::EndMaintenance);
    sim.expect(gate(&sim).is_open(), "it is open again");
    sim.rest();
}

#[test]
fn a_pause_that_the_proxy_does_not_take_says_so_and_comes_into_force_later() {
    let mut sim = serving();
    sim.away(Side::Proxy, secs(3));
    let answer = sim.order("web", PAUSE);
    sim.expect(matches!(answer, Some(Err(OrderError::NotInForce(_)))), &format!("{answer:?}"));
    sim.until_that("it is in force", is_held);
    sim.command("web", Command::Resume);
    sim.rest();
}

#[test]
fn a_removal_ends_a_pause() {
    let mut sim = serving();
    sim.command("web", PAUSE);
    sim.command("web", Command::Remove);
    sim.until("web", "retired");
    sim.deploy("web", &Version::of("good:2"));
    sim.expect(gate(&sim).is_open(), "nothing of it is left");
}
