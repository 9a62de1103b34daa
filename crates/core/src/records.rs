//! What is written down: the rows of the database, as values.

use crate::audit::AuditRecord;
use crate::name::{AppName, Color, ConfigId, ConfigSha, DeploymentId, ProjectName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A version of an app file that is about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConfig {
    /// Whose file.
    pub app: AppName,
    /// The project that it names.
    pub project: Option<ProjectName>,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha: ConfigSha,
    /// When they were read.
    pub at: Timestamp,
    /// The order that wrote the file, to be put on record with it.
    pub audit: Option<AuditRecord>,
}

/// A stored version of an app file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRow {
    /// `app_configs.id`.
    pub id: ConfigId,
    /// Whose file.
    pub app: AppName,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha: ConfigSha,
    /// When they were stored.
    pub created_at: Timestamp,
}

/// `deployments.status`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Not ended.
    InProgress,
    /// It serves, or has served until a later one took over.
    Success,
    /// It never came to serve, or nothing healthy was left.
    Failed,
    /// It served, and traffic was taken back from it.
    RolledBack,
    /// A person or a newer version ended it.
    Cancelled,
}

impl DeploymentStatus {
    /// As in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::InProgress, Self::Success, Self::Failed, Self::RolledBack, Self::Cancelled];
}

impl fmt::Display for DeploymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A row of `deployments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// The id.
    pub id: DeploymentId,
    /// The app.
    pub app_name: AppName,
    /// The config that it deploys.
    pub config_id: ConfigId,
    /// The image as written.
    pub image: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it stands.
    pub status: DeploymentStatus,
    /// The color that it targets.
    pub active_color: Color,
    /// The deployment that it undoes.
    pub rollback_of: Option<DeploymentId>,
}

/// What a transition does to `deployments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentWrite {
    /// A new row.
    Begin(DeploymentRow),
    /// A row that ends (`ended_at` is set, unless it was set before).
    End {
        /// Which.
        id: DeploymentId,
        /// How.
        status: DeploymentStatus,
        /// When.
        at: Timestamp,
    },
}

/// A row of `current_state`: what traffic really uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentState {
    /// The app.
    pub app_name: AppName,
    /// The deployment in flight, else the one that serves, else the last one.
    pub deployment_id: DeploymentId,
    /// The color that the proxy has confirmed.
    pub active_color: Option<Color>,
    /// The image that serves, as written.
    pub image: Option<String>,
    /// The machine's state.
    pub status: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A row of `deployment_events` that is about to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// The deployment that it belongs to.
    pub deployment_id: DeploymentId,
    /// The app.
    pub app_name: AppName,
    /// The event's name.
    pub event_type: &'static str,
    /// `from`, `to`, `color`, `version`, `at_us`, and `event`: the event itself, enough to replay.
    pub payload: serde_json::Value,
    /// What went wrong, when something did.
    pub error: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An event that was refused: recorded, changing nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusalRecord {
    /// The row: its payload holds `refused: true`, its error the reason.
    pub event: EventRecord,
}

/// Why the database did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not in time: it is locked, or does not answer.
    #[error("{operation}: no answer from the database within {seconds} s")]
    TimedOut {
        /// What was asked.
        operation: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// It failed.
    #[error("{operation}: the database failed")]
    Failed {
        /// What was asked.
        operation: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another controller has taken over this database.
    #[error("{operation}: another controller has taken over this database")]
    Fenced {
        /// What was asked.
        operation: &'static str,
    },
    /// A row holds what this version cannot read.
    #[error("{operation}: {what} cannot be read: {message}")]
    Unreadable {
        /// What was asked.
        operation: &'static str,
        /// Which row.
        what: String,
        /// Why.
        message: String,
    },
}

/// Why a transition was not written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The app's machine is no longer the one that the transition began from. Nothing was written.
    #[error("the state of {app} changed underneath: expected version {expected}")]
    Conflict {
        /// Whose.
        app: AppName,
        /// The version that the transition began from.
        expected: u64,
    },
    /// The database failed. Nothing was written, unless the failure was in the commit itself: then
    /// reading the machine again tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error with its causes: "the database failed" alone helps nobody.
#[must_use]
pub fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
