//! Performing what a phase is owed. Every effect ends in exactly one event, however Docker, the
//! proxy or the app behave: nothing here waits without a deadline.

use crate::containers::{Containers, only};
use crate::controller::Shared;
use crate::gate;
use crate::group::{GroupError, RunError};
use crate::stopwatch;
use crate::vacate::VacateError;
use crate::view::Progress;
use dockswap_core::machine::{Effect, Event, Failure, Machine, Phase, Plan, Release, Stage};
use dockswap_core::name::ImageId;
use dockswap_core::ports::{
    Container, ContainerGroup, DeploymentFilter, EngineError, ImageError, ImageRequest, RouterError, Selector,
};
use dockswap_core::routes::{AppRoutes, InFlight, UpstreamId};
use dockswap_core::spec::RestartPolicy;
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an effect goes on trying while Docker or the proxy does not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a switch goes on trying: the old color serves meanwhile, so it may give up early.
const SWITCH_PATIENCE: Duration = Duration::from_secs(10);

/// The first wait between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long traffic that goes back waits for Docker to say where to.
const GLANCE: Duration = Duration::from_secs(1);

/// One slice of a counted drain: how often people see the counts.
const DRAIN_SLICE: Duration = Duration::from_secs(1);

/// What an effect works with.
pub(crate) struct Work {
    pub(crate) shared: Arc<Shared>,
    /// The state that owes the effect.
    pub(crate) machine: Arc<Machine>,
    pub(crate) containers: Containers,
    /// Changes whenever Docker may have something new to show.
    pub(crate) changed: watch::Receiver<u64>,
    /// The effect is no longer owed.
    pub(crate) cancel: CancellationToken,
    /// Where progress is shown.
    pub(crate) show: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Work {
    pub(crate) fn app(&self) -> &AppName {
        self.machine.app()
    }

    /// Performs `effect`; `None` when it was cancelled: then nobody waits for its event.
    pub(crate) async fn perform(self, effect: Effect) -> Option<Event> {
        let (shared, kind, begun) = (Arc::clone(&self.shared), stopwatch::kind(&effect), Instant::now());
        let event = self.done(effect).await;
        if event.is_some() {
            shared.stopwatch.took(kind, begun.elapsed());
        }
        event
    }

    async fn done(self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Pull { deployment, plan, pinned } => self.pull(deployment, plan, pinned).await,
            Effect::Run(release) => Some(self.run(release).await),
            Effect::Probe { release, until } => gate::pass(&self, &release, until).await,
            Effect::Route => self.route().await,
            Effect::Drain { release, until } => self.drain(release, until).await,
            Effect::Stop(release) => Some(self.stop(&release).await),
            Effect::Undo(release) => Some(self.undo(release).await),
            Effect::RemoveAll => Some(self.remove_all().await),
        }
    }

    /// Tries again while `call` says that nobody answers, for at most `patience`.
    pub(crate) async fn persist<T, E, F, Fut>(
        &self,
        patience: Duration,
        transient: fn(&E) -> bool,
        call: F,
    ) -> Result<T, E>
    where
        E: std::fmt::Display,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match call().await {
                Err(error) if transient(&error) => error,
                done => return done,
            };
            if Instant::now() + pause > deadline || self.cancel.is_cancelled() {
                return Err(error);
            }
            tracing::warn!(app = %self.app(), %error, "trying again");
            (self.show)(Progress::Retrying { reason: error.to_string() });
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn pull(&self, deployment: DeploymentId, plan: Plan, pinned: Option<ImageId>) -> Option<Event> {
        let pull = match self.shared.specs.load(plan.config).await {
            Ok(stored) => stored.spec.container.pull_policy,
            Err(error) => return Some(Event::ImageFailed(Failure::new(error.to_string()))),
        };
        let request =
            ImageRequest { app: self.app().clone(), deployment, reference: plan.image, pull, pinned };
        let progress = |done_bytes, total_bytes| (self.show)(Progress::Pulling { done_bytes, total_bytes });
        let brought = self.persist(
            PATIENCE,
            |error: &ImageError| matches!(error, ImageError::Unavailable { .. }),
            || self.shared.ports.engine.ensure_image(&request, &progress),
        );
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            image = brought => Some(match image {
                Ok(image) => Event::ImageReady(image),
                Err(error) => Event::ImageFailed(Failure::new(error.to_string())),
            }),
        }
    }

    /// Clears the slot where it must and starts the candidate. Not cancelled half way: what Docker was asked to
    /// create must be known before it is removed.
    async fn run(&self, release: Release) -> Event {
        let group = match self.group_of_new(&release).await {
            Ok(group) => group,
            Err(error) => return Event::ContainerFailed(error.into()),
        };
        // Names are never reused, so only a host port makes two of one color impossible. Without one the
        // candidate does not wait for what was kept in its slot to stop: upkeep removes that later.
        let occupants: Vec<Container> = self
            .containers
            .all()
            .into_iter()
            .filter(|container| container.color == release.color && container.deployment != release.origin)
            .collect();
        if !occupants.is_empty() && self.shared.publishes_a_port(&release).await {
            if let Err(failure) = self.vacate(&occupants, release.plan.policy.drain_timeout).await {
                return Event::ContainerFailed(failure);
            }
            let others = Selector {
                app: self.app().clone(),
                color: Some(release.color),
                deployment: DeploymentFilter::Except(release.origin),
            };
            let cleared = self
                .persist(PATIENCE, is_unavailable, || {
                    self.shared.ports.engine.ensure_gone(&others, release.plan.policy.stop_timeout)
                })
                .await;
            if let Err(error) = cleared {
                return Event::ContainerFailed(Failure::new(format!(
                    "clearing the {} slot: {error}",
                    release.color
                )));
            }
        }
        if let Err(failure) = self.clear_the_way(&release).await {
            return Event::ContainerFailed(failure);
        }
        // What upkeep has begun to stop, for nobody wanted it to run, is started after that.
        let _hand = if group.is_none() { Some(self.containers.hand().await) } else { None };
        let start = || async {
            let question = self.containers.ask();
            let started = match &group {
                Some(group) => self.shared.ports.engine.ensure_running(group).await?,
                None => self.shared.run_again(self.app(), &release, RestartPolicy::No).await?,
            };
            Ok((question, started))
        };
        match self.persist(PATIENCE, RunError::is_transient, start).await {
            Ok((question, containers)) => {
                self.shared.claim(&containers).await;
                if !self.containers.answered(question, &release, containers) {
                    // The gate looks again as often as it must.
                    let _ = tokio::time::timeout(GLANCE, self.observe()).await;
                }
                Event::ContainerStarted
            }
            Err(error) => Event::ContainerFailed(Failure::new(error.to_string())),
        }
    }

    /// How a release is made that the deployment brings; `None`: it ran before, and is only started again.
    async fn group_of_new(&self, release: &Release) -> Result<Option<ContainerGroup>, GroupError> {
        if !gate::is_new(self, release) {
            return Ok(None);
        }
        self.shared.group(self.app(), release, RestartPolicy::No).await.map(Some)
    }

    /// Has the proxy confirm the routes of the present state.
    async fn route(&self) -> Option<Event> {
        if self.machine.stage() == Stage::HoldingRouting {
            // Nothing is stopped for a version that cannot even be made.
            for release in self.machine.releases() {
                if let Err(error) = self.group_of_new(release).await {
                    return Some(Event::SwitchFailed(error.into()));
                }
            }
        }
        let goes_back = matches!(self.machine.phase(), Phase::RollingBack(_));
        let patience = if goes_back { PATIENCE } else { SWITCH_PATIENCE };
        if goes_back {
            // Nobody has watched the addresses of the color that traffic goes back to. Where Docker does
            // not say at once, the known ones have to do.
            let _ = tokio::time::timeout(GLANCE, self.observe()).await;
        }
        let routes = match self.routes().await {
            Ok(routes) => routes,
            Err(failure) if goes_back => return Some(Event::RollbackFailed(failure)),
            Err(failure) => return Some(Event::SwitchFailed(failure)),
        };
        let before = self.shared.keeper.entry(self.app()).await;
        let mut published = self.publish(patience, routes).await;
        if goes_back
            && self.machine.route().to.is_none()
            && !self.machine.is_held()
            && matches!(published, Err(RouterError::Refused { .. }))
        {
            // Nothing served before, and the proxy cannot even say so there: then it has no route at all.
            published = self.publish(patience, None).await;
        }
        if let (false, Err(RouterError::Unavailable { .. })) = (goes_back, &published) {
            // Nobody else's table must move the traffic once this is given up.
            published = match self.shared.keeper.give_up(self.app(), before).await {
                Some(revision) => Ok(revision),
                None => published,
            };
        }
        Some(match published {
            Ok(revision) => Event::TrafficSwitched { revision },
            Err(error) if goes_back => Event::RollbackFailed(Failure::new(error.to_string())),
            Err(error) => Event::SwitchFailed(Failure::new(error.to_string())),
        })
    }

    pub(crate) async fn publish(
        &self,
        patience: Duration,
        routes: Option<AppRoutes>,
    ) -> Result<u64, RouterError> {
        let transient = |error: &RouterError| matches!(error, RouterError::Unavailable { .. });
        self.persist(patience, transient, || self.shared.keeper.publish(self.app(), routes.clone())).await
    }

    /// The app's routes. Traffic is only ever sent to a release of which something runs.
    async fn routes(&self) -> Result<Option<AppRoutes>, Failure> {
        let Some(release) = self.machine.route().to else {
            return Ok(AppRoutes::of(&self.machine, &[]));
        };
        let routable = || {
            AppRoutes::of(&self.machine, &self.containers.all())
                .filter(|routes| routes.target.as_ref().is_some_and(|target| !target.upstreams.is_empty()))
        };
        if let Some(routes) = routable() {
            return Ok(Some(routes));
        }
        let is_given_up = self.machine.given_up() == Some(release);
        if is_given_up || self.machine.has_surrendered() || self.machine.route().hold.is_some() {
            // Who waits is to be told that there is nothing to wait for; or is about to wait, for better.
            return Ok(AppRoutes::of(&self.machine, &self.containers.all()));
        }
        self.observe().await.map_err(|error| Failure::new(error.to_string()))?;
        routable().map(Some).ok_or_else(|| {
            Failure::new(format!(
                "no container of deployment {} ({}) is running",
                release.origin, release.color
            ))
        })
    }

    /// Looks at Docker again.
    pub(crate) async fn observe(&self) -> Result<(), EngineError> {
        let look = || self.containers.look(self.shared.ports.engine.as_ref(), self.app());
        self.persist(PATIENCE, is_unavailable, look).await.map(drop)
    }

    /// A counted drain: until nothing is in flight, or the time is over and the rest is closed.
    async fn drain(&self, release: Option<Release>, until: Timestamp) -> Option<Event> {
        let Some(release) = release else { return Some(Event::DrainComplete) };
        if self.containers.of(&release).is_empty() && self.observe().await.is_err() {
            tracing::warn!(app = %self.app(), "docker does not answer: draining by the proxy's knowledge alone");
        }
        let upstreams: Vec<UpstreamId> =
            self.containers.of(&release).into_iter().filter_map(|container| container.life).collect();
        loop {
            let left = until.saturating_since(self.shared.ports.clock.now());
            let asked = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                asked = self.shared.ports.router.drained(&upstreams, left.min(DRAIN_SLICE)) => asked,
            };
            let load = match asked {
                Ok(load) if load.is_empty() => return Some(Event::DrainComplete),
                Ok(load) => load,
                Err(error) => {
                    // Whoever carried the requests is away; its connections may be gone with it.
                    (self.show)(Progress::Retrying { reason: error.to_string() });
                    tokio::time::sleep(FIRST_PAUSE.min(left)).await;
                    Vec::new()
                }
            };
            let in_flight: InFlight = load.iter().sum();
            (self.show)(Progress::Draining { left: in_flight, closed_in: left });
            if left.is_zero() {
                if let Err(error) = self.shared.ports.router.close(&upstreams).await {
                    tracing::warn!(app = %self.app(), %error, "what was left in flight could not be closed");
                }
                return Some(Event::DrainTimedOut { left: in_flight.total() });
            }
        }
    }

    /// Takes containers out of traffic, so that they may be stopped.
    pub(crate) async fn vacate(&self, containers: &[Container], patience: Duration) -> Result<(), Failure> {
        self.persist(PATIENCE, VacateError::is_transient, || self.shared.vacate(containers, patience))
            .await
            .map_err(|error| Failure::new(error.to_string()))
    }

    async fn stop(&self, release: &Release) -> Event {
        let policy = &release.plan.policy;
        // What upkeep has begun to start is not started after it was stopped.
        let _hand = self.containers.hand().await;
        if let Err(failure) = self.vacate(&self.containers.of(release), policy.drain_timeout).await {
            return Event::StopFailed(failure);
        }
        let stopped = self
            .persist(PATIENCE, is_unavailable, || {
                let selector = only(self.app(), release.color, release.origin);
                async move {
                    self.shared.ports.engine.ensure_stopped(&selector, release.plan.policy.stop_timeout).await
                }
            })
            .await;
        match stopped {
            Ok(()) => Event::ContainerStopped,
            Err(error) => Event::StopFailed(Failure::new(error.to_string())),
        }
    }

    async fn undo(&self, release: Option<Release>) -> Event {
        let Some(release) = release else { return Event::RollbackComplete };
        let gone = self
            .persist(PATIENCE, is_unavailable, || {
                let selector = only(self.app(), release.color, release.origin);
                let timeout = release.plan.policy.stop_timeout;
                async move { self.shared.ports.engine.ensure_gone(&selector, timeout).await }
            })
            .await;
        match gone {
            Ok(()) => {
                self.containers.gone(&release);
                self.bring_back(&release).await;
                Event::RollbackComplete
            }
            Err(error) => Event::RollbackFailed(Failure::new(error.to_string())),
        }
    }

    async fn remove_all(&self) -> Event {
        let all = Selector { app: self.app().clone(), color: None, deployment: DeploymentFilter::Any };
        let policies: Vec<_> =
            self.machine.releases().into_iter().map(|release| &release.plan.policy).collect();
        let patience = policies.iter().map(|policy| policy.drain_timeout).max().unwrap_or_default();
        // Ditto: nor is it made anew.
        let _hand = self.containers.hand().await;
        if let Err(failure) = self.vacate(&self.containers.all(), patience).await {
            return Event::StopFailed(failure);
        }
        let timeout =
            policies.iter().map(|policy| policy.stop_timeout).max().unwrap_or(Duration::from_secs(10));
        let gone = self
            .persist(PATIENCE, is_unavailable, || self.shared.ports.engine.ensure_gone(&all, timeout))
            .await;
        match gone {
            Ok(()) => {
                self.containers.all_gone();
                Event::ContainerStopped
            }
            Err(error) => Event::StopFailed(Failure::new(error.to_string())),
        }
    }
}

pub(crate) fn is_unavailable(error: &EngineError) -> bool {
    matches!(error, EngineError::Unavailable { .. })
}
