//! Putting a backup in the place of a SQLite database. What was there is kept under another name, and a
//! restore that is interrupted half way is finished by whoever opens the database next: at no moment
//! can anybody take an empty file for the records, or an old log for the new file's.

use crate::carry_over::{Good, carry_over, good_tokens};
use crate::error::{ConnectError, LeaseError, SchemaError};
use crate::history::{EventScope, History, Page};
use crate::lease::{Holder, Lease};
use crate::location::Location;
use crate::presence::beside;
use crate::schema;
use crate::sqlite::{self, Access};
use crate::stamp::Stamp;
use chrono::{DateTime, Utc};
use dockswap_core::audit::AuditRecord;
use dockswap_core::records::StoreError;
use sea_orm::{ConnectionTrait, PaginatorTrait};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A copy that is being made and looked at. It counts for nothing.
const INCOMING: &str = ".incoming";

/// A copy of the database that is replaced, as long as it is looked at. It counts for nothing.
const OUTGOING: &str = ".outgoing";

/// A copy that was found sound and takes the database's place: from here on there is no way back.
const RESTORING: &str = ".restoring";

/// What a restore has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where the database is.
    pub database: PathBuf,
    /// Where the one is that was there before.
    pub kept: Option<PathBuf>,
    /// When the newest event on record was written: RFC 3339.
    pub until: Option<String>,
    /// How many apps are on record.
    pub apps: usize,
    /// How many deployments.
    pub deployments: u64,
    /// The names of tokens that were good when the backup was made, and are revoked now: the database that was here
    /// did not know them as good.
    pub tokens_revoked: Vec<String>,
    /// How many grants other tokens have lost for the same reason.
    pub grants_lost: usize,
    /// The migrations that the backup lacked.
    pub migrated: Vec<String>,
}

/// Why nothing was restored. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// PostgreSQL has better tools.
    #[error("this is done for SQLite only: use pg_restore for PostgreSQL, while no controller runs")]
    NotSqlite,
    /// `database_url` names no database.
    #[error(transparent)]
    Url(ConnectError),
    /// A controller has the database, or that cannot be told.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The backup cannot be read.
    #[error("{path} cannot be read")]
    Backup {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The backup is the database itself.
    #[error("{path} is the database itself")]
    Itself {
        /// Which.
        path: PathBuf,
    },
    /// The backup is no database, or none of dockswap's.
    #[error("{path} is no database of dockswap's")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// The cause, where there is one.
        #[source]
        source: Option<ConnectError>,
    },
    /// A newer dockswap has made the backup, or its schema cannot be brought up to date.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The backup is damaged.
    #[error("{path} is damaged: {}", findings.join("; "))]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        findings: Vec<String>,
    },
    /// The copy cannot be looked at.
    #[error("the backup could not be looked at")]
    Look(#[from] StoreError),
    /// A file beside the database cannot be written.
    #[error("{path} cannot be written")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Puts a copy of `backup` in the place of the database at `url`, in `holder`'s name, after it was found
/// sound and `order` was put on record in it. What was taken away from tokens since the backup was made stays away.
/// The database that was there is kept beside it as `….before-restore-<time>`. On the disk when
/// this returns.
///
/// # Errors
/// When the copy is not in place: then everything is as it was.
pub async fn restore(
    url: &str,
    backup: &Path,
    holder: &Holder,
    order: AuditRecord,
) -> Result<Restored, RestoreError> {
    let Location::Sqlite(path) = url.parse().map_err(RestoreError::Url)? else {
        return Err(RestoreError::NotSqlite);
    };
    let unreadable = |source| RestoreError::Backup { path: backup.to_owned(), source };
    let original = backup.metadata().map_err(unreadable)?;
    if !original.is_file() {
        return Err(unreadable(io::Error::other("it is no file")));
    }
    sqlite::create_directory(&path).map_err(|source| RestoreError::File { path: path.clone(), source })?;
    let path = sqlite::resolve(&path).map_err(|source| RestoreError::File { path: path.clone(), source })?;
    let _lease = Lease::of_file(&path, holder)?;
    let here = path.metadata().ok();
    if here.is_some_and(|here| (here.dev(), here.ino()) == (original.dev(), original.ino())) {
        return Err(RestoreError::Itself { path });
    }
    let incoming = beside(&path, INCOMING);
    let good = known_here(&path).await;
    let outcome = take_in(backup, &incoming, &good, order).await;
    let mut restored = match outcome {
        Ok(restored) => restored,
        Err(error) => {
            // The first failure is the one to tell.
            let _ = remove_all(&incoming);
            return Err(error);
        }
    };
    let failed = |source| RestoreError::File { path: path.clone(), source };
    restored.kept = put_in_place(&incoming, &path).map_err(failed)?;
    restored.database = path;
    Ok(restored)
}

/// The tokens that the database at `path` knows as good. A copy of it is asked: whoever opens a file may change what lies
/// beside it, and what was here is kept as it is.
async fn known_here(path: &Path) -> Good {
    let outgoing = beside(path, OUTGOING);
    let copied = remove_all(&outgoing).is_ok() && copy_with_log(path, &outgoing).is_ok();
    let good = if copied { good_tokens(&outgoing).await } else { Good::new() };
    // Left over, it is replaced the next time.
    let _ = remove_all(&outgoing);
    good
}

/// Copies `backup`, with its log where it has one, and looks at the copy.
async fn take_in(
    backup: &Path,
    incoming: &Path,
    good: &Good,
    order: AuditRecord,
) -> Result<Restored, RestoreError> {
    let written = |source| RestoreError::File { path: incoming.to_owned(), source };
    remove_all(incoming).map_err(written)?;
    copy_with_log(backup, incoming)?;
    let foreign = |source| RestoreError::Foreign { path: backup.to_owned(), source };
    let db = sqlite::open(incoming, Access::Write).await.map_err(|error| foreign(Some(error)))?;
    let copied = History::of(db.clone());
    let outcome = look_at(backup, &copied, good, order).await;
    let folded = db.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let closed = db.close().await;
    let restored = outcome?;
    folded.and(closed).map_err(|error| written(io::Error::other(error)))?;
    for suffix in ["-wal", "-shm"] {
        remove(&beside(incoming, suffix)).map_err(written)?;
    }
    Ok(restored)
}

/// Brings the copy's schema up to date, and says what is in it.
async fn look_at(
    backup: &Path,
    copied: &History,
    good: &Good,
    mut order: AuditRecord,
) -> Result<Restored, RestoreError> {
    let damaged = |findings| RestoreError::Damaged { path: backup.to_owned(), findings };
    let findings = copied.integrity().await?;
    if !findings.is_empty() {
        return Err(damaged(findings));
    }
    if schema::status(&copied.db).await.map_err(SchemaError::from)?.is_empty() {
        return Err(RestoreError::Foreign { path: backup.to_owned(), source: None });
    }
    let migrated = schema::up(&copied.db).await?.pending;
    let verdict = copied.check().await?;
    if !verdict.is_sound() {
        return Err(damaged(verdict.findings));
    }
    let newest = copied.events(&EventScope::All, Page::first(1)).await?;
    let until = newest.first().map(|event| Stamp(event.created_at).to_string());
    order.note("until", until.clone());
    let taken = carry_over(copied, good, order).await?;
    Ok(Restored {
        database: PathBuf::new(),
        kept: None,
        until,
        tokens_revoked: taken.tokens,
        grants_lost: taken.grants,
        apps: verdict.apps,
        deployments: copied.count_deployments().await?,
        migrated,
    })
}

impl History {
    async fn count_deployments(&self) -> Result<u64, StoreError> {
        use crate::entity::deployment::Entity;
        use sea_orm::EntityTrait;
        self.read("count the deployments", Entity::find().count(&self.db)).await
    }
}

/// Puts the file `copy`, which lies beside the database and was found sound, in its place; where the one is that was
/// there. The caller holds the database's lock.
pub(crate) fn put_in_place(copy: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    sync(copy)?;
    fs::rename(copy, beside(path, RESTORING))?;
    finish(path)
}

/// Goes on with a restore that was interrupted after its copy was found sound; nothing otherwise. The
/// caller holds the database's lock.
pub(crate) fn finish(path: &Path) -> io::Result<Option<PathBuf>> {
    let restoring = beside(path, RESTORING);
    let Ok(copy) = restoring.metadata() else { return Ok(None) };
    // Not the time now: whoever finishes it comes to the same names.
    let since: DateTime<Utc> = copy.modified()?.into();
    let kept = beside(path, &format!(".before-restore-{}", since.format("%Y%m%dT%H%M%S%3fZ")));
    // The log first: without its file it says nothing, beside another one it would be replayed into it.
    rename(&beside(path, "-wal"), &beside(&kept, "-wal"))?;
    remove(&beside(path, "-shm"))?;
    rename(path, &kept)?;
    sync_directory(path)?;
    fs::rename(&restoring, path)?;
    sync_directory(path)?;
    Ok(kept.exists().then_some(kept))
}

/// Renames what may not be there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(absent_is_fine)
}

/// Removes what may not be there.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(absent_is_fine)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// A database of ours that counts for nothing.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    ["", "-wal", "-shm"].into_iter().try_for_each(|suffix| remove(&beside(path, suffix)))
}

/// Copies a database, and its log where it has one.
fn copy_with_log(from: &Path, to: &Path) -> Result<(), RestoreError> {
    copy(from, to)?;
    let log = beside(from, "-wal");
    if log.exists() { copy(&log, &beside(to, "-wal")) } else { Ok(()) }
}

/// Copies a file, for its owner alone.
fn copy(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let read = |source| RestoreError::Backup { path: from.to_owned(), source };
    let written = |source| RestoreError::File { path: to.to_owned(), source };
    let mut original = File::open(from).map_err(read)?;
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(0o600).open(to).map_err(written)?;
    io::copy(&mut original, &mut copy).map_err(written)?;
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(sqlite::directory(path))?.sync_all()
}
