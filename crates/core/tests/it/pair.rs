//! Two apps under one controller, exhausted: it dies under both at once, and what may still happen is theirs
//! together.
//!
//! What an app can do depends on its own world alone, so each world is looked at once, however many worlds of
//! the other app it meets: a state of the pair is two numbers. The apps are alike, so a pair is the same the
//! other way round.

use crate::model::CALM;
use crate::world::brain::Real;
use crate::world::fixture::{Manner, Pace};
use crate::world::{Action, Budget, World};
use dockswap_core::invariants::check;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// One app's world, by number.
type Id = u32;

/// What can happen next in a world of one app.
struct Next {
    /// What is its own business, and the world after it.
    own: Vec<(Action, World)>,
    /// The world after the controller's death.
    crash: Option<World>,
    /// The world after the next one's start.
    restart: Option<World>,
}

/// A world that was seen.
struct Seen {
    next: Arc<Next>,
    left: Budget,
    /// What is wrong with it.
    violation: Option<String>,
    world: World,
}

/// Every world that was seen of one app.
#[derive(Default)]
struct Atlas {
    ids: HashMap<u64, Id>,
    seen: Vec<Seen>,
}

/// Two apps.
struct Pair {
    start: World,
    atlas: Mutex<Atlas>,
}

/// What happens to the pair.
#[derive(Clone, Debug, PartialEq)]
enum Happening {
    /// To the app whose world has this number.
    One(Id, Action),
    Crash,
    Restart,
}

const BRAIN: Real = Real;

impl Atlas {
    /// The number of a world; one that was not seen before is judged, and what can happen in it is found out.
    fn id(&mut self, world: World) -> Id {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(id) = self.ids.get(&hash) {
            return *id;
        }
        let mut next = Next { own: Vec::new(), crash: None, restart: None };
        for action in world.actions(&BRAIN) {
            let mut after = world.clone();
            after.apply(&BRAIN, &action);
            after.disk.events.clear();
            match action {
                Action::Crash => next.crash = Some(after),
                Action::Restart => next.restart = Some(after),
                _ => next.own.push((action, after)),
            }
        }
        let deciding = world.controller.as_ref().is_some_and(|controller| controller.decided.is_some());
        let rests = || if deciding { Ok(()) } else { world.comes_to_rest(&BRAIN) };
        let violation = world.view(check).and_then(|()| rests()).err().map(|violation| violation.to_string());
        let id = Id::try_from(self.seen.len()).expect("fewer than four billion worlds");
        self.ids.insert(hash, id);
        self.seen.push(Seen { next: Arc::new(next), left: world.left.clone(), violation, world });
        id
    }

    /// The other app's world, once so much is left for both.
    fn with(&mut self, other: Id, left: &Budget) -> Id {
        let seen = &self.seen[other as usize];
        if seen.left == *left {
            return other;
        }
        let world = World { left: left.clone(), ..seen.world.clone() };
        self.id(world)
    }
}

impl Pair {
    /// Two apps that serve, and `left` to happen to them.
    fn new(left: Budget) -> Self {
        let mut world = World::new(Budget { edits: 1, ..left.clone() }, Pace::Instant);
        world.apply(&BRAIN, &Action::Edit(Manner::Auto));
        let mut world = world.at_rest(&BRAIN).expect("a first deployment");
        world.disk.events.clear();
        world.left = left;
        Self { start: world, atlas: Mutex::default() }
    }

    fn atlas(&self) -> std::sync::MutexGuard<'_, Atlas> {
        self.atlas.lock().expect("nobody panics here")
    }

    fn exhaust(self, name: &str) {
        let checker = self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        println!(
            "{name}: {} states of two apps, {} transitions, made of {} states of one",
            checker.unique_state_count(),
            checker.state_count(),
            checker.model().atlas().seen.len()
        );
        if let Some((_, path)) = checker.discoveries().into_iter().next() {
            let atlas = checker.model().atlas();
            let what: Vec<_> =
                path.last_state().iter().map(|id| &atlas.seen[*id as usize].violation).collect();
            panic!("{what:?}\nafter {:#?}", path.into_actions());
        }
        assert!(checker.is_done(), "the space was not exhausted");
    }
}

impl Model for Pair {
    type State = [Id; 2];
    type Action = Happening;

    fn init_states(&self) -> Vec<[Id; 2]> {
        let id = self.atlas().id(self.start.clone());
        vec![[id, id]]
    }

    fn actions(&self, pair: &[Id; 2], happenings: &mut Vec<Happening>) {
        let atlas = self.atlas();
        let next = pair.map(|id| atlas.seen[id as usize].next.clone());
        drop(atlas);
        for (id, next) in pair.iter().zip(&next) {
            happenings.extend(next.own.iter().map(|(action, _)| Happening::One(*id, action.clone())));
        }
        if next.iter().all(|next| next.crash.is_some()) {
            happenings.push(Happening::Crash);
        }
        if next.iter().all(|next| next.restart.is_some()) {
            happenings.push(Happening::Restart);
        }
    }

    fn next_state(&self, pair: &[Id; 2], happening: Happening) -> Option<[Id; 2]> {
        let mut atlas = self.atlas();
        let next = pair.map(|id| atlas.seen[id as usize].next.clone());
        let mut after = match happening {
            Happening::One(id, action) => {
                let which = usize::from(pair[0] != id);
                let (_, world) = next[which].own.iter().find(|(own, _)| *own == action)?;
                let left = world.left.clone();
                [atlas.id(world.clone()), atlas.with(pair[1 - which], &left)]
            }
            Happening::Crash => {
                let [one, other] = next.map(|next| next.crash.clone());
                [atlas.id(one?), atlas.id(other?)]
            }
            Happening::Restart => {
                let [one, other] = next.map(|next| next.restart.clone());
                [atlas.id(one?), atlas.id(other?)]
            }
        };
        after.sort_unstable();
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("both apps keep all invariants", |model: &Self, pair: &[Id; 2]| {
            let atlas = model.atlas();
            pair.iter().all(|id| atlas.seen[*id as usize].violation.is_none())
        })]
    }
}

#[test]
fn two_edits_a_rollback_and_a_crash() {
    Pair::new(Budget { crashes: 1, ..CALM }).exhaust("two apps, two edits, an order, a crash");
}

/// Many times as many states: in the long mode only.
#[test]
fn two_edits_a_rollback_a_crash_and_a_failing_effect() {
    if dockswap_proof::long() {
        Pair::new(Budget { crashes: 1, failures: 1, ..CALM })
            .exhaust("two apps, two edits, an order, a crash, a failing effect");
    }
}
