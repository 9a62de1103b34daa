//! What is special about a file: its rights, its names, its copies, its damage.

use super::fixtures::{Place, app, beginning, config, counts, holder, number, path, scribe, stored};
use crate::write::{Write, Written};
use crate::{BackupError, ConnectError, LeaseError, connect, connect_read_only};
use dockswap_core::ports::Store;
use sea_orm::ConnectionTrait;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_may_read_it() {
    let place = Place::sqlite();
    let database = place.open().await;
    stored(&database, "web").await;
    let path = path(&place);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut files = 0;
    for entry in path.parent().unwrap().read_dir().unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        files += 1;
    }
    assert_eq!(files, 4, "the database, its WAL, its index and its lock");
}

#[tokio::test]
async fn another_name_of_it_is_the_same_database() {
    let place = Place::sqlite();
    let _database = place.open().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.db");
    symlink(path(&place), &link).unwrap();
    let refused = connect(&format!("sqlite://{}", link.display()), &holder()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Lease(LeaseError::Held { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_reader_makes_no_file() {
    let place = Place::sqlite();
    let missing = connect_read_only(&place.url).await.unwrap_err();
    assert!(matches!(missing, ConnectError::Missing { .. }), "{missing:?}");
    assert!(!path(&place).exists());
}

#[tokio::test]
async fn a_copy_is_whole_and_overwrites_nothing() {
    let place = Place::sqlite();
    let database = place.open().await;
    database.commit_unit(beginning("web", stored(&database, "web").await, 1)).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy'; --.db");
    database.history().backup_to(&copy).await.unwrap();
    assert_eq!(mode(&copy), 0o600);
    let again = database.history().backup_to(&copy).await.unwrap_err();
    assert!(matches!(again, BackupError::File { .. }), "{again:?}");

    let copied = connect(&format!("sqlite://{}", copy.display()), &holder()).await.unwrap();
    assert_eq!(copied.newest_configs().await.unwrap(), database.newest_configs().await.unwrap());
    assert_eq!(copied.history().integrity().await.unwrap(), [""; 0]);
    let nowhere = database.history().backup_to(Path::new("/nowhere/copy.db")).await.unwrap_err();
    assert!(matches!(nowhere, BackupError::File { .. }), "{nowhere:?}");
}

#[tokio::test]
async fn damage_is_found_and_told() {
    let place = Place::sqlite();
    let database = place.open().await;
    let config = stored(&database, "web").await;
    database.commit_unit(beginning("web", config, 1)).await.unwrap();
    let raw = place.raw().await;
    raw.execute_unprepared("PRAGMA foreign_keys = OFF").await.unwrap();
    raw.execute_unprepared("DELETE FROM app_configs").await.unwrap();
    let findings = database.history().integrity().await.unwrap();
    assert_eq!(findings, ["row 1 of deployments refers to a row of app_configs that is not there"]);
}

#[tokio::test]
async fn no_database_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "not a database, however you look at it, ".repeat(100)).unwrap();
    let url = format!("sqlite://{}", path.display());
    for refused in [connect(&url, &holder()).await.map(drop), connect_read_only(&url).await.map(drop)] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, ConnectError::Damaged { .. }), "{refused:?}");
        assert!(refused.to_string().contains("notes.txt"), "{refused}");
    }
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_done_and_passes() {
    let place = Place::sqlite();
    let scribe = scribe(&place).await;
    let limit = async |pages: i64| number(&scribe.db, &format!("PRAGMA max_page_count = {pages}")).await;
    let full = number(&scribe.db, "PRAGMA page_count").await;
    for slack in 0..6 {
        limit(full + slack).await;
        let config = Write::Config(config("web", &b"#".repeat(65_536), 0));
        let outcomes = scribe.write_group(&[&config, &config]).await;
        assert!(matches!(outcomes[..], [Err(_), Err(_)]), "{outcomes:?}");
        assert_eq!(number(&scribe.db, "SELECT count(*) FROM app_configs").await, 0);
    }
    limit(1_000_000).await;
    let config = Write::Config(config("web", &b"#".repeat(65_536), 0));
    let outcomes = scribe.write_group(&[&config]).await;
    assert!(matches!(outcomes[..], [Ok(Written::Config(_))]), "{outcomes:?}");
    assert_eq!(number(&scribe.db, "SELECT count(*) FROM app_configs").await, 1);
}

#[tokio::test]
async fn a_write_waits_for_another_program() {
    let place = Place::sqlite();
    let database = place.open().await;
    let config = stored(&database, "web").await;
    let raw = place.raw().await;
    let blocking = crate::transaction::begin_write(&raw).await.unwrap();
    let (committed, ()) = tokio::join!(database.commit_unit(beginning("web", config, 1)), async {
        assert_eq!(database.history().current_state(&app("web")).await.unwrap(), None);
        blocking.commit().await.unwrap();
    });
    committed.unwrap();
    assert_eq!(number(&raw, "SELECT count(*) FROM deployments").await, 1);
    assert_eq!(counts(&place).await, [1; 5]);
}
