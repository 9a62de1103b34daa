//! What can go wrong, by operation. Texts hold no password and no SQL.

use dockswap_core::records::StoreError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL names no database that we know.
    #[error("database_url: {message}; write sqlite:///path/to/dockswap.db or postgres://user@host/database")]
    Url {
        /// What is wrong with it.
        message: String,
    },
    /// There is no such file, and it was not to be made.
    #[error("there is no database at {path}")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The file or its directory cannot be made, or not be written.
    #[error("the database file {path} cannot be opened for writing")]
    File {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is damaged: it is not touched, and nothing in it is relied on.
    #[error("the database {database} is damaged: {}", findings.join("; "))]
    Damaged {
        /// Which one: a path, or a URL without a password.
        database: String,
        /// What was found.
        findings: Vec<String>,
    },
    /// It does not open, or not in time.
    #[error("the database {database} cannot be opened")]
    Open {
        /// Which one, without a password.
        database: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another controller holds it, or that cannot be told.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Its schema is not one to work with.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Why a controller does not get a database for itself.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another one has it.
    #[error("another controller holds this database: {holder}")]
    Held {
        /// That one, in words: `pid 71 on build-1, since 2026-11-21T07:38:26.123456Z`.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file {path} cannot be used")]
    File {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the database failed while the lease was taken")]
    Database {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a schema is not one to work with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer dockswap has been here.
    #[error(
        "the database was written by a newer dockswap (this one does not know {}): use that version, or a backup from before the upgrade",
        unknown.join(", ")
    )]
    Newer {
        /// The migrations that this version does not know.
        unknown: Vec<String>,
    },
    /// An older dockswap was the last one here, and reading alone changes nothing.
    #[error("the database is not up to date ({} missing): run `dockswap db migrate`, or start the controller", pending.join(", "))]
    Older {
        /// The migrations that are missing.
        pending: Vec<String>,
    },
    /// The database failed; nothing was changed.
    #[error("the database's schema could not be read or changed")]
    Failed {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<DbErr> for LeaseError {
    fn from(source: DbErr) -> Self {
        Self::Database { source: source.into() }
    }
}

impl From<sqlx::Error> for LeaseError {
    fn from(source: sqlx::Error) -> Self {
        Self::Database { source: source.into() }
    }
}

impl From<DbErr> for SchemaError {
    fn from(source: DbErr) -> Self {
        Self::Failed { source: source.into() }
    }
}

/// A failure of the database in the words of the port.
pub(crate) fn store_error(operation: &'static str, deadline: Duration, source: DbErr) -> StoreError {
    if is_timeout(&source) {
        timed_out(operation, deadline)
    } else {
        StoreError::Failed { operation, source: source.into() }
    }
}

/// A deadline that has passed, in the words of the port.
pub(crate) fn timed_out(operation: &'static str, deadline: Duration) -> StoreError {
    StoreError::TimedOut { operation, seconds: deadline.as_secs() }
}

/// Whether the database says of itself that it could not answer in time: a lock that somebody else
/// holds, a statement that took too long, no free connection.
pub(crate) fn is_timeout(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => true,
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
            sqlx::Error::PoolTimedOut => true,
            // SQLITE_BUSY and its kin; query_canceled and lock_not_available of PostgreSQL.
            sqlx::Error::Database(cause) => {
                matches!(cause.code().as_deref(), Some("5" | "261" | "517" | "773" | "57014" | "55P03"))
            }
            _ => false,
        },
        _ => false,
    }
}
