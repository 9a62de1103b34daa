//! What Docker should run for a release, and what may be shown of what it wrote: both need the
//! environment with its secrets, which is resolved here and goes no further.

use crate::controller::Shared;
use crate::redact::redact;
use dockswap_core::AppName;
use dockswap_core::machine::{Failure, Release};
use dockswap_core::ports::{Container, ContainerGroup};
use dockswap_core::spec::RestartPolicy;

/// How many of the last lines of a container are kept as evidence.
const EVIDENCE_LINES: usize = 20;

/// What an environment or a stored config withholds.
pub(crate) enum GroupError {
    /// The database or an old file's format.
    Config(String),
    /// A reference.
    Environment(String),
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Config(message) | GroupError::Environment(message) => Self::new(message),
        }
    }
}

impl Shared {
    /// What Docker should run for `release`.
    pub(crate) async fn group(
        &self,
        app: &AppName,
        release: &Release,
        restart: RestartPolicy,
    ) -> Result<ContainerGroup, GroupError> {
        let stored = self
            .specs
            .load(release.plan.config)
            .await
            .map_err(|error| GroupError::Config(error.to_string()))?;
        let environment = self
            .ports
            .files
            .environment(&stored.spec, release.color)
            .await
            .map_err(|error| GroupError::Environment(error.to_string()))?;
        Ok(ContainerGroup {
            app: app.clone(),
            color: release.color,
            deployment: release.origin,
            config_sha: stored.row.sha.clone(),
            image: release.image_id.clone(),
            replicas: release.plan.replicas,
            options: stored.spec.container.clone(),
            environment,
            host_port: stored.spec.host_ports.of(release.color),
            restart,
        })
    }

    /// What the app wrote last in the containers that did not make it, without its secrets.
    pub(crate) async fn evidence(
        &self,
        app: &AppName,
        release: &Release,
        container: &Container,
    ) -> Vec<String> {
        match self.ports.engine.last_lines(&container.id, EVIDENCE_LINES).await {
            Ok(lines) => self.masked(app, release, lines).await,
            Err(_) => Vec::new(),
        }
    }

    /// What the app wrote, without its secrets. What cannot be masked is not shown.
    pub(crate) async fn masked(&self, app: &AppName, release: &Release, lines: Vec<String>) -> Vec<String> {
        match self.group(app, release, RestartPolicy::No).await {
            Ok(group) => redact(lines, &group.environment),
            Err(_) => Vec::new(),
        }
    }
}
