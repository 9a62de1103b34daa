//! Backups that are taken by themselves: each is looked at before it counts, the newest few stay. And files that are
//! made smaller.

use super::fixtures::{Place, at, holder, order, path};
use super::story::{Facts, Story, assert_sound, told};
use crate::presence::beside;
use crate::{
    Archive, ArchiveError, Database, ExaminationError, LeaseError, VacuumError, connect_read_only, restore,
    vacuum,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECOND: i64 = 1_000_000;

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn files(archive: &Archive) -> Vec<PathBuf> {
    archive.list().unwrap().into_iter().map(|backup| backup.file).collect()
}

async fn serving(place: &Place) -> Database {
    told(&place.url, 2, 20).await;
    place.open().await
}

#[tokio::test]
async fn a_backup_that_is_taken_can_be_restored_and_the_newest_few_stay() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let archive = Archive::at(path(&place).with_file_name("backups"));
    assert_eq!(archive.list().unwrap(), []);
    let (mut story, mut taken) = (Story::resumed(&database, "app-0", 0).await, Vec::new());
    for round in 0..5 {
        story.advance(&database).await;
        let one = archive.take(database.history(), 3, at(round * SECOND)).await.unwrap();
        assert_eq!((one.apps, one.removed), (2, usize::from(round >= 3)));
        assert!(one.events > 40 && one.backup.bytes > 4_096, "{one:?}");
        assert_eq!(one.newest_deployment, database.history().last_deployment().await.unwrap());
        taken.push(one.backup.file);
    }
    let facts = Facts::of(database.history()).await;
    taken.reverse();
    assert_eq!(files(&archive), taken[..3]);
    // Looking at them has left nothing beside them.
    assert_eq!(names(archive.dir()).len(), 4, "{:?}", names(archive.dir()));
    database.close().await;
    restore(&place.url, &taken[0], &holder(), order("db_restore")).await.unwrap();
    let database = place.open().await;
    assert_eq!(Facts::of(database.history()).await, facts);
    database.close().await;
}

#[tokio::test]
async fn the_new_one_stays_though_the_clock_was_set_back() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let archive = Archive::at(path(&place).with_file_name("backups"));
    let later = archive.take(database.history(), 2, at(9 * SECOND)).await.unwrap().backup.file;
    archive.take(database.history(), 2, at(8 * SECOND)).await.unwrap();
    let new = archive.take(database.history(), 2, at(SECOND)).await.unwrap().backup.file;
    assert_eq!(files(&archive), [later, new.clone()]);
    // Where one alone is kept, it is the one that was just found sound.
    let newest = archive.take(database.history(), 1, at(0)).await.unwrap().backup.file;
    assert_eq!(files(&archive), [newest]);
    database.close().await;
}

#[tokio::test]
async fn what_is_not_sound_is_no_backup_and_takes_no_good_ones_place() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let archive = Archive::at(path(&place).with_file_name("backups"));
    let good = archive.take(database.history(), 1, at(0)).await.unwrap().backup.file;
    let raw = place.raw().await;
    raw.execute_unprepared("UPDATE current_state SET status = 'failed' WHERE app_name = 'app-1'")
        .await
        .unwrap();
    let refused = archive.take(database.history(), 1, at(SECOND)).await.unwrap_err();
    let ArchiveError::Examination(ExaminationError::Unsound { findings }) = &refused else {
        panic!("{refused:?}")
    };
    assert!(findings[0].starts_with("app-1: current_state says failed"), "{findings:?}");
    assert_eq!(names(archive.dir()), ["backups-of", good.file_name().unwrap().to_str().unwrap()]);
    database.close().await;
}

#[tokio::test]
async fn only_backups_are_removed_and_what_a_kill_has_left() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let archive = Archive::at(path(&place).with_file_name("backups"));
    archive.take(database.history(), 1, at(0)).await.unwrap();
    for other in
        ["notes.txt", "dockswap-monday.db", "other.partial", "dockswap-20260101T000000000Z.db.partial"]
    {
        std::fs::write(archive.dir().join(other), "x").unwrap();
    }
    let new = archive.take(database.history(), 1, at(SECOND)).await.unwrap().backup.file;
    let new = new.file_name().unwrap().to_str().unwrap();
    let expected = ["backups-of", new, "dockswap-monday.db", "notes.txt", "other.partial"];
    assert_eq!(names(archive.dir()), expected);
    database.close().await;
}

#[tokio::test]
async fn a_directory_has_the_backups_of_one_database() {
    let (one, other) = (Place::sqlite(), Place::sqlite());
    let (first, second) = (serving(&one).await, serving(&other).await);
    let archive = Archive::at(path(&one).with_file_name("backups"));
    archive.take(first.history(), 1, at(0)).await.unwrap();
    let refused = archive.take(second.history(), 1, at(SECOND)).await.unwrap_err();
    assert!(refused.to_string().contains(&path(&one).display().to_string()), "{refused}");
    assert_eq!(archive.list().unwrap().len(), 1);
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_backup_among_commits_goes_as_far_as_they_did() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let archive = Archive::at(path(&place).with_file_name("backups"));
    let mut story = Story::resumed(&database, "app-0", 0).await;
    for round in 0..5 {
        let (taken, ()) = tokio::join!(archive.take(database.history(), 9, at(round)), async {
            for _ in 0..30 {
                story.advance(&database).await;
            }
        });
        taken.unwrap();
    }
    assert_sound(database.history()).await;
    database.close().await;
}

#[tokio::test]
async fn a_file_gives_back_what_removed_records_have_left() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let raw = place.raw().await;
    raw.execute_unprepared("CREATE TABLE ballast (bytes BLOB)").await.unwrap();
    raw.execute_unprepared("INSERT INTO ballast VALUES (randomblob(4000000))").await.unwrap();
    raw.execute_unprepared("DROP TABLE ballast").await.unwrap();
    raw.close().await.unwrap();
    let facts = Facts::of(database.history()).await;
    let held = vacuum(&place.url, &holder()).await.unwrap_err();
    assert!(matches!(held, VacuumError::Lease(LeaseError::Held { .. })), "{held:?}");
    database.close().await;
    let done = vacuum(&place.url, &holder()).await.unwrap();
    assert!(done.bytes_before > 4_000_000 && done.bytes_after < 1_000_000, "{done:?}");
    assert_eq!(names(path(&place).parent().unwrap()), ["dockswap.db", "dockswap.db.lock"]);
    let database = place.open().await;
    assert_eq!(Facts::of(database.history()).await, facts);
    assert_sound(database.history()).await;
    database.close().await;
    let again = vacuum(&place.url, &holder()).await.unwrap();
    assert_eq!(again.bytes_after, done.bytes_after);
}

#[tokio::test]
async fn a_file_whose_records_do_not_fit_together_is_left_as_it_is() {
    let place = Place::sqlite();
    serving(&place).await.close().await;
    let raw = place.raw().await;
    raw.execute_unprepared("UPDATE app_configs SET config_sha = '00'").await.unwrap();
    raw.close().await.unwrap();
    let refused = vacuum(&place.url, &holder()).await.unwrap_err();
    assert!(matches!(refused, VacuumError::Examination(ExaminationError::Unsound { .. })), "{refused:?}");
    assert!(!beside(&path(&place), ".smaller").exists());
    assert_eq!(connect_read_only(&place.url).await.unwrap().check().await.unwrap().findings.len(), 2);
}

#[tokio::test]
async fn a_schema_without_what_keeps_the_records_is_found() {
    let place = Place::sqlite();
    serving(&place).await.close().await;
    let raw = place.raw().await;
    // What somebody else has added is theirs.
    raw.execute_unprepared("CREATE TABLE notes (text TEXT)").await.unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'deployment_events' ORDER BY name";
    let rows = raw.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    let [first, second, ..] = names.as_slice() else { panic!("{names:?}") };
    assert_sound(&connect_read_only(&place.url).await.unwrap()).await;
    raw.execute_unprepared(&format!("DROP TRIGGER {first}")).await.unwrap();
    raw.execute_unprepared(&format!("DROP TRIGGER {second}")).await.unwrap();
    let kept = format!("CREATE TRIGGER {second} BEFORE UPDATE ON deployment_events BEGIN SELECT 1; END");
    raw.execute_unprepared(&kept).await.unwrap();
    raw.close().await.unwrap();
    let verdict = connect_read_only(&place.url).await.unwrap().check().await.unwrap();
    let lacks = format!("the schema lacks the trigger {first}");
    let other = format!("the trigger {second} of the schema is not what it was");
    assert_eq!(verdict.findings, [lacks, other]);
}

#[tokio::test]
async fn what_takes_long_is_counted_by_what_it_was_for() {
    let place = Place::sqlite();
    let database = serving(&place).await;
    let mut story = Story::resumed(&database, "app-0", 0).await;
    story.advance(&database).await;
    assert_eq!(database.slow_operations(), []);
    database.tell_slow(Duration::from_nanos(1));
    database.history().last_deployment().await.unwrap();
    story.advance(&database).await;
    // Looks at everything take their time, and are not told.
    database.history().used_bytes().await.unwrap();
    assert_eq!(database.slow_operations(), [("commit a transition", 1), ("read the last deployment", 1)]);
    database.tell_slow(Duration::ZERO);
    database.history().last_deployment().await.unwrap();
    assert_eq!(database.slow_operations().len(), 2);
    assert_eq!(database.slow_operations()[1].1, 1);
    database.close().await;
}
