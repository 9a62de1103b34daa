//! Crash points: the moments of a transition at which a test lets the whole process die, without a destructor
//! run or a buffer written. They exist only where the feature `crash-points` is on, which no release has;
//! elsewhere a point is nothing.
//!
//! A point is named `<stage>.<moment>`. `DOCKSWAP_CRASH_AT` names a file; the process dies at a point as soon as
//! that file says `<app> <point>`. It is a file so that a test can say so at any time: to a controller that has
//! started, settled and serves.

use dockswap_core::machine::Machine;

/// The four moments of a stage. Between any two of them something has become true in the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// It is decided on and not committed.
    Decided,
    /// It is committed, and nothing has been done for it.
    Committed,
    /// What it owed is done, and that is not committed. Of a stage that only waits: what it waited for has come.
    Performed,
    /// That is committed, and nobody knows yet.
    Reported,
}

/// Dies here if that was asked for.
#[cfg(feature = "crash-points")]
pub(crate) fn point(machine: &Machine, moment: Moment) {
    let Some(file) = std::env::var_os("DOCKSWAP_CRASH_AT") else { return };
    let Ok(wanted) = std::fs::read_to_string(file) else { return };
    let moment = match moment {
        Moment::Decided => "decided",
        Moment::Committed => "committed",
        Moment::Performed => "performed",
        Moment::Reported => "reported",
    };
    let here = format!("{} {}.{moment}", machine.app(), machine.stage().name());
    if wanted == here {
        eprintln!("crash point: {here}");
        std::process::abort();
    }
}

/// As [`point`], where the stage has no effect that would tell the moment by its beginning and its end.
#[cfg(feature = "crash-points")]
pub(crate) fn point_of_a_wait(machine: &Machine, moment: Moment) {
    if machine.owed().effect.is_none() {
        point(machine, moment);
    }
}

/// Nothing.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn point(_: &Machine, _: Moment) {}

/// Nothing.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn point_of_a_wait(_: &Machine, _: Moment) {}
