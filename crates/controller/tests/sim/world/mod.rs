//! A small world in memory that the real controller works on: a Docker, a proxy, a database, app
//! files and a clock. Every call takes its time and may go wrong; after every one the checker looks
//! at all of it.

pub(crate) mod checker;
pub(crate) mod database;
pub(crate) mod docker;
mod engine;
pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod proxy;
pub(crate) mod tally;

use crate::rng::Rng;
use checker::Checker;
use database::Database;
use docker::Docker;
use dockswap_core::Timestamp;
use dockswap_core::ports::Clock;
use faults::{Absence, Call, Fate, Fault, Faults, Moment};
use proxy::Proxy;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally::Tally;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many lines of what happened are kept for a failing test.
const STORY: usize = 120;

/// How often clients come.
const CLIENTS: Duration = Duration::from_millis(200);

/// The world. The controller is handed it as every one of its ports.
pub(crate) struct World {
    state: Mutex<State>,
    /// Something was committed.
    pub(crate) committed: Notify,
    /// The controller has reached the call at which it dies.
    pub(crate) died: Notify,
}

/// Everything in it.
pub(crate) struct State {
    /// The world's time when it was last let go on, and the runtime's; without that, time stands.
    since: (Timestamp, Option<Instant>),
    /// How far the wall clock is from the world's time, in microseconds: people and NTP set it.
    pub(crate) wall: i64,
    /// The same for the controller's clock, which reads the wall once, at its start.
    clock: i64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) docker: Docker,
    pub(crate) proxy: Proxy,
    pub(crate) database: Database,
    pub(crate) checker: Checker,
    pub(crate) tally: Tally,
    /// An environment reference that cannot be resolved, when there is one.
    pub(crate) unresolvable: Option<String>,
    pub(crate) story: VecDeque<String>,
    /// All that happened from the first call on, when it is asked for.
    pub(crate) trace: Option<String>,
}

impl State {
    /// The world's time.
    pub(crate) fn now(&self) -> Timestamp {
        let (since, instant) = self.since;
        instant.map_or(since, |instant| since + instant.elapsed())
    }

    pub(crate) fn tell(&mut self, line: impl AsRef<str>) {
        // The oldest line makes room, and lends its memory.
        let mut told =
            if self.story.len() == STORY { self.story.pop_front() } else { None }.unwrap_or_default();
        told.clear();
        let millis = self.now().as_micros() / 1_000;
        let _ = write!(told, "{:>6}.{:03} {}", millis / 1_000, millis % 1_000, line.as_ref());
        if let Some(trace) = &mut self.trace {
            trace.push_str(&told);
            trace.push('\n');
        }
        self.story.push_back(told);
    }
}

/// How a call that did not come through is told to the caller.
pub(crate) type Lost<E> = fn(Call) -> E;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            since: (Timestamp::from_micros(0), None),
            wall: 0,
            clock: 0,
            rng: Rng::new(seed),
            faults: Faults::new(),
            docker: Docker::new(),
            proxy: Proxy::default(),
            database: Database::default(),
            checker: Checker::default(),
            tally: Tally::default(),
            unresolvable: None,
            story: VecDeque::new(),
            trace: None,
        };
        Self { state: Mutex::new(state), committed: Notify::new(), died: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time goes on, with the runtime's.
    pub(crate) fn thaw(&self) {
        self.lock().since.1 = Some(Instant::now());
    }

    /// Time stands still, for looking at the world from outside.
    pub(crate) fn freeze(&self) {
        let mut state = self.lock();
        state.since = (state.now(), None);
    }

    /// A controller begins: it reads the wall clock.
    pub(crate) fn born(&self) {
        let mut state = self.lock();
        state.clock = state.wall;
    }

    /// The controller is no more.
    pub(crate) fn dead(&self) {
        let mut state = self.lock();
        state.docker.unheard();
        state.waits_for_another_controller();
        state.tell("the controller is gone");
    }

    /// A call to the outside.
    pub(crate) async fn call<T, E>(
        &self,
        call: Call,
        about: impl std::fmt::Display + Send,
        lost: Lost<E>,
        act: impl FnOnce(&mut State, Option<Fault>) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let Fate { before, after, fault, dies } = {
            let mut state = self.lock();
            let now = state.now();
            let State { faults, rng, .. } = &mut *state;
            faults.fate(call, now, rng)
        };
        if dies == Some(Moment::Before) {
            return self.die().await;
        }
        tokio::time::sleep(before).await;
        let result = {
            let mut state = self.lock();
            state.advance();
            let now = state.now();
            let absence = state.faults.absence(call.side(), now);
            let quiet = matches!(call, Call::Observe | Call::Status | Call::Read);
            if !quiet || fault.is_some() || state.trace.is_some() {
                let away = match absence {
                    Some(Absence::Gone) => " (away)",
                    Some(Absence::Hung) => " (hung)",
                    None => "",
                };
                state.tell(format!(
                    "{call:?} {about} {}{away}",
                    fault.map_or(String::new(), |f| format!("{f:?}"))
                ));
            }
            if absence.is_some() || matches!(fault, Some(Fault::Unavailable | Fault::Hang)) {
                Err(lost(call))
            } else {
                let result = act(&mut state, fault);
                // What time alone changes is looked at with every client that comes.
                if call.changes() {
                    state.check();
                }
                result
            }
        };
        if matches!(call, Call::Commit | Call::Refusal | Call::Insert) {
            self.committed.notify_one();
        }
        if dies == Some(Moment::After) {
            return self.die().await;
        }
        tokio::time::sleep(after).await;
        if fault == Some(Fault::LostReply) { Err(lost(call)) } else { result }
    }

    async fn die<T>(&self) -> T {
        self.lock().tally.deaths += 1;
        self.died.notify_one();
        std::future::pending().await
    }

    /// Clients come for as long as this is polled.
    pub(crate) async fn traffic(&self) {
        loop {
            tokio::time::sleep(CLIENTS).await;
            let mut state = self.lock();
            state.advance();
            state.requests();
            state.check();
        }
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let state = self.lock();
        Timestamp::from_micros(state.now().as_micros() + state.clock)
    }
}
