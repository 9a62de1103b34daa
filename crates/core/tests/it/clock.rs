//! What a clock does that is set while no controller runs: nothing.

use crate::script::Scripted;
use crate::transitions::STATES;
use dockswap_core::Timestamp;
use dockswap_core::machine::{Access, Effect, Machine, Phase, Transition};
use dockswap_proof::Proof;
use std::time::Duration;

/// By how many seconds: an hour, a year, either way.
const JUMPS: [i64; 4] = [-31_536_000, -3_600, 3_600, 31_536_000];

/// No window of the fixture's plans is longer.
const LONGEST_WINDOW: Duration = Duration::from_secs(300);

/// How long it is from `now` until the state's own deadline.
fn left(machine: &Machine, now: Timestamp) -> Option<Duration> {
    let owed = machine.owed();
    let until = match owed.effect {
        Some(Effect::Probe { until, .. } | Effect::Drain { until, .. }) => Some(until),
        _ => owed.alarm.map(|alarm| alarm.at),
    };
    until.map(|until| until.saturating_since(now))
}

/// What the next controller makes of a state, so many seconds of its clock after the last one stopped.
fn taken_up(script: &str, jump: i64) -> (Machine, Option<Duration>) {
    let state = Scripted::run(script);
    let now = Timestamp::from_micros(state.now.as_micros() + jump * 1_000_000);
    let resumed = state.machine.step(&state.event("resumed"), now);
    let machine = resumed.map_or(state.machine, Transition::committed);
    let left = left(&machine, now);
    (machine, left)
}

#[test]
fn deadlines_in_flight_are_the_same_on_any_clock() {
    let mut proof = Proof::of("P19", "core, each state taken up after a jump");
    for (name, script) in STATES {
        let (_, expected) = taken_up(script, 0);
        for jump in JUMPS {
            let (machine, left) = taken_up(script, jump);
            let settled = matches!(machine.phase(), Phase::Settled(_));
            let sane = match machine.access() {
                _ if settled => left <= Some(LONGEST_WINDOW),
                // It may be over: that the clock was set and that time has passed look the same.
                Access::Paused(_) => left <= expected,
                Access::Open | Access::Maintenance { .. } => left == expected,
            };
            if sane {
                proof.kept();
            } else {
                proof.broken(format!("{name}, {jump} s: {left:?} and not {expected:?}"));
            }
        }
    }
    proof.conclude();
}
