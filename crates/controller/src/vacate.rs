//! Keeping traffic off containers: before they are stopped, whoever stops one asks the proxy first,
//! however sure the records are that nothing is sent there; and what was just started gets nobody else's.

use crate::controller::Shared;
use dockswap_core::ports::{Container, RouterError};
use dockswap_core::routes::UpstreamId;
use std::time::Duration;

/// Why containers may not be stopped now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VacateError {
    /// The table in force still leads to them.
    #[error("the proxy still routes to what is to be stopped")]
    Routed,
    /// The proxy cannot be asked.
    #[error(transparent)]
    Router(#[from] RouterError),
}

impl VacateError {
    /// Whether asking again may help.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Router(RouterError::Unavailable { .. }))
    }
}

impl Shared {
    /// Sees to it that no other app's requests go to `containers`, which have just been started.
    pub(crate) async fn claim(&self, containers: &[Container]) {
        if let Err(error) = self.keeper.claim(containers).await {
            tracing::warn!(%error, "an address changed hands, and the proxy could not be told yet");
        }
    }

    /// Makes sure that no request is sent to `containers` and none is in flight on them; closes
    /// what is left after `patience`. Returns at once when they are idle, as they nearly always are.
    ///
    /// # Errors
    /// When they may not be stopped now.
    pub(crate) async fn vacate<'a>(
        &self,
        containers: impl IntoIterator<Item = &'a Container>,
        patience: Duration,
    ) -> Result<(), VacateError> {
        // Also those that nobody reaches now: what is paused still holds what it was sent, and may be reached again.
        let upstreams: Vec<UpstreamId> =
            containers.into_iter().filter_map(|container| container.life.clone()).collect();
        if upstreams.is_empty() {
            return Ok(());
        }
        if self.keeper.confirmed().await?.leads_to(&upstreams) {
            return Err(VacateError::Routed);
        }
        if !self.ports.router.drained(&upstreams, patience).await?.is_empty() {
            self.ports.router.close(&upstreams).await?;
        }
        Ok(())
    }
}
