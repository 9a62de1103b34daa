//! One controller per database.

use super::fixtures::{Place, beginning, counts, holder, stored};
use crate::{ConnectError, Holder, LeaseError, connect, connect_read_only, lease, migrate_up};
use dockswap_core::Timestamp;
use dockswap_core::ports::Store;
use dockswap_core::records::{CommitError, StoreError};
use sea_orm::ConnectionTrait;

fn other() -> Holder {
    Holder { pid: 72, host: "build-2".to_owned(), since: Timestamp::default() }
}

pub(super) async fn a_second_controller_is_refused_and_told_of_the_first(place: &Place) {
    let first = place.open().await;
    for _ in 0..2 {
        let refused = connect(&place.url, &other()).await.unwrap_err();
        let ConnectError::Lease(LeaseError::Held { holder }) = &refused else { panic!("{refused:?}") };
        assert_eq!(*holder, self::holder().to_string());
        assert!(refused.to_string().contains("pid 71 on build-1, since 2026-11-21T07:38:26.123456Z"));
    }
    let refused = migrate_up(&place.url, &other()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Lease(LeaseError::Held { .. })), "{refused:?}");
    stored(&first, "web").await;
    first.close().await;
    let second = connect(&place.url, &other()).await.unwrap();
    stored(&second, "web").await;
    let refused = connect(&place.url, &holder()).await.unwrap_err();
    assert!(refused.to_string().contains("pid 72 on build-2, since 1970-01-01T00:00:00.000000Z"));
}

pub(super) async fn whoever_was_replaced_writes_nothing(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let raw = place.raw().await;
    lease::begin_epoch(&raw, &other()).await.unwrap();
    raw.close().await.unwrap();
    let fenced = database.commit_unit(beginning("web", config, 1)).await.unwrap_err();
    assert!(matches!(fenced, CommitError::Store(StoreError::Fenced { .. })), "{fenced:?}");
    let fenced = database.insert_config(&super::fixtures::config("web", b"", 1)).await.unwrap_err();
    assert!(matches!(fenced, StoreError::Fenced { .. }), "{fenced:?}");
    database.fenced().await;
    assert_eq!(counts(place).await, [0; 5]);
    assert_eq!(database.newest_configs().await.unwrap().len(), 1);
}

pub(super) async fn a_reader_reads_beside_the_controller_and_cannot_write(place: &Place) {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let reader = connect_read_only(&place.url).await.unwrap();
    database.commit_unit(beginning("web", config, 1)).await.unwrap();
    assert_eq!(reader.current_states().await.unwrap().len(), 1);
    assert_eq!(reader.newest_configs().await.unwrap(), database.newest_configs().await.unwrap());
    for history in [&reader, database.history()] {
        history.db.execute_unprepared("DELETE FROM app_machines").await.unwrap_err();
    }
    assert_eq!(counts(place).await, [1; 5]);
}
