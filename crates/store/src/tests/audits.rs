//! The audit on record: with what it records, once, for good.

use super::fixtures::{Place, app, at, beginning, order, scribe, stored, texts, transition};
use crate::audit::AuditScope;
use crate::history::Page;
use crate::projects::ProjectOutcome;
use crate::tests::tokens::token;
use crate::tokens::TokenOutcome;
use crate::write::{Unit, Write, Written};
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::Role;
use dockswap_core::ports::Store;
use dockswap_core::records::NewConfig;
use sea_orm::ConnectionTrait;

async fn verbs(place: &Place) -> Vec<String> {
    let raw = place.raw().await;
    let verbs = texts(&raw, "SELECT verb FROM audit_log ORDER BY id").await;
    raw.close().await.unwrap();
    verbs
}

pub(super) async fn an_order_is_written_with_what_it_leads_to(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let first = Unit { audit: Some(order("deploy")), ..beginning("web", config, 1) };
    database.commit_unit(first.clone()).await.unwrap();
    // The machine has gone on: nothing of it is written.
    let stale = Unit { audit: Some(order("again")), ..first };
    assert!(database.commit_unit(stale).await.is_err());
    let file = NewConfig { audit: Some(order("edit")), ..super::fixtures::config("web", b"b", 1) };
    database.insert_config(&file).await.unwrap();
    let made = database.create_token(token("ci", 1), Some(order("token_create"))).await.unwrap();
    assert_eq!(made, TokenOutcome::Done);
    let taken = database.create_token(token("ci", 2), Some(order("taken"))).await.unwrap();
    assert_eq!(taken, TokenOutcome::NameTaken);
    let id = token("ci", 1).id;
    database.revoke_token(&id, "uid:0(root)", at(1), Some(order("token_revoke"))).await.unwrap();
    let absent = database.revoke_token(&id, "uid:0(root)", at(1), Some(order("absent"))).await.unwrap();
    assert_eq!(absent, TokenOutcome::Absent);
    assert_eq!(verbs(place).await, ["deploy", "edit", "token_create", "token_revoke"]);
}

pub(super) async fn a_request_has_one_row(place: &Place) {
    let database = place.open().await;
    database.record_audit(&order("deploy")).await.unwrap();
    let other = AuditRecord { actor: "somebody else".to_owned(), ..order("deploy") };
    database.record_audit(&other).await.unwrap();
    let rows = database.history().audit(&AuditScope::default(), Page::first(9)).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.record.clone()).collect::<Vec<_>>(), [order("deploy")]);
}

pub(super) async fn the_audit_cannot_be_changed_or_removed(place: &Place) {
    let database = place.open().await;
    database.record_audit(&order("deploy")).await.unwrap();
    database.close().await;
    let raw = place.raw().await;
    let mut attempts = vec![
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "DELETE FROM audit_log WHERE id = 1",
    ];
    if place.is_sqlite() {
        attempts.push("INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE id = 1");
        attempts.push(
            "INSERT OR REPLACE INTO audit_log (at, actor, verb, target, result, request_id, detail)
             SELECT at, 'nobody', verb, target, result, request_id, detail FROM audit_log WHERE id = 1",
        );
    } else {
        attempts.push("TRUNCATE audit_log");
    }
    for sql in attempts {
        let refused = raw.execute_unprepared(sql).await.expect_err(sql).to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(verbs(place).await, ["deploy"]);
}

pub(super) async fn the_audit_is_listed_by_app_and_by_actor(place: &Place) {
    let database = place.open().await;
    for (verb, target, actor) in
        [("a", "app/web", "token:ci"), ("b", "app/api", "token:ci"), ("c", "app/web", "uid:0(root)")]
    {
        let record = AuditRecord { target: target.to_owned(), actor: actor.to_owned(), ..order(verb) };
        database.record_audit(&record).await.unwrap();
    }
    let asked = |scope: AuditScope, page| {
        let history = database.history().clone();
        async move {
            let rows = history.audit(&scope, page).await.unwrap();
            rows.into_iter().map(|row| row.record.verb).collect::<String>()
        }
    };
    let everything = AuditScope::default();
    assert_eq!(asked(everything.clone(), Page::first(9)).await, "cba");
    assert_eq!(asked(everything.clone(), Page { limit: 1, offset: 1 }).await, "b");
    let of_web = AuditScope { app: Some(app("web")), ..everything.clone() };
    assert_eq!(asked(of_web.clone(), Page::first(9)).await, "ca");
    let of_ci = AuditScope { actor: Some("token:ci".to_owned()), ..everything };
    assert_eq!(asked(of_ci, Page::first(9)).await, "ba");
}

pub(super) async fn no_token_gets_into_the_audit(place: &Place) {
    let database = place.open().await;
    let mut record = AuditRecord { target: "app/dsw_x_y".to_owned(), ..order("deploy") };
    record.note("error", "there is no dsw_x_y\0");
    database.record_audit(&record).await.unwrap();
    let rows = database.history().audit(&AuditScope::default(), Page::first(1)).await.unwrap();
    assert_eq!(rows[0].record.target, "app/[masked]");
    assert_eq!(rows[0].record.detail["error"], "there is no [masked]\u{fffd}");
}

pub(super) async fn a_lost_answer_about_an_order_is_looked_up(place: &Place) {
    let scribe = scribe(place).await;
    let write = Write::Audit(Box::new(order("reload")));
    assert_eq!(write.find(&scribe.db).await.unwrap(), None);
    write.apply(&scribe.db).await.unwrap();
    assert_eq!(write.find(&scribe.db).await.unwrap(), Some(Written::Done));
}

pub(super) async fn a_project_goes_when_nothing_of_it_is_in_service(place: &Place) {
    let database = place.open().await;
    let project: dockswap_core::ProjectName = "shop".parse().unwrap();
    database.create_token(token("ci", 1), None).await.unwrap();
    let file = NewConfig { project: Some(project.clone()), ..super::fixtures::config("web", b"a", 0) };
    let config = database.insert_config(&file).await.unwrap();
    let serving = beginning("web", config, 1);
    database.commit_unit(serving.clone()).await.unwrap();
    let removal = |role, verb| database.remove_project(project.clone(), role, Some(order(verb)));
    let refused = removal(Role::Owner, "one").await.unwrap();
    assert_eq!(refused, ProjectOutcome::InService(vec!["web".to_owned()]));

    let mut retired = super::fixtures::success(&serving);
    retired.current.status = "retired".to_owned();
    database.commit_unit(retired).await.unwrap();
    let raw = place.raw().await;
    // As an older version left it: to which project it belongs is not known.
    database.commit_unit(beginning("api", config, 2)).await.unwrap();
    let refused = removal(Role::Owner, "two").await.unwrap();
    assert_eq!(refused, ProjectOutcome::Unknown(vec!["api".to_owned()]));
    database.note_projects(vec![(app("api"), None)]).await.unwrap();

    assert_eq!(removal(Role::Viewer, "three").await.unwrap(), ProjectOutcome::Above(Role::Developer));
    assert_eq!(verbs(place).await, Vec::<String>::new());
    assert_eq!(removal(Role::Developer, "four").await.unwrap(), ProjectOutcome::Removed(1));
    assert_eq!(verbs(place).await, ["four"]);
    let left = texts(&raw, "SELECT role FROM token_grants").await;
    assert_eq!(left, ["viewer"], "what holds everywhere is left");
    raw.close().await.unwrap();
}

pub(super) async fn a_lost_answer_about_a_grouped_order_is_its_own(place: &Place) {
    let scribe = scribe(place).await;
    let unit = Unit { audit: Some(order("deploy")), ..beginning("web", dockswap_core::ConfigId(1), 1) };
    // Without its config the transition fails: the order is not on record either.
    assert!(scribe.write_group(&[&transition(&unit)]).await[0].is_err());
    assert_eq!(verbs(place).await, Vec::<String>::new());
}
