//! What can go wrong with a call to the outside, and when.

use crate::rng::Rng;
use dockswap_core::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Image,
    Run,
    Stop,
    Remove,
    Observe,
    Lines,
    Apply,
    Status,
    Drained,
    Close,
    Read,
    Commit,
    Refusal,
    Insert,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Docker,
    Proxy,
    Database,
}

impl Call {
    /// Whether it may change something, or tell of a change.
    pub(crate) const fn changes(self) -> bool {
        !matches!(self, Self::Observe | Self::Status | Self::Read | Self::Lines | Self::Drained)
    }

    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Image | Self::Run | Self::Stop | Self::Remove | Self::Observe | Self::Lines => Side::Docker,
            Self::Apply | Self::Status | Self::Drained | Self::Close => Side::Proxy,
            Self::Read | Self::Commit | Self::Refusal | Self::Insert => Side::Database,
        }
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and the caller is told that nobody answers.
    Unavailable,
    /// It is done, and the answer is lost.
    LostReply,
    /// Docker: containers are made and not started. Elsewhere as `Unavailable`.
    HalfDone,
    /// Removing: nothing is done, and Docker says so. Elsewhere nothing goes wrong.
    Refused,
    /// It is done at once, and the answer (as of then) takes this long.
    Late(Duration),
    /// It is done only after this long.
    Slow(Duration),
    /// It is accepted and never answered: the adapter gives up when its deadline is over.
    Hang,
}

/// How a side is that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Calls are refused at once.
    Gone,
    /// Calls are accepted, and the adapter gives each up when its deadline is over.
    Hung,
}

impl Side {
    /// The deadline that the side's adapter sets each call.
    pub(crate) const fn deadline(self) -> Duration {
        match self {
            Self::Docker => Duration::from_secs(30),
            Self::Proxy => Duration::from_secs(5),
            Self::Database => Duration::from_secs(10),
        }
    }
}

/// The instant of a call at which the controller dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// How a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) dies: Option<Moment>,
}

/// What is planned, and what the weather is like.
#[derive(Debug)]
pub(crate) struct Faults {
    planned: BTreeMap<Call, VecDeque<Fault>>,
    away: BTreeMap<Side, (Timestamp, Absence)>,
    /// How many calls in a thousand go wrong by chance.
    pub(crate) chance: usize,
    /// The longest time that a call takes, each way.
    pub(crate) latency: Duration,
    /// How many hints in a thousand are lost; as many are doubled.
    pub(crate) hint_chance: usize,
    /// How many requests in a thousand take long.
    pub(crate) long_requests: usize,
    /// Calls that may change something, so far.
    pub(crate) calls: usize,
    /// How often Docker was looked at.
    pub(crate) observations: usize,
    /// The call at which the controller dies.
    pub(crate) death: Option<(usize, Moment)>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            planned: BTreeMap::new(),
            away: BTreeMap::new(),
            chance: 0,
            latency: Duration::from_millis(3),
            hint_chance: 0,
            long_requests: 0,
            calls: 0,
            observations: 0,
            death: None,
        }
    }

    /// The next calls of this kind go wrong, one fault each.
    pub(crate) fn plan(&mut self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.planned.entry(call).or_default().extend(faults);
    }

    /// Nobody answers on `side` until then.
    pub(crate) fn away(&mut self, side: Side, until: Timestamp, absence: Absence) {
        self.away.insert(side, (until, absence));
    }

    /// How `side` does not answer, when it does not.
    pub(crate) fn absence(&self, side: Side, now: Timestamp) -> Option<Absence> {
        self.away.get(&side).filter(|(until, _)| now < *until).map(|(_, absence)| *absence)
    }

    /// Fair weather again.
    pub(crate) fn clear(&mut self) {
        *self = Self { calls: self.calls, ..Self::new() };
    }

    /// How the next call goes.
    pub(crate) fn fate(&mut self, call: Call, now: Timestamp, rng: &mut Rng) -> Fate {
        let mut dies = None;
        if call == Call::Observe {
            self.observations += 1;
        }
        if !matches!(call, Call::Observe | Call::Status | Call::Read) {
            self.calls += 1;
            dies = self.death.filter(|&(at, _)| at == self.calls).map(|(_, moment)| moment);
        }
        let planned = self.planned.get_mut(&call).and_then(VecDeque::pop_front);
        let fault = planned.or_else(|| rng.happens(self.chance).then(|| chance(rng)));
        let (mut before, mut after) = (
            rng.time(Duration::from_millis(1), self.latency),
            rng.time(Duration::from_millis(1), self.latency),
        );
        match fault {
            Some(Fault::Slow(time)) => before = time,
            Some(Fault::Late(time)) => after = time,
            Some(Fault::Hang) => before = call.side().deadline(),
            Some(Fault::Unavailable | Fault::LostReply | Fault::HalfDone | Fault::Refused) | None => {}
        }
        if self.absence(call.side(), now) == Some(Absence::Hung) {
            before = call.side().deadline();
        }
        Fate { before, after, fault, dies }
    }
}

fn chance(rng: &mut Rng) -> Fault {
    let long = rng.time(Duration::from_millis(200), Duration::from_secs(8));
    *rng.pick(&[
        Fault::Unavailable,
        Fault::LostReply,
        Fault::LostReply,
        Fault::HalfDone,
        Fault::Late(long),
        Fault::Slow(long),
        Fault::Hang,
    ])
}
