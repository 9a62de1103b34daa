//! Leaving the world alone: nothing new happens, effects work, time passes.

use super::brain::Brain;
use super::perform::Outcome;
use super::{Action, Budget, World};
use dockswap_core::invariants::{AT_REST, Violation, check};

/// More steps than any deployment needs to come to its end, with its cleaning up.
const BOUND: usize = 60;

impl World {
    /// Invariant 6: left alone, the world comes to rest within a bounded number of steps, and no
    /// other invariant breaks on the way.
    pub fn comes_to_rest(&self, brain: &dyn Brain) -> Result<(), Violation> {
        self.at_rest(brain).map(|_| ())
    }

    /// The world at rest, with nothing left that could happen.
    pub fn at_rest(&self, brain: &dyn Brain) -> Result<Self, Violation> {
        let mut world = Self { left: Budget::NOTHING, ..self.clone() };
        let mut path = Vec::new();
        for _ in 0..BOUND {
            let Some(action) = world
                .actions(brain)
                .into_iter()
                .filter_map(|action| Some((urgency(&action)?, action)))
                .min_by_key(|(urgency, _)| *urgency)
            else {
                return world.view(|view| AT_REST.check(view)).map(|()| world);
            };
            world.apply(brain, &action.1);
            path.push(action.1);
            world.view(check).map_err(|violation| Violation {
                what: format!("{}, left alone: {path:?}", violation.what),
                ..violation
            })?;
        }
        let what = format!("{} and still not at rest after {path:?}", world.disk.machine.state());
        Err(Violation { number: AT_REST.number, what })
    }
}

/// What a controller does first when several things can be done; `None`: it does not do that.
fn urgency(action: &Action) -> Option<u8> {
    Some(match action {
        Action::Restart => 0,
        Action::Commit => 1,
        Action::Deliver(_) => 2,
        Action::Reapply => 3,
        Action::Notice => 4,
        Action::Perform(Outcome::Works | Outcome::TimesOut) => 5,
        Action::Perform(Outcome::Fails) => 6,
        Action::Answer(_) => 7,
        Action::Tend => 8,
        Action::Sweep => 9,
        Action::Ring => 10,
        Action::Intake => 11,
        Action::Wait => 12,
        Action::Perform(Outcome::Deceives)
        | Action::Edit(_)
        | Action::Ask(_)
        | Action::DeliverTwice(_)
        | Action::Lose(_)
        | Action::Crash
        | Action::Die(_)
        | Action::Sicken(_)
        | Action::Request => return None,
    })
}
