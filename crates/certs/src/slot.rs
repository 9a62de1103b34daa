//! One certificate that is wanted: the last good one, and what became of the tries to get another.

use crate::examination::{Fault, Validity};
use dockswap_core::Timestamp;
use dockswap_core::keyring::Pair;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The pause after a first failed try; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_mins(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(12);

/// Tries that are allowed within [`WINDOW`], whoever asks for more and however they end: ACME servers refuse accounts
/// that do not know when to stop.
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

/// A certificate that is wanted.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) good: Option<Good>,
    pub(crate) trouble: Option<String>,
    pub(crate) tries: Tries,
    /// Somebody asked for a try, whatever the pause.
    pub(crate) hurried: bool,
    pub(crate) ordering: bool,
    /// What was issued is not on disk yet.
    pub(crate) unkept: bool,
    /// What the files held when they were read last, and what it is worth whatever the time is.
    pub(crate) examined: Option<(Pair, Result<Validity, Fault>)>,
}

impl Slot {
    /// What `pair` is worth at `now`; `examine` says it whatever the time is, and is asked once for a pair.
    pub(crate) fn verdict(
        &mut self,
        pair: &Pair,
        now: Timestamp,
        examine: impl FnOnce(&Pair) -> Result<Validity, Fault>,
    ) -> Result<Validity, Fault> {
        let known = self.examined.take().filter(|(known, _)| known == pair);
        let (_, verdict) = self.examined.insert(known.unwrap_or_else(|| (pair.clone(), examine(pair))));
        verdict.clone()?.at(now)
    }

    /// Says so, once.
    pub(crate) fn is_troubled_by(&mut self, host: &str, why: String) {
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!(host, "{why}");
            self.trouble = Some(why);
        }
    }

    /// When an ACME server is asked next.
    pub(crate) fn due(&self, host: &str, now: Timestamp) -> Timestamp {
        let wanted = match &self.good {
            Some(good) if good.origin == Origin::Wanted => {
                renewal(good.validity, fraction(&[host, &good.pair.chain_pem]))
            }
            _ => now,
        };
        if self.hurried {
            return self.tries.soonest(now);
        }
        let allowed = self.tries.next(now, fraction(&[host, &self.tries.count.to_string()]));
        allowed.map_or(wanted, |allowed| allowed.max(wanted))
    }
}

/// From 0 to 1, the same for the same texts, and as good as random for others.
fn fraction(texts: &[&str]) -> f64 {
    let digest = texts.iter().fold(Sha256::new(), |hash, text| hash.chain_update(text).chain_update([0]));
    let bytes = digest.finalize();
    f64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / f64::from(u32::MAX)
}

/// The tries of late, and how many of them failed since the last good one. What is later than now says nothing: the
/// clock was wrong then, or is wrong now, and nobody waits for it to come true.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tries {
    /// When they were, the newest last; no more than are needed.
    pub(crate) at_us: Vec<Timestamp>,
    /// How many have failed in a row.
    pub(crate) count: u32,
    /// Why the last one failed.
    pub(crate) why: String,
}

impl Tries {
    /// One failed at `at`.
    pub(crate) fn fail(&mut self, why: String, at: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.why = why;
        self.note(at);
    }

    /// One was good at `at`.
    pub(crate) fn succeed(&mut self, at: Timestamp) {
        (self.count, self.why) = (0, String::new());
        self.note(at);
    }

    fn note(&mut self, at: Timestamp) {
        self.at_us.retain(|&before| before <= at);
        self.at_us.push(at);
        let spare = self.at_us.len().saturating_sub(MOST);
        self.at_us.drain(..spare);
    }

    /// When to try again, after failed tries; `None`: whenever it is wanted. `jitter`, from 0 to 1, spreads those that
    /// failed together.
    pub(crate) fn next(&self, now: Timestamp, jitter: f64) -> Option<Timestamp> {
        let last = *self.until(now).last()?;
        let pause = match self.count {
            0 => Duration::ZERO,
            count => FIRST_PAUSE.saturating_mul(1 << (count - 1).min(16)).min(LONGEST_PAUSE),
        };
        Some(self.bounded(last + pause.mul_f64(1.0 + jitter / 4.0), now))
    }

    /// When to try again for somebody who asks for it at `now`.
    pub(crate) fn soonest(&self, now: Timestamp) -> Timestamp {
        self.bounded(now, now)
    }

    /// Those of the past.
    fn until(&self, now: Timestamp) -> &[Timestamp] {
        let past = self.at_us.iter().take_while(|&&at| at <= now).count();
        &self.at_us[..past]
    }

    /// No sooner than one try more is allowed.
    fn bounded(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        match self.until(now) {
            past @ [first, ..] if past.len() >= MOST => at.max(*first + WINDOW),
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
    use dockswap_core::ports::Secret;

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
            let (mut failed, mut now, mut tries) = (Tries::default(), at(0), Vec::new());
            while now < at(24 * 30) {
                failed.fail("no".to_owned(), now);
                tries.push(now);
                now = failed.next(now, jitter).expect("there are failures");
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
        let mut tries = Tries::default();
        for minute in 0..10 {
            let now = Timestamp::from_micros(minute * HOUR / 60);
            let soonest = tries.soonest(now);
            if minute < 4 {
                assert_eq!(soonest, now);
                tries.fail("no".to_owned(), now);
            } else {
                assert_eq!(soonest, at(1));
            }
        }
        assert_eq!(tries.soonest(at(2)), at(2));
    }

    /// A server counts what it has issued too: one that is asked for, got and lost again and again is one too many.
    #[test]
    fn good_tries_count_among_those_that_are_allowed() {
        let mut tries = Tries::default();
        let minute = |minute: i64| Timestamp::from_micros(minute * HOUR / 60);
        for now in (0..4).map(minute) {
            assert!(tries.next(now, 0.5).is_none_or(|next| next <= now), "{now:?}");
            tries.succeed(now);
        }
        assert_eq!(tries.next(minute(4), 0.5), Some(at(1)));
        assert_eq!(tries.soonest(minute(4)), at(1));
        assert_eq!((tries.count, tries.why.as_str()), (0, ""));
    }

    #[test]
    fn tries_of_a_time_that_has_not_come_keep_nobody_waiting() {
        let mut tries = Tries::default();
        for year in 0..4 {
            tries.fail("the clock was wrong".to_owned(), at(24 * 365 * (50 + year)));
        }
        assert_eq!((tries.next(at(0), 0.5), tries.soonest(at(0))), (None, at(0)));
        tries.fail("no".to_owned(), at(1));
        assert_eq!(tries.at_us, [at(1)]);
        assert!(tries.next(at(1), 0.0) > Some(at(1)));
    }

    #[test]
    fn a_pair_is_examined_once_and_its_time_is_looked_at_again_and_again() {
        let (mut slot, mut examined) = (Slot::default(), 0);
        let pair = |text: &str| Pair { chain_pem: text.to_owned(), key_pem: Secret::new(text.to_owned()) };
        let mut look = |text: &str, now| {
            slot.verdict(&pair(text), now, |_| {
                examined += 1;
                Ok(Validity { from: at(1), until: at(9) })
            })
        };
        assert!(matches!(look("a", at(0)), Err(Fault::Early(_))));
        assert!(look("a", at(1)).is_ok() && look("a", at(8)).is_ok());
        assert!(matches!(look("a", at(9)), Err(Fault::Expired(_))));
        assert!(look("b", at(2)).is_ok() && look("a", at(2)).is_ok() && look("a", at(2)).is_ok());
        assert_eq!(examined, 3);
    }
}
