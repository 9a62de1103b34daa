//! Versions that never run side by side.

use crate::sim::{Sim, app, secs};
use crate::world::faults::{Call, Fault, Moment};
use crate::world::files::Version;
use dockswap_controller::{Command, OrderError};
use dockswap_core::machine::Refusal;
use dockswap_core::records::DeploymentStatus::{Cancelled, Failed, RolledBack, Success};
use dockswap_core::routes::Gate;
use dockswap_core::spec::RestartPolicy;
use std::time::Duration;

fn version(image: &str) -> Version {
    Version::of(image).recreate()
}

/// `web` serves `good:1` alone.
fn serving() -> Sim {
    let mut sim = Sim::new();
    sim.deploy("web", &version("good:1").replicas(2));
    sim
}

/// The next version is in `state`.
fn deploying(image: &str, state: &str) -> Sim {
    let mut sim = serving();
    sim.edit("web", &version(image).replicas(2));
    sim.until("web", state);
    sim
}

fn gate(sim: &Sim) -> Gate {
    let state = sim.world.lock();
    let routes = state.proxy.table.apps.iter().find(|routes| routes.app == app("web"));
    routes.map(|routes| routes.gate.clone()).unwrap_or_default()
}

/// The references of every version lead nowhere from now on.
fn references_vanish(sim: &Sim) {
    sim.world.lock().unresolvable = Some("${file:/run/secrets/token}".to_owned());
}

/// The deployments whose containers run.
fn running(sim: &Sim) -> Vec<i64> {
    let state = sim.world.lock();
    let mut running: Vec<i64> =
        state.docker.of(&app("web")).filter(|c| c.runs()).map(|c| c.shown.deployment.0).collect();
    running.dedup();
    running
}

#[test]
fn the_old_version_has_stopped_before_the_new_one_starts_and_requests_wait_meanwhile() {
    let mut sim = deploying("good:2", "starting");
    assert_eq!(running(&sim), Vec::<i64>::new());
    sim.expect(matches!(gate(&sim), Gate::Held(_)), "requests wait");
    sim.until("web", "watching");
    sim.expect(gate(&sim).is_open(), "they are let go");
    assert_eq!(running(&sim), [2]);
    sim.until("web", "stable");
    assert_eq!(sim.statuses("web"), [Success, Success]);
    sim.rest();
    assert_eq!(running(&sim), [2], "nothing starts the old one again");
}

#[test]
fn a_version_that_fails_is_followed_by_the_one_before() {
    for image in ["crash:2", "never:2", "broken:2"] {
        let mut sim = serving();
        sim.edit("web", &version(image).replicas(2));
        sim.until("web", "rolling_back");
        sim.until("web", "stable");
        sim.rest();
        sim.expect(gate(&sim).is_open() && running(&sim) == [1], image);
        assert_eq!(sim.image("web").as_deref(), Some("good:1"));
        assert_eq!(sim.statuses("web"), [Success, Failed]);
    }
}

#[test]
fn a_version_that_turns_sick_while_it_is_watched_is_taken_back() {
    for image in ["sick:2", "dies:2"] {
        let mut sim = deploying(image, "rolling_back");
        sim.until("web", "stable");
        sim.rest();
        assert_eq!(sim.image("web").as_deref(), Some("good:1"));
        assert_eq!(sim.statuses("web"), [Success, RolledBack]);
        sim.expect(gate(&sim).is_open() && running(&sim) == [1], image);
    }
}

#[test]
fn a_rollback_goes_the_same_way() {
    let mut sim = serving();
    sim.deploy("web", &version("good:2"));
    sim.command("web", Command::Rollback { to: None });
    sim.until("web", "starting");
    assert_eq!(running(&sim), Vec::<i64>::new());
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    assert_eq!(sim.statuses("web"), [Success, RolledBack, Success]);
    sim.rest();
}

#[test]
fn a_rollback_while_it_is_watched_goes_the_same_way() {
    let mut sim = deploying("good:2", "watching");
    sim.command("web", Command::Rollback { to: None });
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    sim.rest();
}

#[test]
fn there_is_nothing_to_switch_to() {
    let mut sim = serving();
    sim.deploy("web", &version("good:2"));
    let refused = sim.order("web", Command::Switch { color: dockswap_core::Color::Blue });
    sim.expect(matches!(refused, Some(Err(OrderError::RunsAlone(_)))), &format!("{refused:?}"));
}

#[test]
fn a_cancel_anywhere_brings_the_old_version_back() {
    for state in ["pulling", "holding", "starting", "health_check", "watching"] {
        let mut sim = deploying("slow:2", state);
        sim.command("web", Command::Cancel);
        sim.until("web", "stable");
        sim.rest();
        assert_eq!(sim.image("web").as_deref(), Some("good:1"), "{state}");
        assert_eq!(sim.statuses("web"), [Success, Cancelled], "{state}");
        sim.expect(gate(&sim).is_open() && running(&sim) == [1], state);
    }
}

#[test]
fn a_controller_that_dies_at_any_call_goes_on_from_there() {
    for (image, served) in [("good:2", "good:2"), ("crash:2", "good:1")] {
        for at in 1..40 {
            for moment in [Moment::Before, Moment::After] {
                let mut sim = serving();
                sim.edit("web", &version(image));
                sim.until("web", "pulling");
                sim.dies_at(at, moment);
                sim.until_that("it is over", |sim| {
                    sim.state("web") == "stable" && sim.deployments("web").len() == 2
                });
                sim.rest();
                assert_eq!(sim.image("web").as_deref(), Some(served), "{image}, {at}");
                sim.expect(gate(&sim).is_open(), image);
            }
        }
    }
}

#[test]
fn an_old_version_that_does_not_come_up_again_is_tried_on_and_the_app_has_failed() {
    let mut sim = deploying("crash:2", "rolling_back");
    sim.plan(Call::Run, [Fault::HalfDone]);
    sim.until("web", "failed");
    sim.expect(gate(&sim).is_open(), "nobody waits for it");
    sim.until_that("it is healed", |sim| running(sim) == [1]);
    sim.pass(secs(5));
    sim.command("web", Command::Recover);
    sim.until("web", "stable");
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
}

#[test]
fn a_pause_beside_a_recreation_holds_until_both_are_over() {
    let mut sim = serving();
    sim.command("web", Command::Pause { limit: secs(300), queue: 5 });
    sim.edit("web", &version("good:2"));
    sim.until("web", "stable");
    sim.until_that("it serves", |sim| sim.image("web").as_deref() == Some("good:2"));
    sim.expect(matches!(gate(&sim), Gate::Held(hold) if hold.queue == 5), "the pause lasts");
    sim.command("web", Command::Resume);
    sim.expect(gate(&sim).is_open(), "until it is ended");
}

#[test]
fn a_version_whose_references_lead_nowhere_stops_nothing() {
    let mut sim = serving();
    let started = sim.world.lock().docker.started;
    references_vanish(&sim);
    sim.edit("web", &version("good:2").replicas(2));
    sim.until("web", "rolling_back");
    sim.until("web", "stable");
    assert_eq!(sim.statuses("web"), [Success, Failed]);
    let error = sim.error_of("web", "switch_failed");
    sim.expect(error.contains("${file:/run/secrets/token}"), &error);
    sim.expect(sim.world.lock().docker.started == started, "nothing was stopped");
    sim.rest();
}

#[test]
fn what_was_stopped_is_started_again_although_its_references_lead_nowhere_by_now() {
    let mut sim = deploying("crash:2", "starting");
    references_vanish(&sim);
    sim.until("web", "stable");
    sim.rest();
    sim.expect(gate(&sim).is_open() && running(&sim) == [1], "it is back");
    assert_eq!(sim.statuses("web"), [Success, Failed]);
    // So it is when it dies: but what is gone cannot be made again.
    sim.world.lock().stop_by_hand("web-blue-1");
    sim.until_that("it is healed", |sim| sim.routed("web").len() == 2);
}

#[test]
fn a_first_recreation_that_cannot_be_undone_keeps_the_old_version_from_running_beside_it() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("good:1"));
    sim.edit("web", &version("never:2"));
    sim.until("web", "rolling_back");
    // The new one runs, and is not removed. The checker sees what else runs.
    sim.plan(Call::Remove, [Fault::Refused, Fault::Refused]);
    sim.until("web", "failed");
    assert_eq!(running(&sim), [2]);
    sim.until_that("the old one is healed", |sim| running(sim) == [1]);
    sim.pass(secs(5));
    sim.command("web", Command::Recover);
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
}

#[test]
fn what_is_started_again_passes_its_whole_gate() {
    let mut sim = Sim::new();
    sim.deploy("web", &version("good:1").threshold(4));
    sim.edit("web", &version("crash:2"));
    sim.until("web", "rolling_back");
    sim.until("web", "stable");
    let history = sim.history("web");
    let (started, _) =
        history.iter().rev().fold((None, None), |(started, passed), (event, at)| match *event {
            "health_check_passed" if passed.is_none() => (started, Some(*at)),
            "container_started" if started.is_none() => {
                (passed.map(|passed| passed.saturating_since(*at)), passed)
            }
            _ => (started, passed),
        });
    sim.expect(started >= Some(secs(3)), &format!("{started:?} for four good probes"));
    sim.rest();
}

#[test]
fn requests_do_not_wait_for_a_probe_that_is_long_in_coming() {
    let mut sim = serving();
    sim.deploy("web", &version("slow:2"));
    let history = sim.history("web");
    let at = |event| history.iter().rev().find(|(name, _)| *name == event).map(|(_, at)| *at);
    let (started, passed) = (at("container_started"), at("health_check_passed"));
    let took = passed.zip(started).map(|(passed, started)| passed.saturating_since(started));
    // It boots four seconds.
    sim.expect(took < Some(Duration::from_millis(4_200)), &format!("{took:?}"));
}

#[test]
fn what_came_back_has_its_restart_policy() {
    let mut sim = deploying("crash:2", "rolling_back");
    sim.until("web", "stable");
    sim.rest();
    let policies: Vec<_> = sim.containers("web").iter().map(|shell| shell.shown.restart).collect();
    assert_eq!(policies, [RestartPolicy::UnlessStopped; 2]);
}

#[test]
fn a_rollback_has_to_wait_while_nothing_serves() {
    let mut sim = deploying("slow:2", "starting");
    sim.command("web", Command::Cancel);
    sim.expect(sim.state("web") == "rolling_back", "the old one is brought back");
    let refused = sim.order("web", Command::Rollback { to: None });
    sim.expect(
        matches!(refused, Some(Err(OrderError::Refused(Refusal::Busy { .. })))),
        &format!("{refused:?}"),
    );
    sim.rest();
}

#[test]
fn a_pause_during_a_switch_is_in_force_when_it_is_answered() {
    for faults in [&[][..], &[Fault::Unavailable, Fault::Unavailable]] {
        let mut sim = Sim::new();
        sim.deploy("web", &Version::of("good:1"));
        sim.edit("web", &Version::of("good:2"));
        sim.until("web", "switching");
        sim.plan(Call::Apply, faults.iter().copied());
        sim.command("web", Command::Pause { limit: secs(300), queue: 5 });
        sim.expect(matches!(gate(&sim), Gate::Held(_)), "requests wait");
        sim.rest();
    }
}
