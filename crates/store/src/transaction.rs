//! The two ways into a transaction. Everything else that begins one is banned in `clippy.toml`.

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};

/// Begins a transaction that will write. SQLite takes the write lock here (waiting for at most the
/// busy timeout) and not at the first write, where it could no longer wait.
///
/// Dropped without a commit it leaves nothing.
pub(crate) async fn begin_write(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    begin(db, options).await
}

/// Begins a transaction that only reads, and in which every query sees the same instant.
pub(crate) async fn begin_read(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    // On SQLite a deferred transaction is a snapshot from its first query on, by nature.
    let isolation_level =
        (db.get_database_backend() == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
    begin(db, TransactionOptions { isolation_level, ..TransactionOptions::default() }).await
}

async fn begin(db: &DatabaseConnection, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    db.begin_with_options(options).await
}
