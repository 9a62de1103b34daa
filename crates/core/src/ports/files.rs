//! App files as a port: their format and their references belong to an adapter.

use crate::name::{Color, ConfigId};
use crate::records::ConfigRow;
use crate::spec::AppSpec;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

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
#[error("{reference} of {owner} cannot be resolved: {message}")]
pub struct ResolveError {
    /// `environment variable X`, `env_file` or `volumes`.
    pub owner: String,
    /// `${env:X}`, `${file:PATH}`, the path of an `env_file`, or a host path that is to be mounted.
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

    /// The environment of one color, with references and files read now. What is read, and what the
    /// containers will have mounted, is judged by where symlinks lead now.
    ///
    /// # Errors
    /// When a reference cannot be resolved, or leads where it may not.
    async fn environment(&self, spec: &AppSpec, color: Color) -> Result<Vec<(String, Secret)>, ResolveError>;
}
