//! The records are set back while the world goes on: a restored backup, or no database at all.

use super::{STATES, deploying, serving};
use crate::sim::{Sim, app, secs};
use crate::world::database::Database;
use crate::world::faults::Side;
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_core::records::DeploymentStatus;
use dockswap_core::routes::Gate;

/// The records as they are now.
fn backup(sim: &Sim) -> Database {
    sim.world.lock().database.clone()
}

/// The controller ends, its records become `records`, and another one starts.
fn restore(sim: &mut Sim, records: Database) {
    sim.crash();
    {
        let mut state = sim.world.lock();
        state.database = records;
        // That the records do not name what serves is the point. A failed request is still a violation.
        state.checker.excused.insert(app("web"));
    }
    sim.start();
}

/// The app's records are true again.
fn is_whole_again(sim: &mut Sim, image: &str) {
    sim.world.lock().checker.excused.clear();
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some(image));
    assert_eq!(sim.containers("web").len(), sim.world.lock().database.machines[&app("web")].releases().len());
    assert_eq!(sim.view("web").degraded, None);
}

#[test]
fn what_is_newer_than_the_records_serves_until_its_file_is_deployed_again() {
    for edits in [&["good:2"][..], &["good:2", "good:3"], &["good:2", "good:3", "good:4"]] {
        let mut sim = serving();
        let records = backup(&sim);
        for image in edits {
            sim.deploy("web", &Version::of(image));
        }
        let served = sim.routed("web");
        restore(&mut sim, records);
        assert_eq!(sim.routed("web"), served, "a start moves nothing");
        let newest = edits[edits.len() - 1];
        sim.until_serving("web", &Version::of(newest));
        is_whole_again(&mut sim, newest);
        assert_ne!(sim.routed("web"), served, "a deployment of its own");
    }
}

#[test]
fn without_any_database_everything_serves_and_is_deployed_once_more() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:2"));
    let served = sim.routed("web");
    restore(&mut sim, Database::default());
    assert_eq!(sim.routed("web"), served);
    sim.until_serving("web", &Version::of("good:2"));
    is_whole_again(&mut sim, "good:2");
}

/// Without a certificate, what serves could not be reached, and the next file is too late.
#[test]
fn what_serves_without_a_record_keeps_its_certificate() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("good:1").secure("web.org", "web.pem"));
    assert_eq!(sim.certificates("web"), ["web.pem".to_owned()].into());
    // Of an app that no file describes any more, none is left.
    sim.files_are_gone();
    restore(&mut sim, Database::default());
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    assert_eq!(sim.certificates("web"), ["web.pem".to_owned()].into());
}

#[test]
fn where_no_file_is_new_nothing_moves_and_people_are_told() {
    let mut sim = serving();
    let records = backup(&sim);
    sim.deploy("web", &Version::of("good:2"));
    sim.deploy("web", &Version::of("good:1"));
    let served = sim.routed("web");
    restore(&mut sim, records);
    sim.until_that("people are told", |sim| {
        sim.view("web").degraded.is_some_and(|why| why.contains("deployment 3 (blue) has the traffic"))
    });
    sim.pass(secs(120));
    assert_eq!(sim.routed("web"), served);
    // What the records name is gone: there is nothing to go back to, and traffic stays.
    let refused = sim.order("web", Command::Recover).expect("an answer");
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(sim.routed("web"), served);
    sim.command("web", Command::Deploy);
    sim.until_that("another one serves", |sim| sim.routed("web") != served);
    is_whole_again(&mut sim, "good:1");
}

#[test]
fn an_order_to_recover_goes_by_the_records_where_they_name_what_is_healthy() {
    let mut sim = serving();
    let records = backup(&sim);
    let warm = Version::of("good:2").window(600);
    sim.edit("web", &warm);
    sim.until_serving("web", &warm);
    sim.save("web", &Version::of("good:1"));
    restore(&mut sim, records);
    assert_eq!(sim.routed("web"), ["web-green-2"]);
    sim.command("web", Command::Recover);
    sim.until_that("the records decide", |sim| sim.routed("web") == ["web-blue-1"]);
}

#[test]
fn a_backup_of_any_state_of_a_deployment_loses_no_request() {
    for state in STATES {
        for later in [None, Some("good:3")] {
            let mut sim = deploying(state);
            let records = backup(&sim);
            if state == "awaiting_promotion" {
                sim.command("web", Command::Promote);
            }
            sim.until_that("the deployment is over", |sim| sim.state("web") == "stable");
            if let Some(image) = later {
                sim.deploy("web", &Version::of(image));
            }
            let served = sim.routed("web");
            restore(&mut sim, records);
            assert_eq!(sim.routed("web"), served, "{state}, {later:?}");
            if state == "awaiting_promotion" && later.is_none() {
                sim.command("web", Command::Promote);
            }
            let image = later.unwrap_or("good:2");
            sim.until_that("it is on record again", |sim| {
                sim.state("web") == "stable" && sim.image("web").as_deref() == Some(image)
            });
            is_whole_again(&mut sim, image);
        }
    }
}

/// What a deployment that is being undone has left in traffic serves on while there is nothing to go back to, and no
/// longer than that: its end is on record, and what the records name is healed.
#[test]
fn what_is_undone_with_nothing_to_go_back_to_is_let_go_at_its_end() {
    let mut sim = deploying("switching");
    // The switch is made, and not written down.
    sim.away(Side::Database, secs(1));
    sim.until_that("it is made", |sim| sim.routed("web") == ["web-green-2"]);
    {
        let mut state = sim.world.lock();
        state.stop_by_hand("web-blue-1");
        state.sickens("web-green-2");
    }
    sim.pass(secs(1));
    sim.command("web", Command::Recover);
    assert_eq!(sim.state("web"), "rolling_back");
    sim.restart();
    sim.until_that("it is over", |sim| {
        sim.deployments("web").last().is_some_and(|row| row.status != DeploymentStatus::InProgress)
    });
    sim.until_that("what the records name serves", |sim| sim.routed("web") == ["web-blue-1"]);
    sim.rest();
    assert_eq!(sim.view("web").degraded, None);
}

/// What serves is unknown, and what is to follow may not run beside it.
#[test]
fn without_any_database_an_app_that_runs_alone_is_deployed_once_more() {
    let alone = Version::of("good:1").recreate();
    let mut sim = Sim::new();
    sim.deploy("web", &alone);
    restore(&mut sim, Database::default());
    sim.until("web", "health_check");
    let gate = sim.routes("web").map(|routes| routes.gate);
    sim.expect(matches!(gate, Some(Gate::Held(_))), "requests wait");
    sim.until_serving("web", &alone);
    is_whole_again(&mut sim, "good:1");
}

#[test]
fn without_any_database_what_ran_alone_comes_back_when_the_next_fails() {
    for image in ["crash:2", "never:2", "broken:2"] {
        let mut sim = Sim::new();
        sim.deploy("web", &Version::of("good:1").recreate());
        let failing = Version::of(image).recreate();
        sim.save("web", &failing);
        restore(&mut sim, Database::default());
        sim.until("web", "rolling_back");
        sim.until_that("it is back", |sim| {
            let open = sim.routes("web").is_some_and(|routes| routes.gate.is_open());
            open && sim.routed("web") == ["web-blue-1"]
        });
        sim.pass(secs(120));
        assert_eq!(sim.routed("web"), ["web-blue-1"], "{image}");
        sim.edit("web", &Version::of("good:3").recreate());
        sim.until_serving("web", &Version::of("good:3"));
        is_whole_again(&mut sim, "good:3");
    }
}
