//! Many kills on several sites at once: most of the time of each is waiting.

use crate::host::Host;
use crate::points::{Point, Strike};
use crate::rng::Rng;
use crate::tally::{Breach, Tally};
use crate::track::{Outcome, Program, Track};
use dockswap_tests::Mix;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The variables that have only points whose names begin so tried, and each so often: for looking into one.
const POINT: &str = "DOCKSWAP_CRASH_POINT";
const KILLS: &str = "DOCKSWAP_CRASH_KILLS";

/// Every crash point, `times` times, in an order that looks like none.
pub(crate) fn at_every_point(times: usize) -> Vec<Strike> {
    let only = std::env::var(POINT).unwrap_or_default();
    let times = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(times);
    let points = Point::all().into_iter().filter(|point| point.to_string().starts_with(&only));
    let mut kills: Vec<Strike> =
        points.flat_map(|point| std::iter::repeat_n(Strike::At(point), times)).collect();
    Rng::seeded().shuffle(&mut kills);
    kills
}

/// How kills are gone through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Campaign {
    pub(crate) host: Host,
    pub(crate) program: Program,
    /// How many at once.
    pub(crate) sites: usize,
    pub(crate) mix: Mix,
    /// Where the controller is killed, for the record.
    pub(crate) what: &'static str,
}

/// What is left to do, and what was seen.
#[derive(Debug, Default)]
struct Progress {
    left: VecDeque<Strike>,
    tally: Tally,
    settled_in: Vec<Duration>,
    requests: usize,
}

impl Campaign {
    /// Goes through all of `kills`, and panics if any promise was broken.
    pub(crate) fn goes_through(self, kills: Vec<Strike>) {
        let wanted = kills.len() as u64;
        let progress = Mutex::new(Progress { left: kills.into(), ..Progress::default() });
        std::thread::scope(|scope| {
            for _ in 0..self.sites {
                scope.spawn(|| self.one_after_the_other(&progress));
            }
        });
        let Progress { tally, mut settled_in, requests, .. } =
            progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        settled_in.sort_unstable();
        let within = |percent: usize| {
            let last = settled_in.len().saturating_sub(1);
            settled_in.get((settled_in.len() * percent / 100).min(last)).copied().unwrap_or_default()
        };
        println!(
            "{wanted} kills, {requests} requests; settled within {:?} (half), {:?} (99 %), {:?} (all)",
            within(50),
            within(99),
            within(100),
        );
        assert!(tally.tried("ctl.kill") == wanted, "kills were left out");
        tally.conclude(&format!("killed at {}, {}", self.what, self.host.name()));
    }

    fn one_after_the_other(self, progress: &Mutex<Progress>) {
        let mut open: Option<Track> = None;
        loop {
            let next = lock(progress).left.pop_front();
            let Some(strike) = next else { break };
            let track = open.get_or_insert_with(|| Track::open(self.host, self.program, self.mix));
            match catch_unwind(AssertUnwindSafe(|| track.strike(strike))) {
                Ok(outcome) => lock(progress).add(strike, &outcome),
                // What happened was printed when it did; the site is in no state to go on from.
                Err(_) => {
                    eprintln!("--- {strike}: the last words\n{}", track.last_words());
                    lock(progress).wedged(strike);
                    open = None;
                }
            }
            if open.as_ref().is_some_and(Track::has_long_history) {
                close(open.take(), progress);
            }
        }
        close(open, progress);
    }
}

impl Progress {
    fn add(&mut self, strike: Strike, outcome: &Outcome) {
        self.tally.add(&strike, &outcome.judged, &outcome.breaches);
        self.settled_in.push(outcome.settled_in);
        self.requests += outcome.requests;
    }

    fn wedged(&mut self, strike: Strike) {
        let rows = ["P7", "ctl.kill"];
        self.tally.add(&strike, &rows, &rows.map(|row| Breach::of(row, "not settled")));
    }
}

/// A site that is left must have kept everything.
fn close(track: Option<Track>, progress: &Mutex<Progress>) {
    if let Some(track) = track {
        let breaches = track.close();
        lock(progress).tally.add(&"the end", &["P5"], &breaches);
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
