//! Random walks through the world: after each step every invariant holds, and from wherever the walk
//! ends the world comes to rest.

use crate::world::brain::Real;
use crate::world::fixture::{Manner, Pace, app};
use crate::world::{Action, Budget, World};
use dockswap_core::invariants::check;
use dockswap_core::machine::Machine;
use dockswap_proof::Proof;
use proptest::prelude::*;

/// Everything may happen, often.
const ANYTHING: Budget = Budget {
    edits: 20,
    manners: &[Manner::Auto, Manner::Manual, Manner::Record, Manner::Brief, Manner::Recreate],
    orders: 10,
    interventions: 10,
    gates: 10,
    crashes: 20,
    harms: 10,
    failures: 20,
    mishaps: 10,
    requests: 3,
};

/// Walks where `choices` lead, and says what was done.
fn walk(choices: &[u16]) -> Result<World, TestCaseError> {
    let mut world = World::new(ANYTHING, Pace::Real);
    let mut path: Vec<Action> = Vec::new();
    for choice in choices {
        let actions = world.actions(&Real);
        // Nothing is left that could happen.
        let Some(nth) = usize::from(*choice).checked_rem(actions.len()) else { break };
        let action = actions[nth].clone();
        world.apply(&Real, &action);
        let stored = serde_json::to_value(&world.disk.machine).expect("a machine can be stored");
        let loaded: Machine = serde_json::from_value(stored).expect("a stored machine can be loaded");
        prop_assert_eq!(&loaded, &world.disk.machine);
        path.push(action);
        world.view(check).map_err(|violation| TestCaseError::fail(format!("{violation}\nafter {path:?}")))?;
    }
    world.comes_to_rest(&Real).map_err(|violation| {
        TestCaseError::fail(format!("{violation}\nfrom {:#?}\nafter {path:?}", world.disk.machine.phase()))
    })?;
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_on_every_walk(choices in proptest::collection::vec(any::<u16>(), 1..250)) {
        let world = walk(&choices)?;
        let events = world.disk.events.iter().map(|(id, payload)| (*id, payload));
        let replayed = Machine::replay(app(), events).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&replayed, &world.disk.machine);
    }
}

/// The promise on records, at length: as many transitions as a busy app makes in years. After every one of
/// them the events so far add up to the state, and to its row.
#[test]
fn a_hundred_thousand_random_transitions_replay() {
    const TRANSITIONS: usize = 100_000;
    let mut proof = Proof::of("P5", "core, random transitions");
    let endless = Budget {
        edits: 2,
        orders: 2,
        interventions: 2,
        gates: 2,
        crashes: 1,
        harms: 1,
        failures: 1,
        ..ANYTHING
    };
    let mut world = World::new(endless.clone(), Pace::Real);
    // Marsaglia's xorshift64: a fixed walk, the same on every machine.
    let mut dice: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut seen = 0;
    while seen < TRANSITIONS {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        world.left = endless.clone();
        let actions = world.actions(&Real);
        let nth = usize::try_from(dice % (actions.len() as u64)).expect("an index");
        world.apply(&Real, &actions[nth]);
        if world.disk.events.len() == seen {
            continue;
        }
        seen = world.disk.events.len();
        let at = world.disk.current.as_ref().map(|row| row.updated_at).unwrap_or_default();
        if world.disk.replayed == world.disk.machine
            && world.disk.replayed.current_state(at) == world.disk.current
        {
            proof.kept();
        } else {
            proof.broken(format!("after event {seen}, {:?}", actions[nth]));
        }
    }
    // What was folded event by event is what comes of reading them all at once.
    let events = world.disk.events.iter().map(|(id, payload)| (*id, payload));
    let replayed = Machine::replay(app(), events).expect("what was accepted is accepted again");
    assert_eq!(replayed, world.disk.machine);
    proof.conclude();
}
