//! Transitions: a decided step with everything that has to be written down about it, and the way
//! back from what was written to the state.

use super::Machine;
use super::access::Access;
use super::event::{Event, OrderTarget};
use super::phase::Phase;
use super::refusal::Refusal;
use super::replay::Replay;
use super::step::{Next, step};
use crate::audit::{AuditRecord, AuditResult};
use crate::name::{AppName, Color, DeploymentId, Version};
use crate::ports::Image;
use crate::records::{
    CurrentState, DeploymentRow, DeploymentStatus, DeploymentWrite, EventRecord, RefusalRecord,
};
use crate::time::Timestamp;
use serde_json::json;

/// A decided step that is not in force yet: only a commit makes it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    expected: Version,
    after: Machine,
    event: EventRecord,
    deployments: Vec<DeploymentWrite>,
    current: CurrentState,
    image: Option<(DeploymentId, Image)>,
    audit: Option<AuditRecord>,
}

/// Why recorded events do not give a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// An event's payload cannot be read.
    #[error("the payload of event {event} cannot be read: {message}")]
    Unreadable {
        /// `deployment_events.id`.
        event: i64,
        /// Why.
        message: String,
    },
    /// An event was recorded as accepted, and the machine refuses it.
    #[error("event {event} was accepted when it was recorded, and is refused in the replay: {refusal}")]
    Refused {
        /// `deployment_events.id`.
        event: i64,
        /// Why.
        refusal: Refusal,
    },
    /// The state after an event is not the one that was recorded.
    #[error("after event {event} the record says {recorded}, the replay {replayed}")]
    Differs {
        /// `deployment_events.id`.
        event: i64,
        /// As recorded.
        recorded: String,
        /// As replayed.
        replayed: String,
    },
}

impl Transition {
    /// The version that the app's machine must still have; 0: it must have no row yet.
    #[must_use]
    pub const fn expected(&self) -> Version {
        self.expected
    }

    /// The machine after the step. It is in force only once this is committed.
    #[must_use]
    pub const fn after(&self) -> &Machine {
        &self.after
    }

    /// The machine, now that this is committed.
    #[must_use]
    pub fn committed(self) -> Machine {
        self.after
    }

    /// The event row.
    #[must_use]
    pub const fn event(&self) -> &EventRecord {
        &self.event
    }

    /// The changes of `deployments`, in order.
    #[must_use]
    pub fn deployments(&self) -> &[DeploymentWrite] {
        &self.deployments
    }

    /// The row of `current_state`.
    #[must_use]
    pub const fn current(&self) -> &CurrentState {
        &self.current
    }

    /// The image that a deployment turned out to run.
    #[must_use]
    pub const fn image(&self) -> Option<&(DeploymentId, Image)> {
        self.image.as_ref()
    }

    /// The order that this step carries out, to be put on record with it.
    #[must_use]
    pub const fn audit(&self) -> Option<&AuditRecord> {
        self.audit.as_ref()
    }

    /// Puts the order that this step carries out on record with it, as done.
    #[must_use]
    pub fn ordered(self, audit: AuditRecord) -> Self {
        let deployment = Some(self.event.deployment_id);
        Self { audit: Some(AuditRecord { deployment, result: AuditResult::Done, ..audit }), ..self }
    }
}

impl Machine {
    /// Decides what `event` leads to. Changes nothing.
    ///
    /// # Errors
    /// The refusal, when the state has no arrow for it: record it with [`Machine::refused`].
    pub fn step(&self, event: &Event, now: Timestamp) -> Result<Transition, Refusal> {
        let (next, access) = self.next(event, now)?;
        let considered = match event {
            Event::Deploy(order) => match &order.target {
                OrderTarget::Config(plan) => self.considered.max(Some(plan.config)),
                OrderTarget::Pinned { .. } | OrderTarget::Standby => self.considered,
            },
            Event::Retire { newest } => self.considered.max(*newest),
            _ => self.considered,
        };
        let after = Self {
            app: self.app.clone(),
            version: Version(self.version.0 + 1),
            considered,
            access,
            phase: next.phase,
        };
        let mut deployments: Vec<DeploymentWrite> =
            next.ends.into_iter().map(|(id, status)| DeploymentWrite::End { id, status, at: now }).collect();
        deployments.extend(after.begun_by(event, now));
        // A step that is accepted always leaves a deployment to speak of: the refusals see to it.
        let deployment =
            after.deployment().ok_or(Refusal::NotNow { event: event.name(), state: self.state() })?;
        let about = self.in_flight().or_else(|| after.in_flight()).unwrap_or(deployment);
        let about = match event {
            Event::Deploy(order) => order.deployment,
            _ => about,
        };
        let image = match event {
            Event::ImageReady(image) => Some((about, image.clone())),
            _ => after.rewarmed(event).map(|id| (about, Image { id, digest: None })),
        };
        Ok(Transition {
            expected: self.version,
            event: self.record(event, about, now, &json!({ "to": after.state() }), Some(&after)),
            current: after.current(deployment, now),
            after,
            deployments,
            image,
            audit: None,
        })
    }

    fn next(&self, event: &Event, now: Timestamp) -> Result<(Next, Access), Refusal> {
        if let Some(access) = self.access.after(event, &self.phase, now) {
            return Ok((self.phase.clone().into(), access?));
        }
        let stepped = step(self.phase.clone(), event, now);
        match event {
            // What is taken out of service is kept from nobody.
            Event::Retire { .. } => Ok((stepped?, Access::Open)),
            Event::Resumed => {
                let access = self.access.resume(now);
                match stepped {
                    Err(Refusal::NotNow { .. }) if access != self.access => {
                        Ok((self.phase.clone().into(), access))
                    }
                    stepped => Ok((stepped?, access)),
                }
            }
            _ => Ok((stepped?, self.access.clone())),
        }
    }

    /// Decides about a report of an effect that was begun at version `answers`.
    ///
    /// # Errors
    /// As [`Machine::step`]; [`Refusal::Stale`] when the phase that asked for it is over.
    pub fn report(&self, answers: Version, event: &Event, now: Timestamp) -> Result<Transition, Refusal> {
        if answers == self.version {
            self.step(event, now)
        } else {
            Err(Refusal::Stale { event: event.name(), answers: answers.0, version: self.version.0 })
        }
    }

    /// The record of a refused event; `None` when the app has no deployment that it could be
    /// recorded on.
    #[must_use]
    pub fn refused(&self, event: &Event, refusal: &Refusal, now: Timestamp) -> Option<RefusalRecord> {
        let deployment = self.deployment()?;
        let more = json!({ "to": self.state(), "refused": refusal });
        let mut event = self.record(event, deployment, now, &more, None);
        event.error = Some(refusal.to_string());
        Some(RefusalRecord { event })
    }

    /// The state that recorded events lead to. `events`: id, payload, in the order of their ids;
    /// refused ones are passed over.
    ///
    /// # Errors
    /// The first event that does not fit.
    pub fn replay<'a>(
        app: AppName,
        events: impl IntoIterator<Item = (i64, &'a serde_json::Value)>,
    ) -> Result<Self, ReplayError> {
        Self::retrace(app, events, |_| {})
    }

    /// The same, and `each` is shown every transition on the way: all that was written with it.
    ///
    /// # Errors
    /// As [`Machine::replay`].
    pub fn retrace<'a>(
        app: AppName,
        events: impl IntoIterator<Item = (i64, &'a serde_json::Value)>,
        mut each: impl FnMut(&Transition),
    ) -> Result<Self, ReplayError> {
        let mut replay = Replay::of(app);
        for (id, payload) in events {
            replay.follow(id, payload, &mut each)?;
        }
        Ok(replay.into_machine())
    }

    /// The row of `current_state` that this state stands for; `None` before the first deployment.
    #[must_use]
    pub fn current_state(&self, at: Timestamp) -> Option<CurrentState> {
        Some(self.current(self.deployment()?, at))
    }

    fn current(&self, deployment_id: DeploymentId, at: Timestamp) -> CurrentState {
        let live = self.serving().map(|serving| &serving.live);
        CurrentState {
            app_name: self.app.clone(),
            deployment_id,
            active_color: live.map(|live| live.color),
            image: live.map(|live| live.plan.image.clone()),
            status: self.state().to_owned(),
            updated_at: at,
        }
    }

    /// The new row, when `event` began a deployment and `self` is the state after it.
    fn begun_by(&self, event: &Event, now: Timestamp) -> Option<DeploymentWrite> {
        let Event::Deploy(order) = event else { return None };
        let (config_id, image, undoes) = match &self.phase {
            Phase::Pulling(pulling) => {
                let (attempt, _, plan, _) = pulling.request();
                (plan.config, &plan.image, attempt.undoes)
            }
            Phase::HealthCheck(gate) => {
                let plan = &gate.candidate().plan;
                (plan.config, &plan.image, gate.attempt().undoes)
            }
            _ => return None,
        };
        Some(DeploymentWrite::Begin(DeploymentRow {
            id: order.deployment,
            app_name: self.app.clone(),
            config_id,
            image: image.clone(),
            started_at: now,
            ended_at: None,
            status: DeploymentStatus::InProgress,
            active_color: self.color().unwrap_or(Color::Blue),
            rollback_of: undoes,
        }))
    }

    /// The image of a standby that is to serve again: its deployment runs it too.
    fn rewarmed(&self, event: &Event) -> Option<crate::name::ImageId> {
        match (&self.phase, event) {
            (Phase::HealthCheck(gate), Event::Deploy(_)) => Some(gate.candidate().image_id.clone()),
            _ => None,
        }
    }

    fn record(
        &self,
        event: &Event,
        deployment_id: DeploymentId,
        at: Timestamp,
        more: &serde_json::Value,
        after: Option<&Self>,
    ) -> EventRecord {
        let about = after.unwrap_or(self);
        let live = about.serving().map(|serving| &serving.live);
        let mut payload = json!({
            "from": self.state(),
            "color": about.color().or(self.color()),
            "active_color": live.map(|live| live.color),
            "image": live.map(|live| &live.plan.image),
            "version": about.version,
            "at_us": at,
            "event": event,
        });
        if let (Some(payload), Some(more)) = (payload.as_object_mut(), more.as_object()) {
            payload.extend(more.clone());
        }
        EventRecord {
            deployment_id,
            app_name: self.app.clone(),
            event_type: event.name(),
            payload,
            error: event.failure().map(ToString::to_string),
            at,
        }
    }
}
