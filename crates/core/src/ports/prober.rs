//! Probing as a port.

use crate::routes::Upstream;
use crate::spec::HealthCheck;
use async_trait::async_trait;

/// One answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// As expected.
    Healthy,
    /// Not as expected; what was seen, in words that help (`GET /health answered 301 to …`).
    Unhealthy(String),
}

/// Asking a container whether it can serve.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Probes once, within `check.timeout`. The host is always the upstream itself: redirects are
    /// not followed.
    async fn probe(&self, upstream: &Upstream, check: &HealthCheck) -> Probe;
}
