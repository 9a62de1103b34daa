//! Whether an app's new requests pass, by order of an operator. It stands beside the phase: deployments go on
//! under a pause or in maintenance, and each leaves the other as it is.

use super::event::Event;
use super::phase::Phase;
use super::refusal::Refusal;
use crate::routes::{Gate, Hold};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a pause may last.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Whether new requests pass, as an operator has ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// They do.
    #[default]
    Open,
    /// They wait.
    Paused(Hold),
    /// They are answered 503.
    Maintenance {
        /// The app's own page, HTML.
        page: Option<String>,
    },
}

impl Access {
    /// Whether requests pass.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// What `event` makes of it in `phase`; `None`: that is no event of this kind.
    pub(super) fn after(
        &self,
        event: &Event,
        phase: &Phase,
        now: Timestamp,
    ) -> Option<Result<Self, Refusal>> {
        let already = || Err(Refusal::Already { event: event.name() });
        let not_now = || Err(Refusal::NotNow { event: event.name(), state: phase.name() });
        let next = match (event, self) {
            (Event::Paused { .. } | Event::MaintenanceBegan { .. }, _) if phase.deployment().is_none() => {
                Err(Refusal::NeverDeployed)
            }
            (Event::Paused { .. } | Event::MaintenanceBegan { .. }, _) if phase.route().routes.is_empty() => {
                not_now()
            }
            (Event::Paused { .. }, Self::Maintenance { .. }) => Err(Refusal::InMaintenance),
            (Event::Paused { limit, queue }, Self::Open | Self::Paused(_)) => {
                let paused = Self::Paused(Hold::begin((*limit).min(LONGEST_PAUSE), *queue, now));
                if paused == *self { already() } else { Ok(paused) }
            }
            (Event::Unpaused, Self::Paused(_)) | (Event::MaintenanceEnded, Self::Maintenance { .. }) => {
                Ok(Self::Open)
            }
            (Event::Unpaused | Event::MaintenanceEnded, _) => already(),
            (Event::PauseEnded, Self::Paused(hold)) if hold.until <= now => Ok(Self::Open),
            (Event::PauseEnded, Self::Paused(_)) => Err(Refusal::TooEarly { event: event.name() }),
            (Event::PauseEnded, Self::Open | Self::Maintenance { .. }) => not_now(),
            (Event::MaintenanceBegan { page }, _) => {
                let closed = Self::Maintenance { page: page.clone() };
                if closed == *self { already() } else { Ok(closed) }
            }
            _ => return None,
        };
        Some(next)
    }

    /// After a restart: a pause lasts no longer for it.
    pub(super) fn resume(&self, now: Timestamp) -> Self {
        match self {
            Self::Paused(hold) => Self::Paused(hold.resume(now)),
            Self::Open | Self::Maintenance { .. } => self.clone(),
        }
    }

    /// The gate that the proxy is to hold for it; `besides`: for how long the phase holds requests up besides.
    pub(crate) fn gate(&self, besides: Option<Hold>) -> Gate {
        match (self, besides) {
            (Self::Maintenance { page }, _) => Gate::Closed { page: page.clone() },
            (Self::Paused(pause), None) => Gate::Held(*pause),
            (Self::Paused(pause), Some(hold)) => Gate::Held(pause.or(hold)),
            (Self::Open, Some(hold)) => Gate::Held(hold),
            (Self::Open, None) => Gate::Open,
        }
    }
}
