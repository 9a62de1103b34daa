//! What of the app's records stays. It is decided here, between two messages: no rollback can begin to what
//! is just being given up.

use super::App;
use crate::orders::OrderError;
use crate::retention::PruneMode;
use dockswap_core::machine::Refusal;
use dockswap_core::records::CommitError;
use dockswap_core::retention::Kept;

impl App {
    /// What stays, and how many images of the rest were given up (a few hundred at a time); `None`: what runs is
    /// not what is on record, and nothing is decided by records.
    pub(super) async fn retain(
        &self,
        most: usize,
        mode: PruneMode,
    ) -> Result<Option<(Kept, u64)>, OrderError> {
        if self.held.is_held() {
            return Ok(None);
        }
        let kept = self.shared.kept(&self.machine, most).await?;
        if mode == PruneMode::DryRun {
            return Ok(Some((kept, 0)));
        }
        let now = self.shared.ports.clock.now();
        match self.shared.ports.store.give_up(&kept, now).await {
            Ok(images) => Ok(Some((kept, images))),
            Err(CommitError::Conflict { .. }) => Err(Refusal::Busy { state: self.machine.state() }.into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }
}
