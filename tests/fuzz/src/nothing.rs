//! An outside in which all goes well and nothing is there: Docker keeps its containers in memory, the
//! proxy takes every table, every probe is answered.

use async_trait::async_trait;
use dockswap_core::AppName;
use dockswap_core::Timestamp;
use dockswap_core::name::{ContainerId, DeploymentId, ImageId};
use dockswap_core::ports::{
    Container, ContainerGroup, ContainerState, DeploymentFilter, DockerHealth, Engine, EngineError, Exit,
    Hint, Image, ImageError, ImageRequest, Probe, Prober, PullProgress, Router, RouterError, RouterStatus,
    Selector,
};
use dockswap_core::routes::{RouteTable, Upstream, UpstreamId, UpstreamLoad};
use dockswap_core::spec::{HealthCheck, Protocol, RestartPolicy};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Docker and the proxy.
#[derive(Debug, Default)]
pub struct Nothing {
    containers: Mutex<Vec<Container>>,
    table: Mutex<RouteTable>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn selects(selector: &Selector, container: &Container) -> bool {
    container.app == selector.app
        && selector.color.is_none_or(|color| color == container.color)
        && match selector.deployment {
            DeploymentFilter::Any => true,
            DeploymentFilter::Only(deployment) => container.deployment == deployment,
            DeploymentFilter::Except(deployment) => container.deployment != deployment,
        }
}

fn container(group: &ContainerGroup, replica: u8) -> Container {
    let name = format!("{}-{}-{}-{replica}", group.app, group.color, group.deployment);
    let id = ContainerId(name.clone());
    Container {
        id: id.clone(),
        name,
        app: group.app.clone(),
        color: group.color,
        deployment: group.deployment,
        replica,
        image: group.image.clone(),
        state: ContainerState::Running,
        health: DockerHealth::Absent,
        life: Some(upstream(&id).id),
        upstream: Some(upstream(&id)),
        restart: group.restart,
        restarts: 0,
        drift: Vec::new(),
    }
}

fn upstream(container: &ContainerId) -> Upstream {
    Upstream {
        id: UpstreamId { container: container.clone(), started_at: Timestamp::default() },
        addr: ([127, 0, 0, 1], 1).into(),
        protocol: Protocol::Http1,
    }
}

#[async_trait]
impl Engine for Nothing {
    async fn ensure_image(&self, request: &ImageRequest, _: PullProgress<'_>) -> Result<Image, ImageError> {
        let id = request.pinned.clone().unwrap_or_else(|| ImageId(format!("sha256:{}", request.reference)));
        Ok(Image { id, digest: None })
    }

    async fn ensure_running(&self, group: &ContainerGroup) -> Result<Vec<Container>, EngineError> {
        let mut containers = lock(&self.containers);
        let group: Vec<Container> = (1..=group.replicas).map(|replica| container(group, replica)).collect();
        containers.retain(|one| group.iter().all(|other| other.id != one.id));
        containers.extend(group.clone());
        Ok(group)
    }

    async fn ensure_started(
        &self,
        selector: &Selector,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, EngineError> {
        let mut containers = lock(&self.containers);
        let again = containers.iter_mut().filter(|one| selects(selector, one)).map(|one| {
            one.state = ContainerState::Running;
            one.restart = restart;
            one.upstream = Some(upstream(&one.id));
            one.clone()
        });
        Ok(again.collect())
    }

    async fn ensure_as_asked(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn ensure_stopped(&self, selector: &Selector, _: Duration) -> Result<(), EngineError> {
        for container in lock(&self.containers).iter_mut().filter(|one| selects(selector, one)) {
            (container.state, container.upstream) = (ContainerState::Exited(Exit::default()), None);
        }
        Ok(())
    }

    async fn ensure_gone(&self, selector: &Selector, _: Duration) -> Result<(), EngineError> {
        lock(&self.containers).retain(|one| !selects(selector, one));
        Ok(())
    }

    async fn ensure_unpinned(
        &self,
        _: &AppName,
        _: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError> {
        Ok(Vec::new())
    }

    async fn observe(&self, app: Option<&AppName>) -> Result<Vec<Container>, EngineError> {
        let containers = lock(&self.containers);
        Ok(containers.iter().filter(|one| app.is_none_or(|app| one.app == *app)).cloned().collect())
    }

    async fn last_lines(&self, _: &ContainerId, _: usize) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        stream::pending().boxed()
    }
}

#[async_trait]
impl Router for Nothing {
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError> {
        lock(&self.table).clone_from(table);
        Ok(())
    }

    async fn status(&self) -> Result<RouterStatus, RouterError> {
        let table = lock(&self.table).clone();
        Ok(RouterStatus {
            version: String::new(),
            pid: 1,
            table,
            listeners: Vec::new(),
            load: Vec::new(),
            waiting: Vec::new(),
        })
    }

    async fn drained(&self, _: &[UpstreamId], _: Duration) -> Result<Vec<UpstreamLoad>, RouterError> {
        Ok(Vec::new())
    }

    async fn close(&self, _: &[UpstreamId]) -> Result<(), RouterError> {
        Ok(())
    }
}

#[async_trait]
impl Prober for Nothing {
    async fn probe(&self, _: &Upstream, _: &HealthCheck) -> Probe {
        Probe::Healthy
    }
}
