//! What people ask of the app.

use super::deciding::ApplyError;
use super::{App, Wanted};
use crate::monitor;
use crate::orders::{Command, OrderError, Outcome};
use dockswap_core::machine::{Event, Observation, OrderReason, OrderTarget, Phase, Plan, Readiness, Refusal};
use dockswap_core::{Color, DeploymentId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

impl App {
    pub(super) async fn command(
        &mut self,
        command: Command,
        reply: oneshot::Sender<Result<Outcome, OrderError>>,
    ) {
        let result = match command {
            Command::Deploy => return self.deploy(reply),
            Command::Rollback { to } => self.rollback(to).await,
            Command::Switch { color } => self.switch(color).await,
            Command::Promote => self.order(&Event::Promote).await,
            Command::Cancel => self.cancel().await,
            Command::Recover => {
                let observation = self.look().await;
                self.order(&Event::ManualRecovery(observation)).await
            }
            Command::Remove => {
                let result = self.order(&Event::Retire).await;
                if result.is_ok() {
                    self.dismiss_wanted();
                    self.show();
                }
                result
            }
        };
        let _ = reply.send(result);
    }

    /// Ends the deployment in flight. After the switch that moves the traffic back: only to what can
    /// take it.
    async fn cancel(&mut self) -> Result<Outcome, OrderError> {
        let standby = match self.machine.phase() {
            Phase::Draining(_) | Phase::Watching(_) => {
                self.machine.serving().and_then(|serving| serving.standby.as_ref())
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
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    pub(super) fn deploy(&mut self, reply: oneshot::Sender<Result<Outcome, OrderError>>) {
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
        self.dismiss_wanted();
        self.wanted = Some(Wanted { stored: newest, reason: OrderReason::Deploy, reply: Some(reply) });
        self.show();
    }

    pub(super) async fn rollback(&mut self, to: Option<DeploymentId>) -> Result<Outcome, OrderError> {
        let app = self.machine.app().clone();
        if self.machine.readiness() == Readiness::Superseding {
            return Err(Refusal::Busy { state: self.machine.state() }.into());
        }
        let serving = self.machine.serving().ok_or_else(|| OrderError::NoPrevious(app.clone()))?;
        let warm = serving.warm_standby().map(|standby| standby.deployment);
        let to = match (to, self.machine.phase()) {
            (Some(to), _) => to,
            // The switch has only just been made: what served before it is what is meant.
            (None, Phase::Draining(_) | Phase::Watching(_)) => {
                warm.ok_or_else(|| OrderError::NoPrevious(app.clone()))?
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
        if warm == Some(to) {
            return self.begin(OrderTarget::Standby, OrderReason::Rollback).await;
        }
        let image = self.shared.ports.store.image_of(to).await?.ok_or(OrderError::NeverRan(to))?;
        let stored = self
            .shared
            .specs
            .load(row.config_id)
            .await
            .map_err(|error| OrderError::Config(error.to_string()))?;
        let plan = Plan::of(&stored.spec, row.config_id);
        self.begin(OrderTarget::Pinned { plan, image_id: image.id }, OrderReason::Rollback).await
    }

    pub(super) async fn switch(&mut self, color: Color) -> Result<Outcome, OrderError> {
        let app = self.machine.app().clone();
        let Some(serving) = self.machine.serving() else { return Err(OrderError::NoStandby { app, color }) };
        if serving.live.color == color && self.machine.readiness() == Readiness::Ready {
            return Ok(Outcome { deployment: self.machine.deployment(), begun: false });
        }
        if serving.warm_standby().is_none_or(|standby| standby.release.color != color) {
            return Err(OrderError::NoStandby { app, color });
        }
        self.begin(OrderTarget::Standby, OrderReason::Switch).await
    }

    pub(super) async fn look(&self) -> Observation {
        let work = self.work(CancellationToken::new());
        let mut observation = Observation::default();
        if work.observe().await.is_err() {
            return observation;
        }
        for release in self.machine.releases() {
            let containers = self.containers.of(release);
            let answers = containers.iter().map(|container| monitor::answers(&work, release, container));
            let all = futures_util::future::join_all(answers).await;
            if !all.is_empty() && all.into_iter().all(|ok| ok) {
                observation.healthy.push((release.color, release.origin));
            }
        }
        observation
    }
}
