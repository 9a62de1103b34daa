//! Commits: whole or not at all, once, and answered in time.

use super::fixtures::{
    Place, app, at, beginning, config, counts, event, number, plan, scribe, stored, success, texts,
    transition,
};
use crate::history::{EventScope, Page};
use crate::transaction::begin_write;
use crate::write::{Unit, Write, Written};
use crate::writer::{Scribe, WriteError};
use dockswap_core::machine::{Event, Machine, Order, OrderReason, OrderTarget};
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::{CommitError, DeploymentStatus, DeploymentWrite, RefusalRecord, StoreError};
use dockswap_core::{ConfigId, DeploymentId, ImageId};
use sea_orm::ConnectionTrait;
use std::time::Duration;

pub(super) async fn a_transition_is_written_whole(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let first = beginning("web", config, 1);
    database.commit_unit(first.clone()).await.unwrap();
    let history = database.history();
    let begun = history.deployment(DeploymentId(1)).await.unwrap().unwrap();
    assert_eq!(DeploymentWrite::Begin(begun.clone()), first.deployments[0]);
    assert_eq!(history.image_of(DeploymentId(1)).await.unwrap(), None);

    let second = success(&first);
    database.commit_unit(second.clone()).await.unwrap();
    assert_eq!(history.current_states().await.unwrap(), std::slice::from_ref(&second.current));
    assert_eq!(history.current_state(&app("web")).await.unwrap(), Some(second.current.clone()));
    let ended = history.deployment(DeploymentId(1)).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_at), (DeploymentStatus::Success, Some(second.event.at)));
    let image = second.image.clone().unwrap().1;
    assert_eq!(database.image_of(DeploymentId(1)).await.unwrap(), Some(image));
    let events = history.events_after(&EventScope::All, 0, 10).await.unwrap();
    for (row, record) in events.iter().zip([&first.event, &second.event]) {
        assert_eq!(row.deployment_id, record.deployment_id);
        assert_eq!(row.app_name, record.app_name);
        assert_eq!(row.event_type, record.event_type);
        assert_eq!(row.payload, record.payload);
        assert_eq!(row.error, record.error);
        assert_eq!(row.created_at, record.at);
    }
    assert_eq!(counts(place).await, [1, 2, 2, 1, 1]);

    // A deployment that has ended keeps the time at which it did, whatever becomes of it later.
    let mut third = success(&second);
    let id = DeploymentId(1);
    third.deployments =
        vec![DeploymentWrite::End { id, status: DeploymentStatus::RolledBack, at: at(1_000_000) }];
    third.image = None;
    database.commit_unit(third).await.unwrap();
    let ended = database.deployment(id).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.ended_at), (DeploymentStatus::RolledBack, Some(second.event.at)));
    assert_eq!(database.last_deployment().await.unwrap(), id);
}

pub(super) async fn the_machine_comes_back_as_it_was_and_replays(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let image = Image { id: ImageId("sha256:1".to_owned()), digest: None };
    let order = Order {
        deployment: DeploymentId(1),
        target: OrderTarget::Config(plan(config)),
        reason: OrderReason::Edit,
    };
    let mut machine = Machine::new(app("web"));
    for (micros, event) in
        [Event::Deploy(order), Event::ImageReady(image), Event::ContainerStarted].into_iter().enumerate()
    {
        let now = at(i64::try_from(micros).unwrap());
        let transition = machine.step(&event, now).unwrap();
        database.commit(&transition).await.unwrap();
        let again = database.commit(&transition).await.unwrap_err();
        assert!(matches!(again, CommitError::Conflict { expected, .. } if expected == machine.version().0));
        machine = transition.committed();
    }
    let refusal = machine.step(&Event::Promote, at(9)).unwrap_err();
    let record = machine.refused(&Event::Promote, &refusal, at(9)).unwrap();
    database.record_refusal(&record).await.unwrap();

    assert_eq!(database.machines().await.unwrap(), [machine.clone()]);
    let records = database.history().records(&app("web")).await.unwrap();
    let events = database.history().events_after(&EventScope::App(app("web")), 0, 10).await.unwrap();
    let events = events.iter().map(|event| (event.id, &event.payload));
    assert_eq!(records.events, 4);
    assert_eq!(records.retraced.unwrap().machine(), &machine);
    assert_eq!(Machine::replay(app("web"), events).unwrap(), machine);
    assert_eq!(records.machine, Some(machine.clone()));
    assert_eq!(records.current, machine.current_state(at(2)));
}

pub(super) async fn a_conflict_writes_nothing(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let first = beginning("web", config, 1);
    let second = success(&first);
    let too_early = database.commit_unit(second.clone()).await.unwrap_err();
    assert!(matches!(too_early, CommitError::Conflict { expected: 1, .. }), "{too_early:?}");
    assert_eq!(counts(place).await, [0; 5]);

    database.commit_unit(first.clone()).await.unwrap();
    let mut rival = beginning("web", config, 2);
    rival.state = "{}".to_owned();
    for again in [first, rival] {
        let conflict = database.commit_unit(again).await.unwrap_err();
        assert!(matches!(conflict, CommitError::Conflict { expected: 0, .. }), "{conflict:?}");
    }
    database.commit_unit(second.clone()).await.unwrap();
    let conflict = database.commit_unit(second).await.unwrap_err();
    assert!(matches!(conflict, CommitError::Conflict { expected: 1, .. }), "{conflict:?}");
    assert_eq!(counts(place).await, [1, 2, 2, 1, 1]);
}

/// A transition that ends a deployment that is not there.
fn broken(name: &str, config: ConfigId, deployment: i64) -> Unit {
    let mut unit = beginning(name, config, deployment);
    let status = DeploymentStatus::Failed;
    unit.deployments.push(DeploymentWrite::End { id: DeploymentId(9_999), status, at: at(0) });
    unit
}

pub(super) async fn a_transition_that_fails_writes_nothing_and_harms_no_other(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let failed = database.commit_unit(broken("web", config, 1)).await.unwrap_err();
    assert!(matches!(failed, CommitError::Store(StoreError::Failed { .. })), "{failed:?}");
    assert_eq!(counts(place).await, [0; 5]);

    let commits = (1..=20).map(|n| {
        let unit = if n % 5 == 0 { broken } else { beginning }(&format!("app-{n}"), config, n);
        database.commit_unit(unit)
    });
    let outcomes = futures_util::future::join_all(commits).await;
    for (n, outcome) in (1..).zip(outcomes) {
        assert_eq!(outcome.is_err(), n % 5 == 0, "{n}: {outcome:?}");
    }
    assert_eq!(counts(place).await, [16; 5]);
}

pub(super) async fn a_dropped_transaction_leaves_nothing(place: &Place) {
    let scribe = scribe(place).await;
    let first = Write::Config(config("web", b"name: web\n", 0));
    let (begun, written) = scribe.stage(&[&first]).await.unwrap();
    let [Written::Config(id)] = written[..] else { panic!("{written:?}") };
    drop(begun);
    assert_eq!(number(&scribe.db, "SELECT count(*) FROM app_configs").await, 0);

    let (begun, written) = scribe.stage(&[&first]).await.unwrap();
    let [Written::Config(stored)] = written[..] else { panic!("{written:?}") };
    begun.commit().await.unwrap();
    assert!(stored >= id, "an id may be skipped, never given twice");
    let unit = transition(&beginning("web", stored, 1));
    let (begun, written) = scribe.stage(&[&unit]).await.unwrap();
    assert_eq!(written, [Written::Done]);
    drop(begun);
    scribe.db.close().await.unwrap();
    assert_eq!(counts(place).await, [0; 5]);
}

pub(super) async fn a_group_shares_a_transaction(place: &Place) {
    let scribe = scribe(place).await;
    let (begun, written) = scribe.stage(&[&Write::Config(config("web", b"", 0))]).await.unwrap();
    begun.commit().await.unwrap();
    let [Written::Config(config)] = written[..] else { panic!("{written:?}") };
    let web = beginning("web", config, 1);
    let writes = [
        transition(&web),
        transition(&web),
        transition(&success(&web)),
        transition(&beginning("api", config, 2)),
    ];
    let writes: Vec<&Write> = writes.iter().collect();
    let (begun, written) = scribe.stage(&writes).await.unwrap();
    assert_eq!(written, [Written::Done, Written::Conflict, Written::Done, Written::Done]);
    begun.commit().await.unwrap();
    let stale = Scribe { epoch: scribe.epoch - 1, ..scribe };
    assert!(matches!(stale.stage(&writes).await.unwrap_err(), WriteError::Fenced));
    stale.db.close().await.unwrap();
    assert_eq!(counts(place).await, [2, 3, 3, 2, 2]);
}

pub(super) async fn many_apps_commit_at_once(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let apps = (1..=50).map(async |n| {
        let first = beginning(&format!("app-{n}"), config, n);
        let second = success(&first);
        database.commit_unit(first).await?;
        database.commit_unit(second.clone()).await?;
        database.commit_unit(success(&second)).await
    });
    for outcome in futures_util::future::join_all(apps).await {
        outcome.unwrap();
    }
    assert_eq!(counts(place).await, [50, 150, 150, 50, 50]);
    for n in 1..=50 {
        let scope = EventScope::App(app(&format!("app-{n}")));
        let events = database.history().events(&scope, Page::first(10)).await.unwrap();
        let types: Vec<String> = events.into_iter().map(|event| event.event_type).collect();
        assert_eq!(types, ["watch_passed", "watch_passed", "deploy"]);
    }
}

pub(super) async fn a_caller_that_goes_away_leaves_nothing_half_done(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    for n in 1..=20 {
        let commit = database.commit_unit(beginning(&format!("app-{n}"), config, n));
        // Polled once, then dropped: it was handed over.
        let _ = tokio::time::timeout(Duration::ZERO, commit).await;
    }
    database.commit_unit(beginning("last", config, 99)).await.unwrap();
    let [machines, versions, events, deployments, current] = counts(place).await;
    assert!(machines >= 1);
    assert_eq!([versions, events, deployments, current], [machines; 4]);
}

pub(super) async fn a_call_ends_by_its_deadline(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let database = database.with_deadline(Duration::from_millis(50));
    let raw = place.raw().await;
    let blocking = begin_write(&raw).await.unwrap();
    if !place.is_sqlite() {
        blocking.execute_unprepared("LOCK TABLE app_machines IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let read = database.machines().await.unwrap_err();
        assert!(matches!(read, StoreError::TimedOut { .. }), "{read:?}");
    }
    let unit = beginning("web", config, 1);
    let late = database.commit_unit(unit.clone()).await.unwrap_err();
    assert!(matches!(late, CommitError::Store(StoreError::TimedOut { .. })), "{late:?}");
    blocking.rollback().await.unwrap();

    // It may have been written after all: whoever asks again is told so, and nothing is doubled.
    let database = database.with_deadline(Duration::from_secs(60));
    let again = database.commit_unit(unit).await;
    assert!(matches!(again, Ok(()) | Err(CommitError::Conflict { .. })), "{again:?}");
    assert_eq!(counts(place).await, [1; 5]);
}

pub(super) async fn a_refusal_is_an_event_and_nothing_else(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let mut refusal = RefusalRecord { event: event("web", 1, 5) };
    refusal.event.error = Some("not now".to_owned());
    // There is nothing yet that it could be recorded on.
    database.record_refusal(&refusal).await.unwrap();
    assert_eq!(counts(place).await, [0; 5]);
    database.commit_unit(beginning("web", config, 1)).await.unwrap();
    database.record_refusal(&refusal).await.unwrap();
    assert_eq!(counts(place).await, [1, 1, 2, 1, 1]);
    let newest = &database.history().events(&EventScope::All, Page::first(1)).await.unwrap()[0];
    assert_eq!(newest.error.as_deref(), Some("not now"));
}

pub(super) async fn what_an_app_said_is_taken_even_with_a_nul(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let mut unit = beginning("web", config, 1);
    unit.event.error = Some("exit\0 1".to_owned());
    unit.event.payload =
        serde_json::json!({ "lines": ["a\0b", { "c\0": null }], "größe": 1.5, "n": u64::MAX });
    database.commit_unit(unit).await.unwrap();
    let row = &database.history().events(&EventScope::All, Page::first(1)).await.unwrap()[0];
    assert_eq!(row.error.as_deref(), Some("exit\u{fffd} 1"));
    let expected =
        serde_json::json!({ "lines": ["a\u{fffd}b", { "c\u{fffd}": null }], "größe": 1.5, "n": u64::MAX });
    assert_eq!(row.payload, expected);
}

pub(super) async fn an_unreadable_machine_is_named(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let mut unit = beginning("web", config, 1);
    unit.state = r#"{"written by":"another version"}"#.to_owned();
    database.commit_unit(unit).await.unwrap();
    let error = database.machines().await.unwrap_err();
    assert!(error.to_string().contains("the machine of web"), "{error}");
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    let raw = place.raw().await;
    assert_eq!(texts(&raw, "SELECT state FROM app_machines").await, [r#"{"written by":"another version"}"#]);
}
