//! What was tried in the world, and which promise a violation breaks.

use dockswap_proof::Proof;

/// A promise of the catalog that the checker judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Traffic goes only to what passed its gate, or to the last that served.
    Gate,
    /// After a committed switch no new request reaches the old color.
    Switch,
    /// A switch loses no request.
    Service,
    /// What serves is not stopped before its route has left it and its drain has ended.
    Stop,
    /// Events and states agree.
    Record,
    /// After a crash the next start converges.
    Crash,
    /// A restart changes nothing that runs.
    Restart,
    /// A failed deploy leaves the old color untouched.
    Failure,
    /// Nothing leaks, and nothing that is not ours is touched.
    Leak,
    /// The last edit wins.
    Edit,
}

/// How often each promise was put to the test.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Requests that came, each to where the table sent it.
    pub(crate) requests: u64,
    /// Switches that were committed.
    pub(crate) switches: u64,
    /// Running containers that we stopped.
    pub(crate) stops: u64,
    /// Transitions that were committed.
    pub(crate) transitions: u64,
    /// Controllers that died.
    pub(crate) deaths: u64,
    /// Restarts with nothing to do.
    pub(crate) idle_restarts: u64,
    /// Deployments that were undone while what had served before could be told to be untouched.
    pub(crate) undone: u64,
    /// Deployments whose containers are accounted for.
    pub(crate) accounted: u64,
    /// Apps whose last edit was waited for.
    pub(crate) last_edits: u64,
}

impl Promise {
    pub(crate) const ALL: [Self; 10] = [
        Self::Gate,
        Self::Switch,
        Self::Service,
        Self::Stop,
        Self::Record,
        Self::Crash,
        Self::Restart,
        Self::Failure,
        Self::Leak,
        Self::Edit,
    ];

    /// The one that an invariant of the core is part of.
    pub(crate) const fn of_invariant(number: u8) -> Self {
        match number {
            1 => Self::Gate,
            2 => Self::Service,
            3 => Self::Stop,
            5 => Self::Switch,
            6 => Self::Crash,
            _ => Self::Record,
        }
    }

    /// Its row in the catalog.
    const fn row(self) -> &'static str {
        match self {
            Self::Gate => "P1",
            Self::Switch => "P2",
            Self::Service => "P3",
            Self::Stop => "P4",
            Self::Record => "P5",
            Self::Crash => "P7",
            Self::Restart => "P8",
            Self::Failure => "P9",
            Self::Leak => "P10",
            Self::Edit => "P13",
        }
    }

    /// What one trial of it is.
    const fn trial(self) -> &'static str {
        match self {
            Self::Gate => "requests",
            Self::Switch | Self::Service => "switches",
            Self::Stop => "containers stopped",
            Self::Record => "transitions",
            Self::Crash => "controllers killed",
            Self::Restart => "idle restarts",
            Self::Failure => "deployments undone",
            Self::Leak => "deployments",
            Self::Edit => "last edits",
        }
    }

    const fn trials(self, tally: &Tally) -> u64 {
        match self {
            Self::Gate => tally.requests,
            Self::Switch | Self::Service => tally.switches,
            Self::Stop => tally.stops,
            Self::Record => tally.transitions,
            Self::Crash => tally.deaths,
            Self::Restart => tally.idle_restarts,
            Self::Failure => tally.undone,
            Self::Leak => tally.accounted,
            Self::Edit => tally.last_edits,
        }
    }

    /// Its proof by random walks, with what they tried; `broken` are the promises that were.
    pub(crate) fn proof(self, tally: &Tally, broken: &[Self]) -> Proof {
        let mut proof = Proof::of(self.row(), format!("simulation, random walks: {}", self.trial()));
        let failures = u64::try_from(broken.iter().filter(|promise| **promise == self).count()).unwrap_or(0);
        proof.kept_times(self.trials(tally).saturating_sub(failures));
        proof.broken_times(failures);
        proof
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            requests,
            switches,
            stops,
            transitions,
            deaths,
            idle_restarts,
            undone,
            accounted,
            last_edits,
        } = other;
        self.requests += requests;
        self.switches += switches;
        self.stops += stops;
        self.transitions += transitions;
        self.deaths += deaths;
        self.idle_restarts += idle_restarts;
        self.undone += undone;
        self.accounted += accounted;
        self.last_edits += last_edits;
    }
}
