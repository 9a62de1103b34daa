//! Backups, and the way back to them.

use super::fixtures::{Place, at, holder, order, path, path_of};
use super::story::{Facts, Story, assert_sound, told};
use super::tokens::token;
use crate::audit::AuditScope;
use crate::history::Page;
use crate::presence::beside;
use crate::{
    LeaseError, RestoreError, SchemaError, connect_checked, connect_read_only, migrate_down, restore,
};
use sea_orm::ConnectionTrait;
use std::path::{Path, PathBuf};

/// A backup of a database that has been written to since, and what it says.
async fn backup(place: &Place, to: &Path) -> Facts {
    told(&place.url, 2, 20).await;
    let database = place.open().await;
    database.history().backup_to(to).await.unwrap();
    let facts = Facts::of(database.history()).await;
    let mut story = Story::resumed(&database, "app-0", 0).await;
    for _ in 0..9 {
        story.advance(&database).await;
    }
    database.close().await;
    facts
}

async fn facts(place: &Place) -> Facts {
    let database = connect_checked(&place.url, &holder()).await.unwrap();
    let facts = Facts::of(database.history()).await;
    database.close().await;
    facts
}

fn files(place: &Place) -> Vec<String> {
    let entries = path(place).parent().unwrap().read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // These come and go with the connections.
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[tokio::test]
async fn what_was_backed_up_comes_back_and_what_was_here_is_kept() {
    let place = Place::sqlite();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.db");
    let then = backup(&place, &file).await;
    let now = facts(&place).await;
    assert_ne!(then, now);
    let restored = restore(&place.url, &file, &holder(), order("db_restore")).await.unwrap();
    assert_eq!((restored.apps, restored.migrated.len()), (2, 0));
    assert!(restored.deployments > 2 && restored.until.is_some_and(|at| at.starts_with("2026-11-21T")));
    assert_eq!(facts(&place).await, then);
    let kept = restored.kept.unwrap();
    assert!(kept.display().to_string().contains("dockswap.db.before-restore-"), "{}", kept.display());
    let undone = restore(&place.url, &kept, &holder(), order("db_restore")).await.unwrap();
    assert_eq!(facts(&place).await, now);
    assert!(undone.kept.is_some_and(|other| other != kept));
}

#[tokio::test]
async fn a_backup_that_is_taken_while_much_is_written_is_whole() {
    let place = Place::sqlite();
    let database = place.open().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let mut proof =
        dockswap_proof::Proof::of("P5", "backups among commits, each restored and replayed, SQLite");
    for round in 0..10 {
        let file = elsewhere.path().join(format!("{round}.db"));
        let before = story.machine.version().0;
        let (copied, ()) = tokio::join!(database.history().backup_to(&file), async {
            for _ in 0..20 {
                story.advance(&database).await;
            }
        });
        copied.unwrap();
        let url = format!("sqlite://{}", elsewhere.path().join(format!("{round}-restored.db")).display());
        restore(&url, &file, &holder(), order("db_restore")).await.unwrap();
        let history = connect_read_only(&url).await.unwrap();
        assert_sound(&history).await;
        let version = Facts::of(&history).await.versions()[0];
        if (before..=story.machine.version().0).contains(&version) {
            proof.kept();
        } else {
            proof.broken(format!("version {version}, begun at {before}"));
        }
    }
    proof.conclude();
}

#[tokio::test]
async fn nothing_is_restored_while_a_controller_runs() {
    let place = Place::sqlite();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.db");
    backup(&place, &file).await;
    let controller = place.open().await;
    let before = files(&place);
    let refused = restore(&place.url, &file, &holder(), order("db_restore")).await.unwrap_err();
    let RestoreError::Lease(LeaseError::Held { holder: named }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*named, holder().to_string());
    assert_eq!(files(&place), before);
    controller.check_writable().await.unwrap();
}

#[tokio::test]
async fn what_is_not_sound_is_not_restored() {
    let place = Place::sqlite();
    let elsewhere = tempfile::tempdir().unwrap();
    let good = elsewhere.path().join("good.db");
    backup(&place, &good).await;
    let now = facts(&place).await;
    let before = files(&place);
    let bytes = std::fs::read(&good).unwrap();
    let written = |name: &str, bytes: &[u8]| -> PathBuf {
        let file = elsewhere.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let altered = async |name: &str, sql: &str| {
        let file = written(name, &bytes);
        let raw = sea_orm::Database::connect(format!("sqlite://{}", file.display())).await.unwrap();
        raw.execute_unprepared(sql).await.unwrap();
        raw.close().await.unwrap();
        file
    };
    let cut = written("cut.db", &bytes[..bytes.len() / 2]);
    let text = written("notes.txt", b"no database, however long one looks at it");
    let empty = written("empty.db", b"");
    let state = altered("state.db", "UPDATE current_state SET status = 'failed'").await;
    let file = altered("file.db", "UPDATE app_configs SET config_yaml = X'00'").await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m2099_x', 0)";
    let newer = altered("newer.db", newer).await;
    let strange = written("strange.db", b"");
    let raw = sea_orm::Database::connect(format!("sqlite://{}", strange.display())).await.unwrap();
    raw.execute_unprepared("CREATE TABLE notes (text)").await.unwrap();
    raw.close().await.unwrap();
    for (backup, is_expected) in [
        (
            &cut,
            (|e| matches!(e, RestoreError::Damaged { .. } | RestoreError::Foreign { .. })) as fn(&_) -> bool,
        ),
        (&text, |e| matches!(e, RestoreError::Foreign { .. })),
        (&empty, |e| matches!(e, RestoreError::Foreign { source: None, .. })),
        (&strange, |e| matches!(e, RestoreError::Foreign { source: None, .. })),
        (&state, |e| matches!(e, RestoreError::Damaged { .. })),
        (&file, |e| matches!(e, RestoreError::Damaged { .. })),
        (&newer, |e| matches!(e, RestoreError::Schema(SchemaError::Newer { .. }))),
        (&elsewhere.path().join("none.db"), |e| matches!(e, RestoreError::Backup { .. })),
        (&elsewhere.path().to_owned(), |e| matches!(e, RestoreError::Backup { .. })),
        (&path(&place), |e| matches!(e, RestoreError::Itself { .. })),
    ] {
        let refused = restore(&place.url, backup, &holder(), order("db_restore")).await.unwrap_err();
        assert!(is_expected(&refused), "{}: {refused:?}", backup.display());
        assert_eq!(files(&place), before, "{}", backup.display());
    }
    assert_eq!(facts(&place).await, now);
    let elsewhere = restore("postgres://db/x", &good, &holder(), order("db_restore")).await.unwrap_err();
    assert!(elsewhere.to_string().contains("pg_restore"), "{elsewhere}");
}

#[tokio::test]
async fn an_older_backup_is_brought_up_to_date_and_a_damaged_database_replaced() {
    let place = Place::sqlite();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.db");
    backup(&place, &file).await;
    migrate_down(&format!("sqlite://{}", file.display()), &holder(), 1).await.unwrap();
    std::fs::write(path(&place), "damaged ".repeat(2_000)).unwrap();
    connect_checked(&place.url, &holder()).await.unwrap_err();
    std::fs::write(beside(&path(&place), "-wal"), "an old log").unwrap();
    let restored = restore(&place.url, &file, &holder(), order("db_restore")).await.unwrap();
    assert_eq!(restored.migrated.len(), 1);
    let kept = restored.kept.unwrap();
    assert!(std::fs::read(&kept).unwrap().starts_with(b"damaged "));
    assert_eq!(std::fs::read(beside(&kept, "-wal")).unwrap(), b"an old log");
    facts(&place).await;
}

#[tokio::test]
async fn a_restore_that_is_interrupted_is_finished_by_whoever_opens_it() {
    for step in 0..4 {
        let place = Place::sqlite();
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("monday.db");
        let then = backup(&place, &file).await;
        let now = path(&place);
        let log = beside(&now, "-wal");
        std::fs::write(&log, "the old log").unwrap();
        std::fs::copy(&file, beside(&now, if step == 0 { ".incoming" } else { ".restoring" })).unwrap();
        if step > 1 {
            std::fs::rename(&log, elsewhere.path().join("log")).unwrap();
        }
        if step > 2 {
            std::fs::rename(&now, elsewhere.path().join("database")).unwrap();
        }
        // Before it counted, it counts for nothing; from then on it is the database.
        assert_eq!(facts(&place).await == then, step > 0, "step {step}");
        assert!(!path_of(&place.url).with_extension("db.restoring").exists());
    }
}

#[tokio::test]
async fn what_was_taken_away_since_a_backup_stays_away() {
    let place = Place::sqlite();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.db");
    let database = place.open().await;
    for (number, name) in [(1, "kept"), (2, "revoked"), (3, "narrowed")] {
        database.create_token(token(name, number), None).await.unwrap();
    }
    database.history().backup_to(&file).await.unwrap();
    database.revoke_token(&token("revoked", 2).id, "uid:0(root)", at(9), None).await.unwrap();
    database.create_token(token("later", 4), None).await.unwrap();
    database.close().await;
    let raw = place.raw().await;
    raw.execute_unprepared("DELETE FROM token_grants WHERE token_id = 'Token0000003' AND project = 'shop'")
        .await
        .unwrap();
    raw.close().await.unwrap();

    let restored = restore(&place.url, &file, &holder(), order("db_restore")).await.unwrap();
    assert_eq!(
        (restored.tokens_revoked.as_slice(), restored.grants_lost),
        (["revoked".to_owned()].as_slice(), 1)
    );
    let history = connect_read_only(&place.url).await.unwrap();
    let tokens = history.tokens(Page::first(9)).await.unwrap();
    let good: Vec<_> = tokens
        .iter()
        .filter(|row| row.revoked_at.is_none())
        .map(|row| (row.name.as_str(), row.grants.0.len()))
        .collect();
    assert_eq!(good, [("narrowed", 1), ("kept", 2)]);
    let rows = history.audit(&AuditScope::default(), Page::first(9)).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].record.detail["tokens_revoked"], serde_json::json!(["revoked"]));
}

#[tokio::test]
async fn where_nobody_knows_which_tokens_are_good_none_is() {
    let (place, other) = (Place::sqlite(), Place::sqlite());
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.db");
    let database = place.open().await;
    database.create_token(token("ci", 1), None).await.unwrap();
    database.history().backup_to(&file).await.unwrap();
    database.close().await;
    let nothing = restore(&other.url, &file, &holder(), order("db_restore")).await.unwrap();
    assert_eq!(nothing.tokens_revoked, ["ci"]);
    std::fs::write(path(&place), b"this is no database").unwrap();
    let damaged = restore(&place.url, &file, &holder(), order("db_restore")).await.unwrap();
    assert_eq!(damaged.tokens_revoked, ["ci"]);
}
