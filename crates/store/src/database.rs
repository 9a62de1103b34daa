//! A database as the controller has it: the lease, the reading and the writing, as one.

use crate::error::{ConnectError, LeaseError, SchemaError, store_error};
use crate::history::History;
use crate::lease::{self, Holder, Lease};
use crate::location::Location;
use crate::presence::Presence;
use crate::prune::Prune;
use crate::schema::{self, SchemaStatus};
use crate::sqlite::{self, Access};
use crate::write::{Unit, Write, Written};
use crate::writer::{Scribe, Writer};
use crate::{DEADLINE, postgres, restore};
use async_trait::async_trait;
use dockswap_core::audit::AuditRecord;
use dockswap_core::machine::{Machine, Transition};
use dockswap_core::ports::{Image, Store};
use dockswap_core::records::{CommitError, ConfigRow, DeploymentRow, NewConfig, RefusalRecord, StoreError};
use dockswap_core::retention::{Kept, Pruned};
use dockswap_core::{AppName, ConfigId, DeploymentId, Timestamp};
use sea_orm::{DatabaseConnection, DbErr};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// For how long a write that went through says that the next one will.
const FRESH: Duration = Duration::from_secs(1);

/// A database that this process may write, and nobody else.
///
/// Dropping it lets what is waiting be written, and the lease go, as long as the runtime lives;
/// [`Database::close`] waits for that.
#[derive(Debug)]
pub struct Database {
    history: History,
    writer: Writer,
    fenced: watch::Receiver<bool>,
}

/// Opens the database at `url` for a controller: takes the lease in `holder`'s name, makes the
/// file where it is missing, and brings the schema up to date.
///
/// # Errors
/// When it cannot be had: [`LeaseError::Held`] when another controller has it,
/// [`SchemaError::Newer`] when a newer version has written it, [`ConnectError::Damaged`] when its file is
/// damaged (nothing was written then). Whether its records fit together, [`History::check`] says.
pub async fn connect(url: &str, holder: &Holder) -> Result<Database, ConnectError> {
    let opened = Opened::at(url, holder).await?;
    opened.assert_intact().await?;
    schema::up(&opened.writing).await?;
    opened.into_database(holder).await
}

/// The same, and refuses records that do not fit together: whoever decided by them would be guessing.
///
/// # Errors
/// As [`connect`]; [`ConnectError::Damaged`] with what [`History::check`] finds.
pub async fn connect_checked(url: &str, holder: &Holder) -> Result<Database, ConnectError> {
    let database = connect(url, holder).await?;
    let location: Location = url.parse()?;
    let name = match &location {
        Location::Sqlite(path) => path.display().to_string(),
        Location::Postgres(_) => location.to_string(),
    };
    let findings = match database.history().check().await {
        Ok(verdict) if verdict.is_sound() => return Ok(database),
        Ok(verdict) => verdict.findings,
        Err(error) => return Err(ConnectError::Open { database: name, source: error.into() }),
    };
    database.close().await;
    Err(ConnectError::Damaged { database: name, findings })
}

/// Opens the database at `url` for reading, beside a controller or without one.
///
/// # Errors
/// When it is not there, or its schema is not this version's.
pub async fn connect_read_only(url: &str) -> Result<History, ConnectError> {
    let reading = open_for_reading(&url.parse()?).await?;
    schema::status(&reading).await.map_err(SchemaError::from)?.current()?;
    Ok(History::of(reading))
}

/// Which migrations the database at `url` has; changes nothing.
///
/// # Errors
/// When it is not there.
pub async fn migration_status(url: &str) -> Result<SchemaStatus, ConnectError> {
    let reading = open_for_reading(&url.parse()?).await?;
    Ok(schema::status(&reading).await.map_err(SchemaError::from)?)
}

/// Brings the schema of the database at `url` up to date, and says how it was before. A controller
/// does so by itself when it starts.
///
/// # Errors
/// As [`connect`].
pub async fn migrate_up(url: &str, holder: &Holder) -> Result<SchemaStatus, ConnectError> {
    let opened = Opened::at(url, holder).await?;
    Ok(schema::up(&opened.writing).await?)
}

/// Takes back the newest `steps` migrations of the database at `url`, with all that is in their
/// tables, and says how it is then.
///
/// # Errors
/// As [`connect`]; nothing was changed then.
pub async fn migrate_down(url: &str, holder: &Holder, steps: u32) -> Result<SchemaStatus, ConnectError> {
    let opened = Opened::at(url, holder).await?;
    Ok(schema::down(&opened.writing, steps).await?)
}

async fn open_for_reading(location: &Location) -> Result<DatabaseConnection, ConnectError> {
    match location {
        Location::Sqlite(path) if !path.exists() => Err(ConnectError::Missing { path: path.clone() }),
        Location::Sqlite(path) => sqlite::open(&resolve(path)?, Access::Read).await,
        Location::Postgres(options) => postgres::open(options, Access::Read).await,
    }
}

fn resolve(path: &Path) -> Result<PathBuf, ConnectError> {
    sqlite::resolve(path).map_err(|source| ConnectError::File { path: path.to_owned(), source })
}

/// A lock that is held, before it is counted in the database.
enum Held {
    File(Lease),
    Session(Box<lease::Session>),
}

/// A database that is locked and open, whatever its schema.
struct Opened {
    held: Held,
    /// Where it is a file.
    file: Option<PathBuf>,
    writing: DatabaseConnection,
    reading: DatabaseConnection,
}

impl Opened {
    async fn at(url: &str, holder: &Holder) -> Result<Self, ConnectError> {
        let location: Location = url.parse()?;
        match &location {
            Location::Sqlite(path) => {
                let made = |source| ConnectError::File { path: path.clone(), source };
                sqlite::create_directory(path).map_err(made)?;
                let path = resolve(path)?;
                let held = Held::File(Lease::of_file(&path, holder)?);
                restore::finish(&path).map_err(made)?;
                sqlite::create(&path).map_err(made)?;
                let writing = sqlite::open(&path, Access::Write).await?;
                let reading = sqlite::open(&path, Access::Read).await?;
                Ok(Self { held, file: Some(path), writing, reading })
            }
            Location::Postgres(options) => {
                let writing = postgres::open(options, Access::Write).await?;
                let held = Held::Session(Box::new(Lease::of_session(options, &writing).await?));
                let reading = postgres::open(options, Access::Read).await?;
                Ok(Self { held, file: None, writing, reading })
            }
        }
    }

    /// Refuses a file that is damaged, before anything is written into it.
    async fn assert_intact(&self) -> Result<(), ConnectError> {
        let Some(path) = &self.file else { return Ok(()) };
        // Connections of their own: a check that was prepared before the tables came would go on
        // passing them over.
        let db = sqlite::open(path, Access::Read).await?;
        let looking = History::of(db);
        let looked = looking.integrity().await;
        // What does not close in order is closed with the process.
        let _ = tokio::time::timeout(DEADLINE, looking.db.close()).await;
        let damaged = |findings| ConnectError::Damaged { database: path.display().to_string(), findings };
        match looked {
            Ok(findings) if findings.is_empty() => Ok(()),
            Ok(findings) => Err(damaged(findings)),
            // Then it is damaged where SQLite keeps what it needs for looking.
            Err(StoreError::Failed { source, .. }) => Err(damaged(vec![source.to_string()])),
            Err(error) => Err(ConnectError::Open {
                database: format!("sqlite://{}", path.display()),
                source: error.into(),
            }),
        }
    }

    async fn into_database(self, holder: &Holder) -> Result<Database, ConnectError> {
        let begun = lease::begin_epoch(&self.writing, holder).await;
        let epoch = begun.map_err(|cause| match &self.file {
            // Alone in a file, nobody else stands in the way: what fails is the file, and that has a name.
            Some(path) => ConnectError::Open {
                database: format!("sqlite://{}", path.display()),
                source: LeaseError::from(cause).into(),
            },
            None => LeaseError::from(cause).into(),
        })?;
        let (announce, fenced) = watch::channel(false);
        let lease = match self.held {
            Held::File(lease) => lease,
            Held::Session(session) => Lease::keep(*session, epoch, announce.clone()),
        };
        let presence = self.file.as_deref().map(Presence::of);
        let history = History::of(self.reading);
        let slow = history.slow.clone();
        let writer =
            Writer::spawn(Scribe { db: self.writing, epoch, presence, fenced: announce, slow }, lease);
        Ok(Database { history, writer, fenced })
    }
}

impl Database {
    /// The records, to be read; goes on working when another controller has taken over.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The same with another deadline for every call; 10 s unless this is called.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.history.deadline = deadline;
        self
    }

    /// From now on, what the database is asked and takes at least `threshold` is told in the log and counted; zero:
    /// nothing is, as from the start. Looks at everything, which take their time, are not.
    pub fn tell_slow(&self, threshold: Duration) {
        self.history.slow.set_threshold(threshold);
    }

    /// How often each operation took as long.
    #[must_use]
    pub fn slow_operations(&self) -> Vec<(&'static str, u64)> {
        self.history.slow.counts()
    }

    /// Waits until another controller has taken this database over; mostly for ever. From then on
    /// every write is refused with [`StoreError::Fenced`].
    pub async fn fenced(&self) {
        let mut fenced = self.fenced.clone();
        if fenced.wait_for(|&is_fenced| is_fenced).await.is_err() {
            // Nobody is left who could find out.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a transition could be written now. Asks the database by writing, unless that was done
    /// within the last second.
    ///
    /// # Errors
    /// Why nothing can be written.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        if self.writer.wrote_within(FRESH) {
            return Ok(());
        }
        self.try_to_write().await
    }

    /// Writes what means nothing.
    pub(crate) async fn try_to_write(&self) -> Result<(), StoreError> {
        self.write("write to the database", Write::Touch).await.map(|_| ())
    }

    /// Waits until everything that was handed over is written, then closes the database, to its
    /// [`History`]s too, and lets go of the lease.
    pub async fn close(self) {
        // Readers first: the last connection brings the log into the file. What does not close in time is
        // closed with the process.
        let _ = tokio::time::timeout(DEADLINE, self.history.db.close_by_ref()).await;
        self.writer.close().await;
    }

    pub(crate) async fn write(&self, operation: &'static str, write: Write) -> Result<Written, StoreError> {
        self.writer.write(operation, self.history.deadline, write).await
    }

    async fn remove(
        &self,
        operation: &'static str,
        kept: &Kept,
        write: Write,
    ) -> Result<Pruned, CommitError> {
        match self.write(operation, write).await? {
            Written::Pruned(pruned) => Ok(pruned),
            Written::Conflict => {
                Err(CommitError::Conflict { app: kept.app.clone(), expected: kept.version.0 })
            }
            Written::Done | Written::Config(_) | Written::Token(_) | Written::Project(_) => {
                Ok(Pruned::default())
            }
        }
    }

    /// Writes a transition given as rows.
    pub(crate) async fn commit_unit(&self, unit: Unit) -> Result<(), CommitError> {
        let (app, expected) = (unit.app.clone(), unit.expected.cast_unsigned());
        match self.write("commit a transition", Write::Transition(Box::new(unit))).await? {
            Written::Conflict => Err(CommitError::Conflict { app, expected }),
            Written::Done
            | Written::Config(_)
            | Written::Pruned(_)
            | Written::Token(_)
            | Written::Project(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Database {
    async fn machines(&self) -> Result<Vec<Machine>, StoreError> {
        self.history.machines().await
    }

    async fn commit(&self, transition: &Transition) -> Result<(), CommitError> {
        let unit = Unit::of(transition).map_err(|cause| StoreError::Failed {
            operation: "write a machine as JSON",
            source: cause.into(),
        })?;
        self.commit_unit(unit).await
    }

    async fn record_refusal(&self, refusal: &RefusalRecord) -> Result<(), StoreError> {
        self.write("record a refusal", Write::Refusal(refusal.event.clone())).await?;
        Ok(())
    }

    async fn record_audit(&self, audit: &AuditRecord) -> Result<(), StoreError> {
        self.write("put an order on record", Write::Audit(Box::new(audit.clone()))).await.map(drop)
    }

    async fn insert_config(&self, config: &NewConfig) -> Result<ConfigId, StoreError> {
        let operation = "store a config";
        match self.write(operation, Write::Config(config.clone())).await? {
            Written::Config(id) => Ok(id),
            Written::Done
            | Written::Conflict
            | Written::Pruned(_)
            | Written::Token(_)
            | Written::Project(_) => {
                Err(store_error(operation, self.history.deadline, DbErr::UnpackInsertId))
            }
        }
    }

    async fn newest_configs(&self) -> Result<Vec<ConfigRow>, StoreError> {
        self.history.newest_configs().await
    }

    async fn config(&self, id: ConfigId) -> Result<Option<ConfigRow>, StoreError> {
        self.history.config(id).await
    }

    async fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRow>, StoreError> {
        self.history.deployment(id).await
    }

    async fn deployments(
        &self,
        app: &AppName,
        before: Option<DeploymentId>,
        limit: u64,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        self.history.deployments_before(app, before, limit).await
    }

    async fn last_deployment(&self) -> Result<DeploymentId, StoreError> {
        self.history.last_deployment().await
    }

    async fn image_of(&self, deployment: DeploymentId) -> Result<Option<Image>, StoreError> {
        self.history.image_of(deployment).await
    }

    async fn is_given_up(&self, deployment: DeploymentId) -> Result<bool, StoreError> {
        self.history.is_given_up(deployment).await
    }

    async fn given_up(&self, app: &AppName) -> Result<Vec<DeploymentId>, StoreError> {
        self.history.given_up(app).await
    }

    async fn give_up(&self, kept: &Kept, at: Timestamp) -> Result<u64, CommitError> {
        let given_up = self.remove("give up images", kept, Write::GiveUp(kept.clone(), at)).await?;
        Ok(given_up.images)
    }

    async fn prune(
        &self,
        kept: &Kept,
        before: Timestamp,
        pinned: &BTreeSet<DeploymentId>,
    ) -> Result<Pruned, CommitError> {
        let prune = Prune { kept: kept.clone(), before, pinned: pinned.clone() };
        self.remove("remove what is old", kept, Write::Prune(Box::new(prune), before)).await
    }

    async fn prunable(&self, kept: &Kept, before: Timestamp) -> Result<Pruned, StoreError> {
        self.history.prunable(kept, before).await
    }
}
