//! The one who writes: a task of its own, so that a caller who goes away never leaves a write half
//! done. It takes what is waiting, up to a limit, into one transaction, and answers each caller
//! after the commit. It must not know what the writes mean.

use crate::entity::controller_lease::{self, ROW};
use crate::error::{is_timeout, store_error, timed_out};
use crate::lease::Lease;
use crate::presence::{Absent, Presence};
use crate::slow::SlowOperations;
use crate::transaction::begin_write;
use crate::write::{Write, Written};
use crate::{DEADLINE, batch};
use dockswap_core::records::StoreError;
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, QuerySelect};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How many writes share a transaction at most.
const GROUP: usize = 64;

/// How many writes wait at most before a caller waits to be let in.
const WAITING: usize = 256;

/// Why a write was not done. Shared by all writes of a transaction, hence `Clone`.
#[derive(Clone, Debug)]
pub(crate) enum WriteError {
    /// Another controller has taken over.
    Fenced,
    /// Not in time.
    TimedOut,
    /// The database failed.
    Failed(DbErr),
}

impl From<DbErr> for WriteError {
    fn from(cause: DbErr) -> Self {
        if is_timeout(&cause) { Self::TimedOut } else { Self::Failed(cause) }
    }
}

impl WriteError {
    fn during(self, operation: &'static str, deadline: Duration) -> StoreError {
        match self {
            Self::Fenced => StoreError::Fenced { operation },
            Self::TimedOut => timed_out(operation, deadline),
            Self::Failed(cause) => store_error(operation, deadline, cause),
        }
    }
}

/// Why a transaction did not come to its end.
enum Interrupted {
    /// Before its commit: nothing of it was written.
    Before(WriteError),
    /// In its commit: it must be looked up.
    InCommit(WriteError),
}

impl From<WriteError> for Interrupted {
    fn from(cause: WriteError) -> Self {
        Self::Before(cause)
    }
}

type Outcome = Result<Written, WriteError>;

#[derive(Debug)]
struct Job {
    operation: &'static str,
    write: Write,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the writing task. The task ends, and lets go of the lease, when this is dropped and
/// everything that was waiting is written.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<Lease>,
    /// When the last write went through; `None` when it did not.
    wrote: watch::Receiver<Option<Instant>>,
}

impl Writer {
    /// Starts the task, which keeps `lease` for as long.
    pub(crate) fn spawn(scribe: Scribe, lease: Lease) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (report, wrote) = watch::channel(None);
        let task = tokio::spawn(async move {
            scribe.run(waiting, report).await;
            // What is not closed in order is closed by the end of the process.
            let _ = timeout(DEADLINE, scribe.db.close()).await;
            lease
        });
        Self { jobs, task, wrote }
    }

    /// Whether the last write went through, and not longer ago than `age`.
    pub(crate) fn wrote_within(&self, age: Duration) -> bool {
        self.wrote.borrow().is_some_and(|at| at.elapsed() < age)
    }

    /// Writes, and returns after the commit. A caller that stops waiting before its turn has
    /// nothing written; later, the write goes on without it.
    pub(crate) async fn write(
        &self,
        operation: &'static str,
        deadline: Duration,
        write: Write,
    ) -> Result<Written, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let closed = || WriteError::Failed(DbErr::Custom("the database was closed".to_owned()));
        let writing = async {
            self.jobs.send(Job { operation, write, answer }).await.map_err(|_| closed())?;
            outcome.await.map_err(|_| closed())?
        };
        match timeout(deadline, writing).await {
            Ok(outcome) => outcome.map_err(|cause| cause.during(operation, deadline)),
            Err(_) => Err(timed_out(operation, deadline)),
        }
    }

    /// Waits until everything that was waiting is written, and lets go of the lease.
    pub(crate) async fn close(self) {
        drop(self.jobs);
        if let Ok(lease) = self.task.await {
            lease.release().await;
        }
    }
}

/// What the task owns.
pub(crate) struct Scribe {
    pub(crate) db: DatabaseConnection,
    pub(crate) epoch: i64,
    /// Where the database is a file.
    pub(crate) presence: Option<Presence>,
    pub(crate) slow: Arc<SlowOperations>,
    /// Becomes true when a write finds another controller's epoch.
    pub(crate) fenced: watch::Sender<bool>,
}

impl Scribe {
    async fn run(&self, mut waiting: mpsc::Receiver<Job>, report: watch::Sender<Option<Instant>>) {
        let mut jobs = Vec::with_capacity(GROUP);
        while waiting.recv_many(&mut jobs, GROUP).await > 0 {
            jobs.retain(|job| !job.answer.is_closed());
            let writes: Vec<&Write> = jobs.iter().map(|job| &job.write).collect();
            let began = Instant::now();
            let outcomes = self.write_group(&writes).await;
            if let Some(first) = jobs.first() {
                self.slow.note(first.operation, began.elapsed(), Some(jobs.len()));
            }
            for (job, outcome) in jobs.drain(..).zip(outcomes) {
                if matches!(outcome, Err(WriteError::Fenced)) {
                    self.fenced.send_replace(true);
                }
                report.send_replace(outcome.is_ok().then(Instant::now));
                // Nobody waits any more: it is written all the same.
                let _ = job.answer.send(outcome);
            }
        }
    }

    /// Writes all in one transaction. When one of them fails, each is written in its own, so that
    /// none suffers for another.
    pub(crate) async fn write_group(&self, writes: &[&Write]) -> Vec<Outcome> {
        match self.write_together(writes).await {
            Err(Interrupted::Before(WriteError::Failed(_))) if writes.len() > 1 => {
                self.write_one_by_one(writes).await
            }
            outcome => self.conclude(writes, outcome).await,
        }
    }

    /// A database that does not answer one is not asked for the next: they have waited enough.
    async fn write_one_by_one(&self, writes: &[&Write]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes.chunks(1) {
            let outcome = self.write_together(write).await;
            outcomes.extend(self.conclude(write, outcome).await);
            if matches!(outcomes.last(), Some(Err(WriteError::TimedOut))) {
                outcomes.resize(writes.len(), Err(WriteError::TimedOut));
                break;
            }
        }
        outcomes
    }

    async fn conclude(&self, writes: &[&Write], outcome: Result<Vec<Written>, Interrupted>) -> Vec<Outcome> {
        match outcome {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(Interrupted::Before(cause)) => vec![Err(cause); writes.len()],
            Err(Interrupted::InCommit(cause)) => match timeout(DEADLINE, self.look_up(writes)).await {
                Ok(Ok(found)) => found.into_iter().map(|found| found.ok_or(cause.clone())).collect(),
                Ok(Err(_)) | Err(_) => vec![Err(cause); writes.len()],
            },
        }
    }

    async fn write_together(&self, writes: &[&Write]) -> Result<Vec<Written>, Interrupted> {
        let gone = |absent: Absent| WriteError::Failed(DbErr::Custom(absent.to_string()));
        // Before anything is opened: a connection to another file in its place would take the log for its own.
        if let Some(presence) = &self.presence {
            presence.check_database().map_err(gone)?;
        }
        let staged = timeout(DEADLINE, self.stage(writes)).await.map_err(|_| WriteError::TimedOut)?;
        let (transaction, written) = match (staged, &self.presence) {
            (Ok(staged), Some(presence)) => presence.check().map(|()| staged).map_err(gone)?,
            // That the file is gone says more than that it cannot be opened.
            (Err(WriteError::Failed(cause)), Some(presence)) => {
                presence.check_database().map_err(gone)?;
                return Err(WriteError::Failed(cause).into());
            }
            (staged, _) => staged?,
        };
        match timeout(DEADLINE, transaction.commit()).await {
            Ok(Ok(())) => Ok(written),
            Ok(Err(cause)) => Err(Interrupted::InCommit(cause.into())),
            Err(_) => Err(Interrupted::InCommit(WriteError::TimedOut)),
        }
    }

    /// Everything but the commit. Dropping the transaction leaves nothing.
    pub(crate) async fn stage(
        &self,
        writes: &[&Write],
    ) -> Result<(DatabaseTransaction, Vec<Written>), WriteError> {
        let transaction = begin_write(&self.db).await?;
        let row = controller_lease::Entity::find_by_id(ROW).lock_shared().one(&transaction).await?;
        if row.is_none_or(|row| row.epoch != self.epoch) {
            return Err(WriteError::Fenced);
        }
        let written = batch::apply(writes, &transaction).await?;
        Ok((transaction, written))
    }

    /// What became of writes whose commit was not answered. The exclusive lock on the lease's row
    /// waits for that commit, should it still be going on: every writer holds a shared one.
    async fn look_up(&self, writes: &[&Write]) -> Result<Vec<Option<Written>>, DbErr> {
        let transaction = begin_write(&self.db).await?;
        controller_lease::Entity::find_by_id(ROW).lock_exclusive().one(&transaction).await?;
        let mut found = Vec::with_capacity(writes.len());
        for write in writes {
            found.push(write.find(&transaction).await?);
        }
        Ok(found)
    }
}
