//! Looking at containers by label, stopping and removing them. Nothing without our labels is ever
//! asked for.

use crate::container;
use crate::create;
use crate::daemon::Docker;
use crate::drift;
use crate::failure::Failure;
use crate::labels;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{ListContainersOptionsBuilder, StopContainerOptionsBuilder};
use dockswap_core::name::AppName;
use dockswap_core::ports::{Container, ContainerState, EngineError, Selector};
use dockswap_core::spec::RestartPolicy;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use std::time::{Duration, Instant};

/// How long Docker may take over a stop beyond the app's own time: SIGKILL, unmount, network.
const STOP_MARGIN: Duration = Duration::from_secs(15);
/// How long a removal that is under way already may take.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile.
const REMOVAL_POLL: Duration = Duration::from_millis(100);
/// Inspects at a time: one that hangs holds up only itself.
const INSPECTS_AT_ONCE: usize = 16;

/// What happens to a container once it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Keep,
    Remove,
}

impl Docker {
    pub(crate) async fn list(&self, app: Option<&AppName>) -> Result<Vec<Container>, EngineError> {
        let shown = self.shown(app).await?;
        let session = self.session_in_time().await.map_err(|failure| failure.during("list containers"))?;
        let read = |shown| {
            let drift = drift::of(shown, session.processors);
            container::read(shown).map(|container| Container { drift, ..container })
        };
        let mut containers: Vec<_> = shown.iter().filter_map(read).collect();
        container::sort(&mut containers);
        Ok(containers)
    }

    pub(crate) async fn stop(
        &self,
        selector: &Selector,
        stop_timeout: Duration,
        afterwards: Afterwards,
    ) -> Result<(), EngineError> {
        let chosen = self.chosen(selector).await?;
        // All of them come to an end, also when one fails.
        let ends = join_all(chosen.iter().map(|shown| self.stop_one(shown, stop_timeout, afterwards))).await;
        ends.into_iter().collect()
    }

    /// What `selector` takes, as Docker shows it now.
    pub(crate) async fn chosen(
        &self,
        selector: &Selector,
    ) -> Result<Vec<ContainerInspectResponse>, EngineError> {
        let mut shown = self.shown(Some(&selector.app)).await?;
        shown.retain(|shown| {
            container::identity(shown).is_some_and(|identity| labels::takes(selector, &identity))
        });
        Ok(shown)
    }

    /// Everything that carries our labels, or one app's, as Docker shows it now.
    async fn shown(&self, app: Option<&AppName>) -> Result<Vec<ContainerInspectResponse>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&labels::filters(app)).build();
        let listed = self
            .call(|| self.client.list_containers(Some(options.clone())))
            .await
            .map_err(|failure| failure.during("list containers"))?;
        let ids: Vec<_> = listed.into_iter().filter_map(|summary| summary.id).collect();
        let mut shown = Vec::with_capacity(ids.len());
        let inspects = ids.into_iter().map(|id| async move { self.inspect(&id).await });
        let mut answers = stream::iter(inspects).buffer_unordered(INSPECTS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            // One that went away since the list is simply not there any more.
            shown.extend(answer?);
        }
        Ok(shown)
    }

    async fn stop_one(
        &self,
        shown: &ContainerInspectResponse,
        stop_timeout: Duration,
        afterwards: Afterwards,
    ) -> Result<(), EngineError> {
        let id = shown.id.as_deref().unwrap_or_default();
        let name = shown.name.as_deref().unwrap_or_default().trim_start_matches('/');
        let state = container::state(shown);
        if state == ContainerState::Removing {
            return match afterwards {
                Afterwards::Keep => Ok(()),
                Afterwards::Remove => self.remove_for_good(name, id).await,
            };
        }
        let policy = shown.host_config.as_ref().and_then(|config| config.restart_policy.as_ref());
        if !create::has_policy(policy, RestartPolicy::No) {
            self.set_restart_policy(name, id, RestartPolicy::No).await?;
        }
        match state {
            ContainerState::Running | ContainerState::Restarting(_) => {
                self.signal_and_wait(name, id, stop_timeout).await?;
            }
            ContainerState::Paused => {
                // A frozen process cannot act on SIGTERM.
                let thawed = self.call(|| self.client.unpause_container(id)).await;
                tolerate_gone(thawed)
                    .map_err(|failure| failure.during(format!("unpause container {name}")))?;
                self.signal_and_wait(name, id, stop_timeout).await?;
            }
            ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => {}
        }
        match afterwards {
            Afterwards::Keep => Ok(()),
            Afterwards::Remove => self.remove_for_good(name, id).await,
        }
    }

    /// SIGTERM (or what the image names as its `STOPSIGNAL`), then SIGKILL.
    async fn signal_and_wait(&self, name: &str, id: &str, stop_timeout: Duration) -> Result<(), EngineError> {
        // Docker counts whole seconds: never less than the app was promised.
        let seconds = stop_timeout.as_secs() + u64::from(stop_timeout.subsec_nanos() > 0);
        let options =
            StopContainerOptionsBuilder::new().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
        let limit = Duration::from_secs(seconds) + STOP_MARGIN;
        let stopped = self.call_within(limit, || self.client.stop_container(id, Some(options.clone()))).await;
        tolerate_gone(stopped).map_err(|failure| failure.during(format!("stop container {name}")))
    }

    /// Removes, and where Docker says that a removal is under way already, waits for its end.
    async fn remove_for_good(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let began = Instant::now();
        loop {
            let error = match self.remove(name, id).await {
                Err(EngineError::Refused { operation, message }) if message.contains("in progress") => {
                    EngineError::Refused { operation, message }
                }
                answer => return answer,
            };
            if began.elapsed() > REMOVAL_PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(REMOVAL_POLL).await;
            if self.inspect(id).await?.is_none() {
                return Ok(());
            }
        }
    }
}

/// What is gone needs nothing done to it.
fn tolerate_gone(answer: Result<(), Failure>) -> Result<(), Failure> {
    answer.or_else(|failure| if failure.status() == Some(404) { Ok(()) } else { Err(failure) })
}
