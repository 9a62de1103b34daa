//! The small world in which the machine proves itself: a disk, a controller that may be killed, two
//! slots of containers, a proxy with requests in flight, and answers under way.
//!
//! Everything that can happen is an [`Action`]. [`World::actions`] lists those that are possible,
//! [`World::apply`] does one, atomically, [`World::view`] shows what the invariants ask for. The
//! property test walks through it at random, the model checker through all of it.

pub mod actions;
pub mod brain;
pub mod disk;
pub mod fixture;
pub mod perform;
pub mod rest;

use brain::Brain;
use disk::Disk;
use dockswap_core::Timestamp;
use dockswap_core::invariants::{ReleaseId, Stop, Traffic, View};
use dockswap_core::machine::{Event, Machine, Phase, Release, Transition};
use dockswap_core::name::Version;
use fixture::{Manner, Pace};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

pub use actions::Action;

/// Everything there is.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The clock that the controller reads.
    pub now: Timestamp,
    /// What survives a crash.
    pub disk: Disk,
    /// What does not; `None`: it was killed.
    pub controller: Option<Controller>,
    /// The containers, by release; all replicas are one here.
    pub docker: BTreeMap<ReleaseId, Container>,
    /// The data plane.
    pub proxy: Proxy,
    /// What effects have answered and the controller has not heard yet.
    pub answers: Vec<Answer>,
    /// What the checker remembers, and nobody in the world knows.
    pub past: Past,
    /// What may still happen.
    pub left: Budget,
    /// What new configs ask for.
    pub pace: Pace,
}

/// The controller's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    /// The state in force.
    pub machine: Machine,
    /// Decided and not committed yet.
    pub decided: Option<Transition>,
}

/// A container that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// Created, and never started.
    Created,
    /// Running; the app in it answers well.
    Healthy,
    /// Running; the app in it does not.
    Sick,
    /// Ended.
    Stopped,
}

/// The data plane: a process of its own, which outlives the controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Where requests go.
    pub routed: Option<ReleaseId>,
    /// Requests in flight. No entry: none.
    pub in_flight: BTreeMap<ReleaseId, u8>,
    /// Whether new requests are kept from it.
    pub gated: bool,
    /// Its route was changed, and the controller does not know yet, or never will.
    pub in_doubt: bool,
}

/// What an effect answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The version of the machine that it was performed for.
    pub answers: Version,
    /// What it says.
    pub event: Event,
}

/// What the checker remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    /// Passed their gate since they were started, or have served.
    pub trusted: BTreeSet<ReleaseId>,
    /// Harmed from outside, and not started since.
    pub harmed: BTreeSet<ReleaseId>,
    /// Must run alone, and its containers may still be there.
    pub alone: BTreeSet<ReleaseId>,
    /// Stopped by the last action.
    pub stops: Vec<Stop>,
    /// The proxy had confirmed traffic since the app was last out of service.
    pub has_served: bool,
}

/// How often each kind of thing may still happen. A model is finite by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Edits of the file, each of one of these manners.
    pub edits: u8,
    pub manners: &'static [Manner],
    /// `deploy`, `rollback`, `switch`.
    pub orders: u8,
    /// `cancel`, `recover`, `retire`.
    pub interventions: u8,
    /// `pause`, `maintenance on`.
    pub gates: u8,
    /// The controller is killed.
    pub crashes: u8,
    /// Containers die or turn unhealthy, from outside.
    pub harms: u8,
    /// Effects fail.
    pub failures: u8,
    /// Answers come twice, or never.
    pub mishaps: u8,
    /// Requests in flight at once, on one release.
    pub requests: u8,
}

impl Budget {
    /// Nothing new happens: what is under way comes to its end.
    pub const NOTHING: Self = Self {
        edits: 0,
        manners: &[],
        orders: 0,
        interventions: 0,
        gates: 0,
        crashes: 0,
        harms: 0,
        failures: 0,
        mishaps: 0,
        requests: 0,
    };
}

/// A release by the name that containers and routes have for it.
pub const fn release_id(release: &Release) -> ReleaseId {
    (release.color, release.origin)
}

impl World {
    /// A host on which dockswap has just been started for the first time.
    pub fn new(left: Budget, pace: Pace) -> Self {
        let disk = Disk::new();
        let controller = Some(Controller { machine: disk.machine.clone(), decided: None });
        Self {
            now: Timestamp::default(),
            disk,
            controller,
            docker: BTreeMap::new(),
            proxy: Proxy::default(),
            answers: Vec::new(),
            past: Past::default(),
            left,
            pace,
        }
    }

    /// What `question` is told about this instant.
    pub fn view<T>(&self, question: impl FnOnce(&View) -> T) -> T {
        let healthy = self
            .docker
            .iter()
            .filter(|(_, state)| **state == Container::Healthy)
            .map(|(id, _)| *id)
            .collect();
        let running = self.docker.keys().copied().filter(|release| self.runs(*release)).collect();
        question(&View {
            running: &running,
            alone: &self.past.alone,
            machine: &self.disk.machine,
            replayed: &self.disk.replayed,
            current: self.disk.current.as_ref(),
            in_progress: &self.disk.in_progress(),
            routed: self.proxy.routed,
            in_doubt: self.proxy.in_doubt,
            healthy: &healthy,
            harmed: &self.past.harmed,
            trusted: &self.past.trusted,
            has_served: self.past.has_served,
            stops: &self.past.stops,
        })
    }

    /// The controller's state, when it is up and has nothing decided that is not committed.
    pub fn in_force(&self) -> Option<&Machine> {
        self.controller.as_ref().filter(|controller| controller.decided.is_none()).map(|c| &c.machine)
    }

    /// Whether the containers of a release run.
    pub fn runs(&self, release: ReleaseId) -> bool {
        matches!(self.docker.get(&release), Some(Container::Healthy | Container::Sick))
    }

    pub fn is_healthy(&self, release: ReleaseId) -> bool {
        self.docker.get(&release) == Some(&Container::Healthy)
    }

    /// Decides on an event. A refusal changes nothing.
    fn decide(&mut self, brain: &dyn Brain, event: &Event, answers: Option<Version>) {
        let now = self.now;
        let Some(controller) = &mut self.controller else { return };
        let next = match answers {
            Some(version) => brain.report(&controller.machine, version, event, now),
            None => brain.step(&controller.machine, event, now),
        };
        controller.decided = next.ok();
    }

    /// Puts into force what was decided: by the transaction, and only by it.
    fn commit(&mut self, brain: &dyn Brain) {
        let Some(controller) = &mut self.controller else { return };
        let Some(transition) = controller.decided.take() else { return };
        brain.write(&mut self.disk, &transition);
        self.proxy.in_doubt &= transition.event().event_type != "traffic_switched";
        controller.machine = transition.committed();
        // That it could not be brought back is on record, and people are told.
        if controller.machine.has_surrendered() {
            let back = controller.machine.route().to.map(release_id);
            self.past.harmed.extend(back.filter(|back| self.docker.get(back) != Some(&Container::Healthy)));
        }
        let releases = controller.machine.releases();
        self.past.alone.extend(releases.iter().filter(|r| r.runs_alone()).map(|r| release_id(r)));
        match controller.machine.phase() {
            Phase::Retiring(_) => self.past.has_served = false,
            _ => {
                if let Some(serving) = controller.machine.serving() {
                    self.past.has_served = true;
                    self.past.trusted.insert(release_id(&serving.live));
                }
            }
        }
    }

    /// Stops a release's containers as Docker does, whatever is in flight on them.
    fn stop(&mut self, release: ReleaseId) {
        if self.runs(release) {
            let in_flight = u64::from(self.proxy.in_flight.remove(&release).unwrap_or(0));
            let was = if self.proxy.routed == Some(release) { Traffic::Routed } else { Traffic::Unrouted };
            self.past.stops.push(Stop { release, in_flight, was });
            self.docker.insert(release, Container::Stopped);
        }
    }

    fn remove(&mut self, release: ReleaseId) {
        self.stop(release);
        self.docker.remove(&release);
        self.past.trusted.remove(&release);
        self.past.harmed.remove(&release);
        self.past.alone.remove(&release);
    }

    fn start(&mut self, release: ReleaseId) {
        self.docker.insert(release, Container::Healthy);
        self.past.harmed.remove(&release);
    }

    fn harm(&mut self, release: ReleaseId, into: Container) {
        self.docker.insert(release, into);
        self.past.harmed.insert(release);
        if into == Container::Stopped {
            self.proxy.in_flight.remove(&release);
        }
    }
}

/// Equal as far as the future goes. Versions only ever matter as "this one" or "an earlier one".
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { now, disk, controller, docker, proxy, answers, past, left, pace } = self;
        (now, disk, docker, proxy, past, left, pace).hash(state);
        let version = controller.as_ref().map(|controller| {
            controller.machine.phase().hash(state);
            controller.machine.access().hash(state);
            controller
                .decided
                .as_ref()
                .map(|next| (next.event().event_type, next.after().phase(), next.after().access()))
                .hash(state);
            controller.machine.version()
        });
        version.is_some().hash(state);
        for answer in answers {
            (Some(answer.answers) == version, &answer.event).hash(state);
        }
    }
}
