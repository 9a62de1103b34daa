//! Performing what is owed, as the ports' contracts have it: every verb may be done again.

use super::brain::{Brain, Clearing};
use super::fixture::{failure, image};
use super::{Answer, Container, World, release_id};
use dockswap_core::invariants::ReleaseId;
use dockswap_core::machine::{Effect, Event, Machine, Phase, Release};
use dockswap_core::spec::Strategy;

/// How an effect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and says so.
    Works,
    /// It is not done, and says so.
    Fails,
    /// It is done, and says that it is not: a reply was lost on the way.
    Deceives,
    /// A drain whose time is over.
    TimesOut,
}

impl World {
    /// How the effect that is owed may end; nothing when none is owed or it was begun already.
    pub(super) fn outcomes(&self, brain: &dyn Brain) -> Vec<Outcome> {
        let Some(machine) = self.controller.as_ref().and_then(|controller| brain.acts_for(controller)) else {
            return Vec::new();
        };
        let begun = self.answers.iter().any(|answer| answer.answers == machine.version());
        let Some(effect) = brain.owed(machine).effect.filter(|_| !begun) else { return Vec::new() };
        match effect {
            Effect::Drain { release, until } => {
                let idle =
                    release.is_none_or(|release| !self.proxy.in_flight.contains_key(&release_id(&release)));
                match (idle, until <= self.now) {
                    (true, _) => vec![Outcome::Works],
                    (false, true) => vec![Outcome::TimesOut],
                    (false, false) => Vec::new(),
                }
            }
            // The gate says what it sees; an app that is not healthy is no failure of ours.
            Effect::Probe { release, .. } if !self.is_healthy(release_id(&release)) => vec![Outcome::Fails],
            // What is to go cannot be taken out of traffic.
            Effect::Run(release) if self.occupied(&release) && !self.reachable(brain.route(machine)) => {
                vec![Outcome::Fails]
            }
            // Traffic is only ever sent to where something runs.
            // (Unless nobody is to wait for it any longer, or everybody is to wait.)
            Effect::Route | Effect::Stop(_)
                if !machine.has_surrendered()
                    && machine.route().hold.is_none()
                    && !self.reachable(brain.route(machine)) =>
            {
                vec![Outcome::Fails]
            }
            Effect::Pull { .. } | Effect::Probe { .. } if self.left.failures > 0 => {
                vec![Outcome::Works, Outcome::Fails]
            }
            Effect::Run(_) | Effect::Route | Effect::Stop(_) | Effect::Undo(_) | Effect::RemoveAll
                if self.left.failures > 0 =>
            {
                vec![Outcome::Works, Outcome::Fails, Outcome::Deceives]
            }
            _ => vec![Outcome::Works],
        }
    }

    pub(super) fn perform(&mut self, brain: &dyn Brain, outcome: Outcome) {
        let Some(machine) =
            self.controller.as_ref().and_then(|controller| brain.acts_for(controller)).cloned()
        else {
            return;
        };
        let Some(effect) = brain.owed(&machine).effect else { return };
        if matches!(outcome, Outcome::Fails | Outcome::Deceives) {
            self.left.failures = self.left.failures.saturating_sub(1);
        }
        let done = !matches!(outcome, Outcome::Fails);
        let good = matches!(outcome, Outcome::Works);
        let event = match &effect {
            Effect::Pull { plan, pinned, .. } => {
                let mut image = image(plan);
                if let Some(pinned) = pinned {
                    assert_eq!(image.id, *pinned, "the very image");
                }
                image.digest = None;
                if good { Event::ImageReady(image) } else { Event::ImageFailed(failure("no such image")) }
            }
            Effect::Run(release) => {
                self.clear_slot(brain, &machine, release);
                self.run(release, done);
                if good {
                    Event::ContainerStarted
                } else {
                    Event::ContainerFailed(failure("it does not start"))
                }
            }
            Effect::Probe { release, .. } => {
                if good {
                    self.past.trusted.insert(release_id(release));
                    Event::HealthCheckPassed
                } else {
                    Event::HealthCheckFailed(failure("it does not get healthy"))
                }
            }
            Effect::Route => {
                if done {
                    self.proxy.routed = brain.route(&machine);
                    self.proxy.gated = !machine.gate().is_open();
                    self.proxy.in_doubt = true;
                }
                Self::routed(&machine, good)
            }
            Effect::Drain { release, .. } => match (release, outcome) {
                (Some(release), Outcome::TimesOut) => {
                    let left = self.proxy.in_flight.remove(&release_id(release)).unwrap_or(0);
                    Event::DrainTimedOut { left: left.into() }
                }
                _ => Event::DrainComplete,
            },
            Effect::Stop(release) => {
                if done {
                    self.confirm_route(brain, &machine);
                    self.finish_requests(brain, release_id(release));
                    self.stop(release_id(release));
                }
                if good { Event::ContainerStopped } else { Event::StopFailed(failure("it does not stop")) }
            }
            Effect::Undo(release) => {
                if let (Some(release), true) = (release, done) {
                    self.remove(release_id(release));
                }
                if good {
                    Event::RollbackComplete
                } else {
                    Event::RollbackFailed(failure("it cannot be removed"))
                }
            }
            Effect::RemoveAll => {
                if done {
                    for release in self.releases_where(|_| true) {
                        self.vacate(brain, release);
                    }
                }
                if good { Event::ContainerStopped } else { Event::StopFailed(failure("it does not stop")) }
            }
        };
        self.answers.push(Answer { answers: machine.version(), event });
    }

    /// Clears the slot of everything else. What has traffic against the state's route is taken out of
    /// it first; where that cannot be, the slot stays as it is.
    fn clear_slot(&mut self, brain: &dyn Brain, machine: &Machine, release: &Release) {
        let id = release_id(release);
        let asks = brain.clears() == Clearing::AfterTheTraffic;
        if self.occupied(release) {
            self.confirm_route(brain, machine);
        }
        for other in self.releases_where(|other| other != id) {
            if asks && self.proxy.routed == Some(other) {
                continue;
            }
            if other.0 == id.0 {
                self.vacate(brain, other);
            } else if release.runs_alone() || self.runs_alone(other) {
                self.finish_requests(brain, other);
                self.stop(other);
            }
        }
    }

    /// Runs the release. What fails leaves debris.
    fn run(&mut self, release: &Release, done: bool) {
        let id = release_id(release);
        if done {
            self.start(id);
        } else {
            // What ran before and does not come up any more is no doing of ours.
            if self.past.trusted.contains(&id) {
                self.past.harmed.insert(id);
            }
            self.docker.entry(id).or_insert(Container::Created);
        }
    }

    /// Whether something else is in the slot of `release`.
    fn occupied(&self, release: &Release) -> bool {
        let id = release_id(release);
        let beside = |other| self.runs(other) && (release.runs_alone() || self.runs_alone(other));
        let in_the_way = |other: &ReleaseId| other.0 == id.0 || beside(*other);
        self.docker.keys().any(|other| *other != id && in_the_way(other))
    }

    /// Whether a release must run alone, by the records: the machine may know of it no more.
    fn runs_alone(&self, release: ReleaseId) -> bool {
        let config = self.disk.deployments.get(&release.1).map(|(config, _)| *config);
        let plan = self.disk.configs.iter().find(|plan| Some(plan.config) == config);
        plan.is_some_and(|plan| plan.policy.strategy == Strategy::Recreate)
    }

    /// Whether the proxy can be told to send traffic there.
    pub(super) fn reachable(&self, target: Option<ReleaseId>) -> bool {
        target.is_none_or(|target| self.runs(target))
    }

    /// Has the proxy confirm the state's route before anything is stopped.
    fn confirm_route(&mut self, brain: &dyn Brain, machine: &Machine) {
        if brain.clears() == Clearing::AfterTheTraffic && self.reachable(brain.route(machine)) {
            (self.proxy.routed, self.proxy.in_doubt) = (brain.route(machine), false);
            self.proxy.gated = !machine.gate().is_open();
        }
    }

    /// Waits for what is in flight, then closes it.
    fn finish_requests(&mut self, brain: &dyn Brain, release: ReleaseId) {
        if brain.clears() == Clearing::AfterTheTraffic {
            self.proxy.in_flight.remove(&release);
        }
    }

    /// Removes what no phase has drained.
    fn vacate(&mut self, brain: &dyn Brain, release: ReleaseId) {
        self.finish_requests(brain, release);
        self.remove(release);
    }

    fn routed(machine: &Machine, good: bool) -> Event {
        match (machine.phase(), good) {
            (_, true) => Event::TrafficSwitched { revision: machine.version().0 },
            (Phase::RollingBack(_), false) => Event::RollbackFailed(failure("the proxy does not answer")),
            (_, false) => Event::SwitchFailed(failure("the proxy does not answer")),
        }
    }

    /// What must run and does not, or must not and does.
    pub(super) fn tended(&self, machine: &Machine) -> impl Iterator<Item = (ReleaseId, Container)> {
        let upkeep = machine.upkeep();
        let settled = matches!(machine.phase(), Phase::Settled(_));
        let ill = upkeep.live.map(|live| release_id(&live)).filter(|live| !self.is_healthy(*live));
        let awake: Vec<_> = upkeep
            .cold
            .iter()
            .map(release_id)
            .filter(|cold| settled && self.runs(*cold) && self.is_out_of_traffic(*cold))
            .collect();
        // Nothing is started beside what must run alone, whichever of the two it is.
        let crowded = machine.upkeep().live.is_some_and(|live| {
            let mut others = self.docker.keys().filter(|other| **other != release_id(&live));
            others.any(|other| self.runs(*other) && (live.runs_alone() || self.runs_alone(*other)))
        });
        let heal = ill.filter(|_| !crowded).map(|live| (live, Container::Healthy));
        heal.into_iter().chain(awake.into_iter().map(|cold| (cold, Container::Stopped)))
    }

    pub(super) fn tend(&mut self) {
        let Some(machine) = self.in_force() else { return };
        for (release, into) in self.tended(machine).collect::<Vec<_>>() {
            match into {
                Container::Healthy => self.start(release),
                _ => self.stop(release),
            }
        }
    }

    /// Containers that the state has no use for, once it stands still and the proxy has confirmed
    /// that no traffic is on them.
    pub(super) fn debris(&self, machine: &Machine) -> impl Iterator<Item = ReleaseId> {
        let used: Vec<_> = machine.releases().into_iter().map(release_id).collect();
        let settled = matches!(machine.phase(), Phase::Settled(_));
        self.releases_where(|release| settled && !used.contains(&release) && self.is_out_of_traffic(release))
            .into_iter()
    }

    /// Whether the proxy has confirmed that no traffic is on it, and nothing is in flight.
    fn is_out_of_traffic(&self, release: ReleaseId) -> bool {
        !self.proxy.in_doubt
            && self.proxy.routed != Some(release)
            && !self.proxy.in_flight.contains_key(&release)
    }

    pub(super) fn sweep(&mut self) {
        let Some(machine) = self.in_force() else { return };
        for release in self.debris(machine).collect::<Vec<_>>() {
            self.remove(release);
        }
    }

    fn releases_where(&self, wanted: impl Fn(ReleaseId) -> bool) -> Vec<ReleaseId> {
        self.docker.keys().copied().filter(|release| wanted(*release)).collect()
    }
}
