//! Remembering: dockswap's records on SQLite and PostgreSQL.
//!
//! [`connect`] opens a database for the one controller that may write it, and gives a [`Database`]:
//! `core`'s `Store`. [`connect_read_only`] gives a [`History`] to anybody who wants to look. This
//! crate knows tables, transactions and locks; what a transition means it must not know.
//!
//! What holds:
//! - A transition is one transaction, compared with the version it began from, and acknowledged
//!   only when it would survive a power loss.
//! - A write goes on when its caller goes away; it is never left half done.
//! - Every call ends by its deadline. A commit whose answer was lost is looked up, never repeated.
//! - Whoever was replaced as the controller writes nothing any more.
//! - A damaged database is refused, never guessed at; nothing is written into files that were moved away.

mod archive;
mod audit;
mod backup;
mod batch;
mod carry_over;
mod check;
mod checkpoint;
mod database;
mod entity;
mod error;
mod examination;
mod history;
mod inspection;
mod keys;
mod lease;
mod location;
mod parts;
mod postgres;
mod presence;
mod projects;
mod prune;
mod restore;
mod rows;
mod schema;
mod slow;
mod sqlite;
mod stamp;
#[cfg(test)]
mod tests;
mod tokens;
mod transaction;
mod vacuum;
mod write;
mod writer;

pub use archive::{Archive, ArchiveError, Backup, Taken};
pub use audit::{AuditRow, AuditScope};
pub use backup::{BackupError, NoRoom};
pub use check::Verdict;
pub use database::{
    Database, connect, connect_checked, connect_read_only, migrate_down, migrate_up, migration_status,
};
pub use error::{ConnectError, LeaseError, SchemaError};
pub use examination::ExaminationError;
pub use history::{EventScope, History, Page};
pub use keys::{KeyId, KeyRecord, NewKey, Reservation};
pub use lease::Holder;
pub use projects::ProjectOutcome;
pub use restore::{RestoreError, Restored, restore};
pub use rows::{ConfigSummary, EventRow};
pub use schema::SchemaStatus;
pub use tokens::{TokenOutcome, TokenRow};
pub use vacuum::{VacuumError, Vacuumed, vacuum};

use std::time::Duration;

/// How long a call may take, unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long opening one connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
