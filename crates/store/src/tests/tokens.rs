//! Tokens on record: made, used, revoked, listed.

use super::fixtures::{Place, at};
use crate::database::Database;
use crate::history::Page;
use crate::tokens::{TokenOutcome, TokenRow, TokenWrite};
use crate::write::{Write, Written};
use dockswap_core::grants::{Grant, Grants, Role};
use sea_orm::ConnectionTrait;

pub(super) fn token(name: &str, number: u8) -> TokenRow {
    TokenRow {
        id: format!("Token{number:07}").parse().unwrap(),
        name: name.parse().unwrap(),
        secret_sha: format!("{number:064x}"),
        grants: Grants(vec![
            Grant { project: Some("shop".parse().unwrap()), role: Role::Developer },
            Grant { project: None, role: Role::Viewer },
        ]),
        created_by: "uid:0(root)".to_owned(),
        created_at: at(i64::from(number)),
        expires_at: Some(at(1_000_000)),
        last_used_at: None,
        revoked_by: None,
        revoked_at: None,
    }
}

async fn create(database: &Database, row: &TokenRow) -> TokenOutcome {
    database.create_token(row.clone(), None).await.unwrap()
}

pub(super) async fn a_token_comes_back_as_it_was_made(place: &Place) {
    let database = place.open().await;
    let made = token("ci", 1);
    assert_eq!(create(&database, &made).await, TokenOutcome::Done);
    assert!(database.history().token(&made.id).await.unwrap().as_ref() == Some(&made));
    assert!(database.history().token_named(&made.name).await.unwrap().as_ref() == Some(&made));
    assert!(database.history().token(&token("x", 2).id).await.unwrap().is_none());
    database.note_token_use(&made.id, at(77)).await.unwrap();
    let used = database.history().token(&made.id).await.unwrap().unwrap();
    assert_eq!(used.last_used_at, Some(at(77)));
    assert!(!format!("{used:?}").contains(&used.secret_sha));
}

pub(super) async fn a_name_is_one_tokens_until_that_is_revoked(place: &Place) {
    let database = place.open().await;
    assert_eq!(create(&database, &token("ci", 1)).await, TokenOutcome::Done);
    assert_eq!(create(&database, &token("ci", 2)).await, TokenOutcome::NameTaken);
    assert!(database.history().token(&token("ci", 2).id).await.unwrap().is_none());
    let id = token("ci", 1).id;
    assert_eq!(database.revoke_token(&id, "uid:1(ada)", at(5), None).await.unwrap(), TokenOutcome::Done);
    assert_eq!(database.revoke_token(&id, "uid:2(bob)", at(6), None).await.unwrap(), TokenOutcome::Absent);
    let revoked = database.history().token(&id).await.unwrap().unwrap();
    assert_eq!((revoked.revoked_by.as_deref(), revoked.revoked_at), (Some("uid:1(ada)"), Some(at(5))));
    assert!(database.history().token_named(&revoked.name).await.unwrap().is_none());
    assert_eq!(create(&database, &token("ci", 3)).await, TokenOutcome::Done);
    let none = database.revoke_token(&token("x", 9).id, "uid:1(ada)", at(5), None).await.unwrap();
    assert_eq!(none, TokenOutcome::Absent);
}

pub(super) async fn tokens_are_listed_newest_first(place: &Place) {
    let database = place.open().await;
    for number in 1..=5 {
        create(&database, &token(&format!("t{number}"), number)).await;
    }
    let page = Page { limit: 2, offset: 1 };
    let rows = database.history().tokens(page).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["t4", "t3"]);
    assert!(rows.iter().all(|row| row.grants == token("x", 1).grants));
}

pub(super) async fn a_lost_answer_about_a_token_is_looked_up(place: &Place) {
    let scribe = super::fixtures::scribe(place).await;
    let writes = [
        TokenWrite::Create { row: token("ci", 1), audit: None },
        TokenWrite::Used { id: token("ci", 1).id, at: at(3) },
        TokenWrite::Revoke { id: token("ci", 1).id, by: "uid:1(ada)".to_owned(), at: at(4), audit: None },
    ];
    for write in writes {
        let write = Write::Token(Box::new(write));
        assert_eq!(write.find(&scribe.db).await.unwrap(), None);
        assert_eq!(write.apply(&scribe.db).await.unwrap(), Written::Token(TokenOutcome::Done));
        assert_eq!(write.find(&scribe.db).await.unwrap(), Some(Written::Token(TokenOutcome::Done)));
    }
}

pub(super) async fn only_hashes_and_known_roles_are_taken(place: &Place) {
    let database = place.open().await;
    create(&database, &token("ci", 1)).await;
    database.close().await;
    let raw = place.raw().await;
    for sql in [
        "UPDATE api_tokens SET secret_sha = 'secret'",
        "UPDATE token_grants SET role = 'root'",
        "INSERT INTO token_grants (token_id, role) VALUES ('nobody', 'viewer')",
    ] {
        raw.execute_unprepared(sql).await.expect_err(sql);
    }
}
