//! What the daemon is like, for `dockswap doctor`.

use crate::daemon::Docker;
use bollard::models::SystemInfo;
use dockswap_core::ports::EngineError;
use serde::Serialize;

/// What the daemon says of itself; what it does not say is empty or false.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// Of Docker Engine, for example `20.10.24`.
    pub version: String,
    /// The newest version of the API that the daemon speaks.
    pub api_version: String,
    /// Whether containers outlive a restart of the daemon.
    pub live_restore: bool,
    /// For example `overlay2`.
    pub storage_driver: String,
    /// The default for new containers.
    pub logging_driver: String,
    /// For example `1` or `2`.
    pub cgroup_version: String,
    /// For example `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// Of the kernel.
    pub kernel: String,
    /// For example `x86_64`.
    pub architecture: String,
    /// Where images and containers lie.
    pub root_dir: String,
    /// Whether the daemon runs without root.
    pub rootless: bool,
    /// The daemon's own warnings.
    pub warnings: Vec<String>,
}

impl Docker {
    /// Asks the daemon what it is like, now.
    ///
    /// # Errors
    /// What Docker said.
    pub async fn info(&self) -> Result<EngineInfo, EngineError> {
        let version = self
            .call(|| self.client.version())
            .await
            .map_err(|failure| failure.during("ask docker for its version"))?;
        let info = self
            .call(|| self.client.info())
            .await
            .map_err(|failure| failure.during("ask docker for info"))?;
        Ok(EngineInfo {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            ..EngineInfo::from(info)
        })
    }
}

impl From<SystemInfo> for EngineInfo {
    fn from(info: SystemInfo) -> Self {
        Self {
            version: info.server_version.unwrap_or_default(),
            api_version: String::new(),
            live_restore: info.live_restore_enabled.unwrap_or_default(),
            storage_driver: info.driver.unwrap_or_default(),
            logging_driver: info.logging_driver.unwrap_or_default(),
            cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            os: info.operating_system.unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            root_dir: info.docker_root_dir.unwrap_or_default(),
            rootless: info.security_options.iter().flatten().any(|option| option.contains("rootless")),
            warnings: info.warnings.unwrap_or_default(),
        }
    }
}
