//! A connection that is lost in the middle of a commit, and a session that is lost while it holds
//! the lease: PostgreSQL behind a wire that can be cut.

use super::cluster::{Cluster, url};
use super::fixtures::{Place, beginning, counts, holder, stored, success};
use super::story::{Chance, Story, assert_sound};
use crate::lease::Lease;
use crate::{connect, postgres};
use dockswap_core::ports::Store;
use dockswap_core::records::{CommitError, StoreError};
use dockswap_proof::{Proof, long};
use sea_orm::ConnectionTrait;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const WHOLE: u8 = 0;
const CUT_BEFORE_THE_SERVER: u8 = 1;
const CUT_AFTER_THE_SERVER: u8 = 2;

/// A wire between us and the server, which is cut at the next commit.
struct Wire {
    directory: tempfile::TempDir,
    cut: Arc<AtomicU8>,
}

impl Wire {
    fn to(cluster: &Cluster) -> Self {
        let directory = tempfile::Builder::new().prefix("wire").tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let server = cluster.socket_directory().join(".s.PGSQL.5432");
        let cut = Arc::new(AtomicU8::new(WHOLE));
        let when = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), Arc::clone(&when)));
            }
        });
        Self { directory, cut }
    }
}

async fn carry(mut client: UnixStream, server: PathBuf, cut: Arc<AtomicU8>) {
    let mut server = UnixStream::connect(server).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let commits = asked[..length].windows(6).any(|bytes| bytes == b"COMMIT");
                let when = if commits { cut.swap(WHOLE, Ordering::SeqCst) } else { WHOLE };
                if when == CUT_BEFORE_THE_SERVER {
                    return;
                }
                server.write_all(&asked[..length]).await.unwrap();
                if when == CUT_AFTER_THE_SERVER {
                    // The server has done it and says so, and nobody hears.
                    assert!(server.read(&mut answered).await.unwrap() > 0);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::postgres(&cluster, "lost").await;
    let wire = Wire::to(&cluster);
    let database = connect(&url(wire.directory.path(), "lost"), &holder()).await.unwrap();
    let config = stored(&database, "web").await;
    let first = beginning("web", config, 1);

    wire.cut.store(CUT_BEFORE_THE_SERVER, Ordering::SeqCst);
    let lost = database.commit_unit(first.clone()).await.unwrap_err();
    assert!(matches!(lost, CommitError::Store(StoreError::Failed { .. })), "{lost:?}");
    assert_eq!(counts(&place).await, [0; 5]);

    wire.cut.store(CUT_AFTER_THE_SERVER, Ordering::SeqCst);
    database.commit_unit(first.clone()).await.unwrap();
    assert_eq!(wire.cut.load(Ordering::SeqCst), WHOLE, "the wire was cut");
    assert_eq!(counts(&place).await, [1; 5]);

    wire.cut.store(CUT_AFTER_THE_SERVER, Ordering::SeqCst);
    database.commit_unit(success(&first)).await.unwrap();
    assert_eq!(counts(&place).await, [1, 2, 2, 1, 1]);

    wire.cut.store(CUT_AFTER_THE_SERVER, Ordering::SeqCst);
    let newer = stored(&database, "web").await;
    assert!(newer > config);
    assert_eq!(database.newest_configs().await.unwrap()[0].id, newer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_lost_takes_its_lock_again() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::postgres(&cluster, "session").await;
    place.open().await.close().await;
    let crate::location::Location::Postgres(options) = place.url.parse().unwrap() else { panic!() };
    let db = postgres::open(&options, crate::sqlite::Access::Write).await.unwrap();
    let mut session = Lease::of_session(&options, &db).await.unwrap();
    let epoch = session.epoch().await.unwrap();
    let raw = place.raw().await;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'";
    raw.execute_unprepared(end).await.unwrap();
    session.epoch().await.unwrap_err();
    session.forget();
    assert_eq!(session.epoch().await.unwrap(), epoch);
    let held = Lease::of_session(&options, &db).await.map(drop).unwrap_err();
    assert!(held.to_string().contains("pid 71"), "{held}");

    // A session that finds another's epoch says so, and lets go of the lock.
    let (announce, mut fenced) = tokio::sync::watch::channel(false);
    let lease = Lease::keep(session, epoch - 1, announce);
    fenced.wait_for(|&is_fenced| is_fenced).await.unwrap();
    lease.release().await;
    Lease::of_session(&options, &db).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_db_pgdrop_a_commit_is_never_written_twice() {
    let Some(cluster) = Cluster::start() else { return };
    let _place = Place::postgres(&cluster, "pgdrop").await;
    let wire = Wire::to(&cluster);
    let database = connect(&url(wire.directory.path(), "pgdrop"), &holder()).await.unwrap();
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let mut proof = Proof::of("db.pgdrop", "connection cut before or after the server's commit, PostgreSQL");
    for seed in 0..if long() { 500 } else { 60 } {
        let cut = [CUT_BEFORE_THE_SERVER, CUT_AFTER_THE_SERVER][Chance::of(seed).below(2)];
        let transition = story.next();
        wire.cut.store(cut, Ordering::SeqCst);
        let committed = database.commit(&transition).await;
        assert_eq!(wire.cut.load(Ordering::SeqCst), WHOLE, "the wire was cut");
        let recorded = database.machines().await.unwrap().remove(0);
        match (cut, committed) {
            (CUT_AFTER_THE_SERVER, Ok(())) if recorded == *transition.after() => proof.kept(),
            (CUT_BEFORE_THE_SERVER, Err(CommitError::Store(_))) if recorded == story.machine => proof.kept(),
            (cut, committed) => proof.broken(format!("seed {seed}, cut {cut}: {committed:?}")),
        }
        story.machine = recorded;
    }
    assert_sound(database.history()).await;
    proof.conclude();
}
