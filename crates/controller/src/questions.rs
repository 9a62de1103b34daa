//! What people ask about an app's containers: Docker is asked then and there, and nothing is changed.

use crate::containers::describe_end;
use crate::controller::Controller;
use crate::group::GroupError;
use dockswap_core::machine::Release;
use dockswap_core::ports::{Container, ContainerGroup, EngineError, Probe};
use dockswap_core::spec::RestartPolicy;
use dockswap_core::{AppName, Color};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a question about an app's containers has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// No app of this name.
    #[error("no such app")]
    UnknownApp,
    /// No version in that color.
    #[error("no version of the app is in that color")]
    NoVersion,
    /// Its config cannot be read, or its environment not be resolved.
    #[error("{0}")]
    Config(String),
    /// Docker.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How long the proxy may take to say how many requests wait.
const GLANCE: Duration = Duration::from_secs(1);

impl Controller {
    /// How many requests wait, for every app for which any do; `None`: the proxy does not say.
    pub async fn waiting(&self) -> Option<BTreeMap<AppName, u32>> {
        let status = tokio::time::timeout(GLANCE, self.shared.ports.router.status()).await.ok()?.ok()?;
        Some(status.waiting.into_iter().map(|waiting| (waiting.app, waiting.requests)).collect())
    }

    /// Asks the containers of both colors now.
    ///
    /// # Errors
    /// When the app is not known, or Docker does not answer.
    pub async fn health(&self, app: &AppName) -> Result<Vec<(Container, Probe)>, HealthError> {
        let handle = self.handle(app).map_err(|_| HealthError::UnknownApp)?;
        let seen = self.shared.ports.engine.observe(Some(app)).await?;
        let machine = handle.machine.borrow().clone();
        let releases: Vec<Release> = machine.releases().into_iter().cloned().collect();
        let mut answers = Vec::new();
        for container in seen {
            let release = releases.iter().find(|release| release.owns(&container));
            let probe = match (describe_end(&container), &container.upstream, release) {
                (Some(ended), _, _) => Probe::Unhealthy(ended),
                (None, Some(upstream), Some(release)) => {
                    self.shared.ports.prober.probe(upstream, &release.plan.health_check).await
                }
                (None, None, _) => Probe::Unhealthy("it has no address".to_owned()),
                (None, _, None) => Probe::Unhealthy("it belongs to no version in use".to_owned()),
            };
            answers.push((container, probe));
        }
        Ok(answers)
    }

    /// The containers of an app, of both colors.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn containers(&self, app: &AppName) -> Result<Vec<Container>, EngineError> {
        self.shared.ports.engine.observe(Some(app)).await
    }

    /// What Docker runs for a color of an app; `None`: the live one. Its environment is resolved.
    ///
    /// # Errors
    /// When the app or the color has no version, or its config cannot be read.
    pub async fn group(&self, app: &AppName, color: Option<Color>) -> Result<ContainerGroup, HealthError> {
        let handle = self.handle(app).map_err(|_| HealthError::UnknownApp)?;
        let machine = handle.machine.borrow().clone();
        let live = machine.serving().map(|serving| serving.live.color);
        let release = machine
            .releases()
            .into_iter()
            .find(|release| Some(release.color) == color.or(live))
            .cloned()
            .ok_or(HealthError::NoVersion)?;
        self.shared.group(app, &release, RestartPolicy::UnlessStopped).await.map_err(|error| match error {
            GroupError::Config(message) | GroupError::Environment(message) => HealthError::Config(message),
        })
    }
}
