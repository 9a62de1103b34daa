//! What the database is asked and takes long: told in a line of the log, and counted. What was asked for is named; no
//! value is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an operation is only counted after a line about it: a slow disk makes everything slow.
const QUIET: Duration = Duration::from_secs(10);

/// What took long, by what it was for. Shared by everything that asks one database.
#[derive(Debug, Default)]
pub(crate) struct SlowOperations {
    /// In nanoseconds; 0: nothing takes long.
    threshold: AtomicU64,
    seen: Mutex<BTreeMap<&'static str, Seen>>,
}

/// One operation that took long.
#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    told_at: Instant,
    /// How often since then.
    untold: u64,
}

impl SlowOperations {
    /// From now on, what takes at least `threshold` takes long; zero: nothing does.
    pub(crate) fn set_threshold(&self, threshold: Duration) {
        self.threshold.store(u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes that `operation` has taken so long; `writes`: of what was written, how many shared the transaction.
    pub(crate) fn note(&self, operation: &'static str, took: Duration, writes: Option<usize>) {
        let threshold = Duration::from_nanos(self.threshold.load(Ordering::Relaxed));
        if threshold.is_zero() || took < threshold {
            return;
        }
        if let Some(untold) = self.count(operation, Instant::now()) {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(operation, took_ms, writes, untold, "the database took long");
        }
    }

    /// Counts it; how often it was not told since the last line, when it is to be told now.
    fn count(&self, operation: &'static str, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = seen.get_mut(operation) else {
            seen.insert(operation, Seen { count: 1, told_at: now, untold: 0 });
            return Some(0);
        };
        one.count += 1;
        if now.saturating_duration_since(one.told_at) < QUIET {
            one.untold += 1;
            return None;
        }
        one.told_at = now;
        Some(std::mem::take(&mut one.untold))
    }

    /// How often each operation took long.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(operation, seen)| (*operation, seen.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{QUIET, SlowOperations};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn what_takes_long_is_counted_and_told_once_in_a_while() {
        let slow = SlowOperations::default();
        let now = Instant::now();
        assert_eq!(slow.count("read", now), Some(0));
        assert_eq!(slow.count("read", now + QUIET / 2), None);
        assert_eq!(slow.count("write", now + QUIET / 2), Some(0));
        assert_eq!(slow.count("read", now + QUIET), Some(1));
        assert_eq!(slow.count("read", now + QUIET * 2), Some(0));
        assert_eq!(slow.counts(), [("read", 4), ("write", 1)]);
    }

    #[test]
    fn what_is_quicker_than_the_threshold_does_not_count() {
        let slow = SlowOperations::default();
        slow.note("read", Duration::from_secs(9), None);
        slow.set_threshold(Duration::from_millis(200));
        slow.note("read", Duration::from_millis(199), None);
        assert_eq!(slow.counts(), []);
        slow.note("read", Duration::from_millis(200), None);
        assert_eq!(slow.counts(), [("read", 1)]);
    }
}
