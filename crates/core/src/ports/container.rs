//! Images and containers as values: what is asked of Docker, and what it shows.

use super::Secret;
use crate::name::{AppName, Color, ConfigSha, ContainerId, DeploymentId, ImageId};
use crate::routes::{Upstream, UpstreamId};
use crate::spec::{ContainerOptions, PullPolicy, RestartPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Its present run, also while it is paused or off its network: by this is known what is in flight on it.
    pub life: Option<UpstreamId>,
    /// Where the proxy reaches it, when it runs.
    pub upstream: Option<Upstream>,
    /// What Docker does when it exits.
    pub restart: RestartPolicy,
    /// How often Docker has started it again by that policy since somebody started it.
    pub restarts: u32,
    /// Wherein it is not what was asked for when it was made.
    pub drift: Vec<Drift>,
}

/// One difference between a container as it was asked for and as Docker shows it. Holds no secret: of what may be
/// one, both sides are hashes.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Drift {
    /// What differs: `memory`, `network`, `name`, …
    pub field: String,
    /// As it was asked for.
    pub asked: String,
    /// As it is.
    pub found: String,
    /// What sets it right.
    pub remedy: Remedy,
}

/// How a container becomes again what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// It is set back in place: see [`Engine::ensure_as_asked`](super::Engine::ensure_as_asked).
    SetBack,
    /// It is made to run again, and gets traffic once it has proven itself.
    RunAgain,
    /// Nothing that happens by itself: Docker cannot change it, and what serves is not replaced unasked.
    Deploy,
    /// Nothing: it does no harm that dockswap could judge.
    Leave,
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
    /// How many bytes of memory it might use; `None`: as many as the machine has.
    pub memory_limit: Option<u64>,
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
