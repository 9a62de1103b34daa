//! What tools before us got wrong about their records, where this is the cheapest place to see it.

use super::fixtures::{Place, app, beginning, counts, stored};
use super::story::Story;
use crate::history::{EventScope, Page};
use dockswap_core::machine::{Event, Failure};
use dockswap_core::ports::Store;
use dockswap_proof::kept;
use sea_orm::ConnectionTrait;

#[tokio::test]
async fn scar_g06_event_and_state_are_one_with_payload_and_error() {
    let place = Place::sqlite();
    let database = place.open().await;
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let failure = Failure::new("the registry says no");
    let failed = story.machine.step(&Event::ImageFailed(failure), super::fixtures::at(1)).unwrap();
    database.commit(&failed).await.unwrap();
    let newest = &database.history().events(&EventScope::All, Page::first(1)).await.unwrap()[0];
    assert_eq!(newest.error.as_deref(), Some("the registry says no"));
    assert_eq!((&newest.payload["from"], &newest.payload["to"]), (&"pulling".into(), &"rolling_back".into()));
    let state = database.history().current_state(&app("web")).await.unwrap().unwrap();
    assert_eq!(state.status, "rolling_back");
    // The state cannot be written: then there is no event either.
    let raw = place.raw().await;
    raw.execute_unprepared(
        "CREATE TRIGGER broken BEFORE INSERT ON current_state BEGIN SELECT raise(ABORT, 'broken'); END",
    )
    .await
    .unwrap();
    let before = counts(&place).await;
    database.commit_unit(beginning("api", stored(&database, "api").await, 9)).await.unwrap_err();
    assert_eq!(counts(&place).await, before);
    kept("scar-G06", "the state's row refused inside the transaction, SQLite");
}

#[tokio::test]
async fn scar_g10_reading_a_state_that_is_not_there_writes_none() {
    let place = Place::sqlite();
    let database = place.open().await;
    for _ in 0..2 {
        assert_eq!(database.history().current_state(&app("web")).await.unwrap(), None);
        assert_eq!(database.history().current_states().await.unwrap(), []);
        assert_eq!(database.machines().await.unwrap(), []);
    }
    assert_eq!(counts(&place).await, [0; 5]);
    kept("scar-G10", "an empty database is read, SQLite");
}

#[tokio::test]
async fn scar_g11_foreign_keys_are_enforced_on_every_connection() {
    let place = Place::sqlite();
    let database = place.open().await;
    let nowhere = dockswap_core::ConfigId(99);
    database.commit_unit(beginning("web", nowhere, 1)).await.unwrap_err();
    assert_eq!(counts(&place).await, [0; 5]);
    let readers = (0..4).map(|_| async {
        super::fixtures::number(&database.history().db, "SELECT foreign_keys FROM pragma_foreign_keys").await
    });
    assert_eq!(futures_util::future::join_all(readers).await, [1; 4]);
    kept("scar-G11", "a deployment of a config that is not there, SQLite");
}
