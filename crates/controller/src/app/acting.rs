//! Acting: what the state is owed is started, what it is no longer owed is ended, and people see it.

use super::{App, Message, Running};
use crate::crash::{self, Moment};
use crate::effects::Work;
use crate::monitor;
use crate::view::{AppView, Notice, Progress};
use dockswap_core::machine::Effect;
use dockswap_core::ports::RouterError;
use dockswap_core::routes::AppRoutes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl App {
    pub(super) fn work(&self, cancel: CancellationToken) -> Work {
        let view = self.view.clone();
        let notices = self.shared.notices.clone();
        let app = self.machine.app().clone();
        let version = self.machine.version().0;
        Work {
            shared: self.shared.clone(),
            machine: self.machine.clone(),
            containers: self.containers.clone(),
            changed: self.hint.clone(),
            cancel,
            show: Arc::new(move |progress| {
                // Late progress of a phase that is over is not shown.
                let shown = view.send_if_modified(|view| {
                    let current = view.version == version && view.progress.as_ref() != Some(&progress);
                    if current {
                        view.progress = Some(progress.clone());
                    }
                    current
                });
                if shown {
                    let _ = notices.send(Notice::Progress { app: app.clone(), progress });
                }
            }),
        }
    }

    /// Starts what is owed and not under way, and ends what is no longer owed.
    pub(super) fn pursue(&mut self) {
        let owed = self.machine.owed();
        let version = self.machine.version();
        if self.paused_until.is_none() && self.effect.as_ref().is_none_or(|effect| effect.reason != version) {
            let before = self.effect.take();
            if let Some(before) = &before {
                before.cancel.cancel();
            }
            if let Some(effect) = owed.effect {
                let cancel = self.stop.child_token();
                let work = self.work(cancel.clone());
                let machine = self.machine.clone();
                let inbox = self.own_inbox.clone();
                let task = tokio::spawn(async move {
                    // One hand at a time: what the phase before asked of Docker is known first.
                    if let Some(before) = before {
                        let _ = before.task.await;
                    }
                    crash::point(&machine, Moment::Committed);
                    // A defect in an adapter must not leave the phase waiting for ever.
                    let performed = AssertUnwindSafe(work.perform(effect)).catch_unwind().await;
                    crash::point(&machine, Moment::Performed);
                    let message = match performed {
                        Ok(Some(event)) => Message::Report { answers: version, event },
                        Ok(None) => return,
                        Err(_) => Message::Broken { answers: version },
                    };
                    if let Some(inbox) = inbox.upgrade() {
                        let _ = inbox.send(message).await;
                    }
                });
                self.effect = Some(Running { reason: version, cancel, task });
            }
        }
        let origin = owed.watch.as_ref().map(|watch| watch.release.origin);
        if self.monitor.as_ref().map(|monitor| monitor.reason) != origin {
            if let Some(before) = self.monitor.take() {
                before.cancel.cancel();
            }
            if let Some(watch) = owed.watch {
                let cancel = self.stop.child_token();
                let work = self.work(cancel.clone());
                let inbox = self.own_inbox.clone();
                let reason = watch.release.origin;
                let task = tokio::spawn(async move {
                    if let (Some(event), Some(inbox)) =
                        (monitor::regression(&work, &watch).await, inbox.upgrade())
                    {
                        let _ = inbox.send(Message::Noticed(event)).await;
                    }
                });
                self.monitor = Some(Running { reason, cancel, task });
            }
        }
    }

    /// The routes follow the state and the containers. Where the state waits for a confirmed route,
    /// that is the effect's business.
    ///
    /// # Errors
    /// When the proxy did not take them: it will, once it answers.
    pub(super) async fn reroute(&mut self) -> Result<(), RouterError> {
        if self.machine.owed().effect == Some(Effect::Route) {
            self.routes_are_known = false;
            return Ok(());
        }
        let seen = self.containers.routable();
        let held = self.held.routes(&seen, self.machine.gate());
        let routes = held.or_else(|| AppRoutes::of(&self.machine, &seen));
        if self.routes_are_known && routes == self.routes {
            return Ok(());
        }
        let published = self.shared.keeper.publish(self.machine.app(), routes.clone()).await;
        if let Err(error) = &published {
            tracing::warn!(app = %self.machine.app(), %error, "routes not updated; they will be, once the proxy answers");
        }
        self.routes = routes;
        self.routes_are_known = true;
        self.show();
        published.map(drop)
    }

    pub(super) fn show(&self) {
        let newest = self.newest.as_ref().map(|newest| &*newest.spec);
        let mut next = AppView::of(&self.machine, newest, self.routes.as_ref());
        next.file = self.file.clone();
        next.degraded.clone_from(&self.degraded);
        next.waiting = self.wanted.is_some();
        self.view.send_if_modified(|view| {
            if view.version == next.version {
                next.progress = view.progress.take();
            }
            let changed = *view != next;
            *view = next;
            changed
        });
    }

    pub(super) fn show_progress(&self, progress: &Progress) {
        self.view.send_modify(|view| view.progress = Some(progress.clone()));
    }

    /// What was tried again has gone through.
    pub(super) fn show_no_retry(&self) {
        self.view.send_if_modified(|view| {
            let retries = matches!(view.progress, Some(Progress::Retrying { .. }));
            if retries {
                view.progress = None;
            }
            retries
        });
    }
}
