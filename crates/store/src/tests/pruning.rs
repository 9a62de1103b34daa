//! Removing what is old: what is left replays, and what is needed stays.

use super::fixtures::{Place, app, at, counts, holder, number, order};
use super::story::{Story, assert_sound};
use crate::history::{EventScope, Page};
use crate::prune::NEWEST_EVENTS;
use crate::{AuditScope, Database, KeyId, NewKey, Reservation, migrate_down};
use dockswap_core::audit::AuditRecord;
use dockswap_core::machine::Machine;
use dockswap_core::ports::Store;
use dockswap_core::records::CommitError;
use dockswap_core::retention::{Choice, Kept, Pruned};
use dockswap_core::{DeploymentId, Timestamp};
use sea_orm::ConnectionTrait;
use std::collections::BTreeSet;

/// Transitions of a deployment that succeeds, from order to rest.
const STEPS: usize = 8;
const DEPLOYMENTS: usize = 60;

/// An app that was deployed again and again, and another one.
async fn told(place: &Place) -> (Database, Machine) {
    let database = place.open().await;
    let mut story = Story::of(&database, "web", 1).await;
    let mut other = Story::of(&database, "other", 2).await;
    for _ in 0..DEPLOYMENTS * STEPS {
        story.advance(&database).await;
    }
    other.advance(&database).await;
    (database, story.machine)
}

/// As the controller decides it.
async fn kept(database: &Database, machine: &Machine, most: usize) -> Kept {
    let mut choice = Choice::of(machine, most);
    for row in database.deployments(machine.app(), None, 1_000).await.unwrap() {
        let image = database.image_of(row.id).await.unwrap().map(|image| image.id);
        choice.consider(&row, image.as_ref());
    }
    choice.kept()
}

/// Everything that may go; the sum.
async fn pruned(database: &Database, kept: &Kept, before: Timestamp, pinned: &[DeploymentId]) -> Pruned {
    let pinned = pinned.iter().copied().collect::<BTreeSet<_>>();
    let mut sum = Pruned::default();
    loop {
        let images = database.give_up(kept, before).await.unwrap();
        let gone = database.prune(kept, before, &pinned).await.unwrap();
        assert!(gone.events <= 400 && gone.deployments <= 100, "{gone:?}: that is no small transaction");
        if images == 0 && gone.is_nothing() {
            return sum;
        }
        sum = sum + gone + Pruned { images, ..Pruned::default() };
        // Interrupted here, everything fits together all the same.
        assert_sound(database.history()).await;
    }
}

const END: i64 = 1_000_000_000_000;

pub(super) async fn what_is_left_replays_and_what_is_needed_stays(place: &Place) {
    let (database, machine) = told(place).await;
    let kept = kept(&database, &machine, 3).await;
    let all = database.deployments(&app("web"), None, 1_000).await.unwrap().len() as u64;
    let foreseen = database.prunable(&kept, at(END)).await.unwrap();
    let sum = pruned(&database, &kept, at(END), &[]).await;
    let events = (DEPLOYMENTS * STEPS) as u64 - NEWEST_EVENTS;
    assert_eq!((sum.events, foreseen.events), (events, events));
    assert_eq!((sum.images, foreseen.images), (56, 56));
    // The newest events refer to deployments that are over: those stay as long.
    assert!(sum.deployments >= 30 && sum.deployments <= foreseen.deployments, "{sum:?} of {foreseen:?}");
    let left = database.deployments(&app("web"), None, 1_000).await.unwrap();
    assert_eq!(left.len() as u64, all - sum.deployments);
    // What is in flight has no image yet.
    for id in kept.targets.iter().filter(|id| machine.in_flight() != Some(**id)) {
        assert!(database.image_of(*id).await.unwrap().is_some(), "{id}");
        assert!(!database.is_given_up(*id).await.unwrap(), "{id}");
        let row = database.deployment(*id).await.unwrap().unwrap();
        assert!(database.config(row.config_id).await.unwrap().is_some(), "{id}");
    }
    let given_up = database.given_up(&app("web")).await.unwrap();
    assert!(!given_up.is_empty() && given_up.iter().all(|id| !kept.targets.contains(id)));
    let newest = database.history().events(&EventScope::App(app("web")), Page::first(1_000)).await.unwrap();
    assert_eq!(newest.len() as u64, NEWEST_EVENTS);
    assert_eq!(assert_sound(database.history()).await.events, newest.len() + 1);

    // It goes on from there, and is pruned again.
    let mut story = Story::resumed(&database, "web", 1).await;
    for _ in 0..DEPLOYMENTS * STEPS {
        story.advance(&database).await;
    }
    let again = self::kept(&database, &story.machine, 3).await;
    assert_eq!(pruned(&database, &again, at(END), &[]).await.events, (DEPLOYMENTS * STEPS) as u64);
    assert_eq!(database.machines().await.unwrap().len(), 2);
    database.close().await;
    place.open().await.close().await;
}

pub(super) async fn what_is_young_or_pinned_stays(place: &Place) {
    let (database, machine) = told(place).await;
    let kept = kept(&database, &machine, 3).await;
    let before = counts(place).await;
    assert_eq!(database.prune(&kept, at(0), &BTreeSet::new()).await.unwrap(), Pruned::default());
    assert_eq!(counts(place).await, before);
    // Docker still has the image of the first deployment: its row stays.
    let first = DeploymentId(101);
    pruned(&database, &kept, at(END), &[first]).await;
    assert!(database.deployment(first).await.unwrap().is_some());
    assert_eq!(database.deployment(DeploymentId(201)).await.unwrap(), None);
    pruned(&database, &kept, at(END), &[]).await;
    assert_eq!(database.deployment(first).await.unwrap(), None);
}

pub(super) async fn what_orders_have_left_outlives_the_deployment_that_they_began(place: &Place) {
    let (database, machine) = told(place).await;
    let first = DeploymentId(101);
    database.record_audit(&AuditRecord { deployment: Some(first), ..order("deploy") }).await.unwrap();
    let id = KeyId { actor: "uid:0".to_owned(), key_sha: "k1".to_owned() };
    let key = NewKey { id: id.clone(), fingerprint: "f1".to_owned(), at: at(0) };
    assert_eq!(database.reserve_key(&key).await.unwrap(), Reservation::Fresh);
    let answer = format!("{{\"deployment\":{first}}}");
    database.answer_key(&id, answer.clone()).await.unwrap();
    pruned(&database, &kept(&database, &machine, 3).await, at(END), &[]).await;
    assert_eq!(database.deployment(first).await.unwrap(), None);
    let history = database.history();
    let left = history.audit(&AuditScope::default(), Page::first(10)).await.unwrap();
    assert_eq!(left.iter().map(|row| row.record.deployment).collect::<Vec<_>>(), [Some(first)]);
    assert_eq!(history.key(&id).await.unwrap().and_then(|key| key.answer), Some(answer));
    assert_sound(history).await;
}

pub(super) async fn nothing_goes_by_what_was_decided_for_another_state(place: &Place) {
    let (database, machine) = told(place).await;
    let stale = kept(&database, &machine, 3).await;
    Story::resumed(&database, "web", 1).await.advance(&database).await;
    let before = counts(place).await;
    let conflict = database.prune(&stale, at(END), &BTreeSet::new()).await.unwrap_err();
    assert!(matches!(conflict, CommitError::Conflict { .. }), "{conflict:?}");
    let conflict = database.give_up(&stale, at(END)).await.unwrap_err();
    assert!(matches!(conflict, CommitError::Conflict { .. }), "{conflict:?}");
    assert_eq!(counts(place).await, before);
    assert_eq!(database.given_up(&app("web")).await.unwrap(), []);
}

pub(super) async fn only_what_a_checkpoint_stands_for_can_be_removed(place: &Place) {
    let (database, machine) = told(place).await;
    let kept = kept(&database, &machine, 3).await;
    pruned(&database, &kept, at(END), &[]).await;
    let raw = place.raw().await;
    for sql in [
        "DELETE FROM deployment_events",
        "DELETE FROM deployment_events WHERE app_name = 'other'",
        "UPDATE deployment_events SET event_type = 'x'",
    ] {
        let refused = raw.execute_unprepared(sql).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(number(&raw, "SELECT count(*) FROM app_checkpoints").await, 1);
    // A checkpoint that says something else than it did is found.
    raw.execute_unprepared(
        "UPDATE app_checkpoints SET state = replace(state, '\"considered\":1', '\"considered\":9')",
    )
    .await
    .unwrap();
    let verdict = database.history().check().await.unwrap();
    assert!(verdict.findings.iter().any(|finding| finding.starts_with("web:")), "{verdict:?}");
    raw.close().await.unwrap();
    database.close().await;
    let refused = migrate_down(&place.url, &holder(), 1).await.unwrap_err();
    let words = dockswap_core::records::in_words(&refused);
    assert!(words.contains("restore a backup"), "{words}");
}
