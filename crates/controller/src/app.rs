//! The task of one app: inbox → step → commit → perform. Everything that happens to an app goes
//! through its inbox, so it is decided one at a time, on the state that the database holds.

use crate::controller::Shared;
use crate::effects::{Containers, Work};
use crate::monitor;
use crate::orders::{Command, OrderError, Outcome};
use crate::specs::{Offer, Stored, StoredError};
use crate::upkeep;
use crate::view::{AppView, FileStatus, Notice, Progress};
use dockswap_core::machine::{
    AlarmKind, Effect, Event, Failure, Machine, Order, OrderReason, OrderTarget, Phase, Plan, Readiness,
    Refusal,
};
use dockswap_core::ports::Container;
use dockswap_core::records::{CommitError, NewConfig, StoreError};
use dockswap_core::routes::AppRoutes;
use dockswap_core::{AppName, DeploymentId, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long an effect waits before it is performed again when its report could not be committed.
const REDO_PAUSE: Duration = Duration::from_secs(2);

/// How long an effect that cannot be cancelled half way may still take when the controller ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// What reaches an app.
pub(crate) enum Message {
    /// A version of its file.
    Offer(Offer, oneshot::Sender<Result<(), OrderError>>),
    /// A person's order.
    Command(Command, oneshot::Sender<Result<Outcome, OrderError>>),
    /// How its file stands.
    File(FileStatus),
    /// An effect has ended.
    Report { answers: Version, event: Event },
    /// Something was noticed that no effect was asked for.
    Noticed(Event),
    /// What Docker shows.
    Observed(Vec<Container>),
    /// The live color is whole, or not.
    Degraded(Option<String>),
    /// Its turn has come to deploy.
    Turn(OwnedSemaphorePermit),
    /// The effect that is owed is to be performed again.
    Redo,
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
    wanted: Option<Wanted>,
    turn: Turn,
    containers: Containers,
    routes: Option<AppRoutes>,
    effect: Option<Running<Version>>,
    monitor: Option<Running<DeploymentId>>,
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
        let containers = Containers::default();
        let routes = AppRoutes::of(&machine, &seen);
        containers.replace(seen);
        let (view, view_receiver) = watch::channel(AppView::of(&machine, routes.as_ref()));
        let machine = Arc::new(machine);
        let (published, machine_receiver) = watch::channel(machine.clone());
        let (hint, hint_receiver) = watch::channel(0);
        let handle =
            AppHandle { inbox: own_inbox.clone(), view: view_receiver, machine: machine_receiver, hint };
        let app = Self {
            shared: shared.clone(),
            machine,
            newest,
            wanted: None,
            turn: Turn::Idle,
            containers,
            routes,
            effect: None,
            monitor: None,
            file: FileStatus::Valid,
            degraded: None,
            inbox,
            own_inbox: own_inbox.downgrade(),
            view,
            published,
            hint: hint_receiver,
            stop: shared.stop.child_token(),
        };
        let task = tokio::spawn(app.run(upkeep::Upkeeper::new(shared.clone(), handle.clone())));
        (handle, task)
    }

    async fn run(mut self, upkeeper: upkeep::Upkeeper) {
        let upkeep = tokio::spawn(upkeeper.run(self.stop.clone()));
        self.resume().await;
        loop {
            self.advance().await;
            self.reroute().await;
            self.pursue();
            let alarm = self.machine.owed().alarm;
            let now = self.shared.ports.clock.now();
            let left = alarm.map(|alarm| alarm.at.saturating_since(now));
            tokio::select! {
                () = self.stop.cancelled() => break,
                message = self.inbox.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => break,
                },
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                    let event = match alarm.map(|alarm| alarm.kind) {
                        Some(AlarmKind::WatchPassed) => Event::WatchPassed,
                        Some(AlarmKind::WindowPassed) | None => Event::WindowPassed,
                    };
                    self.notice(&event).await;
                }
            }
        }
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
        if !matches!(self.machine.phase(), Phase::Settled(_)) {
            if let Ok(permit) = self.shared.turns.clone().try_acquire_owned() {
                self.turn = Turn::Held(permit);
            }
            self.notice(&Event::Resumed).await;
        }
        if self.newest.is_some() {
            self.want_newest().await;
        }
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Offer(offer, reply) => {
                let result = self.offer(offer).await;
                let _ = reply.send(result);
            }
            Message::Command(command, reply) => self.command(command, reply).await,
            Message::File(status) => {
                self.file = status;
                self.show();
            }
            Message::Report { answers, event } => self.report(answers, &event).await,
            Message::Noticed(event) => self.notice(&event).await,
            Message::Observed(seen) => {
                self.containers.replace(seen);
            }
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
                } else {
                    self.turn = Turn::Idle;
                }
            }
            Message::Redo => self.effect = None,
        }
    }

    // ---------------------------------------------------------------- deciding

    /// Commits what `event` leads to.
    async fn apply(&mut self, event: &Event, answers: Option<Version>) -> Result<(), ApplyError> {
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
        match self.shared.ports.store.commit(&transition).await {
            Ok(()) => {}
            Err(CommitError::Store(error)) => return Err(ApplyError::Store(error)),
            Err(CommitError::Conflict { .. }) => {
                // An earlier commit went through although its answer did not reach us.
                self.reload().await.map_err(ApplyError::Store)?;
                return Err(ApplyError::Reloaded);
            }
        }
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
        self.in_force(deployment);
        Ok(())
    }

    /// A new state is in force: everybody who waits for it may know.
    fn in_force(&mut self, deployment: DeploymentId) {
        // A promotion may take days: whoever waits for one does not keep others from deploying.
        let waits = matches!(self.machine.phase(), Phase::AwaitingPromotion(_));
        if (waits || self.machine.in_flight().is_none()) && matches!(self.turn, Turn::Held(_)) {
            self.turn = Turn::Idle;
        }
        self.published.send_replace(self.machine.clone());
        self.show();
        let _ = self.shared.notices.send(Notice::Committed { app: self.machine.app().clone(), deployment });
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let machines = self.shared.ports.store.machines().await?;
        if let Some(machine) = machines.into_iter().find(|machine| machine.app() == self.machine.app()) {
            self.machine = Arc::new(machine);
            self.effect = None;
            if let Some(deployment) = self.machine.deployment() {
                self.in_force(deployment);
            }
        }
        Ok(())
    }

    /// An effect has ended. When that cannot be written down, the effect is performed again later:
    /// it is idempotent, and still owed.
    async fn report(&mut self, answers: Version, event: &Event) {
        if let Err(ApplyError::Store(error)) = self.apply(event, Some(answers)).await {
            tracing::error!(app = %self.machine.app(), event = event.name(), error = &error as &dyn std::error::Error, "not committed");
            self.show_progress(&Progress::Retrying { reason: error.to_string() });
            self.later(Message::Redo);
        }
    }

    /// Something was noticed. When that cannot be written down it will be noticed again.
    async fn notice(&mut self, event: &Event) {
        match self.apply(event, None).await {
            Err(ApplyError::Store(error)) => {
                tracing::error!(app = %self.machine.app(), event = event.name(), error = &error as &dyn std::error::Error, "not committed");
                self.later(Message::Noticed(event.clone()));
                // An alarm that is due must not ring in a tight loop meanwhile.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(ApplyError::Refused(_) | ApplyError::Reloaded) | Ok(()) => {}
        }
    }

    fn later(&self, message: Message) {
        let inbox = self.own_inbox.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(REDO_PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if let Some(inbox) = inbox.upgrade() {
                let _ = inbox.send(message).await;
            }
        });
    }

    // ---------------------------------------------------------------- versions

    /// A version of the app's file was found.
    async fn offer(&mut self, offer: Offer) -> Result<(), OrderError> {
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
        let row = dockswap_core::records::ConfigRow {
            id,
            app: config.app,
            bytes: config.bytes,
            sha: config.sha,
            created_at: config.at,
        };
        tracing::info!(app = %self.machine.app(), config = id.0, sha = %row.sha, "new version stored");
        self.newest = Some(self.shared.specs.remember(row, offer.spec));
        self.want_newest().await;
        Ok(())
    }

    /// Wants the newest version deployed, unless it says what the last deployed one said.
    async fn want_newest(&mut self) {
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

    fn dismiss_wanted(&mut self) {
        if let Some(Wanted { reply: Some(reply), .. }) = self.wanted.take() {
            let _ = reply.send(Err(OrderError::Superseded));
        }
    }

    /// Brings the wanted version a step nearer.
    async fn advance(&mut self) {
        let Some(wanted) = &self.wanted else { return };
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
                self.notice(&Event::Superseded { by }).await;
            }
            Readiness::Busy => {}
        }
    }

    fn await_turn(&self) -> JoinHandle<()> {
        let turns = self.shared.turns.clone();
        let inbox = self.own_inbox.clone();
        tokio::spawn(async move {
            if let (Ok(permit), Some(inbox)) = (turns.acquire_owned().await, inbox.upgrade()) {
                let _ = inbox.send(Message::Turn(permit)).await;
            }
        })
    }

    async fn begin_wanted(&mut self) {
        let Some(wanted) = self.wanted.take() else { return };
        let plan = Plan::of(&wanted.stored.spec, wanted.stored.row.id);
        let result = self.begin(OrderTarget::Config(plan), wanted.reason).await;
        match (result, wanted.reply) {
            (result, Some(reply)) => {
                let _ = reply.send(result);
            }
            (Ok(_), None) => {}
            (Err(OrderError::Store(error)), None) => {
                tracing::error!(app = %self.machine.app(), error = &error as &dyn std::error::Error, "deployment not begun: the database failed");
                self.wanted = Some(Wanted { reply: None, ..wanted });
                // Without the turn: others may be able to go on.
                self.turn = Turn::Idle;
                tokio::time::sleep(REDO_PAUSE).await;
            }
            (Err(error), None) => tracing::warn!(app = %self.machine.app(), %error, "deployment not begun"),
        }
    }

    async fn begin(&mut self, target: OrderTarget, reason: OrderReason) -> Result<Outcome, OrderError> {
        let deployment = self.shared.next_deployment();
        self.order(&Event::Deploy(Order { deployment, target, reason })).await?;
        Ok(Outcome { deployment: Some(deployment), begun: true })
    }

    // ---------------------------------------------------------------- orders

    async fn command(&mut self, command: Command, reply: oneshot::Sender<Result<Outcome, OrderError>>) {
        let result = match command {
            Command::Deploy => return self.deploy(reply),
            Command::Rollback { to } => self.rollback(to).await,
            Command::Switch { color } => self.switch(color).await,
            Command::Promote => self.order(&Event::Promote).await,
            Command::Cancel => self.order(&Event::Cancel).await,
            Command::Recover => {
                let observation = self.look().await;
                self.order(&Event::ManualRecovery(observation)).await
            }
            Command::Remove => {
                self.dismiss_wanted();
                self.order(&Event::Retire).await
            }
        };
        let _ = reply.send(result);
    }

    async fn order(&mut self, event: &Event) -> Result<Outcome, OrderError> {
        match self.apply(event, None).await {
            Ok(()) => Ok(Outcome { deployment: self.machine.deployment(), begun: true }),
            Err(ApplyError::Refused(Refusal::Already { .. })) => {
                Ok(Outcome { deployment: self.machine.deployment(), begun: false })
            }
            Err(ApplyError::Refused(refusal)) => Err(refusal.into()),
            Err(ApplyError::Reloaded) => Err(Refusal::Busy { state: self.machine.state() }.into()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    fn deploy(&mut self, reply: oneshot::Sender<Result<Outcome, OrderError>>) {
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

    async fn rollback(&mut self, to: Option<DeploymentId>) -> Result<Outcome, OrderError> {
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

    async fn switch(&mut self, color: dockswap_core::Color) -> Result<Outcome, OrderError> {
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

    async fn look(&self) -> dockswap_core::machine::Observation {
        let work = self.work(CancellationToken::new());
        let mut observation = dockswap_core::machine::Observation::default();
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

    // ---------------------------------------------------------------- acting

    fn work(&self, cancel: CancellationToken) -> Work {
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
    fn pursue(&mut self) {
        let owed = self.machine.owed();
        let version = self.machine.version();
        if self.effect.as_ref().is_none_or(|effect| effect.reason != version) {
            let before = self.effect.take();
            if let Some(before) = &before {
                before.cancel.cancel();
            }
            if let Some(effect) = owed.effect {
                let cancel = self.stop.child_token();
                let work = self.work(cancel.clone());
                let inbox = self.own_inbox.clone();
                let task = tokio::spawn(async move {
                    // One hand at a time: what the phase before asked of Docker is known first.
                    if let Some(before) = before {
                        let _ = before.task.await;
                    }
                    if let (Some(event), Some(inbox)) = (work.perform(effect).await, inbox.upgrade()) {
                        let _ = inbox.send(Message::Report { answers: version, event }).await;
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
    async fn reroute(&mut self) {
        if self.machine.owed().effect == Some(Effect::Route) {
            return;
        }
        let routes = AppRoutes::of(&self.machine, &self.containers.all());
        if routes == self.routes {
            return;
        }
        if let Err(error) = self.shared.keeper.publish(self.machine.app(), routes.clone()).await {
            tracing::warn!(app = %self.machine.app(), %error, "routes not updated; they will be, once the proxy answers");
        }
        self.routes = routes;
        self.show();
    }

    fn show(&self) {
        let mut next = AppView::of(&self.machine, self.routes.as_ref());
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

    fn show_progress(&self, progress: &Progress) {
        self.view.send_modify(|view| view.progress = Some(progress.clone()));
    }
}

enum ApplyError {
    Refused(Refusal),
    Reloaded,
    Store(StoreError),
}

/// What an app without a machine begins from.
pub(crate) fn unknown(app: AppName) -> Machine {
    Machine::new(app)
}

impl From<StoredError> for Failure {
    fn from(error: StoredError) -> Self {
        Self::new(error.to_string())
    }
}
