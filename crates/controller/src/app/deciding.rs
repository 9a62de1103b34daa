//! Deciding: an event becomes a committed transition, or a refusal, or waits for the database.

use super::{App, Message, PAUSE, Turn};
use crate::crash::{self, Moment};
use crate::view::{Notice, Progress};
use dockswap_core::machine::{Effect, Event, Machine, Phase, Refusal};
use dockswap_core::records::{CommitError, StoreError, in_words};
use dockswap_core::{DeploymentId, Version};
use std::sync::Arc;
use tokio::time::Instant;

/// Why an event did not become a transition.
pub(super) enum ApplyError {
    /// The machine said no.
    Refused(Refusal),
    /// The database was a step ahead; its state is in force now.
    Reloaded,
    /// The database failed.
    Store(StoreError),
}

impl App {
    /// Commits what `event` leads to.
    pub(super) async fn apply(&mut self, event: &Event, answers: Option<Version>) -> Result<(), ApplyError> {
        crash::point_of_a_wait(&self.machine, Moment::Performed);
        let now = self.shared.ports.clock.now();
        let decided = match answers {
            Some(answers) => self.machine.report(answers, event, now),
            None => self.machine.step(event, now),
        };
        let transition = match decided {
            Ok(transition) => transition,
            Err(refusal) => {
                tracing::debug!(app = %self.machine.app(), event = event.name(), %refusal, "refused");
                if let Some(record) = self.machine.refused(event, &refusal, now) {
                    self.shared.ports.store.record_refusal(&record).await.map_err(ApplyError::Store)?;
                }
                return Err(ApplyError::Refused(refusal));
            }
        };
        let audit = self.signature.take();
        let transition = match audit.clone() {
            Some(audit) => transition.ordered(audit),
            None => transition,
        };
        crash::point(transition.after(), Moment::Decided);
        let committed = self.shared.ports.store.commit(&transition).await;
        if let (Err(_), Some(audit)) = (&committed, audit) {
            // Should it be on record all the same, another record of the same request is passed over.
            self.signature.put_back(audit);
        }
        match committed {
            Ok(()) => {}
            Err(CommitError::Store(error)) => {
                self.state_in_doubt = true;
                return Err(ApplyError::Store(error));
            }
            Err(CommitError::Conflict { .. }) => {
                // An earlier commit went through although its answer did not reach us.
                self.reload().await.map_err(ApplyError::Store)?;
                return Err(ApplyError::Reloaded);
            }
        }
        crash::point(&self.machine, Moment::Reported);
        let record = transition.event();
        let (from, deployment) = (self.machine.state(), record.deployment_id);
        let error = record.error.clone();
        self.machine = Arc::new(transition.committed());
        match error {
            Some(error) => tracing::warn!(
                app = %self.machine.app(), deployment = deployment.0, event = event.name(), from,
                to = self.machine.state(), error
            ),
            None => tracing::info!(
                app = %self.machine.app(), deployment = deployment.0, event = event.name(), from,
                to = self.machine.state()
            ),
        }
        self.paused_until = None;
        self.state_in_doubt = false;
        if matches!(event, Event::TrafficSwitched { .. }) {
            self.held.release();
        }
        self.in_force(deployment);
        crash::point_of_a_wait(&self.machine, Moment::Committed);
        Ok(())
    }

    /// A new state is in force: everybody who waits for it may know.
    pub(super) fn in_force(&mut self, deployment: DeploymentId) {
        // A promotion may take days: whoever waits for one does not keep others from deploying.
        let waits = matches!(self.machine.phase(), Phase::AwaitingPromotion(_));
        if (waits || self.machine.in_flight().is_none()) && matches!(self.turn, Turn::Held(_)) {
            self.turn = Turn::Idle;
        }
        self.held.follow(&self.machine);
        self.containers.guard(self.machine.guarded().as_ref());
        self.published.send_replace(self.machine.clone());
        self.show();
        let _ = self.shared.notices.send(Notice::Committed { app: self.machine.app().clone(), deployment });
    }

    pub(super) async fn reload(&mut self) -> Result<(), StoreError> {
        let machines = self.shared.ports.store.machines().await?;
        self.state_in_doubt = false;
        let recorded = machines.into_iter().find(|machine| machine.app() == self.machine.app());
        if let Some(machine) = recorded.filter(|machine| machine.version() != self.machine.version()) {
            if was_switched(&self.machine, &machine) {
                self.held.release();
            }
            self.machine = Arc::new(machine);
            if let Some(deployment) = self.machine.deployment() {
                self.in_force(deployment);
            }
        }
        Ok(())
    }

    /// Commits what `event` leads to; where the state turns out to be another one than was known, on
    /// that one.
    pub(super) async fn decide(&mut self, event: &Event) -> Result<(), ApplyError> {
        match self.apply(event, None).await {
            Err(ApplyError::Reloaded) => self.apply(event, None).await,
            done => done,
        }
    }

    /// An effect has ended. When that cannot be written down, the effect is performed again later:
    /// it is idempotent, and still owed.
    pub(super) async fn report(&mut self, answers: Version, event: &Event) {
        let Err(ApplyError::Store(error)) = self.apply(event, Some(answers)).await else { return };
        tracing::error!(app = %self.machine.app(), event = event.name(), error = &error as &dyn std::error::Error, "not committed");
        if answers == self.machine.version() {
            self.effect = None;
            self.pause();
            self.show_progress(&Progress::Retrying { reason: in_words(&error) });
        }
    }

    /// Something was noticed that is noticed again when it cannot be written down.
    ///
    /// # Errors
    /// When it could not: nothing is begun then for a while.
    pub(super) async fn notice(&mut self, event: &Event) -> Result<(), StoreError> {
        let Err(ApplyError::Store(error)) = self.decide(event).await else { return Ok(()) };
        tracing::error!(app = %self.machine.app(), event = event.name(), error = &error as &dyn std::error::Error, "not committed");
        self.pause();
        Err(error)
    }

    /// Something was noticed that nobody notices twice.
    pub(super) async fn notice_surely(&mut self, event: Event) {
        if self.notice(&event).await.is_err() {
            self.later(Message::Noticed(event));
        }
    }

    /// The database failed: it is left alone for a while.
    pub(super) fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    /// The pause is over. What a state is owed is done again only where that state is still the recorded
    /// one: undoing a step that went through would be a step that nobody recorded.
    pub(super) async fn go_on(&mut self) {
        if self.state_in_doubt && self.reload().await.is_err() {
            self.pause();
        } else {
            self.paused_until = None;
        }
    }

    pub(super) fn later(&self, message: Message) {
        let inbox = self.own_inbox.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            if let Some(inbox) = inbox.upgrade() {
                let _ = inbox.send(message).await;
            }
        });
    }
}

/// Whether a switch was confirmed on the way from the state `known` to the one that is `recorded`: traffic went over to
/// another release, or back from what is undone.
fn was_switched(known: &Machine, recorded: &Machine) -> bool {
    let live = |machine: &Machine| machine.serving().map(|serving| serving.live.clone());
    let is_undoing = |machine: &Machine| matches!(machine.phase(), Phase::RollingBack(_));
    let owes_route = |machine: &Machine| machine.owed().effect == Some(Effect::Route);
    let went_back = is_undoing(known) && is_undoing(recorded) && owes_route(known) && !owes_route(recorded);
    went_back || live(known) != live(recorded)
}
