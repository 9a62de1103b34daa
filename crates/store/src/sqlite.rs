//! Opening a SQLite file the way dockswap needs it. It must not know what is in it.

use crate::error::ConnectError;
use crate::{CONNECT_DEADLINE, DEADLINE};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{DatabaseConnection, SqlxSqliteConnector};
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection waits for a lock that another one holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections read at the same time.
const READERS: u32 = 4;

/// What a connection must answer when it is asked for its settings: `SQLite` ignores a pragma that
/// it does not like without a word.
const SETTINGS: [(&str, &str); 4] = [
    ("SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode", "wal"),
    ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2"),
    ("SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1"),
    ("SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout", "5000"),
];

/// The first version without the WAL-reset bug, which can corrupt a database.
const OLDEST_SOUND: (u32, u32, u32) = (3, 51, 3);

/// A connection that is not as it must be.
#[derive(Debug, thiserror::Error)]
enum Unsound {
    #[error("SQLite {0} can corrupt a database in WAL mode, 3.51.3 or newer is needed")]
    Version(String),
    #[error("{query} gives {found}, {wanted} is needed")]
    Setting { query: &'static str, found: String, wanted: &'static str },
}

/// What the connections of a pool may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// One connection that writes.
    Write,
    /// A few that read: they refuse to write.
    Read,
}

/// The path without symbolic links, so that two names of one file are one database.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(resolved) = path.canonicalize() {
        return Ok(resolved);
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(directory(path).canonicalize()?.join(name))
}

/// Makes the file (mode 0600) and its directory (0700) where they are missing. A file that others can
/// read or write is made private, and so is what `SQLite` left beside it.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    create_directory(path)?;
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let mode = match std::fs::metadata(&file) {
            Ok(metadata) => metadata.permissions().mode() & 0o7777,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if mode & 0o077 != 0 {
            tracing::warn!(file = %Path::new(&file).display(), "the database was open to others (mode {mode:04o}); it is 0600 now");
            std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Makes the directory of a file (0700) where it is missing.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path))
}

/// Where a file is.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens an existing file. Every connection is checked before its first use, the first one here,
/// so that its complaint is not lost in the pool's retries.
pub(crate) async fn open(path: &Path, access: Access) -> Result<DatabaseConnection, ConnectError> {
    let failed = |source: sqlx::Error| match damage(&source) {
        Some(finding) => {
            ConnectError::Damaged { database: path.display().to_string(), findings: vec![finding] }
        }
        None => {
            ConnectError::Open { database: format!("sqlite://{}", path.display()), source: source.into() }
        }
    };
    let options = options(path, access);
    let probe = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        check(&mut connection).await?;
        connection.close().await
    };
    match tokio::time::timeout(CONNECT_DEADLINE, probe).await {
        Ok(outcome) => outcome.map_err(failed)?,
        Err(_) => return Err(failed(sqlx::Error::PoolTimedOut)),
    }
    let connections = match access {
        Access::Write => 1,
        Access::Read => READERS,
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(DEADLINE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(check(connection)))
        // A full disk may end a transaction behind sqlx's back: it goes on counting one, and what is
        // "committed" on such a connection is never written. It is not used again.
        // (A rollback that was begun by dropping is carried out before the ping; until then it looks the same.)
        .after_release(|connection, _| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    connection.ping().await?;
                }
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options)
        .await
        .map_err(failed)?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Opens a file that nobody writes, as it is: nothing is made beside it, and nothing in it changes.
pub(crate) async fn open_copy(path: &Path) -> Result<DatabaseConnection, ConnectError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(DEADLINE);
    let opened = pool.connect_with(options).await;
    let pool = opened.map_err(|source| ConnectError::Open {
        database: format!("sqlite://{}", path.display()),
        source: source.into(),
    })?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

/// Opens a database that is nowhere, and gone with its one connection.
pub(crate) async fn in_memory() -> Result<DatabaseConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.connect_with(options).await?))
}

fn options(path: &Path, access: Access) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging();
    match access {
        Access::Write => options,
        Access::Read => options.pragma("query_only", "ON"),
    }
}

async fn check(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?;
    if !is_sound(&version) {
        return Err(sqlx::Error::Configuration(Unsound::Version(version).into()));
    }
    for (query, wanted) in SETTINGS {
        let found: String = sqlx::query_scalar(query).fetch_one(&mut *connection).await?;
        if found != wanted {
            return Err(sqlx::Error::Configuration(Unsound::Setting { query, found, wanted }.into()));
        }
    }
    Ok(())
}

/// What SQLite says of a file that it cannot make sense of.
fn damage(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(cause) = error else { return None };
    // Of an extended code the low byte is the kind: SQLITE_CORRUPT, SQLITE_NOTADB; and a file that ends
    // too early (SQLITE_IOERR_SHORT_READ).
    let code: u32 = cause.code()?.parse().ok()?;
    (matches!(code & 0xff, 11 | 26) || code == 522).then(|| cause.message().to_owned())
}

fn is_sound(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    (part(), part(), part()) >= OLDEST_SOUND
}

#[cfg(test)]
mod tests {
    use super::is_sound;

    #[test]
    fn versions_with_the_wal_bug_are_refused() {
        for (version, sound) in [
            ("3.51.3", true),
            ("3.52.0", true),
            ("4.0", true),
            ("3.51.2", false),
            ("3.7.0", false),
            ("x", false),
        ] {
            assert_eq!(is_sound(version), sound, "{version}");
        }
    }
}
