//! What the API says and the commands read: one vocabulary for both ends, in JSON. It must not know
//! how it is carried.

mod access;
mod backups;

pub(crate) use crate::run::intake::FileReport as File;
pub(crate) use access::{
    AuditEntry, AuditLog, NewToken, ProjectEntry, ProjectRemoved, Projects, Token, TokenMark, TokenOrder,
    TokenStanding, Tokens, WhoAmI, done,
};
pub(crate) use backups::{Backup, BackupFault, Backups};

use chrono::{DateTime, SecondsFormat, Utc};
use dockswap_certs::CertificateView;
use dockswap_controller::{AppView, ContainerDrift, Progress};
use dockswap_core::machine;
use dockswap_core::records::{DeploymentRow, DeploymentStatus};
use dockswap_core::{AppName, Color, ConfigId, ConfigSha, DeploymentId, Timestamp};
use dockswap_store::{ConfigSummary, EventRow};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A point in time; in JSON as in RFC 3339, UTC, with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Timestamp);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time: DateTime<Utc> = DateTime::from_timestamp_micros(self.0.as_micros()).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(Timestamp::from_micros(time.timestamp_micros())))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC, with microseconds" })
    }
}

/// What went, or would.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Pruning {
    /// The apps of which anything did.
    pub(crate) apps: Vec<PrunedApp>,
    /// Whether there is more: the controller goes on with it by itself.
    pub(crate) more: bool,
}

/// What went of one app, or would.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct PrunedApp {
    pub(crate) app: AppName,
    /// Deployments that cannot be gone back to any more.
    pub(crate) images: u64,
    /// Deployments that are not on record any more.
    pub(crate) deployments: u64,
    /// Stored files that are not.
    pub(crate) configs: u64,
    /// Events that are not.
    pub(crate) events: u64,
}

/// An app as it stands, with what is on record about it.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct App {
    /// As the controller shows it.
    #[serde(flatten)]
    pub(crate) view: AppView,
    /// When what serves took the traffic.
    pub(crate) serving_since: Option<Time>,
    /// When the state last changed.
    pub(crate) state_since: Option<Time>,
    /// The newest deployment.
    pub(crate) last_deployment: Option<Deployment>,
    /// Why the newest deployment failed or was taken back, with the app's own last lines.
    pub(crate) failure: Option<String>,
    /// What its file asks for, when what serves is an earlier version that an operator went back to.
    pub(crate) asked: Option<Asked>,
    /// How many requests wait at its gate; `None`: none may, or the proxy does not say.
    #[serde(default)]
    pub(crate) requests_waiting: Option<u32>,
    /// Other files of its name, which are not used, and why.
    #[serde(default)]
    pub(crate) unused_files: Vec<File>,
    /// How its certificates stand.
    #[serde(default)]
    pub(crate) certificates: Vec<CertificateView>,
}

/// Every certificate that a route wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Certificates {
    /// By app and host.
    pub(crate) certificates: Vec<CertificateView>,
    /// What keeps them from being looked after; `None`: nothing.
    #[serde(default)]
    pub(crate) fault: Option<String>,
}

/// A version that the file asks for.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) config: ConfigId,
    pub(crate) image: String,
}

impl App {
    /// Whether the newest deployment was ended by somebody, not by a failure.
    pub(crate) fn last_was_cancelled(&self) -> bool {
        self.last_deployment.as_ref().is_some_and(|last| last.status == DeploymentStatus::Cancelled)
    }
}

/// A row of `deployments`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) id: DeploymentId,
    pub(crate) app: AppName,
    /// The version of the file that it deploys.
    pub(crate) config: ConfigId,
    pub(crate) image: String,
    pub(crate) status: DeploymentStatus,
    /// The color that it targets.
    pub(crate) color: Color,
    pub(crate) started_at: Time,
    pub(crate) ended_at: Option<Time>,
    /// The deployment that it undoes.
    pub(crate) rollback_of: Option<DeploymentId>,
}

impl From<DeploymentRow> for Deployment {
    fn from(row: DeploymentRow) -> Self {
        Self {
            id: row.id,
            app: row.app_name,
            config: row.config_id,
            image: row.image,
            status: row.status,
            color: row.active_color,
            started_at: Time(row.started_at),
            ended_at: row.ended_at.map(Time),
            rollback_of: row.rollback_of,
        }
    }
}

/// A row of `deployment_events`.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) deployment: DeploymentId,
    pub(crate) app: AppName,
    /// The event's name.
    #[serde(rename = "event")]
    pub(crate) name: String,
    /// The state before.
    pub(crate) from: Option<String>,
    /// The state after.
    pub(crate) to: Option<String>,
    /// The color that it is about.
    pub(crate) color: Option<Color>,
    /// Whether it was refused, and changed nothing.
    pub(crate) refused: bool,
    pub(crate) error: Option<String>,
    pub(crate) at: Time,
    /// Everything that is on record about it.
    pub(crate) payload: serde_json::Value,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        let text = |name: &str| row.payload.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self {
            id: row.id,
            deployment: row.deployment_id,
            app: row.app_name,
            name: row.event_type,
            from: text("from"),
            to: text("to"),
            color: text("color").and_then(|color| color.parse().ok()),
            refused: row.payload.get("refused").is_some(),
            error: row.error,
            at: Time(row.created_at),
            payload: row.payload,
        }
    }
}

impl Event {
    /// The event itself; `None` when another version wrote it.
    pub(crate) fn decoded(&self) -> Option<machine::Event> {
        serde_json::from_value(self.payload.get("event")?.clone()).ok()
    }
}

/// A version of an app's file, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) id: ConfigId,
    pub(crate) app: AppName,
    /// The hash of its bytes, as `sha256sum` prints it.
    pub(crate) sha: ConfigSha,
    pub(crate) size_bytes: i64,
    pub(crate) created_at: Time,
}

impl From<ConfigSummary> for Config {
    fn from(row: ConfigSummary) -> Self {
        Self {
            id: row.id,
            app: row.app_name,
            sha: row.config_sha,
            size_bytes: row.size_bytes,
            created_at: Time(row.created_at),
        }
    }
}

/// `GET /v1/apps`.
#[expect(clippy::struct_field_names, reason = "these are their names in JSON")]
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Apps {
    pub(crate) apps: Vec<App>,
    /// Files that belong to no known app, and what is wrong with them.
    pub(crate) files: Vec<File>,
    /// What is wrong with the controller itself, and what helps.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// `GET /v1/files`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Files {
    pub(crate) files: Vec<File>,
}

/// Lists, newest first.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Deployments {
    pub(crate) deployments: Vec<Deployment>,
}

/// Ditto.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Configs {
    pub(crate) configs: Vec<Config>,
}

/// Ditto.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
}

/// What is asked of `POST apps/{app}/deployments`.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeployOrder {
    /// Written into the app's file first.
    #[serde(default)]
    pub(crate) image: Option<String>,
}

/// What is asked of `POST apps/{app}/rollback`.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackOrder {
    /// Absent: the previous success.
    #[serde(default)]
    pub(crate) to: Option<DeploymentId>,
}

/// What is asked of `POST apps/{app}/switch`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchOrder {
    pub(crate) color: Color,
}

/// The most bytes of a page that an app shows in maintenance.
pub(crate) const PAGE_LIMIT: usize = 64 * 1024;

/// How long a pause lasts when nobody says so.
const PAUSE: Duration = Duration::from_secs(30);

/// How many requests may wait when nobody says so.
const QUEUE: u32 = 1_000;

/// What is asked of `POST apps/{app}/pause`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseOrder {
    /// For at most so long.
    #[serde(default = "pause", with = "dockswap_core::time::millis", rename = "limit_ms")]
    #[schemars(with = "u64", range(min = 1, max = 600_000), default = "pause_ms")]
    pub(crate) limit: Duration,
    /// And so many.
    #[serde(default = "queue")]
    #[schemars(range(min = 1))]
    pub(crate) queue: u32,
}

const fn pause() -> Duration {
    PAUSE
}

const fn pause_ms() -> u64 {
    30_000
}

const fn queue() -> u32 {
    QUEUE
}

/// What is asked of `POST apps/{app}/maintenance`.
#[derive(Clone, Debug, Default, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceOrder {
    /// The app's own page, HTML; absent: a plain one.
    #[serde(default)]
    pub(crate) page: Option<String>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// The deployment to follow.
    pub(crate) deployment: Option<DeploymentId>,
    /// Whether anything was begun; `false`: it is already so.
    pub(crate) begun: bool,
    /// It waits for its turn (`deployment.max_concurrent`, or another operation on the app), and
    /// will be begun without being asked again.
    pub(crate) queued: bool,
}

/// `GET apps/{app}/health`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) app: AppName,
    /// Of both colors.
    pub(crate) containers: Vec<ContainerHealth>,
}

/// One container's answer.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ContainerHealth {
    pub(crate) name: String,
    pub(crate) color: Color,
    pub(crate) deployment: DeploymentId,
    pub(crate) replica: u8,
    /// Whether it has the traffic.
    pub(crate) live: bool,
    pub(crate) address: Option<std::net::SocketAddr>,
    pub(crate) healthy: bool,
    /// What was seen, when it is not healthy.
    pub(crate) seen: Option<String>,
}

/// `GET drift` and `GET apps/{app}/drift`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Drifts {
    /// Every container that is compared, also without a difference.
    pub(crate) containers: Vec<ContainerDrift>,
}

/// `GET facts`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// By name and subject.
    pub(crate) facts: Vec<Fact>,
}

/// What is known of the machine, and since when.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// `docker`, `disk`, `memory`, `port` or `tls`.
    pub(crate) name: String,
    /// Which of them: a directory, an address, a host.
    pub(crate) subject: String,
    pub(crate) value: serde_json::Value,
    pub(crate) seen_at: Time,
    /// It counts until then.
    pub(crate) expires_at: Time,
    pub(crate) stale: bool,
}

/// `GET apps/{app}/docker-run`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct DockerRun {
    pub(crate) app: AppName,
    pub(crate) color: Color,
    /// The words of the command; values of the environment are masked.
    pub(crate) command: Vec<String>,
}

/// `GET apps/{app}/why`: the facts, for the command to make sentences of.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Why {
    pub(crate) app: App,
    /// The deployment by which it serves, when that is not the newest.
    pub(crate) serving: Option<Deployment>,
    /// The events of the newest deployment, oldest first.
    pub(crate) events: Vec<Event>,
}

/// The data of a `progress` message in a stream of events.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ProgressNotice {
    pub(crate) app: AppName,
    pub(crate) progress: Progress,
}

/// The media type of a problem.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// Why something was not done: [`PROBLEM`] (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `urn:dockswap:problem:` and the code.
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    /// What the code means.
    #[serde(default)]
    pub(crate) title: String,
    /// The HTTP status again.
    pub(crate) status: u16,
    /// Stable, for programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) detail: String,
}

#[cfg(test)]
mod tests {
    use super::Time;
    use dockswap_core::Timestamp;

    #[test]
    fn times_are_written_as_rfc_3339_and_read_back() {
        let time = Time(Timestamp::from_micros(1_795_246_706_123_456));
        let json = serde_json::to_string(&time).expect("JSON");
        assert_eq!(json, "\"2026-11-21T07:38:26.123456Z\"");
        assert_eq!(serde_json::from_str::<Time>(&json).expect("time"), time);
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
