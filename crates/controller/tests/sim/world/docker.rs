//! A Docker: containers by name and labels, images that behave as their names say, hints.

use super::State;
use super::faults::Fault;
use super::files::CANARY;
use dockswap_core::name::{ContainerId, ImageId};
use dockswap_core::ports::{
    Container, ContainerGroup, ContainerState, DeploymentFilter, DockerHealth, Drift, EngineError, Exit,
    Hint, Remedy, Selector,
};
use dockswap_core::routes::{Upstream, UpstreamId};
use dockswap_core::spec::{Protocol, RestartPolicy};
use dockswap_core::{AppName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::mpsc;

/// How soon an app that crashes at its start has ended.
const CRASH: Duration = Duration::from_millis(300);

/// How an image behaves: the part of its name before the colon says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    /// Serves after this long.
    Good(Duration),
    /// Runs and never serves.
    Never,
    /// Ends at once, and never served.
    Crash,
    /// Serves, and ends this long after its start.
    Dies(Duration),
    /// Serves, and this long after its start no more.
    Sick(Duration),
    /// Docker cannot start it.
    Broken,
    /// No such image.
    Missing,
    /// Serves; its own HEALTHCHECK says unhealthy.
    Unwell,
}

impl Behavior {
    pub(crate) fn of(image: &str) -> Self {
        let kind = image.trim_start_matches("sha256:").split(':').next().unwrap_or_default();
        match kind {
            "never" => Self::Never,
            "crash" => Self::Crash,
            "dies" => Self::Dies(Duration::from_secs(3)),
            "sick" => Self::Sick(Duration::from_secs(3)),
            "broken" => Self::Broken,
            "missing" => Self::Missing,
            "unwell" => Self::Unwell,
            "slow" => Self::Good(Duration::from_secs(4)),
            _ => Self::Good(Duration::from_millis(40)),
        }
    }
}

/// Docker.
pub(crate) struct Docker {
    /// By name.
    pub(crate) containers: BTreeMap<String, Shell>,
    /// Images on the host.
    pub(crate) images: BTreeSet<ImageId>,
    /// References that mean another image now.
    pub(crate) moved: BTreeMap<String, u32>,
    pub(crate) pulls: usize,
    /// Containers that were made by us.
    pub(crate) created: usize,
    /// Containers that were started by us.
    pub(crate) started: usize,
    /// Removals that are under way, and the most there ever were at once, by app.
    pub(crate) hands: BTreeMap<AppName, (usize, usize)>,
    hints: Option<mpsc::UnboundedSender<Hint>>,
    next: u32,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about a container")]
pub(crate) struct Shell {
    pub(crate) shown: Container,
    pub(crate) foreign: bool,
    /// A person made it unhealthy.
    pub(crate) sick: bool,
    /// It has answered a probe as it should.
    pub(crate) proven: bool,
    /// A person stopped it: Docker leaves it alone.
    by_hand: bool,
    /// Where it is reached again once it is not paused any more.
    paused: Option<Upstream>,
    /// When it was started last.
    pub(crate) started: Timestamp,
    behavior: Behavior,
}

/// What time brings a container.
enum Due {
    Crash,
    Sickness,
    Launch,
}

impl Shell {
    pub(crate) fn runs(&self) -> bool {
        self.shown.state == ContainerState::Running
    }

    /// Whether it answers as it should.
    pub(crate) fn healthy(&self, now: Timestamp) -> bool {
        let age = now.saturating_since(self.started);
        self.runs()
            && !self.sick
            && match self.behavior {
                Behavior::Good(boot) => age >= boot,
                Behavior::Never | Behavior::Crash | Behavior::Broken | Behavior::Missing => false,
                Behavior::Dies(_) | Behavior::Unwell => true,
                Behavior::Sick(until) => age < until,
            }
    }

    /// What time has brought it.
    fn due(&self, now: Timestamp) -> Option<Due> {
        let age = now.saturating_since(self.started);
        match (&self.shown.state, self.behavior) {
            (ContainerState::Running, Behavior::Dies(after)) if age >= after => Some(Due::Crash),
            (ContainerState::Running, Behavior::Crash) if age >= CRASH => Some(Due::Crash),
            (ContainerState::Running, Behavior::Sick(after)) if age >= after && !self.sick => {
                Some(Due::Sickness)
            }
            (ContainerState::Restarting(_), _) if age >= Duration::from_secs(1) => Some(Due::Launch),
            _ => None,
        }
    }

    fn end(&mut self, code: i64) {
        self.shown.state = ContainerState::Exited(Exit { code, ..Exit::default() });
        (self.shown.life, self.shown.upstream) = (None, None);
        self.paused = None;
    }
}

impl Docker {
    pub(crate) fn new() -> Self {
        Self {
            containers: BTreeMap::new(),
            images: BTreeSet::new(),
            moved: BTreeMap::new(),
            pulls: 0,
            created: 0,
            started: 0,
            hands: BTreeMap::new(),
            hints: None,
            next: 0,
        }
    }

    /// Somebody listens to hints.
    pub(crate) fn heard_by(&mut self, listener: mpsc::UnboundedSender<Hint>) {
        self.hints = Some(listener);
    }

    /// Nobody listens to hints any more.
    pub(crate) fn unheard(&mut self) {
        self.hints = None;
    }

    /// Those of an app, in the order of their names.
    pub(crate) fn of<'a>(&'a self, app: &'a AppName) -> impl Iterator<Item = &'a Shell> {
        self.containers.values().filter(move |shell| !shell.foreign && shell.shown.app == *app)
    }

    /// Whether a request to `upstream` is answered.
    pub(crate) fn serves(&self, upstream: &Upstream, now: Timestamp) -> bool {
        self.containers
            .values()
            .any(|shell| shell.shown.upstream.as_ref() == Some(upstream) && shell.healthy(now))
    }

    /// A container that is not ours, under a name of its owner's choice.
    pub(crate) fn add_foreign(&mut self, name: &str) {
        let group = Container {
            id: ContainerId(format!("foreign-{name}")),
            name: name.to_owned(),
            app: "foreign".parse().expect("a name"),
            color: dockswap_core::Color::Blue,
            deployment: dockswap_core::DeploymentId(0),
            replica: 1,
            image: ImageId("sha256:good:foreign".to_owned()),
            state: ContainerState::Running,
            health: DockerHealth::Absent,
            life: None,
            upstream: None,
            restart: RestartPolicy::Always,
            restarts: 0,
            drift: Vec::new(),
        };
        let shell = Shell {
            behavior: Behavior::of(&group.image.0),
            shown: group,
            foreign: true,
            sick: false,
            proven: false,
            by_hand: false,
            paused: None,
            started: Timestamp::default(),
        };
        self.containers.insert(name.to_owned(), shell);
    }

    /// The lowest address that nobody has: what was freed is given away at once. Whoever is paused keeps its own.
    fn address(&self) -> SocketAddr {
        let taken: BTreeSet<SocketAddr> = self
            .containers
            .values()
            .filter_map(|shell| shell.shown.upstream.as_ref().or(shell.paused.as_ref()))
            .map(|u| u.addr)
            .collect();
        (2..=u8::MAX)
            .map(|last| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 8080))
            .find(|addr| !taken.contains(addr))
            .expect("fewer than 250 containers run")
    }
}

impl State {
    /// What time has brought.
    pub(crate) fn advance(&mut self) {
        let now = self.now();
        self.proxy.requests.retain(|request| request.ends > now);
        let due: Vec<(String, Due)> = self
            .docker
            .containers
            .iter()
            .filter(|(_, shell)| !shell.foreign)
            .filter_map(|(name, shell)| Some((name.clone(), shell.due(now)?)))
            .collect();
        for (name, due) in due {
            match due {
                Due::Crash => self.crashes(&name),
                Due::Sickness => self.sickens(&name),
                Due::Launch => self.launch(&name),
            }
        }
    }

    pub(crate) fn hint(&mut self, app: &AppName) {
        let copies =
            match (self.rng.happens(self.faults.hint_chance), self.rng.happens(self.faults.hint_chance)) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
        for _ in 0..copies {
            if let Some(hints) = &self.docker.hints {
                let _ = hints.send(Hint::App(app.clone()));
            }
        }
    }

    fn shell(&mut self, name: &str) -> &mut Shell {
        self.docker.containers.get_mut(name).expect("it is there")
    }

    /// It ends by itself; Docker's restart policy may have it start again.
    pub(crate) fn crashes(&mut self, name: &str) {
        let now = self.now();
        self.harm(name);
        let shell = self.shell(name);
        shell.end(1);
        if shell.shown.restart != RestartPolicy::No && !shell.by_hand {
            shell.shown.restarts += 1;
            shell.shown.state = ContainerState::Restarting(Exit { code: 1, ..Exit::default() });
            shell.started = now;
        }
        let app = shell.shown.app.clone();
        self.tell(format!("{name} ends by itself"));
        self.hint(&app);
    }

    /// It runs on and answers no more as it should.
    pub(crate) fn sickens(&mut self, name: &str) {
        self.harm(name);
        self.shell(name).sick = true;
        self.tell(format!("{name} turns unhealthy"));
    }

    /// It is started: a new life, at a new address.
    fn launch(&mut self, name: &str) {
        let now = self.now();
        let addr = self.docker.address();
        let shell = self.shell(name);
        shell.sick = false;
        shell.by_hand = false;
        shell.started = now;
        shell.shown.state = ContainerState::Running;
        shell.shown.health = match Behavior::of(&shell.shown.image.0) {
            Behavior::Unwell => DockerHealth::Unhealthy(format!("token {CANARY} is wrong")),
            _ => DockerHealth::Absent,
        };
        let id = UpstreamId { container: shell.shown.id.clone(), started_at: now };
        shell.shown.life = Some(id.clone());
        shell.shown.upstream = Some(Upstream { id, addr, protocol: Protocol::Http1 });
        let app = shell.shown.app.clone();
        self.hint(&app);
    }

    /// A person stops it.
    pub(crate) fn stop_by_hand(&mut self, name: &str) {
        self.harm(name);
        let shell = self.shell(name);
        shell.end(137);
        shell.by_hand = true;
        let app = shell.shown.app.clone();
        self.tell(format!("{name} is stopped by a stranger"));
        self.hint(&app);
    }

    /// A person pauses it: it keeps its address, and answers nobody.
    pub(crate) fn pause_by_hand(&mut self, name: &str) {
        self.hang(name);
        let shell = self.shell(name);
        shell.shown.state = ContainerState::Paused;
        shell.paused = shell.shown.upstream.take();
        let app = shell.shown.app.clone();
        self.tell(format!("{name} is paused by a stranger"));
        self.hint(&app);
    }

    /// A person changes its limits, and what Docker does when it exits.
    pub(crate) fn update_by_hand(&mut self, name: &str) {
        let shell = self.shell(name);
        shell.shown.restart = RestartPolicy::OnFailure(Some(7));
        shell.shown.drift = vec![Drift {
            field: "memory".to_owned(),
            asked: "none".to_owned(),
            found: "1073741824".to_owned(),
            remedy: Remedy::SetBack,
        }];
        let app = shell.shown.app.clone();
        self.tell(format!("{name} is updated by a stranger"));
        self.hint(&app);
    }

    /// A person takes it off its network: it runs on, and nobody reaches it.
    pub(crate) fn disconnect_by_hand(&mut self, name: &str) {
        self.hang(name);
        let shell = self.shell(name);
        shell.shown.upstream = None;
        shell.shown.drift = vec![Drift {
            field: "network".to_owned(),
            asked: "dockswap".to_owned(),
            found: "none".to_owned(),
            remedy: Remedy::SetBack,
        }];
        let app = shell.shown.app.clone();
        self.tell(format!("{name} is disconnected by a stranger"));
        self.hint(&app);
    }

    /// What was changed by hand is set back; a network gives another address.
    pub(crate) fn set_back(&mut self, container: &ContainerId) {
        let Some(name) = self.docker.containers.values().find(|shell| shell.shown.id == *container) else {
            return;
        };
        let name = name.shown.name.clone();
        let addr = self.docker.address();
        let shell = self.shell(&name);
        let left = shell.shown.drift.drain(..).any(|drift| drift.field == "network");
        if left && shell.runs() {
            let id = shell.shown.life.clone();
            shell.shown.upstream = id.map(|id| Upstream { id, addr, protocol: Protocol::Http1 });
            self.goes_on(&name);
        }
        let app = self.shell(&name).shown.app.clone();
        self.hint(&app);
    }

    /// A person removes it.
    pub(crate) fn remove_by_hand(&mut self, name: &str) {
        self.harm(name);
        self.tell(format!("{name} is removed by a stranger"));
        if let Some(shell) = self.docker.containers.remove(name) {
            self.hint(&shell.shown.app);
        }
    }

    /// A person restarts it: a new life of the same container, with a new address.
    pub(crate) fn restart_by_hand(&mut self, name: &str) {
        self.harm(name);
        self.shell(name).end(0);
        self.tell(format!("{name} is restarted by a stranger"));
        // Somebody else gets the address that was freed.
        self.docker.next += 1;
        let squatter = format!("squatter-{}", self.docker.next);
        self.docker.add_foreign(&squatter);
        let addr = self.docker.address();
        let id = UpstreamId { container: ContainerId(squatter.clone()), started_at: self.now() };
        self.shell(&squatter).shown.upstream = Some(Upstream { id, addr, protocol: Protocol::Http1 });
        self.launch(name);
        self.docker.containers.remove(&squatter);
    }

    pub(crate) fn run(
        &mut self,
        group: &ContainerGroup,
        fault: Option<Fault>,
    ) -> Result<Vec<Container>, EngineError> {
        let mut names = Vec::new();
        for replica in 1..=group.replicas {
            let name = match replica {
                1 => format!("{}-{}-{}", group.app, group.color, group.deployment),
                _ => format!("{}-{}-{}-{replica}", group.app, group.color, group.deployment),
            };
            if self.docker.containers.get(&name).is_some_and(|shell| shell.foreign) {
                return Err(EngineError::Foreign { what: format!("container {name}") });
            }
            if !self.docker.containers.contains_key(&name) {
                self.create(&name, group, replica);
            }
            names.push(name);
        }
        self.wake(&names, group.restart, fault)
    }

    pub(crate) fn start_again(
        &mut self,
        selector: &Selector,
        restart: RestartPolicy,
        fault: Option<Fault>,
    ) -> Result<Vec<Container>, EngineError> {
        let names = self.selected(selector);
        self.wake(&names, restart, fault)
    }

    fn wake(
        &mut self,
        names: &[String],
        restart: RestartPolicy,
        fault: Option<Fault>,
    ) -> Result<Vec<Container>, EngineError> {
        if let (Some(Fault::HalfDone), [first, ..]) = (fault, names) {
            return Err(refused(&format!("start container {first}"), "simulated"));
        }
        for name in names {
            if !self.shell(name).runs() {
                if Behavior::of(&self.shell(name).shown.image.0) == Behavior::Broken {
                    return Err(refused(&format!("start container {name}"), "exec: no such file"));
                }
                self.docker.started += 1;
                self.shell(name).shown.restarts = 0;
                if self.shell(name).shown.state == ContainerState::Paused {
                    self.shell(name).shown.state = ContainerState::Running;
                    self.shell(name).shown.upstream = self.shell(name).paused.take();
                    self.goes_on(name);
                } else {
                    self.launch(name);
                }
            }
            self.shell(name).shown.restart = restart;
        }
        Ok(names.iter().map(|name| self.docker.containers[name].shown.clone()).collect())
    }

    fn create(&mut self, name: &str, group: &ContainerGroup, replica: u8) {
        self.docker.next += 1;
        self.docker.created += 1;
        let shown = Container {
            id: ContainerId(format!("c{}", self.docker.next)),
            name: name.to_owned(),
            app: group.app.clone(),
            color: group.color,
            deployment: group.deployment,
            replica,
            image: group.image.clone(),
            state: ContainerState::Created,
            health: DockerHealth::Absent,
            life: None,
            upstream: None,
            restart: group.restart,
            restarts: 0,
            drift: Vec::new(),
        };
        let shell = Shell {
            behavior: Behavior::of(&shown.image.0),
            shown,
            foreign: false,
            sick: false,
            proven: false,
            by_hand: false,
            paused: None,
            started: self.now(),
        };
        self.docker.containers.insert(name.to_owned(), shell);
        self.hint(&group.app);
    }

    pub(crate) fn selected(&self, selector: &Selector) -> Vec<String> {
        self.docker
            .of(&selector.app)
            .filter(|shell| selector.color.is_none_or(|color| color == shell.shown.color))
            .filter(|shell| match selector.deployment {
                DeploymentFilter::Any => true,
                DeploymentFilter::Only(id) => shell.shown.deployment == id,
                DeploymentFilter::Except(id) => shell.shown.deployment != id,
            })
            .map(|shell| shell.shown.name.clone())
            .collect()
    }

    pub(crate) fn stop(&mut self, selector: &Selector) {
        for name in self.selected(selector) {
            if self.shell(&name).shown.life.is_some() {
                self.stopped_by_us(&name);
            }
            let shell = self.shell(&name);
            shell.shown.restart = RestartPolicy::No;
            if shell.shown.state != ContainerState::Created {
                shell.end(0);
            }
            self.hint(&selector.app);
        }
    }
}

pub(crate) fn refused(operation: &str, message: &str) -> EngineError {
    EngineError::Refused { operation: operation.to_owned(), message: message.to_owned() }
}
