//! What people ask of the app.

use super::deciding::ApplyError;
use super::{App, Message, Wanted};
use crate::monitor;
use crate::orders::{Command, OrderError, Outcome};
use dockswap_core::machine::{
    Effect, Event, Observation, OrderReason, OrderTarget, Phase, Plan, Readiness, Refusal,
};
use dockswap_core::ports::RouterError;
use dockswap_core::{Color, DeploymentId};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an order waits for Docker, and then for containers, to say how they are.
const LOOK: Duration = Duration::from_secs(2);

impl App {
    pub(super) async fn command(
        &mut self,
        command: Command,
        reply: oneshot::Sender<Result<Outcome, OrderError>>,
    ) {
        let result = match command {
            Command::Deploy => return self.deploy(reply).await,
            Command::Rollback { to } => self.rollback(to).await,
            Command::Switch { color } => self.switch(color).await,
            Command::Promote => self.order(&Event::Promote).await,
            Command::Cancel => self.cancel().await,
            Command::Recover => self.recover().await,
            Command::Remove => {
                let newest = self.newest.as_ref().map(|newest| newest.row.id);
                let result = self.order(&Event::Retire { newest }).await;
                if result.is_ok() {
                    self.dismiss_wanted().await;
                    self.show();
                }
                result
            }
            Command::Pause { limit, queue } => {
                return self.keep_out(&Event::Paused { limit, queue }, reply).await;
            }
            Command::Resume => return self.keep_out(&Event::Unpaused, reply).await,
            Command::BeginMaintenance { page } => {
                return self.keep_out(&Event::MaintenanceBegan { page }, reply).await;
            }
            Command::EndMaintenance => return self.keep_out(&Event::MaintenanceEnded, reply).await,
        };
        let _ = reply.send(result);
    }

    /// Keeps traffic out, or lets it in again. Whoever asked is told when that is in force.
    async fn keep_out(&mut self, event: &Event, reply: oneshot::Sender<Result<Outcome, OrderError>>) {
        match self.order(event).await {
            Ok(outcome) => self.gated.push((reply, outcome)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The routes were brought up to date: so are the gates, unless the state waits for a confirmed route. That
    /// brings the gate too.
    pub(super) fn tell_gated(&mut self, rerouted: &Result<(), RouterError>) {
        if self.machine.owed().effect == Some(Effect::Route) {
            return;
        }
        for (reply, outcome) in self.gated.drain(..) {
            let told = rerouted.clone().map(|()| outcome).map_err(OrderError::NotInForce);
            let _ = reply.send(told);
        }
    }

    /// Settles on what Docker shows. Where traffic was left with what the records do not know, they decide
    /// again: if what they name can take it.
    async fn recover(&mut self) -> Result<Outcome, OrderError> {
        let observation = self.look().await;
        let live = self.machine.serving().map(|serving| (serving.live.color, serving.live.origin));
        if self.held.is_held() && !live.is_some_and(|live| observation.healthy.contains(&live)) {
            return Err(Refusal::NothingHealthy.into());
        }
        let outcome = self.order(&Event::ManualRecovery(observation)).await?;
        self.held.release();
        Ok(outcome)
    }

    /// Ends the deployment in flight. After the switch that moves the traffic back: only to what can
    /// take it.
    async fn cancel(&mut self) -> Result<Outcome, OrderError> {
        let standby = match self.machine.phase() {
            Phase::Draining(_) | Phase::Watching(_) => {
                // One that has to be started again is no less fit for not running.
                let serving = self.machine.serving().filter(|serving| !serving.recreates());
                serving.and_then(|serving| serving.standby.as_ref())
            }
            _ => None,
        };
        if let Some(release) = standby.map(|standby| standby.release.clone()) {
            let seen = self.look().await;
            if !seen.healthy.contains(&(release.color, release.origin)) {
                let app = self.machine.app().clone();
                return Err(OrderError::StandbyUnfit { app, color: release.color });
            }
        }
        self.order(&Event::Cancel).await
    }

    pub(super) async fn order(&mut self, event: &Event) -> Result<Outcome, OrderError> {
        match self.decide(event).await {
            Ok(()) => Ok(Outcome { deployment: self.machine.deployment(), begun: true }),
            Err(ApplyError::Refused(Refusal::Already { .. })) => {
                Ok(Outcome { deployment: self.machine.deployment(), begun: false })
            }
            Err(ApplyError::Refused(refusal)) => Err(refusal.into()),
            Err(ApplyError::Reloaded) => Err(Refusal::Busy { state: self.machine.state() }.into()),
            Err(ApplyError::Store(error)) => {
                // It may have gone through all the same.
                self.later(Message::Doubted);
                Err(error.into())
            }
        }
    }

    pub(super) async fn deploy(&mut self, reply: oneshot::Sender<Result<Outcome, OrderError>>) {
        let Some(newest) = self.newest.clone() else {
            let _ = reply.send(Err(OrderError::NothingToDeploy(self.machine.app().clone())));
            return;
        };
        if let Some(deployment) = self.machine.in_flight() {
            // The save that this order follows may have been seen first: then it is already so.
            let _ =
                reply.send(if self.wanted.is_none() && self.machine.considered() == Some(newest.row.id) {
                    Ok(Outcome { deployment: Some(deployment), begun: false })
                } else {
                    Err(Refusal::Busy { state: self.machine.state() }.into())
                });
            return;
        }
        self.dismiss_wanted().await;
        let signature = std::mem::take(&mut self.signature);
        self.wanted =
            Some(Wanted { stored: newest, reason: OrderReason::Deploy, signature, reply: Some(reply) });
        self.show();
    }

    pub(super) async fn rollback(&mut self, to: Option<DeploymentId>) -> Result<Outcome, OrderError> {
        let app = self.machine.app().clone();
        if self.machine.readiness() == Readiness::Superseding {
            return Err(Refusal::Busy { state: self.machine.state() }.into());
        }
        if self.machine.is_held() {
            // What serves next is not decided yet.
            return Err(Refusal::Busy { state: self.machine.state() }.into());
        }
        let serving = self.machine.serving().ok_or_else(|| OrderError::NoPrevious(app.clone()))?;
        let standby = serving.warm_standby().cloned();
        let to = match (to, self.machine.phase()) {
            (Some(to), _) => to,
            // The switch has only just been made: what served before it is what is meant.
            (None, Phase::Draining(_) | Phase::Watching(_)) if self.machine.undid().is_none() => {
                let stopped = serving.standby.as_ref().filter(|_| serving.recreates());
                let before = standby.as_ref().or(stopped).map(|standby| standby.deployment);
                before.ok_or_else(|| OrderError::NoPrevious(app.clone()))?
            }
            (None, _) => self.shared.previous_success(&app, serving).await?,
        };
        let row = self
            .shared
            .ports
            .store
            .deployment(to)
            .await?
            .filter(|row| row.app_name == app)
            .ok_or(OrderError::UnknownDeployment { app, deployment: to })?;
        let stored = self
            .shared
            .specs
            .load(row.config_id)
            .await
            .map_err(|error| OrderError::Config(error.to_string()))?;
        let app = self.machine.app();
        if let Some((holder, route)) = self.shared.keeper.holder_of(app, &stored.spec.routes).await {
            return Err(OrderError::RouteTaken { holder, route: route.to_string() });
        }
        let is_warm = match &standby {
            Some(standby) => standby.deployment == to || self.shared.brought(&row, &standby.release).await?,
            None => false,
        };
        if is_warm {
            return self.begin(OrderTarget::Standby, OrderReason::Rollback).await;
        }
        if self.shared.ports.store.is_given_up(to).await? {
            return Err(OrderError::Pruned(to));
        }
        let image = self.shared.ports.store.image_of(to).await?.ok_or(OrderError::NeverRan(to))?;
        let plan = Plan::of(&stored.spec, row.config_id);
        self.begin(OrderTarget::Pinned { plan, image_id: image.id }, OrderReason::Rollback).await
    }

    pub(super) async fn switch(&mut self, color: Color) -> Result<Outcome, OrderError> {
        let app = self.machine.app().clone();
        if self.machine.is_held() {
            return Err(Refusal::Busy { state: self.machine.state() }.into());
        }
        let Some(serving) = self.machine.serving() else { return Err(OrderError::NoStandby { app, color }) };
        if serving.live.color == color && self.machine.readiness() == Readiness::Ready {
            return Ok(Outcome { deployment: self.machine.deployment(), begun: false });
        }
        if serving.live.runs_alone() {
            return Err(OrderError::RunsAlone(app));
        }
        if serving.warm_standby().is_none_or(|standby| standby.release.color != color) {
            return Err(OrderError::NoStandby { app, color });
        }
        self.begin(OrderTarget::Standby, OrderReason::Switch).await
    }

    /// Which releases are healthy now, by a look that keeps nobody waiting for long.
    async fn look(&self) -> Observation {
        let work = self.work(self.stop.child_token());
        // Where Docker does not answer, what was seen last is probed.
        let _ = tokio::time::timeout(LOOK, work.observe()).await;
        let releases = self.machine.releases();
        let healthy = releases.iter().map(|release| async {
            let containers = self.containers.of(release);
            let answers = containers.iter().map(|container| monitor::answers(&work, release, container));
            let asked = tokio::time::timeout(LOOK, join_all(answers)).await.unwrap_or_default();
            (!asked.is_empty() && asked.into_iter().all(|ok| ok)).then_some((release.color, release.origin))
        });
        Observation { healthy: join_all(healthy).await.into_iter().flatten().collect() }
    }
}
