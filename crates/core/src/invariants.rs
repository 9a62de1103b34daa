//! What must hold at every instant, numbered as in the contract with users (invariants 1 to 7;
//! 8 is what `strategy: recreate` promises).
//!
//! Pure functions over a [`View`], so that the random walks, the model checker and a checker beside
//! a real Docker all ask the same questions. Nothing here knows how a view is taken.

use crate::machine::{Effect, Machine, Phase};
use crate::name::{Color, DeploymentId};
use crate::records::CurrentState;
use std::collections::BTreeSet;

/// A release as containers and routes name it: its slot, and the deployment that created it.
pub type ReleaseId = (Color, DeploymentId);

/// One app at one instant, from three sides: records, containers, traffic.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The machine as last committed.
    pub machine: &'a Machine,
    /// The machine that the recorded events lead to.
    pub replayed: &'a Machine,
    /// The row of `current_state`.
    pub current: Option<&'a CurrentState>,
    /// The deployments whose row says `in_progress`.
    pub in_progress: &'a BTreeSet<DeploymentId>,
    /// Where the proxy sends requests; `None`: nowhere.
    pub routed: Option<ReleaseId>,
    /// Whether the proxy's route was changed by an order whose answer never came, so that the
    /// controller cannot know the route.
    pub in_doubt: bool,
    /// What runs and is healthy.
    pub healthy: &'a BTreeSet<ReleaseId>,
    /// What runs.
    pub running: &'a BTreeSet<ReleaseId>,
    /// What must run alone, whether or not the machine still knows of it.
    pub alone: &'a BTreeSet<ReleaseId>,
    /// What was harmed from outside (it died, turned unhealthy, was removed by somebody else) and
    /// has not been started again since.
    pub harmed: &'a BTreeSet<ReleaseId>,
    /// What passed its gate in the deployment that started it, or served before.
    pub trusted: &'a BTreeSet<ReleaseId>,
    /// Whether the proxy had confirmed traffic to the app since it was last taken out of service.
    pub has_served: bool,
    /// What was stopped or removed since the last look.
    pub stops: &'a [Stop],
}

/// A running release that was stopped or removed by us, as it stood at that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stop {
    /// Which.
    pub release: ReleaseId,
    /// Requests and upgraded connections on it. What a timed-out drain has closed does not count.
    pub in_flight: u64,
    /// Whether the proxy still sent requests to it.
    pub was: Traffic,
}

/// Whether the proxy sends requests to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// It does.
    Routed,
    /// It does not.
    Unrouted,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is violated: {what}")]
pub struct Violation {
    /// Which, 1 to 8.
    pub number: u8,
    /// What was seen.
    pub what: String,
}

/// An invariant, and the question that decides it.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// 1 to 8.
    pub number: u8,
    /// In one sentence.
    pub text: &'static str,
    /// What is seen when it does not hold.
    pub violated: fn(&View) -> Option<String>,
}

/// Those that must hold at every instant.
///
/// Number 6 (killed at any instant, the next start reaches a settled state) cannot be seen at one
/// instant: let the app run undisturbed, then ask [`AT_REST`].
pub const ALWAYS: [Invariant; 7] = [
    Invariant {
        number: 1,
        text: "traffic goes to a color only after it passed its gate in this deployment, or was serving before",
        violated: untrusted_traffic,
    },
    Invariant {
        number: 2,
        text: "once an app has served, some healthy color is routed, or requests wait for one, unless all are dead or \
               the app is retired",
        violated: outage,
    },
    Invariant {
        number: 3,
        text: "a color is stopped only when nothing is in flight on it or its drain timed out, and never while routed",
        violated: cut_off,
    },
    Invariant {
        number: 4,
        text: "one transition is one transaction: replaying the events gives the state and its row",
        violated: torn_record,
    },
    Invariant {
        number: 5,
        text: "active_color and image name what traffic really uses, from the proxy's confirmation on",
        violated: wrong_color,
    },
    Invariant { number: 7, text: "one deployment at a time per app", violated: two_at_once },
    Invariant {
        number: 8,
        text: "nothing else of an app runs beside a version that must run alone",
        violated: side_by_side,
    },
];

/// What invariant 6 promises, once the app has been left alone for long enough.
pub const AT_REST: Invariant = Invariant {
    number: 6,
    text: "killed at any instant, the next start reaches a settled state",
    violated: unsettled,
};

/// The first invariant that `view` violates.
///
/// # Errors
/// Which one, and what was seen.
pub fn check(view: &View) -> Result<(), Violation> {
    ALWAYS.iter().try_for_each(|invariant| invariant.check(view))
}

impl Invariant {
    /// Whether it holds in `view`.
    ///
    /// # Errors
    /// What was seen when it does not.
    pub fn check(&self, view: &View) -> Result<(), Violation> {
        match (self.violated)(view) {
            Some(what) => Err(Violation { number: self.number, what }),
            None => Ok(()),
        }
    }
}

/// Invariant 1. The gate is a property of containers, so it is asked of the release that is routed.
fn untrusted_traffic(view: &View) -> Option<String> {
    let routed = view.routed?;
    (!view.trusted.contains(&routed)).then(|| {
        format!("{} takes traffic, and has neither passed its gate nor served before", named(routed))
    })
}

/// Invariant 2. What is routed may be harmed from outside, which takes time to notice; it is never we who
/// leave an app without a healthy color.
fn outage(view: &View) -> Option<String> {
    if !view.has_served {
        return None;
    }
    match view.routed {
        // A retirement whose answer was lost: until the table is applied again it may be out.
        None if view.in_doubt => None,
        // It is being stopped, or started again: whoever asks waits.
        None if view.machine.is_held() => None,
        None => Some("the app has served, and nothing is routed".to_owned()),
        Some(routed) if view.healthy.contains(&routed) || view.harmed.contains(&routed) => None,
        Some(routed) => Some(format!("{} is routed and does not run, by our own doing", named(routed))),
    }
}

/// Invariant 3.
fn cut_off(view: &View) -> Option<String> {
    view.stops.iter().find_map(|stop| match (stop.was, stop.in_flight) {
        (Traffic::Routed, _) => Some(format!("{} was stopped while routed", named(stop.release))),
        (Traffic::Unrouted, 0) => None,
        (Traffic::Unrouted, n) => Some(format!("{} was stopped with {n} in flight", named(stop.release))),
    })
}

/// Invariant 4.
fn torn_record(view: &View) -> Option<String> {
    if view.replayed != view.machine {
        let (replayed, state) = (view.replayed, view.machine);
        return Some(format!(
            "the events lead to {} (version {}), the state says {} (version {})",
            replayed.state(),
            replayed.version(),
            state.state(),
            state.version()
        ));
    }
    let expected =
        view.machine.current_state(view.current.map_or_else(Default::default, |row| row.updated_at));
    (view.current != expected.as_ref())
        .then(|| format!("current_state holds {:?} and not {expected:?}", view.current))
}

/// Invariant 5. Between the order to the proxy and its answer the route is not known; then the row still names
/// what was confirmed last.
fn wrong_color(view: &View) -> Option<String> {
    let asking = matches!(view.machine.owed().effect, Some(Effect::Route));
    if asking || view.in_doubt {
        let moved = view.current?.active_color != view.machine.serving().map(|serving| serving.live.color);
        return moved.then(|| "the active color changed before the proxy had confirmed it".to_owned());
    }
    let current = view.current?;
    let used = view.routed.map(|(color, _)| color);
    // What is about to be stopped may still be in the table: whoever asks waits.
    let waits = view.machine.is_held() && current.active_color.is_none();
    if current.active_color != used && !waits {
        return Some(format!("the active color is {:?}, traffic uses {used:?}", current.active_color));
    }
    let live = view.machine.serving().map(|serving| &serving.live);
    let image =
        live.filter(|live| view.routed == Some((live.color, live.origin))).map(|live| &live.plan.image);
    (current.image.as_ref() != image)
        .then(|| format!("the image is {:?}, traffic uses {image:?}", current.image))
}

/// Invariant 7. A recovery may take traffic back from a deployment that has ended as failed: then
/// nothing is in progress, and what is undone is in flight all the same.
fn two_at_once(view: &View) -> Option<String> {
    let in_flight: BTreeSet<_> = view.machine.in_flight().into_iter().collect();
    let recovering = matches!(view.machine.phase(), Phase::RollingBack(_)) && view.in_progress.is_empty();
    (*view.in_progress != in_flight && !recovering)
        .then(|| format!("in progress are {:?}, in flight is {in_flight:?}", view.in_progress))
}

/// Invariant 8.
fn side_by_side(view: &View) -> Option<String> {
    let mut alone = view.alone.intersection(view.running);
    let beside = |alone: &ReleaseId| view.running.iter().find(|other| *other != alone).copied();
    let (alone, other) = alone.find_map(|alone| beside(alone).map(|other| (*alone, other)))?;
    Some(format!("{} must run alone, and {} runs beside it", named(alone), named(other)))
}

/// Invariant 6. Waiting for an operator is rest too.
fn unsettled(view: &View) -> Option<String> {
    match view.machine.phase() {
        Phase::Settled(_) | Phase::AwaitingPromotion(_) => {}
        Phase::Pulling(_)
        | Phase::Holding(_)
        | Phase::Starting(_)
        | Phase::HealthCheck(_)
        | Phase::Switching(_)
        | Phase::Draining(_)
        | Phase::Watching(_)
        | Phase::Stopping(_)
        | Phase::RollingBack(_)
        | Phase::Retiring(_) => return Some(format!("left alone, it is still {}", view.machine.state())),
    }
    let wanted = view.machine.route().to.map(|release| (release.color, release.origin));
    let given_up = view.machine.given_up().is_some();
    if view.routed != wanted {
        return Some(format!("left alone, {:?} is routed and not {wanted:?}", view.routed));
    }
    wanted
        .filter(|wanted| !view.healthy.contains(wanted) && !given_up)
        .map(|wanted| format!("left alone, {} is live and not healthy", named(wanted)))
}

fn named((color, origin): ReleaseId) -> String {
    format!("{color} of deployment {origin}")
}
