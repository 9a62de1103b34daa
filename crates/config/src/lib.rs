//! Reading: app files and settings become values, with positions for what is wrong; directories
//! are watched. No Docker, no database.

mod acme;
mod advice;
mod app;
mod clash;
mod container;
mod data_plane;
mod deployment;
mod edit;
mod environment;
mod fields;
mod files;
mod health;
mod limits;
mod mappings;
mod policy;
mod problem;
mod retention;
mod routes;
mod scalar;
mod schema;
mod settings;
mod sha;
mod tls;
mod trust;
mod variables;
mod volumes;
mod watch;
mod yaml;

pub use acme::{AcmeSettings, ChallengeKind};
pub use app::parse_app;
pub use clash::{Claim, ReservedPort, Standing, check_clashes};
pub use data_plane::{AccessLogForm, ClientLimits, ProxyProtocol, ProxySettings};
pub use edit::{replace_image, write_atomically};
pub use files::StoredFiles;
pub use policy::{HostPortRule, Policy};
pub use problem::{Position, Problem};
pub use retention::RetentionSettings;
pub use schema::schema;
pub use settings::{LogFormat, LogSettings, Settings};
pub use sha::sha256;
pub use trust::Trust;
pub use watch::{DirectoryState, FileContent, POLL, Rescan, Snapshot, Watch, read_directory, watch};
pub use yaml::MAX_BYTES;
