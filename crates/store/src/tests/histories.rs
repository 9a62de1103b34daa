//! Reading back.

use super::fixtures::{Place, app, at, beginning, config, event, stored, success, texts};
use crate::history::{EventScope, Page};
use dockswap_core::ports::Store;
use dockswap_core::records::RefusalRecord;
use dockswap_core::{ConfigId, DeploymentId, Timestamp};
use sea_orm::{ConnectionTrait, Statement};

pub(super) async fn bytes_come_back_as_they_went_in(place: &Place) {
    let database = place.open().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let files: [&[u8]; 5] =
        [b"", b"name: web\r\n\n", b"\xff\xfe\x00", &every_byte, "größe: 1 \u{1f980}".as_bytes()];
    for bytes in files {
        let new = config("web", bytes, 0);
        let id = database.insert_config(&new).await.unwrap();
        let row = database.config(id).await.unwrap().unwrap();
        assert_eq!(
            (row.id, row.app, row.bytes.as_slice(), row.sha, row.created_at),
            (id, new.app, bytes, new.sha, new.at)
        );
        let summary = &database.history().configs(&app("web"), Page::first(1)).await.unwrap()[0];
        assert_eq!((summary.id, summary.size_bytes), (id, i64::try_from(bytes.len()).unwrap()));
    }
    assert_eq!(database.config(ConfigId(99)).await.unwrap(), None);
}

pub(super) async fn a_file_that_goes_back_is_a_version_of_its_own(place: &Place) {
    let database = place.open().await;
    for bytes in [b"a", b"b", b"a"] {
        database.insert_config(&config("web", bytes, 0)).await.unwrap();
    }
    // A clock that was set back does not make an old version the newest.
    let newest = database.insert_config(&config("web", b"d", -3_600_000_000)).await.unwrap();
    database.insert_config(&config("api", b"e", 0)).await.unwrap();
    assert_eq!(database.history().configs(&app("web"), Page::first(10)).await.unwrap().len(), 4);
    let configs = database.newest_configs().await.unwrap();
    let names: Vec<&str> = configs.iter().map(|config| config.app.as_str()).collect();
    assert_eq!(names, ["api", "web"]);
    assert_eq!((configs[1].id, configs[1].bytes.as_slice()), (newest, b"d".as_slice()));
}

pub(super) async fn lists_come_in_pages_newest_first(place: &Place) {
    let database = place.open().await;
    let mut unit = beginning("web", stored(&database, "web").await, 1);
    database.commit_unit(beginning("api", stored(&database, "api").await, 100)).await.unwrap();
    for n in 1..=7 {
        let next = beginning("web", stored(&database, "web").await, n);
        unit = crate::write::Unit { expected: n - 1, version: n, state: format!("{{\"n\":{n}}}"), ..next };
        database.commit_unit(unit.clone()).await.unwrap();
    }
    database.commit_unit(success(&unit)).await.unwrap();
    let ids = |limit, offset| {
        let (database, web) = (&database, app("web"));
        async move {
            let rows = database.history().deployments(&web, Page { limit, offset }).await.unwrap();
            rows.iter().map(|row| row.id.0).collect::<Vec<_>>()
        }
    };
    assert_eq!(ids(3, 0).await, [7, 6, 5]);
    assert_eq!(ids(3, 5).await, [2, 1]);
    assert_eq!(ids(3, 7).await, [0_i64; 0]);
    assert_eq!(ids(u64::MAX, 6).await, [1]);
    assert_eq!(ids(1, u64::MAX).await, [0_i64; 0]);
    let before = |before: Option<i64>, limit| {
        let (database, web) = (&database, app("web"));
        async move {
            let rows = database.deployments(&web, before.map(DeploymentId), limit).await.unwrap();
            rows.iter().map(|row| row.id.0).collect::<Vec<_>>()
        }
    };
    assert_eq!(before(None, 1).await, [7]);
    assert_eq!(before(Some(6), 2).await, [5, 4]);
    assert_eq!(before(Some(1), 2).await, [0_i64; 0]);
    assert_eq!(database.last_deployment().await.unwrap(), DeploymentId(100));
    let configs = database.history().configs(&app("web"), Page { limit: 2, offset: 1 }).await.unwrap();
    assert!(configs.is_sorted_by(|newer, older| newer.id > older.id), "{configs:?}");
    assert_eq!(configs.len(), 2);
    let events =
        database.history().events(&EventScope::Deployment(DeploymentId(7)), Page::first(9)).await.unwrap();
    let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["watch_passed", "deploy"]);
}

pub(super) async fn events_are_followed_in_the_order_of_their_commits(place: &Place) {
    let database = place.open().await;
    database.commit_unit(beginning("web", stored(&database, "web").await, 1)).await.unwrap();
    database.commit_unit(beginning("api", stored(&database, "api").await, 2)).await.unwrap();
    // All at the same microsecond: the id decides.
    for n in 0..5 {
        let mut event = event("web", 1, 0);
        event.error = Some(n.to_string());
        database.record_refusal(&RefusalRecord { event }).await.unwrap();
    }
    let web = EventScope::App(app("web"));
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let events = database.history().events_after(&web, after, 2).await.unwrap();
        let Some(last) = events.last() else { break };
        after = last.id;
        seen.extend(events.into_iter().map(|event| event.error));
    }
    let expected: Vec<Option<String>> =
        std::iter::once(None).chain((0..5).map(|n| Some(n.to_string()))).collect();
    assert_eq!(seen, expected);
    let everything = database.history().events_after(&EventScope::All, 0, 100).await.unwrap();
    assert_eq!(everything.len(), 7);
    assert!(everything.is_sorted_by_key(|event| event.id));
    let raw = place.raw().await;
    let sql =
        "SELECT coalesce(error, '') FROM deployment_events WHERE deployment_id = 1 ORDER BY created_at, id";
    assert_eq!(texts(&raw, sql).await, ["", "0", "1", "2", "3", "4"]);
}

pub(super) async fn times_are_text_in_the_order_of_time(place: &Place) {
    let database = place.open().await;
    let micros = [-1, 0, 1, 876_544, 876_545, 1_000_000_000];
    for micros in micros.into_iter().rev() {
        database.insert_config(&config("web", b"", micros)).await.unwrap();
    }
    let raw = place.raw().await;
    let times = texts(&raw, "SELECT created_at FROM app_configs ORDER BY created_at").await;
    assert_eq!(times[1], "2026-11-21T07:38:26.123456Z");
    assert_eq!(times[3], "2026-11-21T07:38:27.000000Z");
    let mut read: Vec<Timestamp> = Vec::new();
    for summary in database.history().configs(&app("web"), Page::first(10)).await.unwrap() {
        read.push(summary.created_at);
    }
    assert_eq!(read, micros.map(at));
    for time in times {
        assert_eq!(time.len(), 27, "{time}");
    }
}

pub(super) async fn records_of_an_app_are_one_instant(place: &Place) {
    let database = place.open().await;
    let web = beginning("web", stored(&database, "web").await, 1);
    database.commit_unit(web.clone()).await.unwrap();
    assert_eq!(database.history().apps().await.unwrap(), [app("web")]);
    let unknown = database.history().records(&app("api")).await.unwrap();
    assert!(unknown.machine.is_none() && unknown.current.is_none() && unknown.events == 0);
    // The fixture's machine is not one of core's, and says so instead of being passed over.
    let unreadable = database.history().records(&app("web")).await.unwrap_err();
    assert!(unreadable.to_string().contains("the machine of web"), "{unreadable}");
}

pub(super) async fn a_sound_database_has_nothing_to_complain_of(place: &Place) {
    let database = place.open().await;
    database.commit_unit(beginning("web", stored(&database, "web").await, 1)).await.unwrap();
    assert_eq!(database.history().integrity().await.unwrap(), [""; 0]);
}

pub(super) async fn nothing_typed_becomes_sql(place: &Place) {
    let database = place.open().await;
    let mut unit = beginning("web", stored(&database, "web").await, 1);
    let typed = "'; DROP TABLE app_configs; -- \" $1 ? %s \\";
    unit.event.error = Some(typed.to_owned());
    unit.current.image = Some(typed.to_owned());
    database.commit_unit(unit.clone()).await.unwrap();
    let current = database.history().current_state(&app("web")).await.unwrap().unwrap();
    assert_eq!(current, unit.current);
    let raw = place.raw().await;
    let count = Statement::from_string(raw.get_database_backend(), "SELECT count(*) FROM app_configs");
    assert!(raw.query_one_raw(count).await.unwrap().is_some());
}
