//! Versions of the app's file: which one is wanted, and when its turn comes.

use super::{App, Message, Turn, Wanted};
use crate::orders::{OrderError, Outcome};
use crate::signature::Signature;
use crate::specs::{Offer, Stored, StoredError};
use crate::view::Progress;
use dockswap_core::audit::AuditResult;
use dockswap_core::machine::{Event, Order, OrderReason, OrderTarget, Phase, Plan, Readiness};
use dockswap_core::records::{ConfigRow, DeploymentStatus, NewConfig, StoreError, in_words};
use dockswap_core::{AppSpec, ConfigId};
use tokio::task::JoinHandle;

/// How many deployments are searched for the last one of a config.
const RECENT: u64 = 50;

/// How many stored versions are searched for an edit between two that say the same.
const BETWEEN: usize = 100;

impl App {
    /// A version of the app's file was found.
    pub(super) async fn offer(&mut self, offer: Offer) -> Result<(), OrderError> {
        if self.newest_in_doubt {
            self.look_up_newest().await?;
        }
        if self.newest.as_ref().is_some_and(|newest| newest.row.sha == offer.sha) {
            return Ok(());
        }
        let config = NewConfig {
            app: self.machine.app().clone(),
            project: offer.project(),
            bytes: offer.bytes,
            audit: self.shared.expected.take(self.machine.app(), &offer.sha),
            sha: offer.sha,
            at: self.shared.ports.clock.now(),
        };
        self.newest_in_doubt = true;
        let stored = self.shared.ports.store.insert_config(&config).await;
        if let (Err(_), Some(audit)) = (&stored, &config.audit) {
            self.shared.expected.put_back(self.machine.app(), &config.sha, audit.clone());
        }
        if let Err(error) = &stored {
            // It is offered again.
            self.show_progress(&Progress::Retrying { reason: in_words(error) });
        }
        let id = stored?;
        self.newest_in_doubt = false;
        self.show_no_retry();
        let row =
            ConfigRow { id, app: config.app, bytes: config.bytes, sha: config.sha, created_at: config.at };
        tracing::info!(app = %self.machine.app(), config = id.0, sha = %row.sha, "new version stored");
        self.newest = Some(self.shared.specs.remember(row, offer.spec));
        self.want_newest().await;
        Ok(())
    }

    /// Finds out what became of a version whose insert was not answered: stored once, it is not stored again.
    async fn look_up_newest(&mut self) -> Result<(), OrderError> {
        let rows = self.shared.ports.store.newest_configs().await?;
        self.newest_in_doubt = false;
        let known = self.newest.as_ref().map(|newest| newest.row.id);
        let row = rows.into_iter().find(|row| row.app == *self.machine.app() && Some(row.id) > known);
        if let Some(row) = row {
            let spec =
                self.shared.ports.files.parse(&row).map_err(|error| OrderError::Config(error.to_string()))?;
            self.newest = Some(self.shared.specs.remember(row, spec));
            self.want_newest().await;
        }
        Ok(())
    }

    /// Wants the newest version deployed, unless it says what the last deployed one said.
    pub(super) async fn want_newest(&mut self) {
        let Some(newest) = self.newest.clone() else { return };
        let known = self.is_known(&newest).await.unwrap_or_else(|error| {
            tracing::error!(app = %self.machine.app(), error = &error as &dyn std::error::Error, "cannot compare versions");
            false
        });
        self.dismiss_wanted().await;
        if known {
            tracing::debug!(app = %self.machine.app(), config = newest.row.id.0, "says what the last one said");
        } else {
            self.wanted = Some(Wanted {
                stored: newest,
                reason: OrderReason::Edit,
                signature: Signature::default(),
                reply: None,
            });
        }
        self.show();
    }

    /// Whether `newest` brings nothing new: it says what the last deployment was begun for, and either
    /// nothing else was said since, or that deployment stands.
    async fn is_known(&self, newest: &Stored) -> Result<bool, StoreError> {
        let Some(considered) = self.machine.considered() else { return Ok(false) };
        if considered >= newest.row.id {
            return Ok(true);
        }
        if !self.says(considered, &newest.spec).await? {
            return Ok(false);
        }
        if !matches!(self.machine.phase(), Phase::RollingBack(_)) {
            let rows = self.shared.ports.store.deployments(self.machine.app(), None, RECENT).await?;
            let last = rows.iter().find(|row| row.config_id == considered).map(|row| row.status);
            if matches!(last, Some(DeploymentStatus::InProgress | DeploymentStatus::Success)) {
                return Ok(true);
            }
        }
        // An edit away from it and back again asks for it anew; a change of comments does not.
        for between in (considered.0 + 1..newest.row.id.0).rev().take(BETWEEN) {
            if !self.says(ConfigId(between), &newest.spec).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a stored version says the same as `spec`; those of other apps, and none at all, count
    /// as if they did.
    async fn says(&self, config: ConfigId, spec: &AppSpec) -> Result<bool, StoreError> {
        match self.shared.specs.load(config).await {
            Ok(stored) => Ok(stored.row.app != *self.machine.app() || *stored.spec == *spec),
            Err(StoredError::Missing(_)) => Ok(true),
            Err(StoredError::Spec(_)) => Ok(false),
            Err(StoredError::Store(error)) => Err(error),
        }
    }

    /// Whoever waits is told. Whose order it was, and does not wait any more, is put on record here: nobody else will.
    pub(super) async fn dismiss_wanted(&mut self) {
        let Some(Wanted { reply: Some(reply), signature, .. }) = self.wanted.take() else { return };
        let Err(_) = reply.send(Err(OrderError::Superseded)) else { return };
        self.record_failure(&signature, OrderError::Superseded.to_string()).await;
    }

    /// The controller ends. Whoever waits finds out by themselves; nobody else will say whose order it was.
    pub(super) async fn give_up_wanted(&mut self) {
        let Some(Wanted { reply: Some(reply), signature, .. }) = self.wanted.take() else { return };
        if reply.is_closed() {
            self.record_failure(&signature, OrderError::ShuttingDown.to_string()).await;
        }
    }

    async fn record_failure(&self, signature: &Signature, error: String) {
        let Some(mut audit) = signature.take() else { return };
        audit.result = AuditResult::Failed;
        audit.note("error", error);
        if let Err(error) = self.shared.ports.store.record_audit(&audit).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(app = %self.machine.app(), actor = audit.actor, verb = audit.verb, error, "an order is not on record");
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
        let before = std::mem::replace(&mut self.signature, wanted.signature.clone());
        let result = self.begin(OrderTarget::Config(plan), wanted.reason).await;
        self.signature = before;
        match (result, wanted.reply) {
            (result, Some(reply)) => {
                // The order has failed; what it took the place of, or repeats, may still be wanted.
                let is_lost = matches!(result, Err(OrderError::Store(_)));
                let failure = result.as_ref().err().map(ToString::to_string);
                if let (Err(_), Some(failure)) = (reply.send(result), failure) {
                    self.record_failure(&wanted.signature, failure).await;
                }
                if is_lost && self.machine.considered() < Some(wanted.stored.row.id) {
                    self.pause();
                    self.wanted = Some(Wanted {
                        stored: wanted.stored,
                        reason: OrderReason::Edit,
                        signature: Signature::default(),
                        reply: None,
                    });
                }
            }
            (Ok(_), None) => {}
            (Err(error), None) => {
                tracing::error!(app = %self.machine.app(), error = &error as &dyn std::error::Error, "deployment not begun");
                if let OrderError::Store(cause) = &error {
                    self.pause();
                    self.show_progress(&Progress::Retrying { reason: in_words(cause) });
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
