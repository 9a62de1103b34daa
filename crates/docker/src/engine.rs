//! The `Engine` port: which verb is done where.

use crate::daemon::Docker;
use crate::stopping::Afterwards;
use async_trait::async_trait;
use dockswap_core::name::{AppName, ContainerId, DeploymentId};
use dockswap_core::ports::{
    Container, ContainerGroup, Engine, EngineError, Hint, Image, ImageError, ImageRequest, PullProgress,
    Selector,
};
use dockswap_core::spec::RestartPolicy;
use futures_core::stream::BoxStream;
use std::time::Duration;

#[async_trait]
impl Engine for Docker {
    async fn ensure_image(
        &self,
        request: &ImageRequest,
        progress: PullProgress<'_>,
    ) -> Result<Image, ImageError> {
        self.bring_image(request, progress).await
    }

    async fn ensure_running(&self, group: &ContainerGroup) -> Result<Vec<Container>, EngineError> {
        self.run_group(group).await
    }

    async fn ensure_started(
        &self,
        selector: &Selector,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, EngineError> {
        self.start_again(selector, restart).await
    }

    async fn ensure_as_asked(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.restore(container).await
    }

    async fn ensure_stopped(&self, selector: &Selector, stop_timeout: Duration) -> Result<(), EngineError> {
        self.stop(selector, stop_timeout, Afterwards::Keep).await
    }

    async fn ensure_gone(&self, selector: &Selector, stop_timeout: Duration) -> Result<(), EngineError> {
        self.stop(selector, stop_timeout, Afterwards::Remove).await
    }

    async fn ensure_unpinned(
        &self,
        app: &AppName,
        deployments: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError> {
        self.unpin(app, deployments).await
    }

    async fn observe(&self, app: Option<&AppName>) -> Result<Vec<Container>, EngineError> {
        self.list(app).await
    }

    async fn last_lines(&self, container: &ContainerId, lines: usize) -> Result<Vec<String>, EngineError> {
        self.tail(container, lines).await
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        self.listen()
    }
}
