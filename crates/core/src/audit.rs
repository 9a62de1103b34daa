//! The audit: who asked for what, and what became of it. One record for each order, never changed. It must not know how
//! anybody proves who they are.

use crate::name::DeploymentId;
use crate::time::Timestamp;
use crate::token::{TokenId, masked};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// What became of an order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum AuditResult {
    /// It is on record, and begun where it takes a while. How that ended, the deployment says.
    Done,
    /// It was not: whoever asked may not, or it is not possible now.
    Refused,
    /// It was not: something failed.
    Failed,
}

impl AuditResult {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Failed];

    /// As in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no result: write done, refused or failed")]
pub struct InvalidAuditResult;

impl FromStr for AuditResult {
    type Err = InvalidAuditResult;

    fn from_str(text: &str) -> Result<Self, InvalidAuditResult> {
        Self::ALL.into_iter().find(|result| result.as_str() == text).ok_or(InvalidAuditResult)
    }
}

/// A row of `audit_log` that is about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When it was asked.
    pub at: Timestamp,
    /// Who asked: `uid:1000(ada)`, `token:ci`.
    pub actor: String,
    /// The token that they showed.
    pub token: Option<TokenId>,
    /// From where: a network address, or the user of this host who showed a token.
    pub address: Option<String>,
    /// What was asked: `deploy`, `rollback`, …
    pub verb: String,
    /// Of what: `app/web`, `token/ci`, `controller`.
    pub target: String,
    /// What else was said, and why it was not done.
    pub detail: Value,
    /// What became of it.
    pub result: AuditResult,
    /// The deployment that it began, or was about.
    pub deployment: Option<DeploymentId>,
    /// The one request that it was: there is one record of each.
    pub request: String,
}

impl AuditRecord {
    /// The same without what is, or may be a piece of, a token.
    #[must_use]
    pub fn masked(self) -> Self {
        Self {
            actor: masked(&self.actor).into_owned(),
            target: masked(&self.target).into_owned(),
            detail: without_tokens(self.detail),
            ..self
        }
    }

    /// Adds to what was said.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        if !self.detail.is_object() {
            self.detail = Value::Object(serde_json::Map::new());
        }
        if let Some(fields) = self.detail.as_object_mut() {
            fields.insert(name.to_owned(), value.into());
        }
    }
}

fn without_tokens(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked(&text).into_owned()),
        Value::Array(values) => values.into_iter().map(without_tokens).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (masked(&name).into_owned(), without_tokens(value)))
            .collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{AuditRecord, AuditResult};
    use crate::time::Timestamp;
    use serde_json::json;

    #[test]
    fn no_token_gets_into_a_record() {
        let record = AuditRecord {
            at: Timestamp::default(),
            actor: "token:ci".to_owned(),
            token: None,
            address: None,
            verb: "deploy".to_owned(),
            target: "app/dsw_Ab1_cut".to_owned(),
            detail: json!({ "image": "a:dsw_x", "more": ["dsw_y", 1], "dsw_z": null }),
            result: AuditResult::Refused,
            deployment: None,
            request: "r".to_owned(),
        };
        let mut masked = record.masked();
        masked.note("code", "invalid");
        assert_eq!(masked.target, "app/[masked]");
        let detail =
            json!({ "image": "a:[masked]", "more": ["[masked]", 1], "[masked]": null, "code": "invalid" });
        assert_eq!(masked.detail, detail);
    }

    #[test]
    fn results_are_read_as_they_are_written() {
        for result in AuditResult::ALL {
            assert_eq!(result.as_str().parse(), Ok(result));
        }
        assert!("perhaps".parse::<AuditResult>().is_err());
    }
}
