//! What Docker should run for a release, and what may be shown of what it wrote: both need the
//! environment with its secrets, which is resolved here and goes no further.

use crate::containers::only;
use crate::controller::Shared;
use crate::redact::redact;
use dockswap_core::AppName;
use dockswap_core::machine::{Failure, Release};
use dockswap_core::ports::{Container, ContainerGroup, EngineError};
use dockswap_core::spec::RestartPolicy;

/// How many of the last lines of a container are kept as evidence.
const EVIDENCE_LINES: usize = 20;

/// What an environment or a stored config withholds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// The database or an old file's format.
    #[error("{0}")]
    Config(String),
    /// A reference.
    #[error("{0}")]
    Environment(String),
}

/// Why a release does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// It is not known how it is made.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Docker's word.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RunError {
    /// Whether asking again may help.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Unavailable { .. }))
    }
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

    /// Has every container of a release run that ran before. What is there is started as it was made: what its
    /// references lead to may be gone by now. Only what is missing is made anew.
    pub(crate) async fn run_again(
        &self,
        app: &AppName,
        release: &Release,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, RunError> {
        let selector = only(app, release.color, release.origin);
        let there = self.ports.engine.ensure_started(&selector, restart).await?;
        if there.len() >= usize::from(release.plan.replicas) {
            return Ok(there);
        }
        let group = self.group(app, release, restart).await?;
        Ok(self.ports.engine.ensure_running(&group).await?)
    }

    /// Whether a release has a port of the host for itself, so that nothing else can run in its slot; also where that
    /// is not to be had.
    pub(crate) async fn publishes_a_port(&self, release: &Release) -> bool {
        let stored = self.specs.load(release.plan.config).await;
        stored.map_or(true, |stored| stored.spec.host_ports.of(release.color).is_some())
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
