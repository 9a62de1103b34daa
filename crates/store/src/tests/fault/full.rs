//! A disk with room for so many pages and no more: a tmpfs, which only root can mount.

use crate::tests::fixtures::{at, holder, path_of};
use crate::tests::story::{Story, assert_sound};
use crate::{Archive, ArchiveError, ConnectError, Database, connect};
use dockswap_core::ports::Store;
use dockswap_core::records::{CommitError, StoreError};
use dockswap_proof::{Proof, long};
use sea_orm::ConnectionTrait;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

const PAGE: u64 = 4096;

/// A small file system. `None`, loudly, where none can be mounted.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mounted() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(disk.0.path());
        if !mount.status().is_ok_and(|status| status.success()) {
            eprintln!("\n=== SKIPPED: no full disk was tried: mounting a tmpfs takes root ===\n");
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status().unwrap();
        assert!(done.success());
    }

    /// Fills it up, but for `pages`.
    fn fill(&self, pages: u64) {
        let path = self.path().join("filler");
        let mut filler = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        while filler.write_all(&[1; 4_096]).is_ok() {}
        while filler.write_all(&[1; 4096]).is_ok() {}
        let length = filler.metadata().unwrap().len() / PAGE * PAGE;
        filler.set_len(length.saturating_sub(pages * PAGE)).unwrap();
    }

    fn free(&self) {
        File::create(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// What was begun and given up has left room for a few pages: until that is used up, something small can
/// still be written.
async fn refused_in_the_end(database: &Database) -> Result<(), StoreError> {
    for _ in 0..100 {
        database.try_to_write().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn db_enospc_at_every_page_leaves_whole_transitions_and_passes() {
    let Some(disk) = Disk::mounted() else { return };
    let file = disk.path().join("data/dockswap.db");
    let url = format!("sqlite://{}", file.display());
    let database = connect(&url, &holder()).await.unwrap();
    let raw = sea_orm::Database::connect(&url).await.unwrap();
    let mut story = Story::of(&database, "web", 0).await;
    story.advance(&database).await;
    let mut proof = Proof::of("db.enospc", "disk full at each page of a commit, SQLite on a tmpfs");
    let mut whole = Proof::of("P6", "disk full at each page of a commit, SQLite on a tmpfs");
    let (pages, rounds) = if long() { (60, 20) } else { (24, 3) };
    for trial in 0..pages * rounds {
        raw.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        disk.fill(trial % pages);
        let failed = loop {
            let transition = story.next();
            match database.commit(&transition).await {
                Ok(()) => story.machine = transition.committed(),
                Err(error) => break (transition, error),
            }
        };
        let (transition, error) = failed;
        let CommitError::Store(error) = error else { panic!("{error:?}") };
        disk.fill(0);
        let refused = refused_in_the_end(&database).await;
        let recorded = database.machines().await.unwrap();
        let nothing_of_it = recorded == [story.machine.clone()];
        disk.free();
        let later = database.commit(&transition).await;
        story.machine = transition.committed();
        let sound = database.history().check().await.unwrap();
        if nothing_of_it && sound.is_sound() {
            whole.kept();
        } else {
            whole.broken(format!("trial {trial}: {recorded:?} {:?}", sound.findings));
        }
        match (refused, later) {
            (Err(_), Ok(())) => proof.kept(),
            (refused, later) => {
                proof.broken(format!("trial {trial}: {error:?}, then {refused:?}, {later:?}"));
            }
        }
    }
    database.check_writable().await.unwrap();
    assert_sound(database.history()).await;
    proof.conclude();
    whole.conclude();
}

#[tokio::test]
async fn db_ro_a_read_only_directory_is_named() {
    let Some(disk) = Disk::mounted() else { return };
    let url = format!("sqlite://{}", disk.path().join("data/dockswap.db").display());
    connect(&url, &holder()).await.unwrap().close().await;
    disk.read_only();
    let refused = connect(&url, &holder()).await.map(drop).unwrap_err();
    let told = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(told.contains(&path_of(&url).display().to_string()) && told.contains("Read-only"), "{told}");
    assert!(!matches!(refused, ConnectError::Damaged { .. }));
    dockswap_proof::kept("db.ro", "directory read-only at start, SQLite on a tmpfs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn db_enospc_in_a_backup_leaves_what_was_there_and_nothing_half_written() {
    let Some(disk) = Disk::mounted() else { return };
    let url = format!("sqlite://{}", disk.path().join("data/dockswap.db").display());
    let database = connect(&url, &holder()).await.unwrap();
    let mut story = Story::of(&database, "web", 0).await;
    for _ in 0..20 {
        story.advance(&database).await;
    }
    let archive = Archive::at(disk.path().join("backups"));
    let good = archive.take(database.history(), 1, at(0)).await.unwrap().backup;
    let mut proof = Proof::of("db.enospc", "disk full at each page of a backup, SQLite on a tmpfs");
    let pages = good.bytes / PAGE;
    for room in (0..pages).step_by(if long() { 1 } else { 7 }) {
        disk.fill(room);
        let (round, target) = (i64::try_from(room).unwrap(), disk.path().join("half.db"));
        let copied = database.history().backup_to(&target).await;
        let taken = archive.take(database.history(), 1, at(1 + round)).await;
        let told = matches!(taken, Err(ArchiveError::NoRoom(_)));
        disk.free();
        story.advance(&database).await;
        let left = archive.list().unwrap() == std::slice::from_ref(&good) && !target.exists();
        if copied.is_err() && told && left {
            proof.kept();
        } else {
            proof.broken(format!("{room} pages free: {copied:?}, {taken:?}, left as it was: {left}"));
        }
    }
    assert_sound(database.history()).await;
    let next = archive.take(database.history(), 1, at(1_000_000)).await.unwrap();
    assert_eq!(archive.list().unwrap(), [next.backup]);
    proof.conclude();
    database.close().await;
}
