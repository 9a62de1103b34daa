//! What can happen in the world, and when.

use super::brain::Brain;
use super::fixture::{Manner, Pace, plan};
use super::perform::Outcome;
use super::{Action::*, Container, World, release_id};
use dockswap_core::Timestamp;
use dockswap_core::invariants::ReleaseId;
use dockswap_core::machine::{
    AlarmKind, Effect, Event, Failure, Fallback, Ground, Machine, Observation, Order, OrderReason,
    OrderTarget, Phase, Readiness,
};
use dockswap_core::records::DeploymentStatus;
use std::time::Duration;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    // People.
    /// The file is edited, and stored as a new config.
    Edit(Manner),
    /// A command.
    Ask(Ask),

    // The controller.
    /// It looks at what was stored: a deployment begins, or the one in flight is superseded.
    Intake,
    /// What was decided is committed.
    Commit,
    /// What is owed is performed, with this outcome; its answer is under way.
    Perform(Outcome),
    /// An answer arrives.
    Deliver(usize),
    /// An answer arrives, and will arrive again.
    DeliverTwice(usize),
    /// An answer never arrives: its deadline passes, and the effect is owed still.
    Lose(usize),
    /// It sees that something it watches is not well.
    Notice,
    /// An alarm rings.
    Ring,
    /// It sees to it that what must run does, and what must not does not.
    Tend,
    /// It removes containers that no state has a use for.
    Sweep,
    /// The whole table is applied again, because of another app or a restart of the proxy.
    Reapply,
    /// It is killed.
    Crash,
    /// It is started again.
    Restart,

    // The world.
    /// A container dies by itself, or by a stranger's hand.
    Die(ReleaseId),
    /// The app in a container stops answering well.
    Sicken(ReleaseId),
    /// A request begins.
    Request,
    /// A request ends.
    Answer(ReleaseId),
    /// Time passes, up to the next deadline.
    Wait,
}

/// A command of an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `dockswap deploy`.
    Deploy,
    /// `dockswap rollback` to the standby that still runs.
    RollbackWarm,
    /// `dockswap rollback --to` an earlier success, by its own image.
    RollbackPinned,
    /// `dockswap switch`.
    Switch,
    /// `dockswap promote`.
    Promote,
    /// `dockswap cancel`.
    Cancel,
    /// `dockswap recover`.
    Recover,
    /// `dockswap remove`.
    Retire,
    /// `dockswap pause`.
    Pause,
    /// `dockswap resume`.
    Resume,
    /// `dockswap maintenance on`.
    Close,
    /// `dockswap maintenance off`.
    Open,
}

impl World {
    /// What can happen next.
    pub fn actions(&self, brain: &dyn Brain) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(controller) = &self.controller else {
            actions.push(Restart);
            self.outside(&mut actions);
            return actions;
        };
        if self.left.crashes > 0 {
            actions.push(Crash);
        }
        if brain.acts_for(controller).is_some() {
            actions.extend(self.outcomes(brain).into_iter().map(Perform));
        }
        if controller.decided.is_some() {
            // Between decision and commit only a crash makes a difference: nothing reads what
            // happens meanwhile.
            actions.push(Commit);
            return actions;
        }
        let machine = &controller.machine;
        self.outside(&mut actions);
        self.asked(brain, machine, &mut actions);
        self.own(brain, machine, &mut actions);
        for nth in 0..self.answers.len() {
            actions.push(Deliver(nth));
            if self.left.mishaps > 0 {
                actions.push(DeliverTwice(nth));
                actions.push(Lose(nth));
            }
        }
        actions
    }

    /// What needs no controller.
    fn outside(&self, actions: &mut Vec<Action>) {
        if self.left.edits > 0 {
            actions.extend(self.left.manners.iter().map(|manner| Edit(*manner)));
        }
        if self.left.harms > 0 {
            for (release, state) in &self.docker {
                if self.runs(*release) {
                    actions.push(Die(*release));
                }
                if *state == Container::Healthy {
                    actions.push(Sicken(*release));
                }
            }
        }
        let count = |release| self.proxy.in_flight.get(&release).copied().unwrap_or(0);
        if let Some(routed) = self.proxy.routed
            && !self.proxy.gated
            && self.runs(routed)
            && count(routed) < self.left.requests
        {
            actions.push(Request);
        }
        actions.extend(self.proxy.in_flight.keys().map(|release| Answer(*release)));
        if self.next_deadline().is_some() {
            actions.push(Wait);
        }
    }

    /// What operators may ask. What the machine would refuse is left out: a refusal changes nothing,
    /// which the machine's signature shows.
    fn asked(&self, brain: &dyn Brain, machine: &Machine, actions: &mut Vec<Action>) {
        const ORDERS: [Ask; 4] = [Ask::Deploy, Ask::RollbackWarm, Ask::RollbackPinned, Ask::Switch];
        const GATES: [Ask; 2] = [Ask::Pause, Ask::Close];
        const INTERVENTIONS: [Ask; 3] = [Ask::Cancel, Ask::Recover, Ask::Retire];
        let mut accepted = |ask: Ask| {
            if self.event_of(ask).is_some_and(|event| brain.step(machine, &event, self.now).is_ok()) {
                actions.push(Ask(ask));
            }
        };
        accepted(Ask::Promote);
        if self.left.orders > 0 {
            ORDERS.into_iter().for_each(&mut accepted);
        }
        if self.left.interventions > 0 {
            INTERVENTIONS.into_iter().for_each(&mut accepted);
        }
        if self.left.gates > 0 {
            GATES.into_iter().for_each(&mut accepted);
        }
        [Ask::Resume, Ask::Open].into_iter().for_each(&mut accepted);
    }

    /// What the controller does of itself.
    fn own(&self, brain: &dyn Brain, machine: &Machine, actions: &mut Vec<Action>) {
        let accepts =
            |event: Option<Event>| event.is_some_and(|event| brain.step(machine, &event, self.now).is_ok());
        if accepts(self.intake(machine)) {
            actions.push(Intake);
        }
        if accepts(self.noticed(machine)) {
            actions.push(Notice);
        }
        if accepts(Self::alarm(machine)) {
            actions.push(Ring);
        }
        if self.tended(machine).next().is_some() {
            actions.push(Tend);
        }
        if self.debris(machine).next().is_some() {
            actions.push(Sweep);
        }
        let target = brain.route(machine);
        let idle_doubt = self.proxy.in_doubt && !asks_for_route(machine);
        let stale = self.proxy.routed != target || self.proxy.gated == machine.gate().is_open();
        if self.reachable(target) && (stale || idle_doubt) {
            actions.push(Reapply);
        }
    }

    /// Makes `action` happen.
    pub fn apply(&mut self, brain: &dyn Brain, action: &Action) {
        self.past.stops.clear();
        match action {
            Edit(manner) => {
                self.left.edits -= 1;
                let id = i64::try_from(self.disk.configs.len()).expect("a small number") + 1;
                self.disk.configs.push(plan(id, *manner, self.pace));
            }
            Ask(ask) => {
                match ask {
                    Ask::Deploy | Ask::RollbackWarm | Ask::RollbackPinned | Ask::Switch => {
                        self.left.orders -= 1;
                    }
                    Ask::Cancel | Ask::Recover | Ask::Retire => self.left.interventions -= 1,
                    Ask::Pause | Ask::Close => self.left.gates -= 1,
                    Ask::Promote | Ask::Resume | Ask::Open => {}
                }
                self.decide_on(brain, self.event_of(*ask));
            }
            Intake => self.decide_on(brain, self.in_force().and_then(|machine| self.intake(machine))),
            Notice => self.decide_on(brain, self.in_force().and_then(|machine| self.noticed(machine))),
            Ring => self.decide_on(brain, self.in_force().and_then(Self::alarm)),
            Commit => self.commit(brain),
            Perform(outcome) => self.perform(brain, *outcome),
            Deliver(nth) => {
                let answer = self.answers.remove(*nth);
                self.decide(brain, &answer.event, Some(answer.answers));
            }
            DeliverTwice(nth) => {
                self.left.mishaps -= 1;
                let answer = self.answers[*nth].clone();
                self.decide(brain, &answer.event, Some(answer.answers));
            }
            Lose(nth) => {
                self.left.mishaps -= 1;
                self.answers.remove(*nth);
            }
            Tend => self.tend(),
            Sweep => self.sweep(),
            Reapply => {
                if let Some(machine) = self.in_force() {
                    let (route, asks) = (brain.route(machine), asks_for_route(machine));
                    self.proxy.gated = !machine.gate().is_open();
                    (self.proxy.routed, self.proxy.in_doubt) = (route, asks);
                }
            }
            Crash => {
                self.left.crashes -= 1;
                self.controller = None;
                // Effects answer to the process that began them.
                self.answers.clear();
            }
            Restart => {
                let machine = self.disk.machine.clone();
                let stands_still = matches!(machine.phase(), Phase::Settled(_));
                self.controller = Some(super::Controller { machine, decided: None });
                if !stands_still {
                    self.decide(brain, &Event::Resumed, None);
                }
            }
            Die(release) => {
                self.left.harms -= 1;
                self.harm(*release, Container::Stopped);
            }
            Sicken(release) => {
                self.left.harms -= 1;
                self.harm(*release, Container::Sick);
            }
            Request => {
                if let Some(routed) = self.proxy.routed {
                    *self.proxy.in_flight.entry(routed).or_default() += 1;
                }
            }
            Answer(release) => {
                let left = self.proxy.in_flight.remove(release).unwrap_or(1) - 1;
                if left > 0 {
                    self.proxy.in_flight.insert(*release, left);
                }
            }
            Wait => self.now = self.next_deadline().unwrap_or(self.now),
        }
    }

    fn decide_on(&mut self, brain: &dyn Brain, event: Option<Event>) {
        if let Some(event) = event {
            self.decide(brain, &event, None);
        }
    }

    /// The event that a command brings; `None` when there is nothing that it could be about.
    fn event_of(&self, ask: Ask) -> Option<Event> {
        let order =
            |target, reason| Event::Deploy(Order { deployment: self.disk.next_deployment(), target, reason });
        Some(match ask {
            Ask::Deploy => order(OrderTarget::Config(self.disk.configs.last()?.clone()), OrderReason::Deploy),
            Ask::RollbackWarm => order(OrderTarget::Standby, OrderReason::Rollback),
            Ask::Switch => order(OrderTarget::Standby, OrderReason::Switch),
            Ask::RollbackPinned => {
                let serving = self.in_force()?.serving()?.deployment;
                let (id, (config, _)) = self.disk.deployments.iter().find(|(id, (_, status))| {
                    **id != serving
                        && matches!(status, DeploymentStatus::Success | DeploymentStatus::RolledBack)
                })?;
                let plan = self.disk.configs.iter().find(|plan| plan.config == *config)?.clone();
                let image_id = self.disk.images.get(id)?.clone();
                order(OrderTarget::Pinned { plan, image_id }, OrderReason::Rollback)
            }
            Ask::Promote => Event::Promote,
            Ask::Cancel => Event::Cancel,
            Ask::Recover => {
                let healthy =
                    self.docker.keys().copied().filter(|release| self.is_healthy(*release)).collect();
                Event::ManualRecovery(Observation { healthy })
            }
            Ask::Retire => Event::Retire { newest: None },
            Ask::Pause => {
                let lasts = match self.pace {
                    Pace::Real => 30_000,
                    Pace::Instant => 0,
                };
                Event::Paused { limit: Duration::from_millis(lasts), queue: 1 }
            }
            Ask::Resume => Event::Unpaused,
            Ask::Close => Event::MaintenanceBegan { page: None },
            Ask::Open => Event::MaintenanceEnded,
        })
    }

    /// What a stored config that waits leads to: only the newest is ever looked at.
    fn intake(&self, machine: &Machine) -> Option<Event> {
        let newest = self.disk.waiting(machine)?;
        match machine.readiness() {
            Readiness::Ready => Some(Event::Deploy(Order {
                deployment: self.disk.next_deployment(),
                target: OrderTarget::Config(newest.clone()),
                reason: OrderReason::Edit,
            })),
            Readiness::Superseding => Some(Event::Superseded { by: newest.config }),
            Readiness::Busy => None,
        }
    }

    /// What there is to see that the state has an arrow for.
    fn noticed(&self, machine: &Machine) -> Option<Event> {
        if let Some(watch) = machine.owed().watch {
            let fit = |release| self.is_healthy(release_id(release));
            return (!fit(&watch.release)).then(|| Event::TargetUnhealthy {
                origin: watch.release.origin,
                failure: Failure::new("it does not answer"),
                fallback: if watch.fallback.as_ref().is_some_and(fit) {
                    Fallback::Healthy
                } else {
                    Fallback::Unfit
                },
            });
        }
        let Phase::Settled(Ground::Serving(_)) = machine.phase() else { return None };
        let lost = machine.upkeep().warm.iter().any(|standby| !self.runs(release_id(standby)));
        lost.then(|| Event::StandbyLost(Failure::new("it is gone")))
    }

    fn alarm(machine: &Machine) -> Option<Event> {
        machine.owed().alarm.map(|alarm| match alarm.kind {
            AlarmKind::WatchPassed => Event::WatchPassed,
            AlarmKind::WindowPassed => Event::WindowPassed,
            AlarmKind::PauseEnded => Event::PauseEnded,
        })
    }

    /// The next time that something is due, if that is not now.
    fn next_deadline(&self) -> Option<Timestamp> {
        let owed = self.in_force()?.owed();
        let of_effect = match owed.effect {
            Some(Effect::Probe { until, .. } | Effect::Drain { until, .. }) => Some(until),
            _ => None,
        };
        let deadlines = owed.alarm.map(|alarm| alarm.at).into_iter().chain(of_effect);
        deadlines.filter(|deadline| *deadline > self.now).min()
    }
}

/// Whether the state waits for the proxy to confirm its route. Until then nobody counts on it, even
/// if it was applied with the whole table.
fn asks_for_route(machine: &Machine) -> bool {
    matches!(machine.owed().effect, Some(Effect::Route))
}
