//! The ports: what deciding needs from the outside, as traits. Adapters implement them, the
//! controller calls them, simulations replace them.
//!
//! Every call returns within a deadline of its own: an adapter that cannot keep it answers with an
//! error. Every `ensure_…` is idempotent: doing it again after a lost answer is always right.

mod container;
mod engine;
mod files;
mod keyholder;
mod prober;
mod router;
mod store;

pub use container::{
    Container, ContainerGroup, ContainerState, DeploymentFilter, DockerHealth, Drift, Exit, Hint, Image,
    ImageRequest, PullProgress, Remedy, Selector,
};
pub use engine::{Engine, EngineError, ImageError};
pub use files::{AppFiles, ResolveError, Secret, SpecError};
pub use keyholder::Keyholder;
pub use prober::{Probe, Prober};
pub use router::{Router, RouterError, RouterStatus};
pub use store::Store;

use crate::time::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync {
    /// The present. Never goes backwards within a process, whatever the wall clock does.
    fn now(&self) -> Timestamp;
}
