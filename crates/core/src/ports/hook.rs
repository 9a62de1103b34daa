//! The containers of hooks as values: what is asked of Docker, and what it shows. They are no replicas: whoever looks
//! at an app's containers does not see them.

use super::{ContainerGroup, ContainerState};
use crate::hooks::Hook;
use crate::name::{AppName, Color, ContainerId, DeploymentId};

/// The container of a hook as Docker should make it.
#[derive(Clone, Debug)]
pub struct HookContainer {
    /// Which hook.
    pub hook: Hook,
    /// As a container of the app is made, with the hook's own command. It is one, published nowhere, found by nobody
    /// under the app's name, and never started again by Docker.
    pub group: ContainerGroup,
}

impl HookContainer {
    /// What it is called by.
    #[must_use]
    pub fn id(&self) -> HookId {
        let ContainerGroup { app, color, deployment, .. } = &self.group;
        HookId { app: app.clone(), color: *color, deployment: *deployment, hook: self.hook }
    }
}

/// What the container of a hook is called by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HookId {
    /// The app.
    pub app: AppName,
    /// The slot of the release that it belongs to.
    pub color: Color,
    /// The deployment.
    pub deployment: DeploymentId,
    /// Which hook.
    pub hook: Hook,
}

impl HookId {
    /// The container's name: that of the release's first one, and the hook. Deployment ids are never given twice,
    /// so neither are names.
    #[must_use]
    pub fn container_name(&self) -> String {
        let hook = match self.hook {
            Hook::PreDeploy => "pre-deploy",
            Hook::PostDeploy => "post-deploy",
        };
        format!("{}-{}-{}-{hook}", self.app, self.color, self.deployment)
    }
}

/// The container of a hook as Docker shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// Docker's id.
    pub id: ContainerId,
    /// Whether it runs, or how it ended.
    pub state: ContainerState,
}
