//! Rows of tables as values of `core`, and back.

use crate::entity::{app_config, app_machine, current_state, deployment, deployment_event};
use crate::stamp::Stamp;
use dockswap_core::machine::Machine;
use dockswap_core::records::{
    ConfigRow, CurrentState, DeploymentRow, DeploymentStatus, EventRecord, NewConfig, StoreError,
};
use dockswap_core::{AppName, Color, ConfigId, ConfigSha, DeploymentId, Timestamp};
use sea_orm::{FromQueryResult, NotSet, Set};
use serde::Serialize;
use std::fmt;

/// A row of `deployment_events`, as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// Ascending in the order of commits.
    pub id: i64,
    /// The deployment that it belongs to.
    pub deployment_id: DeploymentId,
    /// The app.
    pub app_name: AppName,
    /// The event's name.
    pub event_type: String,
    /// From, to, color and facts.
    pub payload: serde_json::Value,
    /// What went wrong, when something did.
    pub error: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

/// A version of an app file without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigSummary {
    /// `app_configs.id`.
    pub id: ConfigId,
    /// Whose file.
    pub app_name: AppName,
    /// The hash of its bytes.
    pub config_sha: ConfigSha,
    /// How many bytes.
    pub size_bytes: i64,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// The columns of a [`ConfigSummary`].
#[derive(Debug, FromQueryResult)]
pub(crate) struct SummaryRow {
    id: i64,
    app_name: String,
    config_sha: String,
    size_bytes: i64,
    created_at: Stamp,
}

/// A row that cannot be read, before it is known what was asked.
pub(crate) struct Unreadable {
    what: String,
    message: String,
}

impl Unreadable {
    pub(crate) fn new(what: String, cause: &dyn std::error::Error) -> Self {
        Self { what, message: cause.to_string() }
    }

    pub(crate) fn during(self, operation: &'static str) -> StoreError {
        StoreError::Unreadable { operation, what: self.what, message: self.message }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be read: {}", self.what, self.message)
    }
}

/// What can be read from a row.
pub(crate) trait FromRow: Sized {
    /// The row.
    type Row;

    /// Reads `row`.
    fn from_row(row: Self::Row) -> Result<Self, Unreadable>;
}

/// Reads `text`, a column of the row `what`.
pub(crate) fn parse<T: TryFrom<String, Error: std::error::Error>>(
    text: String,
    what: impl Fn() -> String,
) -> Result<T, Unreadable> {
    T::try_from(text).map_err(|cause| Unreadable::new(what(), &cause))
}

fn parse_color(text: &str, what: impl Fn() -> String) -> Result<Color, Unreadable> {
    text.parse().map_err(|cause| Unreadable::new(what(), &cause))
}

fn parse_status(text: &str, what: impl Fn() -> String) -> Result<DeploymentStatus, Unreadable> {
    DeploymentStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| Unreadable { what: what(), message: format!("{text:?} is not a status") })
}

impl FromRow for ConfigRow {
    type Row = app_config::Model;

    fn from_row(row: app_config::Model) -> Result<Self, Unreadable> {
        Ok(Self {
            id: ConfigId(row.id),
            app: parse(row.app_name, || format!("app_configs {}", row.id))?,
            bytes: row.config_yaml,
            sha: ConfigSha(row.config_sha),
            created_at: row.created_at.into(),
        })
    }
}

impl FromRow for DeploymentRow {
    type Row = deployment::Model;

    fn from_row(row: deployment::Model) -> Result<Self, Unreadable> {
        let what = || format!("deployments {}", row.id);
        Ok(Self {
            id: DeploymentId(row.id),
            app_name: parse(row.app_name, what)?,
            config_id: ConfigId(row.config_id),
            image: row.image,
            started_at: row.started_at.into(),
            ended_at: row.ended_at.map(Timestamp::from),
            status: parse_status(&row.status, what)?,
            active_color: parse_color(&row.active_color, what)?,
            rollback_of: row.rollback_of.map(DeploymentId),
        })
    }
}

impl FromRow for CurrentState {
    type Row = current_state::Model;

    fn from_row(row: current_state::Model) -> Result<Self, Unreadable> {
        let name = row.app_name.clone();
        let what = || format!("current_state of {name}");
        Ok(Self {
            app_name: parse(row.app_name, what)?,
            deployment_id: DeploymentId(row.deployment_id),
            active_color: row.active_color.map(|color| parse_color(&color, what)).transpose()?,
            image: row.image,
            status: row.status,
            updated_at: row.updated_at.into(),
        })
    }
}

impl FromRow for EventRow {
    type Row = deployment_event::Model;

    fn from_row(row: deployment_event::Model) -> Result<Self, Unreadable> {
        Ok(Self {
            id: row.id,
            deployment_id: DeploymentId(row.deployment_id),
            app_name: parse(row.app_name, || format!("deployment_events {}", row.id))?,
            event_type: row.event_type,
            payload: row.payload,
            error: row.error,
            created_at: row.created_at.into(),
        })
    }
}

impl FromRow for ConfigSummary {
    type Row = SummaryRow;

    fn from_row(row: SummaryRow) -> Result<Self, Unreadable> {
        Ok(Self {
            id: ConfigId(row.id),
            app_name: parse(row.app_name, || format!("app_configs {}", row.id))?,
            config_sha: ConfigSha(row.config_sha),
            size_bytes: row.size_bytes,
            created_at: row.created_at.into(),
        })
    }
}

impl FromRow for Machine {
    type Row = app_machine::Model;

    fn from_row(row: app_machine::Model) -> Result<Self, Unreadable> {
        serde_json::from_str(&row.state)
            .map_err(|cause| Unreadable::new(format!("the machine of {}", row.app_name), &cause))
    }
}

impl From<&NewConfig> for app_config::ActiveModel {
    fn from(config: &NewConfig) -> Self {
        Self {
            id: NotSet,
            app_name: Set(config.app.to_string()),
            config_yaml: Set(config.bytes.clone()),
            config_sha: Set(config.sha.to_string()),
            created_at: Set(Stamp(config.at)),
        }
    }
}

impl From<&DeploymentRow> for deployment::ActiveModel {
    fn from(row: &DeploymentRow) -> Self {
        Self {
            id: Set(row.id.0),
            app_name: Set(row.app_name.to_string()),
            config_id: Set(row.config_id.0),
            image: Set(row.image.clone()),
            started_at: Set(Stamp(row.started_at)),
            ended_at: Set(row.ended_at.map(Stamp)),
            status: Set(row.status.to_string()),
            active_color: Set(row.active_color.to_string()),
            rollback_of: Set(row.rollback_of.map(|id| id.0)),
        }
    }
}

impl From<&EventRecord> for deployment_event::ActiveModel {
    fn from(event: &EventRecord) -> Self {
        Self {
            id: NotSet,
            deployment_id: Set(event.deployment_id.0),
            app_name: Set(event.app_name.to_string()),
            event_type: Set(event.event_type.to_owned()),
            payload: Set(without_nul(event.payload.clone())),
            error: Set(event.error.as_ref().map(|text| text_without_nul(text))),
            created_at: Set(Stamp(event.at)),
        }
    }
}

impl From<&CurrentState> for current_state::ActiveModel {
    fn from(state: &CurrentState) -> Self {
        Self {
            app_name: Set(state.app_name.to_string()),
            deployment_id: Set(state.deployment_id.0),
            active_color: Set(state.active_color.map(|color| color.to_string())),
            image: Set(state.image.clone()),
            status: Set(state.status.clone()),
            updated_at: Set(Stamp(state.updated_at)),
        }
    }
}

/// PostgreSQL takes no NUL in a text nor in JSON, and what an app or a registry said may hold one:
/// it becomes U+FFFD, on every database alike, so that no transition can be refused for it.
pub(crate) fn without_nul(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(text_without_nul(&text)),
        Value::Array(values) => values.into_iter().map(without_nul).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (text_without_nul(&key), without_nul(value))).collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

pub(crate) fn text_without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
