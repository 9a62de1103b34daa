//! Going back: warm, cold, to any earlier deployment.

use super::{deploying, serving, with_warm_standby};
use crate::sim::{Sim, secs};
use crate::world::files::Version;
use dockswap_controller::{Command, OrderError};
use dockswap_core::DeploymentId;
use dockswap_core::records::DeploymentStatus::{RolledBack, Success};

const BACK: Command = Command::Rollback { to: None };

#[test]
fn a_warm_rollback_uses_the_containers_that_still_run() {
    let mut sim = with_warm_standby();
    let made = sim.world.lock().docker.created;
    sim.command("web", BACK);
    sim.until("web", "draining");
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    sim.until("web", "stable");
    assert_eq!(sim.world.lock().docker.created, made);
    assert_eq!(sim.statuses("web"), [Success, RolledBack, Success]);
    assert_eq!(sim.deployments("web")[2].rollback_of, Some(DeploymentId(2)));
    sim.rest();
}

#[test]
fn a_cold_rollback_runs_the_very_image_and_pulls_nothing() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:2"));
    let pulls = {
        let mut state = sim.world.lock();
        // The tag means something else by now.
        state.docker.moved.insert("good:1".to_owned(), 7);
        state.docker.pulls
    };
    sim.command("web", BACK);
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    assert_eq!(sim.world.lock().docker.pulls, pulls);
    assert_eq!(sim.world.lock().docker.containers["web-blue-3"].shown.image.0, "sha256:good:1#0");
    sim.rest();
}

#[test]
fn what_was_rolled_back_again_and_again_hides_no_earlier_success() {
    let mut sim = serving();
    for edit in 2..=120 {
        sim.deploy("web", &Version::of(&format!("good:{edit}")).window(600));
        sim.command("web", BACK);
        sim.until("web", "stable");
        sim.expect(sim.image("web").as_deref() == Some("good:1"), &format!("after edit {edit}"));
    }
    sim.rest();
}

#[test]
fn any_earlier_deployment_can_be_gone_back_to() {
    let mut sim = serving();
    sim.deploy("web", &Version::of("good:2"));
    sim.deploy("web", &Version::of("good:3"));
    sim.command("web", Command::Rollback { to: Some(DeploymentId(1)) });
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    sim.rest();
    let nobody = sim.order("web", Command::Rollback { to: Some(DeploymentId(99)) });
    assert!(matches!(nobody, Some(Err(OrderError::UnknownDeployment { .. }))));
}

#[test]
fn a_file_that_was_rolled_back_is_not_deployed_again() {
    let mut sim = with_warm_standby();
    sim.command("web", BACK);
    sim.until("web", "stable");
    sim.restart();
    sim.rest();
    sim.edit("web", &Version::of("good:2").window(600));
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    sim.deploy("web", &Version::of("good:3"));
}

#[test]
fn a_rollback_while_draining_or_watching_goes_back_to_what_served_before() {
    for state in ["draining", "watching"] {
        let mut sim = deploying(state);
        sim.command("web", BACK);
        sim.until("web", "draining");
        sim.until("web", "stable");
        sim.expect(sim.routed("web") == ["web-blue-1"], state);
        sim.rest();
    }
}

#[test]
fn a_second_rollback_has_nowhere_to_go() {
    let mut sim = with_warm_standby();
    sim.command("web", BACK);
    sim.until("web", "stable");
    assert!(matches!(sim.order("web", BACK), Some(Err(OrderError::NoPrevious(_)))));
    sim.rest();
}

#[test]
fn a_standby_that_is_lost_is_known_before_it_is_needed() {
    let mut sim = with_warm_standby();
    sim.world.lock().remove_by_hand("web-blue-1");
    sim.pass(secs(2));
    assert_eq!(sim.events("web").last(), Some(&"standby_lost"));
    assert_eq!(sim.view("web").standby, None);
    sim.command("web", BACK);
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"), "from the image, then");
    sim.rest();
}

#[test]
fn rollbacks_walk_back_version_by_version_and_end_at_the_first() {
    let mut sim = with_warm_standby();
    sim.deploy("web", &Version::of("good:3").window(600));
    for older in ["good:2", "good:1"] {
        sim.command("web", BACK);
        sim.until("web", "stable");
        assert_eq!(sim.image("web").as_deref(), Some(older));
    }
    assert!(matches!(sim.order("web", BACK), Some(Err(OrderError::NoPrevious(_)))));
    sim.rest();
}

#[test]
fn a_second_rollback_in_the_watch_does_not_bring_the_bad_version_back() {
    let mut sim = with_warm_standby();
    sim.command("web", BACK);
    sim.until("web", "watching");
    assert!(matches!(sim.order("web", BACK), Some(Err(OrderError::NoPrevious(_)))));
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    sim.rest();
}

#[test]
fn what_a_warm_rollback_brings_back_keeps_its_certificate_until_somebody_else_serves_the_host() {
    let mut sim = Sim::new();
    sim.deploy("web", &Version::of("good:1").secure("old.org", "old.pem"));
    let next = Version::of("good:2").secure("new.org", "new.pem").window(600);
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    let files = |files: &[&str]| files.iter().map(ToString::to_string).collect();
    assert_eq!(sim.certificates("web"), files(&["new.pem", "old.pem"]));
    sim.deploy("other", &Version::of("good:1").secure("old.org", "other.pem").path("/other"));
    assert_eq!(sim.certificates("web"), files(&["new.pem"]));
    assert_eq!(sim.certificates("other"), files(&["other.pem"]));
    // A way back to it would show the other app's visitors another certificate.
    let refused = sim.order("web", BACK).expect("an answer");
    assert!(matches!(refused, Err(OrderError::RouteTaken { .. })), "{refused:?}");
    sim.rest();
}
