//! The ports: what deciding needs from the outside, as traits. Adapters implement them, the
//! controller calls them, simulations replace them.
//!
//! Every call returns within a deadline of its own: an adapter that cannot keep it answers with an
//! error. Every `ensure_…` is idempotent: doing it again after a lost answer is always right.

use crate::machine::{Machine, Transition};
use crate::name::{AppName, Color, ConfigId, ConfigSha, ContainerId, DeploymentId, ImageId};
use crate::records::{CommitError, ConfigRow, DeploymentRow, NewConfig, RefusalRecord, StoreError};
use crate::routes::{RouteTable, Upstream, UpstreamId, UpstreamLoad};
use crate::spec::{AppSpec, ContainerOptions, HealthCheck, PullPolicy, RestartPolicy};
use crate::time::Timestamp;
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What time it is.
pub trait Clock: Send + Sync {
    /// The present. Never goes backwards within a process, whatever the wall clock does.
    fn now(&self) -> Timestamp;
}

/// A text that must not be shown: its `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that must pass it on.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// ---------------------------------------------------------------- Docker

/// Which image a deployment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// Who asks: names the local tag that pins the image for a later rollback.
    pub app: AppName,
    /// Ditto.
    pub deployment: DeploymentId,
    /// The reference as written.
    pub reference: String,
    /// When to fetch.
    pub pull: PullPolicy,
    /// For a rollback: the very image that ran, which must be on the host; nothing is fetched.
    pub pinned: Option<ImageId>,
}

/// An image that is on the host and pinned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// What containers are created from.
    pub id: ImageId,
    /// The registry's digest, `name@sha256:…`; absent for an image built on the host.
    pub digest: Option<String>,
}

/// How a pull comes along: called often, must not block. Completed and total bytes over all layers;
/// `total` grows while layers become known.
pub type PullProgress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// One color of an app as Docker should run it.
#[derive(Clone, Debug)]
pub struct ContainerGroup {
    /// The app.
    pub app: AppName,
    /// The slot.
    pub color: Color,
    /// The deployment that creates the containers: part of their names, which are never reused.
    pub deployment: DeploymentId,
    /// The config that they come from.
    pub config_sha: ConfigSha,
    /// The image that they run.
    pub image: ImageId,
    /// How many.
    pub replicas: u8,
    /// Their options (its environment is not used: see `environment`).
    pub options: ContainerOptions,
    /// The environment with its references resolved.
    pub environment: Vec<(String, Secret)>,
    /// The host port on 127.0.0.1 (from the second replica on: none).
    pub host_port: Option<u16>,
    /// What Docker does when one exits: `No` while a candidate and before a stop.
    pub restart: RestartPolicy,
}

/// Containers of one app, by label. Fields that are `None` match all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The app.
    pub app: AppName,
    /// Only this slot.
    pub color: Option<Color>,
    /// Only those of, or only those not of, a deployment.
    pub deployment: DeploymentFilter,
}

/// Which deployments a [`Selector`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentFilter {
    /// All.
    Any,
    /// This one.
    Only(DeploymentId),
    /// All but this one.
    Except(DeploymentId),
}

/// A container of ours, as Docker shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Docker's id.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// From its labels.
    pub app: AppName,
    /// From its labels.
    pub color: Color,
    /// From its labels.
    pub deployment: DeploymentId,
    /// From its labels, counted from 1.
    pub replica: u8,
    /// What it runs.
    pub image: ImageId,
    /// Whether it runs.
    pub state: ContainerState,
    /// What the image's own HEALTHCHECK says.
    pub health: DockerHealth,
    /// Where the proxy reaches it, when it runs.
    pub upstream: Option<Upstream>,
}

/// Whether a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Between two runs, by Docker's restart policy.
    Restarting(Exit),
    /// Paused by a person.
    Paused,
    /// Ended.
    Exited(Exit),
    /// Being removed, or dead.
    Removing,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code. 137 alone does not mean out of memory.
    pub code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// Docker's own error text, when it could not run it.
    pub error: Option<String>,
}

/// What an image's own HEALTHCHECK says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerHealth {
    /// It has none.
    Absent,
    /// No verdict yet.
    Starting,
    /// Healthy.
    Healthy,
    /// Unhealthy, with the last output of the check.
    Unhealthy(String),
}

/// Something may have changed in Docker. A hint, never a fact: hints are lost and doubled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This app's containers should be looked at again.
    App(AppName),
    /// The stream was interrupted: look at everything again.
    Everything,
}

/// Why Docker did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// It does not answer, or not in time. Worth trying again.
    #[error("docker does not answer: {message}")]
    Unavailable {
        /// What was seen.
        message: String,
    },
    /// It answered with an error.
    #[error("{operation}: {message}")]
    Refused {
        /// What was asked, with its object: `start container web-blue-3`.
        operation: String,
        /// Docker's own words.
        message: String,
    },
    /// A name that we need belongs to something that is not ours.
    #[error("{what} exists and was not made by dockswap: rename or remove it, then deploy again")]
    Foreign {
        /// The object: `container web-blue-3`.
        what: String,
    },
}

/// Why an image is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither on the host nor in the registry.
    #[error("image {reference} was not found: {message}")]
    NotFound {
        /// As written.
        reference: String,
        /// Docker's or the registry's words.
        message: String,
    },
    /// The registry wants other credentials.
    #[error("access to image {reference} was denied: {message}")]
    Denied {
        /// As written.
        reference: String,
        /// The registry's words.
        message: String,
    },
    /// `pull_policy: never`, or a rollback target, and it is not on the host.
    #[error("image {reference} is not on this host, and it may not be pulled")]
    NotLocal {
        /// As written, or the pinned id.
        reference: String,
    },
    /// Anything else: the network, the disk, Docker itself.
    #[error("pulling image {reference} failed: {message}")]
    Failed {
        /// As written.
        reference: String,
        /// What was seen.
        message: String,
    },
}

/// Docker, as far as dockswap uses it. Only containers with our labels are ever touched.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Brings the image onto the host if `request` allows, resolves it once, and pins it by a local
    /// tag.
    ///
    /// # Errors
    /// When the image is not to be had; nothing else has changed then.
    async fn ensure_image(
        &self,
        request: &ImageRequest,
        progress: PullProgress<'_>,
    ) -> Result<Image, ImageError>;

    /// Makes every replica of `group` exist and run with the given restart policy: starts what is
    /// stopped, creates what is missing, adopts what is already there under its name and labels.
    /// Returns as soon as Docker has started them; whether the app serves is for the gate to say.
    ///
    /// # Errors
    /// What Docker said. Half-made containers stay, to be found by label and removed.
    async fn ensure_running(&self, group: &ContainerGroup) -> Result<Vec<Container>, EngineError>;

    /// Sets restart policy `no`, sends SIGTERM, after `stop_timeout` SIGKILL; keeps the containers.
    ///
    /// # Errors
    /// What Docker said, when a container still runs. One that is gone is no error.
    async fn ensure_stopped(&self, selector: &Selector, stop_timeout: Duration) -> Result<(), EngineError>;

    /// Stops as [`Engine::ensure_stopped`] does, and removes.
    ///
    /// # Errors
    /// What Docker said, when a container still exists.
    async fn ensure_gone(&self, selector: &Selector, stop_timeout: Duration) -> Result<(), EngineError>;

    /// Every container of ours, or of one app, sorted by app, color, deployment, replica.
    ///
    /// # Errors
    /// What Docker said; never a partial list.
    async fn observe(&self, app: Option<&AppName>) -> Result<Vec<Container>, EngineError>;

    /// The last `lines` lines that a container wrote, stdout and stderr together, oldest first.
    /// Control characters are escaped; each line is cut at 1,000 characters.
    ///
    /// # Errors
    /// What Docker said.
    async fn last_lines(&self, container: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError>;

    /// Hints for as long as the stream is held; reconnects by itself, and says
    /// [`Hint::Everything`] after each interruption.
    fn hints(&self) -> BoxStream<'static, Hint>;
}

// ---------------------------------------------------------------- proxy

/// Why the proxy did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RouterError {
    /// It does not answer, or not in time. Worth trying again.
    #[error("the proxy does not answer: {message}")]
    Unavailable {
        /// What was seen.
        message: String,
    },
    /// The table was not newer than the one in force.
    #[error("the proxy holds revision {current}, which is not older than {offered}")]
    Stale {
        /// In force.
        current: u64,
        /// Offered.
        offered: u64,
    },
    /// A listener could not be opened; the table in force stays.
    #[error("the proxy refused the table: {message}")]
    Refused {
        /// The proxy's words, with address and cause.
        message: String,
    },
}

/// What the proxy is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The binary's version.
    pub version: String,
    /// The proxy's process id.
    pub pid: u32,
    /// The table in force.
    pub table: RouteTable,
    /// Where it listens.
    pub listeners: Vec<std::net::SocketAddr>,
    /// Every upstream that is routed or has something in flight.
    pub load: Vec<UpstreamLoad>,
}

/// The proxy, as far as the controller uses it.
#[async_trait]
pub trait Router: Send + Sync {
    /// Puts `table` in force as one atomic swap. When this returns, every request that begins later
    /// sees it.
    ///
    /// # Errors
    /// When it is not in force, or it is not known whether it is (`Unavailable`).
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError>;

    /// What the proxy is doing.
    ///
    /// # Errors
    /// When it does not answer.
    async fn status(&self) -> Result<RouterStatus, RouterError>;

    /// Waits until nothing is in flight on `upstreams`, at most `patience`; says what is left.
    /// Upstreams that the proxy does not know have nothing in flight.
    ///
    /// # Errors
    /// When it does not answer.
    async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError>;

    /// Closes what is still in flight on `upstreams`.
    ///
    /// # Errors
    /// When it does not answer.
    async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError>;
}

// ---------------------------------------------------------------- store

/// The records, as far as the controller writes and reads them. Queries for people are the store's
/// own business.
#[async_trait]
pub trait Store: Send + Sync {
    /// Every app's machine as last committed.
    ///
    /// # Errors
    /// When the database fails, or a state cannot be read (named in the error).
    async fn machines(&self) -> Result<Vec<Machine>, StoreError>;

    /// Writes a transition: event row, deployment rows and `current_state`, in one transaction that
    /// holds only if the app's machine is still the one that `transition` began from.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when it is not; nothing was written then.
    async fn commit(&self, transition: &Transition) -> Result<(), CommitError>;

    /// Records that an event was refused, on the deployment that the app's state is about. An app
    /// without a deployment has nowhere to record it: that is no error.
    ///
    /// # Errors
    /// When the database fails.
    async fn record_refusal(&self, refusal: &RefusalRecord) -> Result<(), StoreError>;

    /// Stores a version of an app file.
    ///
    /// # Errors
    /// When the database fails.
    async fn insert_config(&self, config: &NewConfig) -> Result<ConfigId, StoreError>;

    /// The newest stored version of each app.
    ///
    /// # Errors
    /// When the database fails.
    async fn newest_configs(&self) -> Result<Vec<ConfigRow>, StoreError>;

    /// One stored version.
    ///
    /// # Errors
    /// When the database fails.
    async fn config(&self, id: ConfigId) -> Result<Option<ConfigRow>, StoreError>;

    /// One deployment.
    ///
    /// # Errors
    /// When the database fails.
    async fn deployment(&self, id: DeploymentId) -> Result<Option<DeploymentRow>, StoreError>;

    /// The newest `limit` deployments of an app, newest first.
    ///
    /// # Errors
    /// When the database fails.
    async fn deployments(&self, app: &AppName, limit: u64) -> Result<Vec<DeploymentRow>, StoreError>;

    /// The highest deployment id ever given, 0 when none was.
    ///
    /// # Errors
    /// When the database fails.
    async fn last_deployment(&self) -> Result<DeploymentId, StoreError>;

    /// The image that a deployment ran, by local id, once it was resolved.
    ///
    /// # Errors
    /// When the database fails.
    async fn image_of(&self, deployment: DeploymentId) -> Result<Option<Image>, StoreError>;
}

// ---------------------------------------------------------------- files and probes

/// Why a stored config cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("config {config} cannot be read by this version: {message}")]
pub struct SpecError {
    /// Which one.
    pub config: ConfigId,
    /// Every problem, one a line.
    pub message: String,
}

/// Why an environment cannot be resolved. Never holds a value.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reference} of environment variable {variable} cannot be resolved: {message}")]
pub struct ResolveError {
    /// The variable, or the `env_file`.
    pub variable: String,
    /// `${env:X}`, `${file:PATH}`, or the path of an `env_file`.
    pub reference: String,
    /// Why.
    pub message: String,
}

/// Reading app files: the format belongs to the `config` crate.
#[async_trait]
pub trait AppFiles: Send + Sync {
    /// The spec in stored bytes.
    ///
    /// # Errors
    /// When this version does not accept them.
    fn parse(&self, row: &ConfigRow) -> Result<Arc<AppSpec>, SpecError>;

    /// The environment of one color, with references and files read now.
    ///
    /// # Errors
    /// When a reference cannot be resolved.
    async fn environment(&self, spec: &AppSpec, color: Color) -> Result<Vec<(String, Secret)>, ResolveError>;
}

/// One answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// As expected.
    Healthy,
    /// Not as expected; what was seen, in words that help (`GET /health answered 301 to …`).
    Unhealthy(String),
}

/// Asking a container whether it can serve.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Probes once, within `check.timeout`. The host is always the upstream itself: redirects are
    /// not followed.
    async fn probe(&self, upstream: &Upstream, check: &HealthCheck) -> Probe;
}
