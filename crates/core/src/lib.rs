//! The core of dockswap: it decides, and it does nothing else.
//!
//! What an app is ([`spec`]), what its deployment may do next ([`machine`]), where traffic goes
//! ([`routes`]) and what the outside must be able to do ([`ports`]). No tokio, file, socket,
//! clock, randomness or hash-ordered map: the same input gives the same answer, always.

pub mod audit;
pub mod grants;
pub mod invariants;
pub mod keyring;
pub mod limits;
pub mod machine;
pub mod name;
pub mod ports;
pub mod records;
pub mod retention;
pub mod routes;
mod schema;
pub mod spec;
pub mod time;
pub mod token;

pub use name::{AppName, Color, ConfigId, ConfigSha, DeploymentId, ImageId, ProjectName, Version};
pub use spec::AppSpec;
pub use time::Timestamp;
