//! The schema: what it has, what it refuses, how it comes and goes.

use super::fixtures::{Place, app, beginning, holder, stored, success, texts};
use crate::audit::{self, AuditScope};
use crate::history::{
    EventScope, Page, config_summaries, deployments_of, events_after, newest_configs, newest_events,
};
use crate::{
    ConnectError, SchemaError, connect, connect_read_only, migrate_down, migrate_up, migration_status,
};
use crate::{postgres, schema, sqlite};
use dockswap_core::DeploymentId;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryTrait};

const CONTRACT: [(&str, &[&str]); 4] = [
    ("app_configs", &["id", "app_name", "config_yaml", "config_sha", "created_at"]),
    (
        "deployments",
        &[
            "id",
            "app_name",
            "config_id",
            "image",
            "started_at",
            "ended_at",
            "status",
            "active_color",
            "rollback_of",
        ],
    ),
    (
        "deployment_events",
        &["id", "deployment_id", "app_name", "event_type", "payload", "error", "created_at"],
    ),
    ("current_state", &["app_name", "deployment_id", "active_color", "image", "status", "updated_at"]),
];

/// PRODUCT.md, section 4, word for word.
const CONTRACT_SQL: [&str; 4] = [
    "SELECT * FROM current_state;",
    "SELECT * FROM deployments WHERE app_name = 'web-api' ORDER BY started_at DESC;",
    "SELECT * FROM deployment_events WHERE deployment_id = 1 ORDER BY created_at ASC;",
    "SELECT * FROM app_configs WHERE app_name = 'web-api' ORDER BY created_at DESC;",
];

const NEWER: &str = "m20991231_000001_from_the_future";

async fn columns(place: &Place, raw: &DatabaseConnection, table: &str) -> Vec<String> {
    let sql = if place.is_sqlite() {
        format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid")
    } else {
        format!(
            "SELECT column_name::text FROM information_schema.columns
             WHERE table_name = '{table}' ORDER BY ordinal_position"
        )
    };
    texts(raw, &sql).await
}

pub(super) async fn the_four_tables_have_exactly_the_columns_of_the_contract(place: &Place) {
    let _database = place.open().await;
    let raw = place.raw().await;
    for (table, expected) in CONTRACT {
        assert_eq!(columns(place, &raw, table).await, expected, "{table}");
    }
    for sql in CONTRACT_SQL {
        raw.execute_unprepared(sql).await.unwrap();
    }
}

/// A database with one deployment that serves.
async fn served(place: &Place) -> DatabaseConnection {
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let first = beginning("web", config, 1);
    database.commit_unit(first.clone()).await.unwrap();
    database.commit_unit(success(&first)).await.unwrap();
    database.close().await;
    place.raw().await
}

async fn refused(raw: &DatabaseConnection, sql: &str) -> String {
    raw.execute_unprepared(sql).await.expect_err(sql).to_string().to_lowercase()
}

pub(super) async fn events_cannot_be_changed_or_removed(place: &Place) {
    let raw = served(place).await;
    let mut attempts = vec![
        "UPDATE deployment_events SET error = 'nothing happened' WHERE id = 1",
        "UPDATE deployment_events SET payload = '{}'",
        "DELETE FROM deployment_events WHERE id = 1",
        "DELETE FROM deployment_events",
    ];
    if place.is_sqlite() {
        attempts
            .push("INSERT OR REPLACE INTO deployment_events SELECT * FROM deployment_events WHERE id = 1");
    } else {
        attempts.push("TRUNCATE deployment_events");
    }
    let before = texts(&raw, "SELECT CAST(payload AS text) FROM deployment_events ORDER BY id").await;
    assert_eq!(before.len(), 2);
    for sql in attempts {
        assert!(refused(&raw, sql).await.contains("append-only"), "{sql}");
    }
    let after = texts(&raw, "SELECT CAST(payload AS text) FROM deployment_events ORDER BY id").await;
    assert_eq!(before, after);
}

pub(super) async fn foreign_keys_hold(place: &Place) {
    let raw = served(place).await;
    let time = "'2026-11-21T07:38:26.123456Z'";
    for sql in [
        format!(
            "INSERT INTO deployments (id, app_name, config_id, image, started_at, status, active_color)
             VALUES (9, 'web', 99, 'web:v1', {time}, 'success', 'blue')"
        ),
        "UPDATE deployments SET rollback_of = 99".to_owned(),
        format!(
            "INSERT INTO deployment_events (deployment_id, app_name, event_type, payload, created_at)
             VALUES (99, 'web', 'deploy', '{{}}', {time})"
        ),
        "UPDATE current_state SET deployment_id = 99".to_owned(),
        "INSERT INTO deployment_images (deployment_id, image_id) VALUES (99, 'sha256:1')".to_owned(),
        "DELETE FROM app_configs".to_owned(),
        "DELETE FROM deployments".to_owned(),
    ] {
        assert!(refused(&raw, &sql).await.contains("foreign key"), "{sql}");
    }
}

pub(super) async fn only_known_statuses_colors_and_times_are_taken(place: &Place) {
    let raw = served(place).await;
    for sql in [
        "UPDATE deployments SET status = 'done'",
        "UPDATE deployments SET active_color = 'red'",
        "UPDATE current_state SET active_color = 'Blue'",
        "UPDATE deployments SET started_at = '2026-11-21 07:38:26'",
        "UPDATE deployments SET ended_at = ''",
        "INSERT INTO controller_lease (id, epoch) VALUES (2, 1)",
    ] {
        assert!(refused(&raw, sql).await.contains("check constraint"), "{sql}");
    }
    let fine = "UPDATE deployments SET status = 'cancelled', active_color = 'green', ended_at = NULL";
    raw.execute_unprepared(fine).await.unwrap();
}

pub(super) async fn what_goes_up_comes_down(place: &Place) {
    let raw = served(place).await;
    raw.close().await.unwrap();
    let status = migration_status(&place.url).await.unwrap();
    assert!(status.pending.is_empty() && status.unknown.is_empty(), "{status:?}");
    let steps = u32::try_from(status.applied.len()).unwrap();
    for left in (0..steps).rev() {
        let status = migrate_down(&place.url, &holder(), 1).await.unwrap();
        assert_eq!(status.applied.len(), usize::try_from(left).unwrap());
    }
    let raw = place.raw().await;
    let tables = if place.is_sqlite() {
        "SELECT name FROM sqlite_schema WHERE type <> 'index' AND name NOT LIKE 'sqlite_%'"
    } else {
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
         UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    };
    assert_eq!(texts(&raw, tables).await, ["seaql_migrations"]);
    let before = migrate_up(&place.url, &holder()).await.unwrap();
    assert_eq!(before.pending.len(), usize::try_from(steps).unwrap());
    place.open().await.close().await;
}

pub(super) async fn a_newer_schema_is_refused(place: &Place) {
    let raw = served(place).await;
    let newer = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{NEWER}', 0)");
    raw.execute_unprepared(&newer).await.unwrap();
    raw.close().await.unwrap();
    let is_newer = |error: ConnectError| {
        assert!(error.to_string().contains(NEWER), "{error}");
        assert!(matches!(error, ConnectError::Schema(SchemaError::Newer { .. })), "{error:?}");
    };
    is_newer(connect(&place.url, &holder()).await.unwrap_err());
    is_newer(connect_read_only(&place.url).await.unwrap_err());
    is_newer(migrate_up(&place.url, &holder()).await.unwrap_err());
    is_newer(migrate_down(&place.url, &holder(), 1).await.unwrap_err());
    assert_eq!(migration_status(&place.url).await.unwrap().unknown, [NEWER]);
}

pub(super) async fn a_reader_refuses_an_older_schema(place: &Place) {
    served(place).await.close().await.unwrap();
    migrate_down(&place.url, &holder(), 1).await.unwrap();
    let refused = connect_read_only(&place.url).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Schema(SchemaError::Older { ref pending }) if pending.len() == 1)
    );
}

pub(super) async fn two_migrators_at_once_do_it_once(place: &Place) {
    let pool = async || match place.url.parse().unwrap() {
        crate::location::Location::Sqlite(path) => {
            sqlite::create(&path).unwrap();
            sqlite::open(&path, sqlite::Access::Write).await.unwrap()
        }
        crate::location::Location::Postgres(options) => {
            postgres::open(&options, sqlite::Access::Write).await.unwrap()
        }
    };
    let (one, other) = (pool().await, pool().await);
    let (first, second) = tokio::join!(schema::up(&one), schema::up(&other));
    let mut found = [first.unwrap().pending.len(), second.unwrap().pending.len()];
    found.sort_unstable();
    assert!(found[0] == 0 && found[1] > 0, "{found:?}");
}

pub(super) async fn every_query_has_its_index(place: &Place) {
    let raw = served(place).await;
    let backend = raw.get_database_backend();
    let page = Page { limit: 20, offset: 40 };
    let web = EventScope::App(app("web"));
    let first = EventScope::Deployment(DeploymentId(1));
    let mut queries: Vec<String> = CONTRACT_SQL[1..].iter().map(|sql| (*sql).to_owned()).collect();
    queries.extend([
        deployments_of(&app("web"), page).build(backend).to_string(),
        newest_events(&web, page).build(backend).to_string(),
        newest_events(&first, page).build(backend).to_string(),
        events_after(&EventScope::All, 7).build(backend).to_string(),
        events_after(&web, 7).build(backend).to_string(),
        events_after(&first, 7).build(backend).to_string(),
        config_summaries(&app("web"), page).build(backend).to_string(),
        audit::newest(&AuditScope { app: Some(app("web")), actor: None }, page).build(backend).to_string(),
        audit::newest(&AuditScope { app: None, actor: Some("token:ci".to_owned()) }, page)
            .build(backend)
            .to_string(),
    ]);
    for query in &queries {
        let plan = plan(&raw, query).await;
        // What a deep page passes over is counted in an index that has all that is asked for.
        if query.contains("OFFSET") {
            assert!(plan.contains("COVERING INDEX") || plan.contains("Index Only Scan"), "{query}\n{plan}");
        }
        for costly in ["SCAN", "TEMP B-TREE", "Seq Scan", "Sort"] {
            assert!(!plan.contains(costly), "{query}\n{plan}");
        }
    }
    // These read one entry an app, or the newest few of all: an index, and nothing sorted.
    let everywhere = [
        newest_configs().build(backend).to_string(),
        newest_events(&EventScope::All, page).build(backend).to_string(),
        audit::newest(&AuditScope::default(), page).build(backend).to_string(),
    ];
    for query in everywhere {
        let plan = plan(&raw, &query).await;
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("Seq Scan"), "{query}\n{plan}");
    }
}

async fn plan(raw: &DatabaseConnection, query: &str) -> String {
    if raw.get_database_backend() == DbBackend::Sqlite {
        let explain = format!("EXPLAIN QUERY PLAN {query}");
        let rows =
            raw.query_all_raw(sea_orm::Statement::from_string(DbBackend::Sqlite, explain)).await.unwrap();
        return rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap() + "\n").collect();
    }
    // So small a table would be read whole: what counts is that there is an index to use.
    raw.execute_unprepared("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    texts(raw, &format!("EXPLAIN {query}")).await.join("\n")
}
