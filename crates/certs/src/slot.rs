//! One certificate that is wanted: the last good one, and what became of the tries to get another.

use crate::examination::Validity;
use dockswap_core::Timestamp;
use dockswap_core::keyring::Pair;
use std::time::Duration;

/// The pause after a first failed try; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_mins(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(12);

/// Failed tries that are allowed within [`WINDOW`], whoever asks for more: ACME servers refuse accounts that do not
/// know when to stop.
const MOST: usize = 4;
const WINDOW: Duration = Duration::from_hours(1);

/// A pair that was good when it was examined.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) pair: Pair,
    pub(crate) validity: Validity,
    pub(crate) origin: Origin,
}

/// Where a pair is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From where it is wanted from.
    Wanted,
    /// From elsewhere: it was shown for the same host, and is better than nothing until there is one that is wanted.
    StandIn,
}

/// The failed tries since the last good one.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Failures {
    /// When they were, the newest last; no more than are needed.
    pub(crate) at_us: Vec<Timestamp>,
    /// How many in a row.
    pub(crate) count: u32,
    /// Why the last one failed.
    pub(crate) why: String,
}

impl Failures {
    pub(crate) fn add(&mut self, why: String, at: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.at_us.push(at);
        let spare = self.at_us.len().saturating_sub(MOST);
        self.at_us.drain(..spare);
        self.why = why;
    }

    /// When to try again. `jitter`, from 0 to 1, spreads those that failed together.
    pub(crate) fn next(&self, jitter: f64) -> Option<Timestamp> {
        let last = *self.at_us.last()?;
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.count.max(1) - 1).min(16));
        Some(self.bounded(last + doubled.min(LONGEST_PAUSE).mul_f64(1.0 + jitter / 4.0)))
    }

    /// When to try again for somebody who asks for it at `now`.
    pub(crate) fn soonest(&self, now: Timestamp) -> Timestamp {
        self.bounded(now)
    }

    /// No sooner than one try more is allowed.
    fn bounded(&self, at: Timestamp) -> Timestamp {
        match self.at_us.first() {
            Some(&first) if self.at_us.len() >= MOST => at.max(first + WINDOW),
            _ => at,
        }
    }
}

/// When a certificate is renewed: after two thirds of its life, sooner by up to a twentieth of it, so that those
/// that were got together are not renewed together.
pub(crate) fn renewal(validity: Validity, jitter: f64) -> Timestamp {
    let micros = validity.until.as_micros().saturating_sub(validity.from.as_micros());
    let life = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    validity.from + life.mul_f64(2.0 / 3.0 - jitter / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_micros(hours * HOUR)
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_or_a_little_before() {
        let validity = Validity { from: at(0), until: at(90 * 24) };
        assert_eq!(renewal(validity, 0.0), at(60 * 24));
        for jitter in [0.1, 0.5, 1.0] {
            let renewal = renewal(validity, jitter);
            assert!(renewal < at(60 * 24) && renewal > at(55 * 24), "{jitter}");
        }
        let nothing = Validity { from: at(1), until: at(0) };
        assert_eq!(renewal(nothing, 0.5), at(1));
    }

    #[test]
    fn tries_become_fewer_and_are_never_many_in_an_hour() {
        for jitter in [0.0, 0.3, 1.0] {
            let (mut failures, mut now, mut tries) = (Failures::default(), at(0), Vec::new());
            while now < at(24 * 30) {
                failures.add("no".to_owned(), now);
                tries.push(now);
                now = failures.next(jitter).expect("there are failures");
            }
            for (index, first) in tries.iter().enumerate() {
                let within = tries[index..].iter().take_while(|&&later| later < *first + WINDOW).count();
                assert!(within <= MOST, "{within} tries in an hour");
            }
            assert!((50..100).contains(&tries.len()), "{}", tries.len());
        }
    }

    #[test]
    fn one_who_asks_for_it_has_a_try_at_once_but_no_more_than_are_allowed() {
        let mut failures = Failures::default();
        for minute in 0..10 {
            let now = Timestamp::from_micros(minute * HOUR / 60);
            let soonest = failures.soonest(now);
            if minute < 4 {
                assert_eq!(soonest, now);
                failures.add("no".to_owned(), now);
            } else {
                assert_eq!(soonest, at(1));
            }
        }
        assert_eq!(failures.soonest(at(2)), at(2));
    }
}
