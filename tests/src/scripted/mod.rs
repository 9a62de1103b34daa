//! A Docker that is only played: an HTTP server on a Unix socket that speaks the part of Docker's API
//! which dockswap uses, keeps images, networks and containers in memory, and goes wrong on order. Its
//! containers really answer: each is the demo app on a loopback address of its own.
//!
//! It knows nothing of dockswap but the labels by which its containers are told from strangers'.

mod api;
mod call;
mod container;
mod events;
mod image;
mod log;
mod process;
mod rule;
mod server;
mod strangers;
mod streams;
mod subnet;
mod world;

pub use call::Call;
pub use container::Origin;
pub use events::Flow;
pub use image::{Pull, environment};
pub use log::Asked;
pub use process::Death;
pub use rule::Fault;

use crate::docker::Container;
use crate::wait::holds;
use rule::{Rule, Which};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use world::{World, lock};

/// The longest that anything is waited for that takes no time of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Docker that is only played. Clones are the same one; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct ScriptedDocker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: TempDir,
    world: Arc<Mutex<World>>,
    up: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ScriptedDocker {
    /// One with the images of `scripts/build-demo-images`, and containers of strangers.
    #[must_use]
    pub fn start() -> Self {
        let home =
            tempfile::Builder::new().prefix("dswd").tempdir().expect("a directory for temporary files");
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        let world = World::new(runtime.handle().clone());
        let (up, is_up) = watch::channel(true);
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(home.path().join("docker.sock")).expect("a socket")
        };
        runtime.spawn(server::serve(listener, Arc::clone(&world), is_up));
        let docker = Self(Arc::new(Inner { home, world, up, runtime: Some(runtime) }));
        docker.settle_strangers();
        docker
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0.world)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.home.path().join("docker.sock")
    }

    /// What `DOCKER_HOST` must be.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    // ---------------------------------------------------------------- misbehavior

    /// Begins an order to misbehave: at each such call.
    pub fn at(&self, call: Call) -> Order<'_> {
        Order { docker: self, which: Which { call: Some(call), ..Which::default() } }
    }

    /// Begins an order to misbehave: at every call.
    pub fn always(&self) -> Order<'_> {
        Order { docker: self, which: Which::default() }
    }

    /// Takes every order back. What hangs already hangs on.
    pub fn behaves(&self) {
        self.world().rules.clear();
    }

    /// How events are told from now on.
    pub fn tells(&self, flow: Flow) {
        self.world().events.flow = flow;
    }

    /// Ends every stream of events.
    pub fn cuts_events(&self) {
        self.world().events.cuts.send_modify(|count| *count += 1);
    }

    /// The daemon is gone: every connection is closed, and so is each that is opened.
    pub fn goes_away(&self) {
        self.0.up.send_replace(false);
    }

    /// The daemon is back, with everything that it had.
    pub fn comes_back(&self) {
        self.0.up.send_replace(true);
    }

    /// From now on an address that becomes free is handed out again only after many others. Without this
    /// the next container gets it, as with a real Docker.
    pub fn keeps_addresses(&self) {
        self.world().freed.get_or_insert_default();
    }

    /// From now on an address that becomes free goes to the next container.
    pub fn hands_addresses_on(&self) {
        self.world().freed = None;
    }

    // ---------------------------------------------------------------- images

    /// Puts an image on the host. A name that another one has is taken from it.
    pub fn has_image(&self, name: &str, environment: &[(&str, &str)]) -> String {
        self.world().add_image(name, image::environment(environment))
    }

    /// What a pull of `name` meets; of what was never said, that there is no such image.
    pub fn registry(&self, name: &str, pull: Pull) {
        self.world().registry.insert(name.to_owned(), pull);
    }

    /// The id of an image on the host.
    #[must_use]
    pub fn image_id(&self, name: &str) -> Option<String> {
        self.world().image(name).ok().map(|image| image.id.clone())
    }

    /// Every `name:tag` on the host.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.world().images.iter().flat_map(|image| image.tags.clone()).collect()
    }

    // ---------------------------------------------------------------- what there is

    /// Every container of `app`, running or not, by name.
    #[must_use]
    pub fn containers(&self, app: &str) -> Vec<Container> {
        let world = self.world();
        let own = world.containers.iter().filter(|container| container.app() == Some(app));
        let mut shown: Vec<Container> = own.map(shown).collect();
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        shown
    }

    /// Those that run.
    #[must_use]
    pub fn running(&self, app: &str) -> Vec<Container> {
        self.containers(app).into_iter().filter(|container| container.state == "running").collect()
    }

    /// Containers that carry dockswap's labels.
    #[must_use]
    pub fn managed(&self) -> usize {
        self.world().containers.iter().filter(|container| container.app().is_some()).count()
    }

    /// Names of the networks.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        self.world().networks.iter().map(|network| network.name.clone()).collect()
    }

    /// Where the container with this id, or with an id that begins so, comes from, also when it is gone;
    /// `None`: it never was dockswap's.
    #[must_use]
    pub fn origin(&self, id: &str) -> Option<Origin> {
        let world = self.world();
        let mut born = world.born.range(id.to_owned()..);
        born.next().filter(|(known, _)| known.starts_with(id)).map(|(_, origin)| origin.clone())
    }

    /// Where a container is reached, while it runs.
    #[must_use]
    pub fn address(&self, container: &str) -> Option<Ipv4Addr> {
        self.world().container(container).ok().and_then(|container| container.address)
    }

    // ---------------------------------------------------------------- what happens

    /// Somebody or something ends a container; its restart policy decides what follows.
    pub fn dies(&self, container: &str, death: Death) {
        {
            let mut world = self.world();
            let found = world.container_mut(container);
            let found = found.unwrap_or_else(|(_, words)| panic!("{words}"));
            found.process.as_mut().expect("a running container").kill(death);
        }
        let ended = || {
            !self.world().container(container).is_ok_and(|found| found.status == container::Status::Running)
        };
        holds(&format!("{container} has ended"), PATIENCE, ended);
    }

    /// Somebody removes a container, running or not.
    pub fn vanishes(&self, container: &str) {
        let (world, id) = (Arc::clone(&self.0.world), container.to_owned());
        let runtime = self.0.runtime.as_ref().expect("a runtime");
        runtime.block_on(async move {
            if let Ok(container) = lock(&world).container_mut(&id) {
                container.stopped = true;
            }
            api::kill(&world, &id).await;
            // Gone already is as good.
            let _ = lock(&world).remove(&id);
        });
    }

    /// From now on the container is being removed, and never is.
    pub fn sticks(&self, container: &str) {
        let mut world = self.world();
        let found = world.container_mut(container).unwrap_or_else(|(_, words)| panic!("{words}"));
        found.status = container::Status::Removing;
    }

    /// What sticks is free to go.
    pub fn unsticks(&self, container: &str) {
        let mut world = self.world();
        if let Ok(found) = world.container_mut(container) {
            found.status = container::Status::Exited;
        }
    }

    // ---------------------------------------------------------------- what was asked

    /// Every call so far that may have changed something, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.world().asked.clone()
    }

    /// How often a call was made.
    #[must_use]
    pub fn count(&self, call: Call) -> usize {
        self.world().calls.get(&call).copied().unwrap_or_default()
    }
}

fn shown(container: &container::Container) -> Container {
    Container {
        id: container.id.clone(),
        name: container.name.clone(),
        state: container.status.word().to_owned(),
        started_at: container.started_at(),
        color: container.label("dockswap.color").unwrap_or_default().to_owned(),
        deployment: container.deployment().unwrap_or_default(),
    }
}

/// An order to misbehave, as it is being given.
#[derive(Debug)]
#[must_use = "an order without a fault orders nothing"]
pub struct Order<'a> {
    docker: &'a ScriptedDocker,
    which: Which,
}

impl Order<'_> {
    /// Only for this app, or for objects whose name contains this.
    pub fn of(mut self, what: &str) -> Self {
        self.which.of = Some(what.to_owned());
        self
    }

    /// Only the `nth` time, counted from 1.
    pub const fn nth(mut self, nth: usize) -> Self {
        self.which.skip = nth.saturating_sub(1);
        self.which.times = Some(1);
        self
    }

    /// Only so many times.
    pub const fn times(mut self, times: usize) -> Self {
        self.which.times = Some(times);
        self
    }

    /// Gives the order.
    pub fn meets(self, fault: Fault) -> Given {
        let mut world = self.docker.world();
        let id = world.rules.keys().next_back().map_or(0, |last| last + 1);
        world.rules.insert(id, Rule::new(self.which, fault));
        Given { docker: self.docker.clone(), id }
    }
}

/// An order that was given. It stays in force when this is dropped.
#[derive(Clone, Debug)]
pub struct Given {
    docker: ScriptedDocker,
    id: usize,
}

impl Given {
    /// How often it was followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.docker.world().rules.get(&self.id).map_or(0, |rule| rule.applied)
    }

    /// Waits until it has been followed.
    pub fn strikes(&self) {
        holds("the call that goes wrong is made", PATIENCE, || self.followed() > 0);
    }

    /// Takes it back.
    pub fn ends(&self) {
        self.docker.world().rules.remove(&self.id);
    }
}
