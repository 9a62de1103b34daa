//! The port [`AppFiles`]: what the controller asks of app files that are stored already.

use crate::environment::Reader;
use crate::policy::Policy;
use crate::{app, environment};
use async_trait::async_trait;
use dockswap_core::ports::{AppFiles, ResolveError, Secret, SpecError};
use dockswap_core::records::ConfigRow;
use dockswap_core::{AppSpec, Color};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// App files as they are stored, read as if they stood in the apps directory.
#[derive(Clone, Debug)]
pub struct StoredFiles {
    apps_dir: PathBuf,
    policy: Policy,
}

impl StoredFiles {
    /// Relative paths in the files begin at `apps_dir`.
    #[must_use]
    pub fn new(apps_dir: impl Into<PathBuf>, policy: Policy) -> Self {
        Self { apps_dir: apps_dir.into(), policy }
    }

    /// The text of a file that `tls` of an app file names, as far as it may be read for that now.
    ///
    /// # Errors
    /// Why it may not or cannot be read, as a sentence without the path.
    pub async fn certificate_file(&self, path: &str) -> Result<String, String> {
        let reader = Reader { policy: &self.policy, base: &self.apps_dir };
        reader.read_by(path, Policy::check_certificate).await
    }
}

#[async_trait]
impl AppFiles for StoredFiles {
    fn parse(&self, row: &ConfigRow) -> Result<Arc<AppSpec>, SpecError> {
        let title = format!("{} (config {})", row.app, row.id);
        let parsed = app::parse_app(Path::new(&title), &row.bytes, &self.apps_dir, &self.policy);
        parsed.map(Arc::new).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            SpecError { config: row.id, message: lines.join("\n") }
        })
    }

    async fn environment(&self, spec: &AppSpec, color: Color) -> Result<Vec<(String, Secret)>, ResolveError> {
        environment::check_mounts(spec, &self.policy)?;
        let reader = Reader { policy: &self.policy, base: &self.apps_dir };
        environment::resolve(spec, color, reader, &|name| std::env::var(name).ok()).await
    }
}
