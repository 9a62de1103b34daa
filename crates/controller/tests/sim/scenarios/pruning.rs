//! Removing what is old takes nothing that can be gone back to.

use super::serving;
use crate::sim::secs;
use crate::world::files::Version;
use dockswap_controller::PruneMode::{DryRun, ForReal};
use dockswap_controller::{Command, OrderError};
use dockswap_core::DeploymentId;

const BACK: Command = Command::Rollback { to: None };

#[test]
fn every_version_that_is_kept_can_be_gone_back_to() {
    let mut sim = serving();
    for edit in 2..=20 {
        sim.deploy("web", &Version::of(&format!("good:{edit}")));
    }
    sim.pass(secs(3_600));
    let before = sim.deployments("web").len();
    assert_eq!(sim.prune("web", 5, DryRun).images, 14);
    assert_eq!(sim.deployments("web").len(), before);
    let pruned = sim.prune("web", 5, ForReal);
    assert_eq!((pruned.images, pruned.deployments), (14, 14));
    assert!(sim.prune("web", 5, ForReal).is_nothing());
    // The images of what serves and of five before it are still there, and only those.
    assert_eq!(sim.world.lock().docker.images.len(), 6);
    for version in (15..20).rev() {
        sim.command("web", BACK);
        sim.until("web", "stable");
        assert_eq!(sim.image("web"), Some(format!("good:{version}")));
        assert_eq!(sim.prune("web", 5, ForReal).images, 0);
    }
    let exhausted = sim.order("web", BACK);
    assert!(matches!(exhausted, Some(Err(OrderError::NoPrevious(_)))), "{exhausted:?}");
    let gone = sim.order("web", Command::Rollback { to: Some(DeploymentId(3)) });
    assert!(matches!(gone, Some(Err(OrderError::UnknownDeployment { .. }))), "{gone:?}");
    sim.rest();
}

#[test]
fn what_was_given_up_is_refused_before_anything_begins() {
    let mut sim = serving();
    for edit in 2..=6 {
        sim.deploy("web", &Version::of(&format!("good:{edit}")));
    }
    // Young records stay: the deployment is in the history, and cannot be gone back to.
    let now = sim.world.lock().now();
    sim.world.lock().database.given_up.insert(DeploymentId(1));
    let refused = sim.order("web", Command::Rollback { to: Some(DeploymentId(1)) });
    assert!(matches!(refused, Some(Err(OrderError::Pruned(DeploymentId(1))))), "{refused:?}");
    assert_eq!(sim.deployments("web").len(), 6);
    assert!(sim.world.lock().now() >= now);
    sim.rest();
}

#[test]
fn a_controller_that_dies_while_it_prunes_leaves_nothing_that_is_needed_undone() {
    let mut sim = serving();
    for edit in 2..=8 {
        sim.deploy("web", &Version::of(&format!("good:{edit}")));
    }
    sim.pass(secs(3_600));
    // Marked, and never let go of: the next one goes on.
    sim.world.lock().database.given_up.extend([DeploymentId(1), DeploymentId(2)]);
    sim.restart();
    let pruned = sim.prune("web", 3, ForReal);
    assert_eq!((pruned.images, pruned.deployments), (2, 4));
    assert_eq!(sim.world.lock().docker.images.len(), 4);
    sim.command("web", BACK);
    sim.until("web", "stable");
    assert_eq!(sim.image("web").as_deref(), Some("good:7"));
    sim.rest();
}
