//! Giving back the room that removed records have left in a SQLite file: a copy without it takes the file's place, as a
//! restored one does. While a controller has the database it is left alone.

use crate::backup::{BackupError, NoRoom, assert_room};
use crate::error::{ConnectError, LeaseError};
use crate::examination::{ExaminationError, Extent, examine};
use crate::history::History;
use crate::lease::{Holder, Lease};
use crate::location::Location;
use crate::presence::beside;
use crate::restore::{put_in_place, remove_all};
use crate::sqlite::{self, Access};
use crate::{DEADLINE, restore};
use dockswap_core::records::StoreError;
use sea_orm::ConnectionTrait;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// The copy that is being made. It counts for nothing.
const SMALLER: &str = ".smaller";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacuumed {
    /// Where the database is.
    pub database: PathBuf,
    /// How long its file was.
    pub bytes_before: u64,
    /// How long it is.
    pub bytes_after: u64,
}

/// Why the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum VacuumError {
    /// PostgreSQL does so by itself.
    #[error("this is done for SQLite only: PostgreSQL reuses such room by itself (autovacuum)")]
    NotSqlite,
    /// It is not there, or cannot be opened.
    #[error(transparent)]
    Open(#[from] ConnectError),
    /// A controller has it, or that cannot be told.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The disk has too little room for the copy.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The database did not answer.
    #[error(transparent)]
    Look(#[from] StoreError),
    /// The copying.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The copy is not what it must be.
    #[error(transparent)]
    Examination(#[from] ExaminationError),
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

/// Makes the file of the database at `url` as small as its records, in `holder`'s name. On the disk when this
/// returns; whoever is killed half way leaves the one file or the other in its place.
///
/// # Errors
/// When it is as it was.
pub async fn vacuum(url: &str, holder: &Holder) -> Result<Vacuumed, VacuumError> {
    let Location::Sqlite(path) = url.parse::<Location>()? else { return Err(VacuumError::NotSqlite) };
    if !path.exists() {
        return Err(ConnectError::Missing { path }.into());
    }
    let written = |source| VacuumError::File { path: path.clone(), source };
    let path = sqlite::resolve(&path).map_err(written)?;
    let _lease = Lease::of_file(&path, holder)?;
    restore::finish(&path).map_err(written)?;
    let smaller = beside(&path, SMALLER);
    remove_all(&smaller).map_err(written)?;
    let outcome = make_smaller(&path, &smaller).await;
    let bytes_before = match outcome {
        Ok(bytes) => bytes,
        Err(error) => {
            // The first failure is the one to tell.
            let _ = remove_all(&smaller);
            return Err(error);
        }
    };
    let replaced = put_in_place(&smaller, &path).map_err(written)?;
    // It holds nothing that the smaller one has not.
    replaced.map_or(Ok(()), |kept| remove_all(&kept)).map_err(written)?;
    let bytes_after = path.metadata().map_err(written)?.len();
    Ok(Vacuumed { database: path, bytes_before, bytes_after })
}

/// Copies what is in use; how long the file is from which it did.
async fn make_smaller(path: &Path, smaller: &Path) -> Result<u64, VacuumError> {
    let written = |source| VacuumError::File { path: smaller.to_owned(), source };
    let history = History::of(sqlite::open(path, Access::Write).await?);
    let work = async {
        let folded = history.db.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
        folded.map_err(|error| written(io::Error::other(error)))?;
        let file = path.metadata().map_err(written)?;
        assert_room(sqlite::directory(path), history.used_bytes().await?)?;
        let extent = Extent::of(&history).await?;
        history.backup_to(smaller).await?;
        examine(smaller, extent).await?;
        // By whoever it is done, the controller's user must find a file of its own.
        chown(smaller, Some(file.uid()), Some(file.gid())).map_err(written)?;
        Ok(file.len())
    };
    let outcome = Box::pin(work).await;
    // What does not close in order is closed with the process.
    let _ = tokio::time::timeout(DEADLINE, history.db.close()).await;
    outcome
}
