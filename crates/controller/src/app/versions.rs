//! Versions of the app's file: which one is wanted, and when its turn comes.

use super::{App, Message, Turn, Wanted};
use crate::orders::{OrderError, Outcome};
use crate::specs::{Offer, StoredError};
use dockswap_core::machine::{Event, Order, OrderReason, OrderTarget, Plan, Readiness};
use dockswap_core::records::{ConfigRow, NewConfig};
use tokio::task::JoinHandle;

impl App {
    /// A version of the app's file was found.
    pub(super) async fn offer(&mut self, offer: Offer) -> Result<(), OrderError> {
        if self.newest.as_ref().is_some_and(|newest| newest.row.sha == offer.sha) {
            return Ok(());
        }
        let config = NewConfig {
            app: self.machine.app().clone(),
            bytes: offer.bytes,
            sha: offer.sha,
            at: self.shared.ports.clock.now(),
        };
        let id = self.shared.ports.store.insert_config(&config).await?;
        let row =
            ConfigRow { id, app: config.app, bytes: config.bytes, sha: config.sha, created_at: config.at };
        tracing::info!(app = %self.machine.app(), config = id.0, sha = %row.sha, "new version stored");
        self.newest = Some(self.shared.specs.remember(row, offer.spec));
        self.want_newest().await;
        Ok(())
    }

    /// Wants the newest version deployed, unless it says what the last deployed one said.
    pub(super) async fn want_newest(&mut self) {
        let Some(newest) = self.newest.clone() else { return };
        let same = match self.machine.considered() {
            None => false,
            Some(considered) if considered >= newest.row.id => true,
            Some(considered) => match self.shared.specs.load(considered).await {
                Ok(considered) => considered.spec == newest.spec,
                Err(StoredError::Spec(_) | StoredError::Missing(_)) => false,
                Err(error @ StoredError::Store(_)) => {
                    tracing::error!(app = %self.machine.app(), error = &error as &dyn std::error::Error, "cannot compare versions");
                    false
                }
            },
        };
        if same {
            self.dismiss_wanted();
            tracing::debug!(app = %self.machine.app(), config = newest.row.id.0, "says what the last one said");
        } else {
            self.dismiss_wanted();
            self.wanted = Some(Wanted { stored: newest, reason: OrderReason::Edit, reply: None });
        }
        self.show();
    }

    pub(super) fn dismiss_wanted(&mut self) {
        if let Some(Wanted { reply: Some(reply), .. }) = self.wanted.take() {
            let _ = reply.send(Err(OrderError::Superseded));
        }
    }

    /// Brings the wanted version a step nearer.
    pub(super) async fn advance(&mut self) {
        let (Some(wanted), None) = (&self.wanted, self.paused_until) else { return };
        match self.machine.readiness() {
            Readiness::Ready => match &self.turn {
                Turn::Held(_) => self.begin_wanted().await,
                Turn::Waiting(task) if !task.is_finished() => {}
                Turn::Waiting(_) | Turn::Idle => match self.shared.turns.clone().try_acquire_owned() {
                    Ok(permit) => {
                        self.turn = Turn::Held(permit);
                        self.begin_wanted().await;
                    }
                    Err(_) => self.turn = Turn::Waiting(self.await_turn()),
                },
            },
            Readiness::Superseding => {
                let by = wanted.stored.row.id;
                // It is still wanted after the pause.
                let _ = self.notice(&Event::Superseded { by }).await;
            }
            Readiness::Busy => {}
        }
    }

    pub(super) fn await_turn(&self) -> JoinHandle<()> {
        let turns = self.shared.turns.clone();
        let inbox = self.own_inbox.clone();
        tokio::spawn(async move {
            if let (Ok(permit), Some(inbox)) = (turns.acquire_owned().await, inbox.upgrade()) {
                let _ = inbox.send(Message::Turn(permit)).await;
            }
        })
    }

    pub(super) async fn begin_wanted(&mut self) {
        let Some(wanted) = self.wanted.take() else { return };
        let plan = Plan::of(&wanted.stored.spec, wanted.stored.row.id);
        let result = self.begin(OrderTarget::Config(plan), wanted.reason).await;
        match (result, wanted.reply) {
            (result, Some(reply)) => {
                let _ = reply.send(result);
            }
            (Ok(_), None) => {}
            (Err(error), None) => {
                tracing::error!(app = %self.machine.app(), error = &error as &dyn std::error::Error, "deployment not begun");
                if matches!(error, OrderError::Store(_)) {
                    self.pause();
                }
                // Where the answer of an earlier commit was lost, another version may be under way.
                if self.machine.considered() < Some(wanted.stored.row.id) {
                    self.wanted = Some(Wanted { reply: None, ..wanted });
                }
            }
        }
        if self.machine.in_flight().is_none() {
            // Others may be able to go on.
            self.turn = Turn::Idle;
        }
        self.show();
    }

    pub(super) async fn begin(
        &mut self,
        target: OrderTarget,
        reason: OrderReason,
    ) -> Result<Outcome, OrderError> {
        let deployment = self.shared.next_deployment();
        self.order(&Event::Deploy(Order { deployment, target, reason })).await?;
        Ok(Outcome { deployment: Some(deployment), begun: true })
    }
}
