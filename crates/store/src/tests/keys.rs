//! The keys of orders.

use super::fixtures::{Place, at, beginning, stored};
use crate::{KeyId, KeyRecord, NewKey, Reservation};
use dockswap_core::Timestamp;
use std::time::Duration;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

fn key(actor: &str, key: &str, fingerprint: &str, micros: i64) -> NewKey {
    let id = KeyId { actor: actor.to_owned(), key_sha: key.to_owned() };
    NewKey { id, fingerprint: fingerprint.to_owned(), at: at(micros) }
}

pub(super) async fn a_key_is_taken_once_and_keeps_its_answer(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let order = key("uid:0", "k1", "f1", 0);
    assert_eq!(database.reserve_key(&order).await.unwrap(), Reservation::Fresh);
    let unanswered = KeyRecord { fingerprint: "f1".to_owned(), after_event: 0, answer: None };
    let again = key("uid:0", "k1", "f2", 5);
    assert_eq!(database.reserve_key(&again).await.unwrap(), Reservation::Known(unanswered.clone()));
    // Whoever else sends it means another order.
    assert_eq!(database.reserve_key(&key("uid:1", "k1", "f1", 0)).await.unwrap(), Reservation::Fresh);
    database.commit_unit(beginning("web", config, 1)).await.unwrap();
    let later = key("uid:0", "k2", "f1", 9);
    assert_eq!(database.reserve_key(&later).await.unwrap(), Reservation::Fresh);
    let newest = database.history().key(&later.id).await.unwrap().unwrap().after_event;
    assert!(newest > 0, "what was committed before the order is before it");
    database.answer_key(&order.id, "{}".to_owned()).await.unwrap();
    database.close().await;
    let database = place.open().await;
    let answered = KeyRecord { answer: Some("{}".to_owned()), ..unanswered };
    assert_eq!(database.reserve_key(&again).await.unwrap(), Reservation::Known(answered));
}

pub(super) async fn of_many_at_once_one_is_fresh(place: &Place) {
    let database = place.open().await;
    let order = key("uid:0", "k1", "f1", 0);
    let all = futures_util::future::join_all((0..20).map(|_| database.reserve_key(&order))).await;
    let fresh = all.into_iter().filter(|one| matches!(one, Ok(Reservation::Fresh))).count();
    assert_eq!(fresh, 1);
}

pub(super) async fn keys_are_forgotten_after_a_day(place: &Place) {
    let database = place.open().await;
    for (name, micros) in [("old", 0), ("new", DAY / 2)] {
        database.reserve_key(&key("uid:0", name, "f1", micros)).await.unwrap();
    }
    let forgotten = database.reserve_key(&key("uid:0", "old", "f2", DAY)).await.unwrap();
    assert_eq!(forgotten, Reservation::Fresh, "also before anybody sweeps");
    let known = database.reserve_key(&key("uid:0", "new", "f2", DAY)).await.unwrap();
    assert!(matches!(known, Reservation::Known(_)));
    let id = |name: &str| key("uid:0", name, "", 0).id;
    let sweep_at = |micros: i64| Timestamp::from_micros(at(micros).as_micros()) + Duration::from_micros(1);
    database.sweep_keys(sweep_at(DAY + DAY / 2)).await.unwrap();
    assert!(database.history().key(&id("new")).await.unwrap().is_none());
    assert!(database.history().key(&id("old")).await.unwrap().is_some());
}
