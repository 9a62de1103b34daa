//! The model checker over the same world and the real machine: every order of everything, within a
//! budget of what may go wrong.
//!
//! One app is nearly enough: all that other apps do to it is to have the whole table applied at any moment
//! ([`Action::Reapply`]), to make the proxy's revision grow, and to share a controller that dies under all of
//! them at once, which `pair` adds.

use crate::world::brain::{Brain, Real, StopsUnasked};
use crate::world::fixture::{Manner, Pace};
use crate::world::{Action, Budget, World};
use dockswap_core::invariants::{ALWAYS, AT_REST, Invariant, View, check};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;

/// A world to be exhausted.
pub struct Space {
    pub budget: Budget,
    pub brain: &'static dyn Brain,
}

impl Model for Space {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.budget.clone(), Pace::Instant)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.actions(self.brain));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        world.apply(self.brain, &action);
        world.disk.events.clear();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn holds<const NTH: usize>(_: &Space, world: &World) -> bool {
            world.view(|view: &View| ALWAYS[NTH].check(view).is_ok())
        }
        fn rests(space: &Space, world: &World) -> bool {
            // Between decision and commit a crash is the only thing that is new, and it is a state of
            // its own.
            let deciding = world.controller.as_ref().is_some_and(|controller| controller.decided.is_some());
            deciding || world.comes_to_rest(space.brain).is_ok()
        }
        let name = |invariant: &Invariant| NAMES[usize::from(invariant.number) - 1];
        vec![
            Property::always(name(&ALWAYS[0]), holds::<0>),
            Property::always(name(&ALWAYS[1]), holds::<1>),
            Property::always(name(&ALWAYS[2]), holds::<2>),
            Property::always(name(&ALWAYS[3]), holds::<3>),
            Property::always(name(&ALWAYS[4]), holds::<4>),
            Property::always(name(&ALWAYS[5]), holds::<5>),
            Property::always(name(&ALWAYS[6]), holds::<6>),
            Property::always(name(&AT_REST), rests),
        ]
    }
}

pub const NAMES: [&str; 8] = [
    "invariant 1",
    "invariant 2",
    "invariant 3",
    "invariant 4",
    "invariant 5",
    "invariant 6",
    "invariant 7",
    "invariant 8",
];

impl Space {
    /// Walks through all of it; nothing may break.
    fn exhaust(self, name: &str) {
        let brain = self.brain;
        let checker = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        println!(
            "{name}: {} states, {} transitions, depth {}",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth()
        );
        if let Some((property, path)) = checker.discoveries().into_iter().next() {
            let world = path.last_state().clone();
            let what = world.view(check).err().or_else(|| world.comes_to_rest(brain).err());
            let actions: Vec<String> =
                path.into_actions().iter().map(|action| format!("  {action:?}")).collect();
            panic!(
                "{property}: {what:?}\nafter\n{}\nin {:#?}",
                actions.join("\n"),
                world.disk.machine.phase()
            );
        }
        assert!(checker.is_done(), "the space was not exhausted");
    }

    /// Whether the checker finds a way to violate invariant `number`.
    pub fn violates(self, number: usize) -> bool {
        let name = NAMES[number - 1];
        let wanted = HasDiscoveries::AnyOf(BTreeSet::from([name]));
        let checker = self.checker().threads(2).finish_when(wanted).spawn_bfs().join();
        checker.discovery(name).is_some()
    }
}

/// Two edits, one rollback or other order, one request at a time on a release: what every space
/// begins with.
pub const CALM: Budget = Budget {
    edits: 2,
    manners: &[Manner::Auto],
    orders: 1,
    interventions: 0,
    gates: 0,
    crashes: 0,
    harms: 0,
    failures: 0,
    mishaps: 0,
    requests: 1,
};

#[test]
fn a_crash_and_a_dying_container() {
    // Nothing but the machine's own order keeps traffic safe here.
    Space { budget: Budget { crashes: 1, harms: 1, ..CALM }, brain: &StopsUnasked }
        .exhaust("crash and death");
}

#[test]
fn a_failing_effect_and_a_doubled_or_lost_answer() {
    Space { budget: Budget { failures: 1, mishaps: 1, ..CALM }, brain: &Real }.exhaust("failure and mishap");
}

#[test]
fn an_intervention_a_crash_and_a_failing_effect() {
    Space { budget: Budget { orders: 0, interventions: 1, crashes: 1, failures: 1, ..CALM }, brain: &Real }
        .exhaust("intervention, crash and failure");
}

#[test]
fn an_intervention_a_dying_container_and_a_failing_effect() {
    Space { budget: Budget { orders: 0, interventions: 1, harms: 1, failures: 1, ..CALM }, brain: &Real }
        .exhaust("intervention, death and failure");
}

const RECREATE: Budget = Budget { manners: &[Manner::Recreate], ..CALM };

#[test]
fn recreating_with_a_crash_and_a_dying_container() {
    Space { budget: Budget { crashes: 1, harms: 1, orders: 0, ..RECREATE }, brain: &Real }
        .exhaust("recreate, crash and death");
}

#[test]
fn recreating_with_a_failing_effect_and_an_intervention() {
    Space { budget: Budget { failures: 1, interventions: 1, orders: 0, ..RECREATE }, brain: &Real }
        .exhaust("recreate, failure and intervention");
}

#[test]
fn recreating_with_two_failing_effects_and_a_lost_answer() {
    Space { budget: Budget { failures: 2, mishaps: 1, orders: 0, ..RECREATE }, brain: &Real }
        .exhaust("recreate, failures and mishap");
}

#[test]
fn from_blue_green_to_recreate_and_back_again() {
    let manners = &[Manner::Auto, Manner::Recreate];
    Space { budget: Budget { manners, failures: 1, ..CALM }, brain: &Real }.exhaust("both strategies");
}

#[test]
fn a_first_recreation_that_cannot_be_undone() {
    let manners = &[Manner::Auto, Manner::Recreate];
    Space { budget: Budget { manners, orders: 0, failures: 2, ..CALM }, brain: &Real }
        .exhaust("both strategies, and two failures");
}

#[test]
fn a_promotion_beside_what_runs_alone() {
    let manners = &[Manner::Recreate, Manner::Manual];
    Space { budget: Budget { manners, orders: 0, interventions: 1, crashes: 1, ..CALM }, brain: &Real }
        .exhaust("recreate and manual");
}

#[test]
fn a_pause_or_maintenance_and_a_crash() {
    Space { budget: Budget { gates: 1, crashes: 1, edits: 1, ..CALM }, brain: &Real }
        .exhaust("gates and crash");
}

#[test]
fn manual_promotion_and_a_recorded_regression() {
    let manners = &[Manner::Manual, Manner::Record];
    Space { budget: Budget { manners, orders: 0, interventions: 1, harms: 1, ..CALM }, brain: &Real }
        .exhaust("manual and record");
}

/// 3.6 million states take minutes: in the long mode only.
#[test]
fn nearly_everything_at_once() {
    if !dockswap_proof::long() {
        return;
    }
    Space { budget: Budget { interventions: 1, failures: 1, harms: 2, ..CALM }, brain: &Real }
        .exhaust("nearly everything");
}
