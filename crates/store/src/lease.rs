//! One controller per database: a lock that a second controller cannot get, and a count of the
//! controllers that there have been, which fences the writes of one that was replaced.
//!
//! The lock tells a person at once; the fence is what correctness rests on.

use crate::entity::controller_lease::{Column, Entity, ROW};
use crate::error::LeaseError;
use crate::presence::beside;
use crate::stamp::Stamp;
use crate::transaction::begin_write;
use crate::{postgres, schema};
use dockswap_core::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

/// The key of the lock that the controller's session holds, on PostgreSQL.
const CONTROLLER_LOCK: i64 = 0x646f_636b_7377_6170;

/// How often the session that holds the lock is seen to be alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Who holds a database, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// When it asked.
    pub since: Timestamp,
}

impl Holder {
    /// This process, at the time `since`.
    #[must_use]
    pub fn this_process(since: Timestamp) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned());
        Self { pid: std::process::id(), host, since }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} on {}, since {}", self.pid, self.host, Stamp(self.since))
    }
}

/// The lock, for as long as it is kept.
#[derive(Debug)]
pub(crate) enum Lease {
    /// A lock on a file beside the database. The kernel lets go of it when the process ends.
    File(#[expect(dead_code, reason = "held, not used")] File),
    /// A lock of a database session, which a task keeps alive.
    Session(Keeper),
}

impl Lease {
    /// Takes the lock of the SQLite database at `path`.
    pub(crate) fn of_file(path: &Path, holder: &Holder) -> Result<Self, LeaseError> {
        let path = beside(path, ".lock");
        let failed = |source: io::Error| LeaseError::File { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                file.write_all(holder.to_string().as_bytes()).map_err(failed)?;
                Ok(Self::File(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever has just taken it may not have written its name yet.
                file.read_to_string(&mut holder).map_err(failed)?;
                Err(held(Some(holder)))
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Takes the lock of a PostgreSQL database, waiting a second for one that is just ending. It
    /// is not kept alive before [`Lease::keep`].
    pub(crate) async fn of_session(
        options: &PgConnectOptions,
        db: &DatabaseConnection,
    ) -> Result<Session, LeaseError> {
        let mut session = Session { options: options.clone(), connection: None, locked: false };
        session.lock().await?;
        if session.locked {
            return Ok(session);
        }
        Err(held(schema::last_holder(db).await?))
    }

    /// Keeps `session` alive until the lease is dropped or released. `fenced` becomes true when
    /// another controller turns out to have taken over.
    pub(crate) fn keep(session: Session, epoch: i64, fenced: watch::Sender<bool>) -> Self {
        let (release, released) = oneshot::channel();
        let task = tokio::spawn(keep(session, epoch, fenced, released));
        Self::Session(Keeper { release, task })
    }

    /// Lets go of the lock, so that the next controller finds it free.
    pub(crate) async fn release(self) {
        if let Self::Session(Keeper { release, task }) = self {
            drop(release);
            // The task ends by itself; if it was ended by force, its session has ended too.
            let _ = task.await;
        }
    }
}

/// The task that keeps a session alive; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    release: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A database session that holds the lock, or tries to get it back.
pub(crate) struct Session {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    locked: bool,
}

impl Session {
    /// Connects where there is no connection, and asks for the lock where it is not held.
    async fn lock(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.locked = false;
            self.connection = Some(postgres::connect(&self.options).await?);
        }
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        if !self.locked {
            let mut asking = connection.begin().await?;
            sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut *asking).await?;
            let asked = sqlx::query("SELECT pg_advisory_lock($1)").bind(CONTROLLER_LOCK);
            match asked.execute(&mut *asking).await {
                Ok(_) => {
                    asking.commit().await?;
                    self.locked = true;
                }
                Err(sqlx::Error::Database(cause)) if cause.code().as_deref() == Some("55P03") => {
                    asking.rollback().await?;
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(connection)
    }

    /// Gives a broken connection up: the next call makes another.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    /// Sees that the session is alive, and reads who writes now.
    pub(crate) async fn epoch(&mut self) -> Result<i64, sqlx::Error> {
        let connection = self.lock().await?;
        sqlx::query_scalar("SELECT epoch FROM controller_lease").fetch_one(connection).await
    }
}

/// A lost session is no lost lease: only another controller's epoch is.
async fn keep(
    mut session: Session,
    epoch: i64,
    fenced: watch::Sender<bool>,
    mut released: oneshot::Receiver<()>,
) {
    let mut ticks = interval(KEEP_ALIVE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut released => break,
            _ = ticks.tick() => {}
        }
        match timeout(KEEP_ALIVE, session.epoch()).await {
            Ok(Ok(now)) if now == epoch => {}
            Ok(Ok(_)) => {
                fenced.send_replace(true);
                break;
            }
            Ok(Err(error)) => {
                warn!(%error, "the session that holds the controller's lock was lost, another is tried");
                session.forget();
            }
            Err(_) => {
                warn!("the session that holds the controller's lock does not answer, another is tried");
                session.forget();
            }
        }
    }
    if let Some(connection) = session.connection {
        // The server ends the session with its connection, however that goes.
        let _ = timeout(KEEP_ALIVE, connection.close()).await;
    }
}

/// Counts a new controller in. From here on every write of an earlier one is refused.
pub(crate) async fn begin_epoch(db: &DatabaseConnection, holder: &Holder) -> Result<i64, DbErr> {
    let transaction = begin_write(db).await?;
    Entity::update_many()
        .col_expr(Column::Epoch, Expr::col(Column::Epoch).add(1))
        .col_expr(Column::Holder, Expr::value(holder.to_string()))
        .col_expr(Column::AcquiredAt, Expr::value(Stamp(holder.since)))
        .filter(Column::Id.eq(ROW))
        .exec(&transaction)
        .await?;
    let row = Entity::find_by_id(ROW).one(&transaction).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the row of controller_lease".to_owned()))?;
    transaction.commit().await?;
    Ok(row.epoch)
}

fn held(holder: Option<String>) -> LeaseError {
    let holder = holder.filter(|holder| !holder.is_empty());
    LeaseError::Held { holder: holder.unwrap_or_else(|| "it has not given its name yet".to_owned()) }
}
