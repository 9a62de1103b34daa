//! Docker's side of the ports: each call with its time and its faults.

use super::World;
use super::docker::{Behavior, refused};
use super::faults::{Call, Fault};
use super::files::{CANARY, CANARY_LINES};
use super::tally::Promise;
use async_trait::async_trait;
use dockswap_core::name::{ContainerId, ImageId};
use dockswap_core::ports::{
    Container, ContainerGroup, Engine, EngineError, Hint, Image, ImageError, ImageRequest, Probe, Prober,
    PullProgress, Selector,
};
use dockswap_core::routes::Upstream;
use dockswap_core::spec::{HealthCheck, RestartPolicy};
use dockswap_core::{AppName, DeploymentId};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::time::Duration;
use tokio::sync::mpsc;

fn lost(call: Call) -> EngineError {
    EngineError::Unavailable { message: format!("simulated: {call:?}") }
}

fn brief(selector: &Selector) -> String {
    let color = selector.color.map_or_else(|| "any color".to_owned(), |color| color.to_string());
    format!("{} {color} {:?}", selector.app, selector.deployment)
}

impl World {
    /// Counts the hands that remove an app's containers at once.
    fn hand(&self, app: &AppName, change: isize) {
        let mut state = self.lock();
        let (now, most) = state.docker.hands.entry(app.clone()).or_default();
        *now = now.saturating_add_signed(change);
        *most = (*most).max(*now);
    }
}

#[async_trait]
impl Engine for World {
    async fn ensure_image(
        &self,
        request: &ImageRequest,
        progress: PullProgress<'_>,
    ) -> Result<Image, ImageError> {
        progress(1, 2);
        let gone = |call: Call| ImageError::Unavailable { message: format!("simulated: {call:?}") };
        self.call(Call::Image, &request.reference, gone, |state, _| {
            if let Some(pinned) = &request.pinned {
                return if state.docker.images.contains(pinned) {
                    Ok(Image { id: pinned.clone(), digest: None })
                } else {
                    Err(ImageError::NotLocal { reference: pinned.to_string() })
                };
            }
            if Behavior::of(&request.reference) == Behavior::Missing {
                return Err(ImageError::NotFound {
                    reference: request.reference.clone(),
                    message: "manifest unknown".to_owned(),
                });
            }
            let generation = state.docker.moved.get(&request.reference).copied().unwrap_or_default();
            let id = ImageId(format!("sha256:{}#{generation}", request.reference));
            if state.docker.images.insert(id.clone()) {
                state.docker.pulls += 1;
            }
            Ok(Image { id, digest: None })
        })
        .await
    }

    async fn ensure_running(&self, group: &ContainerGroup) -> Result<Vec<Container>, EngineError> {
        let about = format!("{} {} of {}", group.app, group.color, group.deployment);
        self.call(Call::Run, about, lost, |state, fault| state.run(group, fault)).await
    }

    async fn ensure_started(
        &self,
        selector: &Selector,
        restart: RestartPolicy,
    ) -> Result<Vec<Container>, EngineError> {
        let about = format!("{} again", brief(selector));
        self.call(Call::Run, about, lost, |state, fault| state.start_again(selector, restart, fault)).await
    }

    async fn ensure_as_asked(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.call(Call::Run, format!("{container} as asked"), lost, |state, _| {
            state.set_back(container);
            Ok(())
        })
        .await
    }

    async fn ensure_stopped(&self, selector: &Selector, _: Duration) -> Result<(), EngineError> {
        self.call(Call::Stop, brief(selector), lost, |state, _| {
            state.stop(selector);
            Ok(())
        })
        .await
    }

    async fn ensure_gone(&self, selector: &Selector, _: Duration) -> Result<(), EngineError> {
        self.hand(&selector.app, 1);
        let result = self
            .call(Call::Remove, brief(selector), lost, |state, fault| {
                if fault == Some(Fault::Refused) {
                    return Err(refused("stop container", "it does not end"));
                }
                state.stop(selector);
                if fault == Some(Fault::HalfDone) {
                    return Err(refused("remove container", "removal is already in progress"));
                }
                for name in state.selected(selector) {
                    state.docker.containers.remove(&name);
                }
                Ok(())
            })
            .await;
        self.hand(&selector.app, -1);
        result
    }

    async fn ensure_unpinned(
        &self,
        app: &AppName,
        deployments: &[DeploymentId],
    ) -> Result<Vec<DeploymentId>, EngineError> {
        let about = format!("unpin {} of {app}", deployments.len());
        self.call(Call::Remove, about, lost, |state, _| {
            let of = |id: &DeploymentId| state.database.images.get(id).map(|image| image.id.clone());
            let stay: Vec<_> =
                state.database.images.keys().filter(|id| !deployments.contains(id)).filter_map(of).collect();
            let gone: Vec<_> =
                deployments.iter().filter_map(of).filter(|image| !stay.contains(image)).collect();
            let unmarked = deployments.iter().find(|id| !state.database.given_up.contains(id)).copied();
            for image in gone {
                state.docker.images.remove(&image);
            }
            if let Some(id) = unmarked {
                state
                    .violated(Promise::Record, format!("the image of {id} is let go of before it is marked"));
            }
            Ok(Vec::new())
        })
        .await
    }

    async fn observe(&self, app: Option<&AppName>) -> Result<Vec<Container>, EngineError> {
        self.call(Call::Observe, "", lost, |state, fault| {
            if fault != Some(Fault::LostReply) {
                state.shown(app);
            }
            let ours = state.docker.containers.values().filter(|shell| !shell.foreign);
            let mut seen: Vec<Container> = ours
                .map(|shell| shell.shown.clone())
                .filter(|c| app.is_none_or(|app| c.app == *app))
                .collect();
            seen.sort_by_key(|c| (c.app.clone(), c.color, c.deployment, c.replica));
            Ok(seen)
        })
        .await
    }

    async fn last_lines(&self, container: &ContainerId, _: usize) -> Result<Vec<String>, EngineError> {
        self.call(Call::Lines, container, lost, |_, _| {
            Ok(vec![
                "starting".to_owned(),
                format!("cannot log in with {CANARY}"),
                format!("key: {}", CANARY_LINES[0]),
                CANARY_LINES[1].to_owned(),
                "last words".to_owned(),
            ])
        })
        .await
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().docker.heard_by(sender);
        stream::unfold(
            receiver,
            |mut receiver| async move { receiver.recv().await.map(|hint| (hint, receiver)) },
        )
        .boxed()
    }
}

#[async_trait]
impl Prober for World {
    async fn probe(&self, upstream: &Upstream, _: &HealthCheck) -> Probe {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut state = self.lock();
        state.advance();
        let now = state.now();
        if !state.docker.serves(upstream, now) {
            return Probe::Unhealthy("GET /health was refused".to_owned());
        }
        let mut proven_now = false;
        for shell in state.docker.containers.values_mut() {
            if shell.shown.upstream.as_ref() == Some(upstream) {
                proven_now |= !shell.proven;
                shell.proven = true;
            }
        }
        if proven_now {
            state.check();
        }
        Probe::Healthy
    }
}
