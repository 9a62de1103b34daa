//! Somebody else has the database's lock: a write waits, or is refused in time, and is never half done.

use crate::tests::cluster::Cluster;
use crate::tests::fixtures::Place;
use crate::tests::story::{Chance, Story, assert_sound};
use crate::transaction::begin_write;
use dockswap_core::ports::Store;
use dockswap_core::records::{CommitError, StoreError};
use dockswap_proof::{Proof, long};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use std::time::Duration;
use tokio::time::sleep;

async fn lock(place: &Place) -> DatabaseTransaction {
    let held = begin_write(&place.raw().await).await.unwrap();
    if !place.is_sqlite() {
        held.execute_unprepared("LOCK TABLE app_machines IN ACCESS EXCLUSIVE MODE").await.unwrap();
    }
    held
}

/// Holds the lock for `held`, while a commit has `patience`. Whether it went through.
async fn trial(
    place: &Place,
    database: &crate::Database,
    story: &mut Story,
    held: Duration,
) -> Result<(), StoreError> {
    let blocking = lock(place).await;
    let transition = story.next();
    let (committed, ()) = tokio::join!(database.commit(&transition), async {
        sleep(held).await;
        blocking.rollback().await.unwrap();
    });
    match committed {
        Ok(()) => {
            story.machine = transition.committed();
            Ok(())
        }
        Err(CommitError::Store(error)) => {
            // It may be written all the same, and then as a whole: what is on record counts.
            story.machine = database.machines().await.unwrap().remove(0);
            Err(error)
        }
        // What was late the last time is written by now.
        Err(CommitError::Conflict { .. }) => {
            story.machine = database.machines().await.unwrap().remove(0);
            Ok(())
        }
    }
}

async fn short_locks(place: &Place, setting: &str) {
    let database = place.open().await;
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let database = database.with_deadline(Duration::from_millis(500));
    let mut proof = Proof::of("db.busy", setting);
    let mut late = 0;
    for seed in 0..if long() { 200 } else { 20 } {
        let held = Duration::from_millis(u64::try_from(Chance::of(seed).below(1_000)).unwrap());
        match trial(place, &database, &mut story, held).await {
            Ok(()) => proof.kept(),
            Err(StoreError::TimedOut { .. }) => {
                late += 1;
                proof.kept();
            }
            Err(error) => proof.broken(format!("seed {seed}, {held:?}: {error:?}")),
        }
    }
    assert!(late > 0, "the deadline never came");
    assert_sound(database.history()).await;
    proof.conclude();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn db_busy_a_write_is_done_later_or_refused_never_half_on_sqlite() {
    short_locks(&Place::sqlite(), "another holds the lock around the deadline, SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn db_busy_a_write_is_done_later_or_refused_never_half_on_postgres() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::postgres(&cluster, "busy").await;
    short_locks(&place, "another holds the lock around the deadline, PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn db_busy_a_second_is_not_noticed_and_a_minute_delays() {
    let place = Place::sqlite();
    let database = place.open().await;
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let mut proof =
        Proof::of("db.busy", "another holds the lock for a second, and beyond the busy timeout, SQLite");
    match trial(&place, &database, &mut story, Duration::from_secs(1)).await {
        Ok(()) => proof.kept(),
        Err(error) => proof.broken(error),
    }
    let beyond = Duration::from_secs(if long() { 60 } else { 7 });
    match trial(&place, &database, &mut story, beyond).await {
        Err(StoreError::TimedOut { .. }) => proof.kept(),
        other => proof.broken(format!("{other:?}")),
    }
    assert_sound(database.history()).await;
    proof.conclude();
}
