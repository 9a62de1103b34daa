//! What the load saw.

use super::Kind;
use crate::time::Micros;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A request that was answered as it should be.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its kind.
    pub kind: Kind,
    /// Before its first byte was sent (of a connection of its own: before that was opened).
    pub began: Micros,
    /// After its last byte was received.
    pub ended: Micros,
    /// Which version of the app answered.
    pub version: String,
    /// Which container.
    pub container: String,
}

/// A request that was not.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its kind.
    pub kind: Kind,
    /// When it began.
    pub began: Micros,
    /// When it failed.
    pub ended: Micros,
    /// Why.
    pub reason: String,
}

/// Everything that was seen, in the order in which it ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was answered.
    pub samples: Vec<Sample>,
    /// What failed.
    pub failures: Vec<Failure>,
}

impl Report {
    pub(super) fn add(&mut self, result: Result<Sample, Failure>) {
        match result {
            Ok(sample) => self.samples.push(sample),
            Err(failure) => self.failures.push(failure),
        }
    }

    /// All requests.
    #[must_use]
    pub const fn requests(&self) -> usize {
        self.samples.len() + self.failures.len()
    }

    /// Panics unless every request was answered as it should be. Prints how many there were, and
    /// what that says about the rate of failures.
    pub fn assert_unbroken(&self) {
        assert!(self.failures.is_empty(), "{self}");
        assert!(!self.samples.is_empty(), "no request was made");
        let bound = 3e6 / f64::from(u32::try_from(self.samples.len()).unwrap_or(u32::MAX));
        println!("{self}; at 95 % fewer than {bound:.0} failures per million");
    }

    /// Panics unless every answer came from one of `containers` (whole ids).
    pub fn assert_only_from(&self, containers: &[&str]) {
        let other = self.samples.iter().find(|sample| {
            sample.container.is_empty() || !containers.iter().any(|id| id.starts_with(&sample.container))
        });
        assert!(other.is_none(), "an answer came from another container: {other:?}, not {containers:?}");
    }

    /// The time by which `percent` of the answers had come, from the request's first byte.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times: Vec<Micros> =
            self.samples.iter().map(|sample| (sample.ended - sample.began).max(0)).collect();
        times.sort_unstable();
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        Duration::from_micros(times.get(at).copied().unwrap_or_default().unsigned_abs())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.requests(), self.failures.len())?;
        let mut reasons: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
        for failure in &self.failures {
            *reasons.entry((failure.kind, &failure.reason)).or_default() += 1;
        }
        for ((kind, reason), count) in reasons {
            write!(f, "\n  {count} × {kind:?}: {reason}")?;
        }
        if let Some(first) = self.failures.first() {
            write!(f, "\n  the first began at {} and failed at {}", first.began, first.ended)?;
        }
        Ok(())
    }
}
