//! Looking at a whole copy of a database before it counts: its pages, the events of every app replayed, every stored
//! file, and that it goes as far as the database did. It must not know what becomes of the copy.

use crate::error::{ConnectError, SchemaError};
use crate::history::{EventScope, History, Page};
use crate::{DEADLINE, schema, sqlite};
use dockswap_core::DeploymentId;
use dockswap_core::records::StoreError;
use std::path::Path;

/// Why a copy counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExaminationError {
    /// It cannot be opened, or has another schema.
    #[error("the copy cannot be read")]
    Open(#[from] ConnectError),
    /// It, or the database, did not answer.
    #[error(transparent)]
    Look(#[from] StoreError),
    /// It is not what it must be.
    #[error("the copy is not sound: {}", findings.join("; "))]
    Unsound {
        /// What was found.
        findings: Vec<String>,
    },
}

/// How far the records of a database go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) deployment: DeploymentId,
    event: i64,
    pub(crate) apps: usize,
}

impl Extent {
    pub(crate) async fn of(history: &History) -> Result<Self, StoreError> {
        let newest = history.events(&EventScope::All, Page::first(1)).await?;
        Ok(Self {
            deployment: history.last_deployment().await?,
            event: newest.first().map_or(0, |event| event.id),
            apps: history.apps().await?.len(),
        })
    }

    /// Whether nothing that `other` has lies beyond.
    fn reaches(self, other: Self) -> bool {
        self.deployment >= other.deployment && self.event >= other.event && self.apps >= other.apps
    }
}

/// A copy that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Examined {
    pub(crate) extent: Extent,
    /// How many events were replayed.
    pub(crate) events: usize,
}

/// Looks at the copy in the file `copy`, of a database that went as far as `before` when it was begun. Nothing in it
/// or beside it changes.
pub(crate) async fn examine(copy: &Path, before: Extent) -> Result<Examined, ExaminationError> {
    let history = History::of(sqlite::open_copy(copy).await?);
    let outcome = Box::pin(look_at(&history, before)).await;
    // What does not close in order is closed with the process.
    let _ = tokio::time::timeout(DEADLINE, history.db.close()).await;
    outcome
}

async fn look_at(copy: &History, before: Extent) -> Result<Examined, ExaminationError> {
    // First: a schema that is damaged cannot be asked for the rest.
    let findings = copy.integrity().await?;
    if !findings.is_empty() {
        return Err(ExaminationError::Unsound { findings });
    }
    let schema = schema::status(&copy.db).await.map_err(SchemaError::from);
    schema.and_then(schema::SchemaStatus::current).map_err(ConnectError::from)?;
    let verdict = copy.check().await?;
    if !verdict.is_sound() {
        return Err(ExaminationError::Unsound { findings: verdict.findings });
    }
    let extent = Extent::of(copy).await?;
    if !extent.reaches(before) {
        let finding = format!("it ends at {extent:?}, and the database went on to {before:?}");
        return Err(ExaminationError::Unsound { findings: vec![finding] });
    }
    Ok(Examined { extent, events: verdict.events })
}
