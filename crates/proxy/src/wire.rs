//! What is said over the control socket, besides the core's own types.

use dockswap_core::routes::UpstreamId;
use http::HeaderName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `PUT`, a route table: 204 when it is in force.
pub(crate) const TABLE: &str = "/v1/table";
/// `PUT`, a keyring: 204 when it is in force. `GET` [`Held`]: which one is.
pub(crate) const CERTIFICATES: &str = "/v1/certificates";
/// `GET`: the status.
pub(crate) const STATUS: &str = "/v1/status";
/// `GET`: what is counted, in the text format of `OpenMetrics`, without its last line.
pub(crate) const METRICS: &str = "/v1/metrics";
/// `POST` [`Drain`]: waits, and answers what is left.
pub(crate) const DRAINED: &str = "/v1/drained";
/// `POST` [`Close`]: 204 when closed.
pub(crate) const CLOSE: &str = "/v1/close";

/// `POST`, an upgrade to [`HANDOVER_PROTOCOL`]: what [`crate::handover`] says follows.
pub(crate) const HANDOVER: &str = "/v1/handover";
/// Its exchange, in the version of today.
pub(crate) const HANDOVER_PROTOCOL: &str = "dockswap-handover/1";

/// How long, in milliseconds, the one who asks over a lifeline waits for the answer, beyond what it asked to wait for.
pub(crate) const WITHIN: HeaderName = HeaderName::from_static("dockswap-within-ms");

/// Upstreams to wait for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drain {
    pub(crate) upstreams: Vec<UpstreamId>,
    #[serde(rename = "patience_ms", with = "dockswap_core::time::millis")]
    pub(crate) patience: Duration,
}

/// The keyring in force, by its tag alone: no key goes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) tag: String,
}

/// Upstreams whose connections are to be closed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) upstreams: Vec<UpstreamId>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub(crate) enum Failure {
    /// 409: the table is not newer than the one in force.
    Stale {
        /// In force.
        current: u64,
        /// Offered.
        offered: u64,
    },
    /// 422: it cannot be put in force.
    Refused {
        /// Why.
        message: String,
    },
    /// 503: not now; asking again may help.
    Unavailable {
        /// Why.
        message: String,
    },
    /// 400 and all others: the question was not understood.
    Misunderstood {
        /// What is wrong with it.
        message: String,
    },
}
