//! `retention` of the settings: what of the records is kept, and for how long. It must not know how what is
//! old is removed.

use crate::fields::{Field, Fields, Shape};
use crate::problem::Report;
use crate::scalar::quantity;
use crate::settings::replace;
use std::time::Duration;

/// What of the records is kept. What serves, what is in flight and what can be gone back to always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How many versions each app can go back.
    pub deployments: usize,
    /// How long other deployments, their events and files stay on record.
    pub history: Duration,
    /// How many bytes the records may take: beyond, the oldest go although they are younger than `history`.
    pub max_size_bytes: u64,
}

const DAY: Duration = Duration::from_secs(86_400);

/// The fields of the section.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "deployments",
        Shape::Integer { min: 1, max: 1_000 },
        "How many versions each app can go back: their images, files and records stay; default 20.",
    ),
    Field::new(
        "history",
        Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(86_400 * 36_500) },
        "How long everything else stays on record; default 365d.",
    ),
    Field::new(
        "max_size",
        Shape::Size,
        "What the records may take, as in 512m or 4g: beyond, the oldest go earlier, though never before a day; default 2g.",
    ),
];

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { deployments: 20, history: 365 * DAY, max_size_bytes: 2 << 30 }
    }
}

impl RetentionSettings {
    /// Lays what `retention` holds over what is there.
    pub(crate) fn overlay(&mut self, retention: &Fields<'_>, report: &mut Report) {
        replace(&mut self.deployments, retention.integer("deployments", report));
        replace(&mut self.history, retention.duration("history", report));
        if let Some(item) = retention.take("max_size") {
            let bytes = item.value("a number of bytes, as in 512m or 4g", report);
            let bytes = bytes.and_then(|text| item.parsed(quantity::bytes(text), report));
            replace(&mut self.max_size_bytes, bytes);
        }
    }
}
