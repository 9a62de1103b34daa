//! What of an app's records stays: what serves, what is in flight, and what a rollback may go back to.

use crate::script::Scripted;
use dockswap_core::machine::Transition;
use dockswap_core::records::{DeploymentRow, DeploymentWrite};
use dockswap_core::retention::{Choice, Kept};
use dockswap_core::{DeploymentId, ImageId};
use std::collections::BTreeMap;

/// The rows that these transitions wrote, newest first, each with its image.
fn rows(transitions: &[Transition]) -> Vec<(DeploymentRow, Option<ImageId>)> {
    let mut rows: BTreeMap<DeploymentId, (DeploymentRow, Option<ImageId>)> = BTreeMap::new();
    for transition in transitions {
        for write in transition.deployments() {
            match write {
                DeploymentWrite::Begin(row) => drop(rows.insert(row.id, (row.clone(), None))),
                DeploymentWrite::End { id, status, at } => {
                    let row = &mut rows.get_mut(id).expect("it has begun").0;
                    (row.status, row.ended_at) = (*status, Some(*at));
                }
            }
        }
        if let Some((id, image)) = transition.image() {
            rows.get_mut(id).expect("it has begun").1 = Some(image.id.clone());
        }
    }
    rows.into_values().rev().collect()
}

/// What stays after `script` of an app that can go back `most` versions; the images of `given_up` were given up before.
fn kept(script: &str, most: usize, given_up: &[i64]) -> Kept {
    let scripted = Scripted::run(script);
    let mut choice = Choice::of(&scripted.machine, most);
    for (row, image) in rows(&scripted.transitions) {
        choice.consider(&row, image.as_ref().filter(|_| !given_up.contains(&row.id.0)));
    }
    choice.kept()
}

fn targets(script: &str, most: usize) -> Vec<i64> {
    kept(script, most, &[]).targets.into_iter().map(|id| id.0).collect()
}

#[test]
fn what_serves_and_so_many_versions_before_it_stay() {
    assert_eq!(targets("@live, @live, @live, @live, @live, @live", 2), [4, 5, 6]);
    assert_eq!(targets("@live, @live, @live", 9), [1, 2, 3]);
    assert_eq!(targets("", 2), [0_i64; 0]);
}

#[test]
fn what_failed_takes_no_versions_place() {
    let failed = "deploy, image_ready, container_failed, rollback_complete";
    assert_eq!(targets(&format!("@live, @live, {failed}, @live, {failed}"), 1), [2, 4]);
}

#[test]
fn what_is_in_flight_stays_beside_what_it_may_be_taken_back_to() {
    assert_eq!(targets("@live, @live, @live, deploy", 1), [2, 3, 4]);
    assert_eq!(targets("@live, @live, @live, deploy, image_ready, container_started", 1), [2, 3, 4]);
}

#[test]
fn a_rollback_keeps_what_it_undid_and_what_it_went_back_to() {
    let back = "rollback/warm, health_check_passed, traffic_switched, drain_complete, wait 10s, watch_passed";
    let all = kept(&format!("@live, @live, @live, {back}"), 1, &[]);
    let ids = |set: &std::collections::BTreeSet<DeploymentId>| set.iter().map(|id| id.0).collect::<Vec<_>>();
    // 4 is the rollback, of 3 to 2; from there one version further back is 1.
    assert_eq!(ids(&all.targets), [1, 2, 3, 4]);
    assert!(all.targets.is_subset(&all.rows), "{all:?}");
}

#[test]
fn the_row_of_what_stays_refers_to_a_row_that_stays() {
    let back = "rollback/warm, health_check_passed, traffic_switched, drain_complete, wait 10s, watch_passed";
    for most in 1..5 {
        let script = format!("@live, @live, {back}, @live, @live, {back}, @live");
        let (scripted, all) = (Scripted::run(&script), kept(&script, most, &[]));
        for (row, _) in rows(&scripted.transitions).iter().filter(|(row, _)| all.rows.contains(&row.id)) {
            assert!(row.rollback_of.is_none_or(|undone| all.rows.contains(&undone)), "{row:?} of {all:?}");
        }
    }
}

#[test]
fn what_was_given_up_is_no_target_again() {
    let all = kept("@live, @live, @live, @live, @live", 2, &[4, 3]);
    // The standby stays, whatever was said of it: the state speaks of it.
    assert_eq!(all.targets.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn a_version_that_came_twice_counts_once() {
    // Going back to the first version makes it a deployment of its own, with the same file and image.
    let again = "rollback/pinned, image_ready, container_started, health_check_passed, traffic_switched, \
                 drain_complete, wait 10s, watch_passed";
    let all = kept(&format!("@live, @live, {again}, @live, @live"), 2, &[]);
    assert!(all.targets.contains(&DeploymentId(1)), "{all:?}");
}

#[test]
fn the_files_of_what_runs_stay() {
    let all = kept("@live, @live, @live, deploy, image_ready", 1, &[]);
    let configs: Vec<i64> = all.configs.iter().map(|id| id.0).collect();
    assert_eq!(configs, [3, 4]);
}
