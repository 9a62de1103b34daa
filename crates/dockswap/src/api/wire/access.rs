//! Who asks, and their tokens, as the API says it.

use super::Time;
use dockswap_core::audit::{AuditRecord, AuditResult};
use dockswap_core::grants::{Grant, Grants};
use dockswap_core::token::{TokenId, TokenName};
use dockswap_core::{AppName, DeploymentId, ProjectName, Timestamp};
use dockswap_store::{AuditRow, TokenRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct WhoAmI {
    /// `uid:1000(ada)` or `token:ci`.
    pub(crate) actor: String,
    /// The token that was shown.
    pub(crate) token: Option<TokenMark>,
    /// From where, over the network.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) grants: Grants,
}

/// Which token it was.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct TokenMark {
    pub(crate) id: TokenId,
    pub(crate) name: TokenName,
    pub(crate) expires_at: Option<Time>,
}

/// What is asked of `POST tokens`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenOrder {
    pub(crate) name: String,
    pub(crate) grants: Vec<Grant>,
    /// Absent: it does not expire.
    #[serde(default, rename = "expires_in_s", with = "seconds")]
    #[schemars(with = "Option<u32>")]
    pub(crate) expires_in: Option<Duration>,
}

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenStanding {
    /// It is good.
    Valid,
    /// Its time is over.
    Expired,
    /// Somebody has revoked it.
    Revoked,
}

/// A token on record.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) name: TokenName,
    pub(crate) status: TokenStanding,
    pub(crate) grants: Grants,
    pub(crate) created_by: String,
    pub(crate) created_at: Time,
    pub(crate) expires_at: Option<Time>,
    /// To the minute.
    pub(crate) last_used_at: Option<Time>,
    pub(crate) revoked_by: Option<String>,
    pub(crate) revoked_at: Option<Time>,
}

impl Token {
    /// As it stands at `now`.
    pub(crate) fn of(row: TokenRow, now: Timestamp) -> Self {
        let status = if row.revoked_at.is_some() {
            TokenStanding::Revoked
        } else if row.expires_at.is_some_and(|end| end <= now) {
            TokenStanding::Expired
        } else {
            TokenStanding::Valid
        };
        Self {
            id: row.id,
            name: row.name,
            status,
            grants: row.grants,
            created_by: row.created_by,
            created_at: Time(row.created_at),
            expires_at: row.expires_at.map(Time),
            last_used_at: row.last_used_at.map(Time),
            revoked_by: row.revoked_by,
            revoked_at: row.revoked_at.map(Time),
        }
    }
}

/// `GET /v1/tokens`: newest first.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
}

/// The one answer that holds a token itself.
#[derive(Clone, JsonSchema, Serialize, Deserialize)]
pub(crate) struct NewToken {
    pub(crate) token: String,
    #[serde(flatten)]
    pub(crate) about: Token,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("about", &self.about).finish_non_exhaustive()
    }
}

/// A row of `audit_log`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct AuditEntry {
    pub(crate) id: i64,
    pub(crate) at: Time,
    pub(crate) actor: String,
    /// The id of the token that was shown.
    pub(crate) token: Option<TokenId>,
    /// From where.
    pub(crate) address: Option<String>,
    pub(crate) verb: String,
    /// `app/web`, `token/ci`, `project/shop`, `controller`.
    pub(crate) target: String,
    pub(crate) result: AuditResult,
    /// What it began, or was about.
    pub(crate) deployment: Option<DeploymentId>,
    /// The `x-request-id` of the answer.
    pub(crate) request: String,
    /// What else was said, and with `code` and `error` why it was not done.
    pub(crate) detail: serde_json::Value,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, record } = row;
        Self {
            id,
            at: Time(record.at),
            actor: record.actor,
            token: record.token,
            address: record.address,
            verb: record.verb,
            target: record.target,
            result: record.result,
            deployment: record.deployment,
            request: record.request,
            detail: record.detail,
        }
    }
}

/// A record that is about to be written with what it records.
pub(crate) fn done(record: AuditRecord) -> AuditRecord {
    AuditRecord { result: AuditResult::Done, ..record }
}

/// `GET /v1/audit`: newest first.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct AuditLog {
    pub(crate) audit: Vec<AuditEntry>,
}

/// A group of apps.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ProjectEntry {
    pub(crate) project: ProjectName,
    /// Those that are not out of service.
    pub(crate) apps: Vec<AppName>,
    /// How many grants name it, of whatever tokens.
    pub(crate) grants: u64,
}

/// `GET /v1/projects`: by name.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<ProjectEntry>,
}

/// What became of `DELETE /v1/projects/{project}`.
#[derive(Clone, Debug, JsonSchema, Serialize, Deserialize)]
pub(crate) struct ProjectRemoved {
    pub(crate) project: ProjectName,
    /// How many grants went with it.
    pub(crate) grants: u64,
}

/// A duration in whole seconds, or none.
mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        // A number of seconds that no clock can count to is as good as never.
        let seconds = Option::<u32>::deserialize(deserializer)?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }
}
