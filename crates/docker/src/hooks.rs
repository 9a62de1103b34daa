//! The containers of hooks: made, started once, found again by name and labels. That they lack the label of a replica
//! keeps them out of every list of an app's containers.

use crate::container;
use crate::create;
use crate::daemon::{Docker, Session};
use crate::labels::HookIdentity;
use crate::running::{Surroundings, runs_image};
use crate::stopping::Afterwards;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use dockswap_core::name::ContainerId;
use dockswap_core::ports::{ContainerState, EngineError, HookContainer, HookId, HookRun, Selector};
use dockswap_core::spec::RestartPolicy;
use futures_util::future::join_all;
use std::time::Duration;

impl Docker {
    pub(crate) async fn make_hook(&self, hook: &HookContainer) -> Result<(), EngineError> {
        let name = hook.id().container_name();
        if self.create_hook(hook, &name).await? {
            return Ok(());
        }
        // Its name is taken: an answer of Docker's was lost, or the controller died before it knew.
        let Some(shown) = self.inspect(&name).await? else {
            return self.create_hook(hook, &name).await.map(drop);
        };
        let run = identified(&shown, &hook.id(), &name)?;
        let config = container::hook(&shown).map(|found| found.config);
        if config.as_ref() != Some(&hook.group.config_sha) || !runs_image(&shown, &hook.group.image.0) {
            // Ours by every label, yet of another life: a database was begun anew.
            tracing::info!(container = name, "removed: it runs another config or image under this name");
            self.remove(&name, &run.id.0).await?;
            return self.create_hook(hook, &name).await.map(drop);
        }
        Ok(())
    }

    /// Whether it was made; not where its name is taken.
    async fn create_hook(&self, hook: &HookContainer, name: &str) -> Result<bool, EngineError> {
        let operation = || format!("create container {name}");
        let session = self.session_in_time().await.map_err(|failure| failure.during(operation()))?;
        let body = body(hook, &session);
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        match self.call(|| self.client.create_container(Some(options.clone()), body.clone())).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.status() == Some(409) => Ok(false),
            Err(failure) => Err(failure.during(operation())),
        }
    }

    pub(crate) async fn begin_hook(&self, hook: &HookId) -> Result<Option<HookRun>, EngineError> {
        let name = hook.container_name();
        let Some(shown) = self.inspect(&name).await? else { return Ok(None) };
        let run = identified(&shown, hook, &name)?;
        if run.state != ContainerState::Created {
            return Ok(Some(run));
        }
        self.start(&Surroundings::shown(&shown), &name, &run.id.0).await?;
        self.inspect(&name).await?.map(|shown| identified(&shown, hook, &name)).transpose()
    }

    pub(crate) async fn remove_hooks(
        &self,
        selector: &Selector,
        stop_timeout: Duration,
    ) -> Result<(), EngineError> {
        let mut shown = self.shown(Some(&selector.app)).await?;
        shown.retain(|shown| container::hook(shown).is_some_and(|hook| hook.is_taken_by(selector)));
        let ends =
            join_all(shown.iter().map(|shown| self.stop_one(shown, stop_timeout, Afterwards::Remove))).await;
        ends.into_iter().collect()
    }
}

/// The container under our name, if it is the one that we mean.
fn identified(shown: &ContainerInspectResponse, hook: &HookId, name: &str) -> Result<HookRun, EngineError> {
    let foreign = || EngineError::Foreign { what: format!("container {name}") };
    let found = container::hook(shown).ok_or_else(foreign)?;
    if found.id != *hook {
        return Err(foreign());
    }
    let id = ContainerId(shown.id.clone().unwrap_or_default());
    Ok(HookRun { id, state: container::state(shown) })
}

/// The request for the container of a hook: what the app's own is made of, without a way in.
fn body(hook: &HookContainer, session: &Session) -> ContainerCreateBody {
    let mut body = create::body(&hook.group, 1, session);
    body.labels = Some(HookIdentity::of(hook).write());
    body.exposed_ports = None;
    body.networking_config = None;
    if let Some(host) = &mut body.host_config {
        host.port_bindings = None;
        host.restart_policy = Some(create::restart_policy(RestartPolicy::No));
    }
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::daemon::Reach;
    use crate::fixture;
    use dockswap_core::hooks::Hook;
    use serde_json::json;

    #[test]
    fn a_hook_has_all_of_the_app_but_a_way_in() {
        let mut group = fixture::group("web");
        group.host_port = Some(8081);
        group.restart = RestartPolicy::Always;
        group.environment = vec![fixture::variable("DATABASE_URL", "postgres://db")];
        group.options.command = Some(vec!["migrate".to_owned()]);
        group.options.labels.insert("traefik.enable".to_owned(), "true".to_owned());
        let hook = HookContainer { hook: Hook::PreDeploy, group };
        let session = Session { rotating_log_driver: None, reach: Reach::Loopback, processors: 2 };
        let body = serde_json::to_value(body(&hook, &session)).unwrap();
        assert_eq!(
            (&body["Cmd"], &body["Env"]),
            (&json!(["migrate"]), &json!(["DATABASE_URL=postgres://db"]))
        );
        let host = &body["HostConfig"];
        assert_eq!((&host["NetworkMode"], &host["CapDrop"]), (&json!("dockswap"), &json!(["ALL"])));
        assert_eq!(host["RestartPolicy"]["Name"], json!("no"));
        for way_in in [&body["ExposedPorts"], &body["NetworkingConfig"], &host["PortBindings"]] {
            assert!(way_in.is_null(), "{way_in}");
        }
        let labels = &body["Labels"];
        assert_eq!(labels["dockswap.hook"], json!("pre_deploy"));
        assert!(labels["dockswap.replica"].is_null(), "it is no replica: {labels}");
        assert!(labels["traefik.enable"].is_null(), "nobody else finds it by the app's labels: {labels}");
    }
}
