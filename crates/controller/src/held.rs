//! Traffic that goes where the records do not send it. The proxy outlives controllers, and records may be
//! set back: after `db restore`, or without any database, the proxy may serve a release that is newer than
//! anything on record. What serves is not taken out of service for that: it is left where it is until the
//! app's next confirmed switch, an order to recover, or its own end; and people are told. So too while a deployment is
//! undone that has the traffic, and nothing runs to which it could go back: until the records know that it is over.

use dockswap_core::machine::{Effect, Machine};
use dockswap_core::ports::{Container, ContainerState};
use dockswap_core::routes::{AppRoutes, Gate, Hold, Target};
use dockswap_core::spec::{DeploymentPolicy, Route};
use dockswap_core::{Color, DeploymentId, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many requests may wait, and what Docker and the proxy may take besides what the policy allows.
const QUEUE: u32 = 1_000;
const SLACK: Duration = Duration::from_mins(2);

/// What an app's traffic is left with: nothing, nearly always. Shared by the app's task and its upkeep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Left>>>);

#[derive(Clone, Debug)]
struct Left {
    routes: AppRoutes,
    whose: Whose,
    /// Requests wait, since it was stopped for what may not run beside it.
    withheld: Option<Hold>,
}

/// Whose traffic it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Of a deployment that no record knows.
    Unknown,
    /// Of the one in flight, which the records send back without having anywhere to send it.
    InFlight,
}

impl Held {
    /// What the proxy has in force for an app when a controller starts, where that is to be left alone:
    /// something of it runs, and by the records (`recorded`) traffic would go elsewhere, without a switch
    /// that is under way and has somewhere to go. Where the records know how its deployment ended
    /// (`newest`: the last one that they know), they have decided already.
    pub(crate) fn at_start(
        machine: Option<&Machine>,
        newest: DeploymentId,
        recorded: Option<&AppRoutes>,
        in_force: &AppRoutes,
        seen: &[Container],
    ) -> Option<Self> {
        let target = in_force.target.as_ref()?;
        // Then requests wait: what has the traffic is about to be stopped, and something runs to go on with.
        if machine.is_some_and(Machine::is_held) {
            return None;
        }
        let in_flight = machine.and_then(Machine::in_flight);
        if target.deployment <= newest && in_flight != Some(target.deployment) {
            return None;
        }
        let wanted = recorded.and_then(|routes| routes.target.as_ref());
        if wanted.is_some_and(|wanted| (wanted.deployment, wanted.color) == (target.deployment, target.color))
        {
            return None;
        }
        let is_switching = machine.is_some_and(|machine| machine.owed().effect == Some(Effect::Route));
        if is_switching && wanted.is_some_and(|wanted| !wanted.upstreams.is_empty()) {
            return None;
        }
        let routes = recorded.map_or_else(|| in_force.routes.clone(), |recorded| recorded.routes.clone());
        let routes = AppRoutes {
            app: in_force.app.clone(),
            routes,
            target: Some(target.clone()),
            gate: Gate::Open,
            limits: in_force.limits.clone(),
        };
        let whose = if in_flight == Some(target.deployment) { Whose::InFlight } else { Whose::Unknown };
        let held = Self(Arc::new(Mutex::new(Some(Left { routes, whose, withheld: None }))));
        held.routes(seen, Gate::Open).is_some_and(|routes| reaches_something(&routes)).then_some(held)
    }

    fn held(&self) -> MutexGuard<'_, Option<Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The routes that are left in force, to the containers as they are now. The gate is the records' business all
    /// the same, unless requests wait for another reason.
    pub(crate) fn routes(&self, seen: &[Container], gate: Gate) -> Option<AppRoutes> {
        let Left { routes, withheld, .. } = self.held().clone()?;
        if let Some(hold) = withheld {
            let gate = match gate {
                Gate::Open => Gate::Held(hold),
                Gate::Held(other) => Gate::Held(hold.or(other)),
                closed @ Gate::Closed { .. } => closed,
            };
            return Some(AppRoutes { target: None, gate, ..routes });
        }
        let target = routes.target?;
        let upstreams = of(&target, seen).filter_map(|container| container.upstream.clone()).collect();
        Some(AppRoutes { target: Some(Target { upstreams, ..target }), gate, ..routes })
    }

    /// Has requests wait, if its containers are among those that are about to `go`, for what `policy` allows to
    /// follow them and to go back. Returns whether they do. (What the next controller finds then is a table that leads
    /// nowhere: it does not bring back what this one stopped.)
    pub(crate) fn withhold(&self, go: &[Container], policy: &DeploymentPolicy, now: Timestamp) -> bool {
        let mut held = self.held();
        let Some(left) = held.as_mut().filter(|left| left.whose == Whose::Unknown) else { return false };
        let is_to_go = left.routes.target.as_ref().is_some_and(|target| of(target, go).next().is_some());
        if is_to_go {
            let there = policy.drain_timeout + policy.stop_timeout + policy.startup_timeout;
            left.withheld = Some(Hold::begin(2 * there + SLACK, QUEUE, now));
        }
        is_to_go
    }

    /// What requests wait for, or for what follows it.
    pub(crate) fn withheld(&self) -> Option<(Color, DeploymentId)> {
        let held = self.held();
        let target = held.as_ref().filter(|left| left.withheld.is_some())?.routes.target.as_ref()?;
        Some((target.color, target.deployment))
    }

    /// It has the traffic again.
    pub(crate) fn give_back(&self) {
        if let Some(left) = self.held().as_mut() {
            left.withheld = None;
        }
    }

    /// Where the traffic comes in that is left alone.
    pub(crate) fn incoming(&self) -> Vec<Route> {
        self.held().as_ref().map(|left| left.routes.routes.clone()).unwrap_or_default()
    }

    /// Whether anything is held.
    pub(crate) fn is_held(&self) -> bool {
        self.held().is_some()
    }

    /// From now on the records decide.
    pub(crate) fn release(&self) {
        *self.held() = None;
    }

    /// A state of the app is in force: lets go when it knows how the deployment ended whose traffic this is.
    pub(crate) fn follow(&self, machine: &Machine) {
        let mut held = self.held();
        if let Some(left) = held.as_mut().filter(|_| machine.in_flight().is_none()) {
            // Nothing is to follow any more.
            left.withheld = None;
        }
        let Some(Left { routes, whose: Whose::InFlight, .. }) = &*held else { return };
        if machine.in_flight() != routes.target.as_ref().map(|target| target.deployment) {
            *held = None;
        }
    }

    /// Lets go when nothing of it runs any more; says in words what is still held.
    pub(crate) fn look(&self, seen: &[Container]) -> Option<String> {
        let mut held = self.held();
        let target = held.as_ref()?.routes.target.clone()?;
        if held.as_ref().is_some_and(|left| left.withheld.is_some()) {
            return Some(format!(
                "deployment {} ({}) had the traffic, is unknown to the records, and may not run beside what is to \
                 follow it: requests wait",
                target.deployment, target.color
            ));
        }
        if !of(&target, seen).any(runs) {
            tracing::warn!("what had the traffic, unknown to the records, runs no more: the records decide");
            *held = None;
            return None;
        }
        Some(format!(
            "deployment {} ({}) has the traffic, and the records say otherwise: they are older than what runs. \
             It is left there until the next deploy, or `dockswap recover`",
            target.deployment, target.color
        ))
    }
}

fn of<'a>(target: &Target, seen: &'a [Container]) -> impl Iterator<Item = &'a Container> {
    let (color, deployment) = (target.color, target.deployment);
    seen.iter().filter(move |container| container.color == color && container.deployment == deployment)
}

fn runs(container: &Container) -> bool {
    matches!(
        container.state,
        ContainerState::Running | ContainerState::Restarting(_) | ContainerState::Paused
    )
}

fn reaches_something(routes: &AppRoutes) -> bool {
    routes.target.as_ref().is_some_and(|target| !target.upstreams.is_empty())
}
