//! What the API says of backups.

use super::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `GET /v1/backups`: the backups that the controller takes by itself.
#[expect(clippy::struct_field_names, reason = "these are their names in JSON")]
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Backups {
    /// How often, in seconds; 0: never.
    pub(crate) every_s: u64,
    /// How many stay.
    pub(crate) keep: usize,
    /// Where they are; `null`: nowhere, for the database is no file, and has tools of its own.
    pub(crate) dir: Option<PathBuf>,
    /// Newest first. Each was found sound when it was taken.
    pub(crate) backups: Vec<Backup>,
    /// Why there is no new one, though one was due; `null`: nothing is wrong.
    pub(crate) fault: Option<BackupFault>,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Backup {
    /// The file.
    pub(crate) file: PathBuf,
    /// When it was begun.
    pub(crate) at: Time,
    /// How long it is.
    pub(crate) bytes: u64,
}

/// Why there is no new backup.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct BackupFault {
    /// Since when one is being tried.
    pub(crate) since: Time,
    /// Why there is none.
    pub(crate) why: String,
    /// What helps.
    pub(crate) next: String,
}
