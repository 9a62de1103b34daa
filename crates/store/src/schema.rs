//! The schema: which migrations are applied, and applying what is missing. It must not know what
//! a migration does.

use crate::entity::controller_lease;
use crate::error::SchemaError;
use crate::transaction::begin_write;
use dockswap_migration::{Migrator, MigratorTrait, SchemaManager, seaql_migrations};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    IntoDatabaseExecutor, QueryOrder, Statement,
};

/// The key of the lock under which migrations run, on PostgreSQL. (On SQLite the write lock does.)
const MIGRATION_LOCK: i64 = 0x646f_636b_6d69_6772;

/// The table in which the migrator counts.
const MIGRATIONS: &str = "seaql_migrations";

/// Which migrations a database has. All lists are oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Applied, and known to this version.
    pub applied: Vec<String>,
    /// Known to this version, and not applied.
    pub pending: Vec<String>,
    /// Applied by a newer version.
    pub unknown: Vec<String>,
}

impl SchemaStatus {
    /// Whether dockswap has never been here.
    pub(crate) fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.unknown.is_empty()
    }

    /// Refuses a schema that is newer than this version.
    fn not_newer(self) -> Result<Self, SchemaError> {
        if self.unknown.is_empty() { Ok(self) } else { Err(SchemaError::Newer { unknown: self.unknown }) }
    }

    /// Refuses any schema that is not exactly this version's.
    pub(crate) fn current(self) -> Result<(), SchemaError> {
        let status = self.not_newer()?;
        if status.pending.is_empty() { Ok(()) } else { Err(SchemaError::Older { pending: status.pending }) }
    }
}

/// Reads which migrations are applied; changes nothing.
pub(crate) async fn status<'c>(db: impl IntoDatabaseExecutor<'c>) -> Result<SchemaStatus, DbErr> {
    let schema = SchemaManager::new(db);
    let recorded: Vec<String> = if schema.has_table(MIGRATIONS).await? {
        let rows = seaql_migrations::Entity::find().order_by_asc(seaql_migrations::Column::Version);
        rows.all(schema.get_connection()).await?.into_iter().map(|row| row.version).collect()
    } else {
        Vec::new()
    };
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let (applied, pending) = known.iter().cloned().partition(|name| recorded.contains(name));
    let unknown = recorded.into_iter().filter(|name| !known.contains(name)).collect();
    Ok(SchemaStatus { applied, pending, unknown })
}

/// Applies what is missing, in one transaction and under a lock: of two processes at once, one
/// does it and the other finds it done.
pub(crate) async fn up(db: &DatabaseConnection) -> Result<SchemaStatus, SchemaError> {
    let transaction = begin_locked(db).await?;
    let status = status(&transaction).await?.not_newer()?;
    if !status.pending.is_empty() {
        Migrator::up(&transaction, None).await?;
        transaction.commit().await?;
    }
    Ok(status)
}

/// Takes back the newest `steps` migrations, with everything in their tables, in one transaction.
pub(crate) async fn down(db: &DatabaseConnection, steps: u32) -> Result<SchemaStatus, SchemaError> {
    let transaction = begin_locked(db).await?;
    status(&transaction).await?.not_newer()?;
    Migrator::down(&transaction, Some(steps)).await?;
    let status = status(&transaction).await?;
    transaction.commit().await?;
    Ok(status)
}

async fn begin_locked(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let transaction = begin_write(db).await?;
    if db.get_database_backend() == DbBackend::Postgres {
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction
            .execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, lock, [MIGRATION_LOCK.into()]))
            .await?;
    }
    Ok(transaction)
}

/// Who the database says has held it last, if it has come so far.
pub(crate) async fn last_holder(db: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    if !SchemaManager::new(db).has_table("controller_lease").await? {
        return Ok(None);
    }
    let row = controller_lease::Entity::find_by_id(controller_lease::ROW).one(db).await?;
    Ok(row.and_then(|row| row.holder))
}
