//! Docker as a port.

use super::{Container, ContainerGroup, Hint, Image, ImageRequest, PullProgress, Selector};
use crate::name::{AppName, ContainerId, DeploymentId};
use crate::spec::RestartPolicy;
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::time::Duration;

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
    /// It would fill Docker's disk.
    #[error("image {reference} does not fit on the disk: {message}")]
    NoRoom {
        /// As written.
        reference: String,
        /// What is needed and free, and what frees more.
        message: String,
    },
    /// Docker does not answer: asking again may help.
    #[error("docker does not answer: {message}")]
    Unavailable {
        /// What was seen.
        message: String,
    },
    /// Anything else: the network, the disk, the registry.
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

    /// Starts what there is of `selector` as it was made, with the given restart policy; returns it, sorted as by
    /// [`Engine::observe`]. Nothing is made that is missing.
    ///
    /// # Errors
    /// What Docker said.
    async fn ensure_started(
        &self,
        selector: &Selector,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, EngineError>;

    /// Sets back in place what of the container is not what was asked for at its creation, where Docker can
    /// ([`Remedy::SetBack`](super::Remedy::SetBack)): limits, its name, its network. One that is gone is no error.
    ///
    /// # Errors
    /// What Docker said; what could be set back is.
    async fn ensure_as_asked(&self, container: &ContainerId) -> Result<(), EngineError>;

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

    /// Lets go of the images that `app` has pinned for these deployments. Docker removes an image that has no other
    /// name, and so goes what this engine has pulled itself, of any app, once no pin, no container and no other name
    /// keeps it. Gives those of the deployments whose pin stays, since a container uses the image.
    ///
    /// # Errors
    /// What Docker said; pins that were let go of before stay so.
    async fn ensure_unpinned(
        &self,
        app: &AppName,
        deployments: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError>;

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
