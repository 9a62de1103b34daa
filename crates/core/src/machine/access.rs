//! Whether an app's new requests pass, by order of an operator. It stands beside the phase: deployments go on
//! under a pause or in maintenance, and each leaves the other as it is.

use super::event::Event;
use super::phase::Phase;
use super::refusal::Refusal;
use crate::routes::{Gate, Hold};
use crate::time::{Timestamp, millis};
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
    Paused(Pause),
    /// They are answered 503.
    Maintenance {
        /// The app's own page, HTML.
        page: Option<String>,
    },
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// For how long, and how many.
    #[serde(flatten)]
    pub hold: Hold,
    /// How long it was to last.
    #[serde(with = "millis", rename = "limit_ms")]
    pub limit: Duration,
}

impl Pause {
    fn begin(limit: Duration, queue: u32, now: Timestamp) -> Self {
        let limit = limit.min(LONGEST_PAUSE);
        Self { hold: Hold { until: now + limit, queue }, limit }
    }
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
                let paused = Self::Paused(Pause::begin(*limit, *queue, now));
                if paused == *self { already() } else { Ok(paused) }
            }
            (Event::Unpaused, Self::Paused(_)) | (Event::MaintenanceEnded, Self::Maintenance { .. }) => {
                Ok(Self::Open)
            }
            (Event::Unpaused | Event::MaintenanceEnded, _) => already(),
            (Event::PauseEnded, Self::Paused(pause)) if pause.hold.until <= now => Ok(Self::Open),
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

    /// After a restart: a pause begins anew. Its end was reckoned on another controller's clock, which may have been
    /// set since.
    pub(super) fn resume(&self, now: Timestamp) -> Self {
        match self {
            Self::Paused(pause) => Self::Paused(Pause::begin(pause.limit, pause.hold.queue, now)),
            Self::Open | Self::Maintenance { .. } => self.clone(),
        }
    }

    /// The gate that the proxy is to hold for it; `held`: for how long the phase holds requests up besides.
    pub(super) fn gate(&self, held: Option<Hold>) -> Gate {
        match (self, held) {
            (Self::Maintenance { page }, _) => Gate::Closed { page: page.clone() },
            (Self::Paused(pause), held) => Gate::Held(held.map_or(pause.hold, |held| pause.hold.or(held))),
            (Self::Open, Some(held)) => Gate::Held(held),
            (Self::Open, None) => Gate::Open,
        }
    }
}
