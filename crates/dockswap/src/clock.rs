//! The wall clock: what people are told, and what is compared with times that others have set. What decides goes by
//! the controller's own clock, which never goes backwards.

use dockswap_core::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The present, by this machine's clock.
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
