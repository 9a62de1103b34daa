//! When the controller is killed: every crash point, as `crates/controller/src/crash.rs` names them, and moments
//! that nobody chose.

use dockswap_core::machine::Stage;
use std::fmt;

/// A moment of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the commit of the stage.
    Decided,
    /// After it, before its effect.
    Committed,
    /// After its effect, before the commit of the report.
    Performed,
    /// After that.
    Reported,
}

/// A crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stage: Stage,
    pub(crate) moment: Moment,
}

impl Point {
    /// All of them. The list of stages is the machine's own, and a test of `core` keeps it whole.
    pub(crate) fn all() -> Vec<Self> {
        let moments = [Moment::Decided, Moment::Committed, Moment::Performed, Moment::Reported];
        let stages = Stage::ALL.into_iter();
        stages.flat_map(|stage| moments.map(|moment| Self { stage, moment })).collect()
    }

    /// Whether it comes before what the stage owes is done; else when the stage is left.
    pub(crate) const fn is_on_entry(self) -> bool {
        matches!(self.moment, Moment::Decided | Moment::Committed)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Decided => "decided",
            Moment::Committed => "committed",
            Moment::Performed => "performed",
            Moment::Reported => "reported",
        };
        write!(f, "{}.{moment}", self.stage.name())
    }
}

/// A kill.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strike {
    /// It dies by itself at this point.
    At(Point),
    /// It is killed as soon as so many requests have been answered after an edit.
    After(usize),
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(point) => point.fmt(f),
            Self::After(requests) => write!(f, "{requests} requests after an edit"),
        }
    }
}
