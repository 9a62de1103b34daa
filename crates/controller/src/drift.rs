//! How an app's containers differ from what was asked for, as people ask it: Docker is asked then and there, and
//! nothing is changed by the question.

use crate::containers::describe_end;
use crate::controller::Controller;
use crate::questions::HealthError;
use dockswap_core::machine::{Machine, Phase, Release, Warmth};
use dockswap_core::ports::{Container, Drift, Remedy};
use dockswap_core::spec::RestartPolicy;
use dockswap_core::{AppName, Color, DeploymentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One container, and wherein it is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ContainerDrift {
    /// Its app.
    pub app: AppName,
    /// As it should be called.
    pub name: String,
    /// Its slot.
    pub color: Color,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// Counted from 1.
    pub replica: u8,
    /// Whether it is the one that serves.
    pub live: bool,
    /// Every difference; none: it is as it should be.
    pub drift: Vec<Drift>,
}

impl Controller {
    /// Every container that an app's state has a use for, with its drift. While a deployment is in flight, what it
    /// brings is its gate's business and not among them.
    ///
    /// # Errors
    /// When the app is not known, or Docker does not answer.
    pub async fn drift(&self, app: &AppName) -> Result<Vec<ContainerDrift>, HealthError> {
        let handle = self.handle(app).map_err(|_| HealthError::UnknownApp)?;
        let seen = self.shared.ports.engine.observe(Some(app)).await?;
        let machine = handle.machine.borrow().clone();
        let mut all = Vec::new();
        let Some(serving) = machine.serving() else { return Ok(all) };
        let restart = match self.shared.specs.load(serving.live.plan.config).await {
            // Where a deployment is in flight, or just over, the policy is on its way.
            Ok(stored) if matches!(machine.phase(), Phase::Settled(_)) => {
                Some(stored.spec.container.restart_policy)
            }
            _ => None,
        };
        let live = Expected { release: &serving.live, runs: true, restart };
        live.compare(&machine, &seen, &mut all);
        if let Some(standby) = &serving.standby {
            let runs = matches!(standby.warmth, Warmth::Running { .. });
            Expected { release: &standby.release, runs, restart: None }.compare(&machine, &seen, &mut all);
        }
        Ok(all)
    }
}

/// A release as it should be.
struct Expected<'a> {
    release: &'a Release,
    runs: bool,
    restart: Option<RestartPolicy>,
}

impl Expected<'_> {
    fn compare(&self, machine: &Machine, seen: &[Container], all: &mut Vec<ContainerDrift>) {
        let Self { release, runs, restart } = *self;
        let live = machine.serving().is_some_and(|serving| serving.live == *release);
        let given_up = live && machine.given_up().is_some();
        let (app, color, deployment) = (machine.app(), release.color, release.origin);
        for replica in 1..=release.plan.replicas {
            let base = format!("{app}-{color}-{deployment}");
            let name = if replica == 1 { base } else { format!("{base}-{replica}") };
            let found = seen.iter().find(|c| release.owns(c) && c.replica == replica);
            let mut drift = found.map(|container| container.drift.clone()).unwrap_or_default();
            let remedy = if given_up || !live { Remedy::Deploy } else { Remedy::RunAgain };
            let mut differs = |field: &str, asked: &str, found: String, remedy| {
                drift.push(Drift { field: field.to_owned(), asked: asked.to_owned(), found, remedy });
            };
            match found {
                None if runs => differs("state", "running", "gone".to_owned(), remedy),
                None => {}
                Some(container) => {
                    if let Some(ended) = describe_end(container).filter(|_| runs) {
                        differs("state", "running", ended, remedy);
                    }
                    if let Some(restart) = restart.filter(|restart| !container.restart.is_same(*restart))
                        && !given_up
                    {
                        let (asked, found) = (restart.to_string(), container.restart.to_string());
                        differs("restart_policy", &asked, found, Remedy::SetBack);
                    }
                }
            }
            all.push(ContainerDrift { app: app.clone(), name, color, deployment, replica, live, drift });
        }
    }
}
