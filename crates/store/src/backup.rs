//! Copying a database that is in use.

use crate::history::History;
use sea_orm::DbBackend;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sea_orm::sqlx::{self, Connection};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a copy may take.
const BACKUP_DEADLINE: Duration = Duration::from_hours(1);

/// Besides a copy so much must stay free, for the database itself may be on the same disk.
const SPARE: u64 = 4 << 20;

/// A disk that has too little room for a copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} has {free} bytes free, and a copy takes {needed}: nothing was begun", dir.display())]
pub struct NoRoom {
    /// Where the copy was to be.
    pub dir: PathBuf,
    /// How many bytes are free.
    pub free: u64,
    /// How many must be.
    pub needed: u64,
}

/// Refuses a disk that a copy of so many bytes would fill. A disk that does not say how full it is passes.
pub(crate) fn assert_room(dir: &Path, bytes: u64) -> Result<(), NoRoom> {
    let Ok(disk) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = bytes.saturating_add(bytes / 16).saturating_add(SPARE);
    if free < needed { Err(NoRoom { dir: dir.to_owned(), free, needed }) } else { Ok(()) }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has better tools.
    #[error("this is done for SQLite only: use pg_dump for PostgreSQL")]
    NotSqlite,
    /// The path cannot be an argument of SQL.
    #[error("{path} is not UTF-8")]
    Path {
        /// Where to.
        path: PathBuf,
    },
    /// The file cannot be made, or is there already: nothing is overwritten.
    #[error("{path} cannot be made")]
    File {
        /// Where to.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the database could not be copied")]
    Failed {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Not in time.
    #[error("the database was not copied within {} s", BACKUP_DEADLINE.as_secs())]
    TimedOut,
}

impl History {
    /// Writes a copy of a SQLite database as it is at one instant to `path`, which must not exist;
    /// mode 0600, on the disk when this returns. The controller may go on writing meanwhile. A
    /// failure leaves no file; being killed half-way leaves one that is not complete.
    ///
    /// # Errors
    /// When there is no copy.
    pub async fn backup_to(&self, path: &Path) -> Result<(), BackupError> {
        if self.db.get_database_backend() != DbBackend::Sqlite {
            return Err(BackupError::NotSqlite);
        }
        let text = path.to_str().ok_or_else(|| BackupError::Path { path: path.to_owned() })?;
        let failed = |source| BackupError::File { path: path.to_owned(), source };
        // SQLite writes into an empty file, and this one has the right mode from the first byte.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let outcome = self.copy_into(text).await.and_then(|()| sync(path).map_err(failed));
        if outcome.is_err() {
            // The first failure is the one to tell.
            let _ = std::fs::remove_file(path);
        }
        outcome
    }

    async fn copy_into(&self, path: &str) -> Result<(), BackupError> {
        // A connection of its own: to a reader's, writing the copy is writing.
        let options = self.db.get_sqlite_connection_pool().connect_options();
        let options = SqliteConnectOptions::clone(&options).pragma("query_only", "OFF");
        let copying = async {
            let mut connection = SqliteConnection::connect_with(&options).await?;
            sqlx::query("VACUUM INTO ?").bind(path).execute(&mut connection).await?;
            connection.close().await
        };
        match tokio::time::timeout(BACKUP_DEADLINE, copying).await {
            Ok(outcome) => outcome.map_err(|source| BackupError::Failed { source: source.into() }),
            Err(_) => Err(BackupError::TimedOut),
        }
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
