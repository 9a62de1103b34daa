//! The proxy as a port.

use crate::routes::{RouteTable, UpstreamId, UpstreamLoad, Waiting};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why the proxy did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RouterError {
    /// It does not answer, or not in time. Worth trying again.
    #[error("the proxy does not answer: {message}")]
    Unavailable {
        /// What was seen.
        message: String,
    },
    /// The table was not newer than the one in force.
    #[error("the proxy holds revision {current}, which is not older than {offered}")]
    Stale {
        /// In force.
        current: u64,
        /// Offered.
        offered: u64,
    },
    /// A listener could not be opened; the table in force stays.
    #[error("the proxy refused the table: {message}")]
    Refused {
        /// The proxy's words, with address and cause.
        message: String,
    },
}

/// What the proxy is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The binary's version.
    pub version: String,
    /// The proxy's process id.
    pub pid: u32,
    /// The table in force.
    pub table: RouteTable,
    /// Where it listens.
    pub listeners: Vec<std::net::SocketAddr>,
    /// Every upstream that is routed or has something in flight.
    pub load: Vec<UpstreamLoad>,
    /// Every app for which requests wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
}

/// The proxy, as far as the controller uses it.
#[async_trait]
pub trait Router: Send + Sync {
    /// Puts `table` in force as one atomic swap. When this returns, every request that begins later
    /// sees it.
    ///
    /// # Errors
    /// When it is not in force, or it is not known whether it is (`Unavailable`).
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError>;

    /// What the proxy is doing.
    ///
    /// # Errors
    /// When it does not answer.
    async fn status(&self) -> Result<RouterStatus, RouterError>;

    /// Waits until nothing is in flight on `upstreams`, at most `patience`; says what is left.
    /// Upstreams that the proxy does not know have nothing in flight.
    ///
    /// # Errors
    /// When it does not answer.
    async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError>;

    /// Closes what is still in flight on `upstreams`.
    ///
    /// # Errors
    /// When it does not answer.
    async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError>;
}
