//! Hooks: a command before the new version and one after its success, each run once, whatever dies meanwhile.

use super::serving;
use crate::sim::{Sim, app, secs};
use crate::world::faults::{Call, Fault, Moment, Side};
use crate::world::files::{CANARY, Version};
use dockswap_controller::Command;
use dockswap_core::DeploymentId;
use dockswap_core::hooks::Hook;
use dockswap_core::records::DeploymentStatus::{Cancelled, Failed, Success};

/// How often the hook of a deployment of `web` was started.
fn runs(sim: &Sim, deployment: i64, hook: Hook) -> usize {
    let state = sim.world.lock();
    let ran = state.hooks.ran.iter();
    ran.filter(|id| id.app == app("web") && id.deployment == DeploymentId(deployment) && id.hook == hook)
        .count()
}

fn nothing_is_left(sim: &Sim) {
    assert!(sim.world.lock().hooks.containers.is_empty(), "containers of hooks are left");
}

#[test]
fn hooks_run_before_the_start_and_after_the_success() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").before("pass").after("pass"));
    sim.until_that("it is over", |sim| sim.events("web").contains(&"hook_removed"));
    let steps = [
        "deploy",
        "image_ready",
        "hook_created",
        "hook_passed",
        "container_started",
        "health_check_passed",
        "traffic_switched",
        "drain_complete",
        "watch_passed",
        "hook_created",
        "hook_passed",
        "hook_removed",
    ];
    assert_eq!(sim.events("web")[7..19], steps);
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Success]);
    assert_eq!([Hook::PreDeploy, Hook::PostDeploy].map(|hook| runs(&sim, 2, hook)), [1, 1]);
    nothing_is_left(&sim);
}

#[test]
fn a_hook_that_fails_or_is_late_or_cannot_start_ends_the_deployment_and_touches_nothing() {
    for (version, says) in
        [("fail", "exited with code 1"), ("hang", "not ended within 20s"), ("pass", "simulated")]
    {
        let mut sim = serving();
        let before = sim.containers("web");
        if version == "pass" {
            // It is made, and cannot be started.
            sim.plan(Call::Hook, [Fault::Late(secs(0)), Fault::HalfDone]);
        }
        sim.edit("web", &Version::of("good:2").before(version).after("pass"));
        sim.until_that("it failed", |sim| sim.events("web").contains(&"rollback_complete"));
        sim.rest();
        assert_eq!(sim.statuses("web"), [Success, Failed]);
        assert_eq!(sim.containers("web"), before, "the old version is the same, and nothing else is there");
        let error = sim.error_of("web", "hook_failed");
        assert!(error.starts_with("hooks.pre_deploy: ") && error.contains(says), "{error}");
        if version != "pass" {
            assert!(error.contains("last words") && !error.contains(CANARY), "{error}");
        }
        assert!(!sim.events("web")[7..].contains(&"container_started"));
        nothing_is_left(&sim);
    }
}

#[test]
fn a_hook_after_the_success_that_fails_changes_nothing_else() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").after("fail"));
    sim.until_that("it is over", |sim| sim.events("web").contains(&"hook_removed"));
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Success]);
    assert_eq!((sim.state("web").as_str(), sim.image("web").as_deref()), ("stable", Some("good:2")));
    assert!(sim.error_of("web", "hook_failed").contains("hooks.post_deploy: "));
    nothing_is_left(&sim);
}

#[test]
fn a_controller_that_dies_while_a_hook_runs_waits_for_it_with_the_next_one() {
    for hook in Hook::ALL {
        let mut sim = serving();
        let version = Version::of("good:2");
        sim.edit(
            "web",
            &if hook == Hook::PreDeploy { version.before("slow") } else { version.after("slow") },
        );
        sim.until_that("it runs", |sim| runs(sim, 2, hook) == 1);
        sim.restart();
        sim.rest();
        assert_eq!(sim.statuses("web"), [Success, Success]);
        assert_eq!(runs(&sim, 2, hook), 1);
        assert!(sim.events("web").contains(&"hook_passed"));
        nothing_is_left(&sim);
    }
}

#[test]
fn a_controller_that_dies_at_any_call_of_a_deployment_runs_each_hook_once() {
    for at in 1.. {
        let mut died = false;
        for moment in [Moment::Before, Moment::After] {
            let mut sim = serving();
            sim.dies_at(at, moment);
            sim.edit("web", &Version::of("good:2").before("pass").after("pass"));
            sim.rest();
            died |= sim.world.lock().tally.deaths > 0;
            sim.expect(sim.image("web").as_deref() == Some("good:2"), "it was deployed in the end");
            sim.expect(
                [Hook::PreDeploy, Hook::PostDeploy].iter().all(|hook| runs(&sim, 2, *hook) == 1),
                "once each",
            );
            nothing_is_left(&sim);
        }
        if !died {
            assert!(at > 12, "the deployment makes more calls than {at}");
            return;
        }
    }
}

#[test]
fn a_hook_that_a_stranger_removed_is_not_run_again() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").before("slow"));
    sim.until_that("it runs", |sim| runs(sim, 2, Hook::PreDeploy) == 1);
    sim.crash();
    sim.world.lock().hooks.containers.clear();
    sim.start();
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Failed]);
    let error = sim.error_of("web", "hook_failed");
    assert!(error.contains("was removed by somebody else") && error.contains("not run again"), "{error}");
}

#[test]
fn an_edit_waits_for_the_hook_and_a_cancel_ends_it() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").before("slow"));
    sim.until_that("it runs", |sim| runs(sim, 2, Hook::PreDeploy) == 1);
    let third = Version::of("good:3");
    sim.edit("web", &third);
    sim.until_serving("web", &third);
    let passed = sim.events("web").contains(&"hook_passed");
    sim.expect(passed, "the hook came to its end before the newer version was taken up");
    assert_eq!(sim.statuses("web"), [Success, Cancelled, Success]);

    sim.edit("web", &Version::of("good:4").before("hang"));
    sim.until_that("it runs", |sim| runs(sim, 4, Hook::PreDeploy) == 1);
    sim.command("web", Command::Cancel);
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:3"));
    nothing_is_left(&sim);
}

#[test]
fn a_rollback_runs_no_hook_and_waits_for_none() {
    let mut sim = Sim::new();
    for image in ["good:1", "good:2", "good:3"] {
        sim.deploy("web", &Version::of(image).before("pass").after("hang").window(600));
        sim.until_that("it runs", |sim| runs(sim, sim.last_deployment("web").0, Hook::PostDeploy) == 1);
    }
    // While the hook of the newest version still runs: to the standby, and then to one whose containers are gone.
    sim.command("web", Command::Rollback { to: None });
    sim.until("web", "stable");
    sim.command("web", Command::Rollback { to: Some(DeploymentId(1)) });
    sim.rest();
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    let hooks_of_rollbacks =
        [4, 5].map(|id| runs(&sim, id, Hook::PreDeploy) + runs(&sim, id, Hook::PostDeploy));
    assert_eq!(hooks_of_rollbacks, [0, 0]);
    nothing_is_left(&sim);
}

#[test]
fn a_hook_waits_for_docker_to_come_back() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").before("slow"));
    sim.until_that("it runs", |sim| runs(sim, 2, Hook::PreDeploy) == 1);
    sim.away(Side::Docker, secs(10));
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Success]);
}

#[test]
fn what_a_hook_leaves_where_nothing_can_be_removed_goes_later() {
    let mut sim = serving();
    sim.plan(Call::Remove, [Fault::Refused]);
    sim.edit("web", &Version::of("good:2").before("fail"));
    sim.until("web", "failed");
    sim.pass(secs(120));
    nothing_is_left(&sim);
}

/// Its hook has ended, and its containers were never begun: nothing of its own removes what the hook ran in.
#[test]
fn what_the_hook_of_a_version_leaves_that_is_superseded_while_requests_wait_goes_too() {
    let mut sim = serving();
    sim.edit("web", &Version::of("good:2").recreate().before("pass"));
    sim.until("web", "holding");
    let third = Version::of("good:3");
    sim.edit("web", &third);
    sim.until_serving("web", &third);
    sim.rest();
    assert_eq!(sim.statuses("web"), [Success, Cancelled, Success]);
    nothing_is_left(&sim);
}
