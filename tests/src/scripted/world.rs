//! What the scripted Docker has: images, networks, containers, and the rules by which it misbehaves.
//! It knows nothing of HTTP.

use super::call::{Call, Request};
use super::container::{Container, Origin, Status};
use super::events::Events;
use super::image::{DEMO, Image, Pull, environment};
use super::log::Asked;
use super::process::{Death, Process};
use super::rule::{Fault, Rule};
use super::subnet::{self, Subnet};
use crate::time::now;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A call that Docker refuses: status and words.
pub(super) type Refusal = (u16, String);

/// The pause before a restart by policy, which doubles.
const RESTART: Duration = Duration::from_millis(100);

/// So many freed addresses are kept back, where they are.
const FREED: usize = 100;

#[derive(Debug)]
pub(super) struct World {
    pub(super) images: Vec<Image>,
    pub(super) registry: BTreeMap<String, Pull>,
    pub(super) networks: Vec<Network>,
    pub(super) containers: Vec<Container>,
    /// Every container of dockswap's that ever was, by id.
    pub(super) born: BTreeMap<String, Origin>,
    pub(super) events: Events,
    pub(super) rules: BTreeMap<usize, Rule>,
    pub(super) asked: Vec<Asked>,
    pub(super) calls: BTreeMap<Call, usize>,
    /// Counts up with every change of a container's status.
    pub(super) changes: watch::Sender<u64>,
    /// Addresses that were freed last, and are not handed out again so soon; `None`: a freed one goes to
    /// the next container.
    pub(super) freed: Option<VecDeque<Ipv4Addr>>,
    subnet: Subnet,
    made: u64,
    me: Weak<Mutex<World>>,
    timers: Handle,
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: Value,
}

/// The world, for a moment.
pub(super) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(timers: Handle) -> Arc<Mutex<Self>> {
        Arc::new_cyclic(|me| {
            let mut world = Self {
                images: Vec::new(),
                registry: BTreeMap::new(),
                networks: Vec::new(),
                containers: Vec::new(),
                born: BTreeMap::new(),
                events: Events::default(),
                rules: BTreeMap::new(),
                asked: Vec::new(),
                calls: BTreeMap::new(),
                changes: watch::channel(0).0,
                freed: None,
                subnet: Subnet::take(),
                made: 0,
                me: me.clone(),
                timers,
            };
            for (tag, pairs) in DEMO {
                world.add_image(&format!("dockswap-demo:{tag}"), environment(pairs));
            }
            let id = world.fresh();
            world.networks.push(Network { id, name: "bridge".to_owned(), labels: json!({}) });
            Mutex::new(world)
        })
    }

    /// An id that nothing else has.
    pub(super) fn fresh(&mut self) -> String {
        self.made += 1;
        let spread = self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
        format!("{spread:016x}{:016x}{:016x}{:016x}", self.made, !spread, spread.rotate_left(17))
    }

    /// Puts an image on the host; its name is taken from any other.
    pub(super) fn add_image(&mut self, name: &str, environment: Vec<(String, String)>) -> String {
        let id = self.fresh();
        let (plain, digest) = name.split_once('@').map_or((name, id.clone()), |(plain, digest)| {
            (plain, digest.trim_start_matches("sha256:").to_owned())
        });
        let repository =
            plain.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(plain, |(name, _)| name);
        for image in &mut self.images {
            image.tags.retain(|tag| tag != name);
        }
        let image = Image {
            id: format!("sha256:{id}"),
            tags: if name.contains('@') { Vec::new() } else { vec![name.to_owned()] },
            digests: vec![format!("{repository}@sha256:{digest}")],
            environment,
        };
        self.images.push(image);
        format!("sha256:{id}")
    }

    pub(super) fn image(&self, name: &str) -> Result<&Image, Refusal> {
        let found = self.images.iter().find(|image| image.is_named(name));
        found.ok_or_else(|| (404, format!("No such image: {name}")))
    }

    pub(super) fn container(&self, name: &str) -> Result<&Container, Refusal> {
        let found = self.containers.iter().find(|container| container.is_called(name));
        found.ok_or_else(|| (404, format!("No such container: {name}")))
    }

    pub(super) fn container_mut(&mut self, name: &str) -> Result<&mut Container, Refusal> {
        let found = self.containers.iter_mut().find(|container| container.is_called(name));
        found.ok_or_else(|| (404, format!("No such container: {name}")))
    }

    /// Counts `request`, and says how it goes wrong, if it does.
    pub(super) fn meets(&mut self, request: &Request) -> Option<Fault> {
        *self.calls.entry(request.call).or_default() += 1;
        let named = self.container(&request.object).ok().and_then(Container::app).map(ToOwned::to_owned);
        let app = named.or_else(|| request.app());
        // Every rule counts the call, the first one that applies decides.
        let faults: Vec<Fault> =
            self.rules.values_mut().filter_map(|rule| rule.meets(request, app.as_deref())).collect();
        faults.into_iter().next()
    }

    /// Writes an entry down: where.
    pub(super) fn write_down(&mut self, entry: Asked) -> usize {
        if entry.call.changes() {
            self.asked.push(entry);
        }
        self.asked.len().saturating_sub(1)
    }

    /// What is written down of `request` before it is done.
    pub(super) fn entry(&self, request: &Request) -> Asked {
        let container = self.container(&request.object).ok();
        Asked {
            at: now(),
            call: request.call,
            object: container.map_or_else(|| request.object.clone(), |container| container.name.clone()),
            id: container.map(|container| container.id.clone()),
            app: container.and_then(Container::app).map(ToOwned::to_owned).or_else(|| request.app()),
            deployment: container.and_then(Container::deployment),
            running: container.is_some_and(Container::runs),
            in_flight: container
                .and_then(|container| container.process.as_ref())
                .map_or(0, Process::in_flight),
            status: None,
        }
    }

    // ---------------------------------------------------------------- containers

    pub(super) fn create(&mut self, name: &str, body: &Value) -> Result<String, Refusal> {
        if let Ok(holder) = self.container(name) {
            let id = &holder.id;
            return Err((
                409,
                format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
                ),
            ));
        }
        let image = self.image(body["Image"].as_str().unwrap_or_default())?.clone();
        let id = self.fresh();
        let container = Container::new(id.clone(), name, body, image.id, image.environment);
        self.events.happened(&container, "create", &[]);
        if let Some(origin) = Origin::of(&container) {
            self.born.insert(id.clone(), origin);
        }
        self.containers.push(container);
        Ok(id)
    }

    /// Starts a container; `false`: it runs already.
    pub(super) fn start(&mut self, name: &str) -> Result<bool, Refusal> {
        let container = self.container(name)?;
        if container.runs() {
            return Ok(false);
        }
        if container.status == Status::Removing {
            return Err((409, "container is marked for removal and cannot be started".to_owned()));
        }
        let (id, network, port) = (container.id.clone(), container.network.clone(), container.host_port());
        let prepared = self.network_for(&network).and_then(|()| self.bind(&id, port));
        let listener = match prepared {
            Ok(listener) => listener,
            Err((status, words)) => {
                let container = self.container_mut(&id)?;
                (container.exit_code, container.error) = (128, words.clone());
                return Err((status, words));
            }
        };
        let address = self.free_address();
        let me = self.me.clone();
        let container = self.container_mut(&id)?;
        container.began(Some(address));
        container.port = listener;
        let (life, of) = (container.life, id.clone());
        let (speaker, mourner) = (me.clone(), me);
        let say = move |line: &str| {
            with(&speaker, |world| {
                if let Ok(container) = world.container_mut(&of) {
                    container.lines.extend(line.lines().map(ToOwned::to_owned));
                }
            });
        };
        let of = id.clone();
        let end = move |death| with(&mourner, |world| world.ended(&of, life, death));
        container.process = Some(Process::start(container.environment.clone(), address, say, end));
        self.tell(&id, "start", &[]);
        Ok(true)
    }

    /// The life of a container is over, by itself or not.
    fn ended(&mut self, id: &str, life: u64, death: Death) {
        let Ok(container) = self.container_mut(id) else { return };
        if container.life != life {
            return;
        }
        let address = container.address;
        container.ended(death);
        if let Some(freed) = &mut self.freed {
            freed.extend(address);
            freed.drain(..freed.len().saturating_sub(FREED));
        }
        let Ok(container) = self.container_mut(id) else { return };
        let comes_back = container.comes_back();
        if comes_back {
            container.status = Status::Restarting;
            container.restarts += 1;
            let pause = RESTART * 2_u32.pow(container.restarts.min(8) - 1);
            let (me, id) = (self.me.clone(), id.to_owned());
            self.timers.spawn(async move {
                tokio::time::sleep(pause).await;
                with(&me, |world| {
                    let waits = |found: &Container| found.life == life && found.status == Status::Restarting;
                    if world.container(&id).is_ok_and(waits) {
                        // One that cannot be started stays as it is.
                        let _ = world.start(&id);
                    }
                });
            });
        }
        if death == Death::OutOfMemory {
            self.tell(id, "oom", &[]);
        }
        self.tell(id, "die", &[("exitCode", death.code().to_string())]);
    }

    /// Removes a container that does not run.
    pub(super) fn remove(&mut self, name: &str) -> Result<(), Refusal> {
        let container = self.container(name)?;
        let id = container.id.clone();
        if container.status == Status::Removing {
            return Err((409, format!("removal of container {id} is already in progress")));
        }
        self.tell(&id, "destroy", &[]);
        self.containers.retain(|container| container.id != id);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Tells of something that happened to a container.
    pub(super) fn tell(&mut self, id: &str, action: &str, more: &[(&str, String)]) {
        if let Some(container) = self.containers.iter().find(|container| container.id == id) {
            self.events.happened(container, action, more);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn network_for(&self, name: &str) -> Result<(), Refusal> {
        let known = self.networks.iter().filter(|network| network.name == name || network.id == name);
        match known.count() {
            0 => Err((404, format!("network {name} not found"))),
            1 => Ok(()),
            count => Err((400, format!("network {name} is ambiguous ({count} matches found on name)"))),
        }
    }

    fn bind(&self, id: &str, port: Option<u16>) -> Result<Option<TcpListener>, Refusal> {
        let Some(port) = port else { return Ok(None) };
        let name = self.container(id)?.name.clone();
        let failed = |words: &str| {
            let endpoint = &id[..12];
            let words = format!(
                "driver failed programming external connectivity on endpoint {name} ({endpoint}): {words}"
            );
            (500, words)
        };
        if self.containers.iter().any(|other| other.runs() && other.host_port() == Some(port)) {
            return Err(failed(&format!("Bind for 127.0.0.1:{port} failed: port is already allocated")));
        }
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        bound.map(Some).map_err(|_| {
            failed(&format!(
                "Error starting userland proxy: listen tcp4 127.0.0.1:{port}: bind: address already in use"
            ))
        })
    }

    /// The lowest one that nobody has: Docker hands a freed address to the next container.
    fn free_address(&self) -> Ipv4Addr {
        let mut taken: BTreeSet<Ipv4Addr> =
            self.containers.iter().filter_map(|found| found.address).collect();
        taken.extend(self.freed.iter().flatten());
        let mut free = self.subnet.addresses().filter(|address| !taken.contains(address));
        free.find(|address| subnet::nobody_listens(*address)).expect("a free address")
    }
}

/// Does something with the world, if it is still there.
fn with(world: &Weak<Mutex<World>>, what: impl FnOnce(&mut World)) {
    if let Some(world) = world.upgrade() {
        what(&mut lock(&world));
    }
}
