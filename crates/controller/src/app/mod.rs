//! The task of one app: inbox → step → commit → perform. Everything that happens to an app goes
//! through its inbox, so it is decided one at a time, on the state that the database holds.

mod acting;
mod commands;
mod deciding;
mod retaining;
mod versions;

use crate::containers::Containers;
use crate::controller::Shared;
use crate::held::Held;
use crate::orders::{Command, OrderError, Outcome};
use crate::retention::PruneMode;
use crate::signature::Signature;
use crate::specs::{Offer, Stored};
use crate::upkeep;
use crate::view::{AppView, FileStatus};
use dockswap_core::machine::{AlarmKind, Event, Machine, OrderReason, Phase, Readiness};
use dockswap_core::ports::Container;
use dockswap_core::retention::Kept;
use dockswap_core::routes::AppRoutes;
use dockswap_core::{DeploymentId, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an app does nothing of its own after the database has failed it.
const PAUSE: Duration = Duration::from_secs(2);

/// How long an effect that cannot be cancelled half way may still take when the controller ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// What reaches an app.
pub(crate) enum Message {
    /// A version of its file.
    Offer(Offer, oneshot::Sender<Result<(), OrderError>>),
    /// A person's order.
    /// What of its records stays is to be decided, for so many versions to go back.
    Retain(usize, PruneMode, oneshot::Sender<Result<Option<(Kept, u64)>, OrderError>>),
    Command(Command, Signature, oneshot::Sender<Result<Outcome, OrderError>>),
    /// How its file stands.
    File(FileStatus),
    /// An effect has ended.
    Report {
        answers: Version,
        event: Event,
    },
    /// An effect has panicked.
    Broken {
        answers: Version,
    },
    /// Whether an order was committed is not known: the database is asked.
    Doubted,
    /// Something was noticed that no effect was asked for.
    Noticed(Event),
    /// Docker was looked at: the routes may have to follow.
    Observed,
    /// The live color is whole, or not.
    Degraded(Option<String>),
    /// Its turn has come to deploy.
    Turn(OwnedSemaphorePermit),
}

/// Where the turn to deploy stands.
enum Turn {
    /// Not needed.
    Idle,
    /// Asked for.
    Waiting(JoinHandle<()>),
    /// Had, for as long as a deployment is in flight.
    Held(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

/// A version that is to be deployed as soon as that is possible.
struct Wanted {
    stored: Stored,
    reason: OrderReason,
    /// Whose order it is.
    signature: Signature,
    reply: Option<oneshot::Sender<Result<Outcome, OrderError>>>,
}

/// Something that runs on the side for as long as its reason lasts.
struct Running<K> {
    reason: K,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The handle of an app's task.
#[derive(Clone)]
pub(crate) struct AppHandle {
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) view: watch::Receiver<AppView>,
    pub(crate) machine: watch::Receiver<Arc<Machine>>,
    /// Bumped when Docker may have something new to show.
    pub(crate) hint: watch::Sender<u64>,
}

/// The task's state.
pub(crate) struct App {
    shared: Arc<Shared>,
    machine: Arc<Machine>,
    newest: Option<Stored>,
    /// The answer to an insert was lost: there may be a newer version in the database than is known.
    newest_in_doubt: bool,
    wanted: Option<Wanted>,
    turn: Turn,
    containers: Containers,
    /// Traffic that is left where it was found.
    held: Held,
    /// What was published last; not known once an effect has published on its own.
    routes: Option<AppRoutes>,
    routes_are_known: bool,
    effect: Option<Running<Version>>,
    monitor: Option<Running<DeploymentId>>,
    /// Whose order is being carried out: what it leads to first is put on record with it.
    signature: Signature,
    /// Who ordered a gate that is not in force yet.
    gated: Vec<(oneshot::Sender<Result<Outcome, OrderError>>, Outcome)>,
    /// The database failed: until then nothing is begun but what people order.
    paused_until: Option<Instant>,
    /// A commit was not answered: the database may be a step ahead of the state that is known.
    state_in_doubt: bool,
    file: FileStatus,
    degraded: Option<String>,
    inbox: mpsc::Receiver<Message>,
    own_inbox: mpsc::WeakSender<Message>,
    view: watch::Sender<AppView>,
    published: watch::Sender<Arc<Machine>>,
    hint: watch::Receiver<u64>,
    stop: CancellationToken,
}

impl App {
    /// Starts the task of `machine`'s app. `newest`: the newest stored version of its file.
    pub(crate) fn spawn(
        shared: &Arc<Shared>,
        machine: Machine,
        newest: Option<Stored>,
        seen: Vec<Container>,
    ) -> (AppHandle, JoinHandle<()>) {
        let (own_inbox, inbox) = mpsc::channel(64);
        let held = shared.held(machine.app());
        let routes = held.routes(&seen, machine.gate());
        let routes = routes.or_else(|| AppRoutes::of(&machine, &seen));
        let containers = Containers::new(seen);
        containers.guard(machine.guarded().as_ref());
        let spec = newest.as_ref().map(|newest| &*newest.spec);
        let (view, view_receiver) = watch::channel(AppView::of(&machine, spec, routes.as_ref()));
        let machine = Arc::new(machine);
        let (published, machine_receiver) = watch::channel(machine.clone());
        let (hint, hint_receiver) = watch::channel(0);
        let handle =
            AppHandle { inbox: own_inbox.clone(), view: view_receiver, machine: machine_receiver, hint };
        let upkeeper =
            upkeep::Upkeeper::new(shared.clone(), handle.clone(), containers.clone(), held.clone());
        let app = Self {
            shared: shared.clone(),
            machine,
            newest,
            newest_in_doubt: false,
            wanted: None,
            turn: Turn::Idle,
            containers,
            held,
            routes,
            routes_are_known: true,
            effect: None,
            monitor: None,
            signature: Signature::default(),
            gated: Vec::new(),
            paused_until: None,
            state_in_doubt: false,
            file: FileStatus::Valid,
            degraded: None,
            inbox,
            own_inbox: own_inbox.downgrade(),
            view,
            published,
            hint: hint_receiver,
            stop: shared.stop.child_token(),
        };
        let task = tokio::spawn(app.run(upkeeper));
        (handle, task)
    }

    async fn run(mut self, upkeeper: upkeep::Upkeeper) {
        let upkeep = tokio::spawn(upkeeper.run(self.stop.clone()));
        self.resume().await;
        loop {
            self.advance().await;
            // What the proxy did not take it is told again.
            let rerouted = self.reroute().await;
            self.tell_gated(&rerouted);
            self.pursue();
            let alarm = self.machine.owed().alarm;
            let now = self.shared.ports.clock.now();
            let rings = alarm.map(|alarm| Instant::now() + alarm.at.saturating_since(now));
            let pause = self.paused_until;
            // In this order, so that a simulation can be repeated.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                message = self.inbox.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => break,
                },
                () = sleep_until(pause) => self.go_on().await,
                () = sleep_until(rings), if pause.is_none() => {
                    let event = match alarm.map(|alarm| alarm.kind) {
                        Some(AlarmKind::WatchPassed) => Event::WatchPassed,
                        Some(AlarmKind::PauseEnded) => Event::PauseEnded,
                        Some(AlarmKind::WindowPassed) | None => Event::WindowPassed,
                    };
                    // It rings again.
                    let _ = self.notice(&event).await;
                }
            }
        }
        // Nobody waits for room in an inbox that is read no more.
        self.inbox.close();
        self.give_up_wanted().await;
        // A safe point: what was begun is finished or cancelled, nothing is decided any more.
        if let Some(effect) = self.effect.take() {
            effect.cancel.cancel();
            if tokio::time::timeout(FAREWELL, effect.task).await.is_err() {
                tracing::warn!(app = %self.machine.app(), state = self.machine.state(), "still under way: the next controller goes on with it");
            }
        }
        if let Some(monitor) = self.monitor.take() {
            monitor.cancel.cancel();
        }
        if let Turn::Waiting(task) = &self.turn {
            task.abort();
        }
        let _ = upkeep.await;
    }

    /// After a restart: what was in flight is taken up again, and an edit that came too late for
    /// the last controller is noticed.
    async fn resume(&mut self) {
        if matches!(self.machine.phase(), Phase::Settled(_)) {
            // Where the clock was set back, an end that was reckoned on it would never come.
            let now = self.shared.ports.clock.now();
            if self.machine.step(&Event::Resumed, now).is_ok() {
                self.notice_surely(Event::Resumed).await;
            }
        } else {
            if let Ok(permit) = self.shared.turns.clone().try_acquire_owned() {
                self.turn = Turn::Held(permit);
            }
            self.notice_surely(Event::Resumed).await;
        }
        // What was taken out of service comes back by an edit that was made since, or an order.
        self.want_newest().await;
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Offer(offer, reply) => {
                let result = self.offer(offer).await;
                let _ = reply.send(result);
            }
            Message::Retain(most, mode, reply) => {
                let result = self.retain(most, mode).await;
                let _ = reply.send(result);
            }
            Message::Command(command, signature, reply) => {
                self.signature = signature;
                self.command(command, reply).await;
                self.signature = Signature::default();
            }
            Message::File(status) => {
                self.file = status;
                self.show();
            }
            Message::Report { answers, event } => self.report(answers, &event).await,
            Message::Broken { answers } => {
                if self.effect.as_ref().is_some_and(|effect| effect.reason == answers) {
                    tracing::error!(app = %self.machine.app(), state = self.machine.state(), "an effect panicked: it is performed again");
                    self.effect = None;
                    self.pause();
                }
            }
            Message::Doubted => {
                if self.reload().await.is_err() {
                    self.later(Message::Doubted);
                }
            }
            // Upkeep notices again.
            Message::Noticed(event @ Event::StandbyLost(_)) => {
                let _ = self.notice(&event).await;
            }
            // It may be old: what has proven itself meanwhile serves, and is given up when it has ended once more.
            Message::Noticed(event @ Event::GivenUp(_)) => {
                if !self.containers.admits_any() {
                    let _ = self.notice(&event).await;
                }
            }
            Message::Noticed(event) => self.notice_surely(event).await,
            // The routes follow before the next message.
            Message::Observed => {}
            Message::Degraded(reason) => {
                if self.degraded != reason {
                    match &reason {
                        Some(reason) => tracing::warn!(app = %self.machine.app(), reason, "degraded"),
                        None => tracing::info!(app = %self.machine.app(), "whole again"),
                    }
                    self.degraded = reason;
                    self.show();
                }
            }
            Message::Turn(permit) => {
                if self.wanted.is_some() && self.machine.readiness() == Readiness::Ready {
                    self.turn = Turn::Held(permit);
                    self.begin_wanted().await;
                } else if matches!(self.turn, Turn::Waiting(_)) {
                    self.turn = Turn::Idle;
                }
            }
        }
    }
}

/// Ends then; without a time, never.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
