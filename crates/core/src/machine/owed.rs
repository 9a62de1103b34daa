//! What the world owes a phase. Effects belong to the phase, not to the arrow that led to it: after
//! a crash the same question gives the same answer, and doing it again is always right.

use super::access::Access;
use super::phase::{Attempt, Candidate, Ground, HoldStage, Phase, RetireStage, UndoStage};
use super::release::{Plan, Release, Serving, Warmth};
use crate::limits::TrafficLimits;
use crate::name::{Color, DeploymentId, ImageId};
use crate::routes::Hold;
use crate::spec::Route;
use crate::time::Timestamp;

/// What is owed to a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// The one effect that moves it on, when one does.
    pub effect: Option<Effect>,
    /// The event that time alone brings.
    pub alarm: Option<Alarm>,
    /// What must be watched, because the phase has an arrow for its failure.
    pub watch: Option<Watch>,
}

/// An effect that moves a phase on: each ends in a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Bring the image onto the host: `image_ready` or `image_failed`.
    Pull {
        /// Whose image.
        deployment: DeploymentId,
        /// What is to be deployed.
        plan: Plan,
        /// The very image, for a rollback.
        pinned: Option<ImageId>,
    },
    /// Clear the slot of everything else, and run the release: `container_started` or
    /// `container_failed`. After a rollback that failed, the proxy may still send requests to what
    /// is in the slot: it is taken out of traffic first (the state's route confirmed, what is in
    /// flight ended or closed), else the slot stays as it is and this fails.
    Run(Release),
    /// Bring every replica through its gate: `health_check_passed` or `health_check_failed`.
    Probe {
        /// Which release.
        release: Release,
        /// At the latest.
        until: Timestamp,
    },
    /// Have the proxy confirm the phase's route: `traffic_switched` or `switch_failed`; where
    /// traffic goes back, `rollback_failed`.
    Route,
    /// Wait until nothing is in flight on the release, and close what is left:
    /// `drain_complete` or `drain_timed_out`.
    Drain {
        /// Which release; `None`: nothing was serving.
        release: Option<Release>,
        /// At the latest.
        until: Timestamp,
    },
    /// Stop the release, and keep its containers: `container_stopped` or `stop_failed`. After a
    /// rollback that failed and a recovery, traffic may still be on it: it is taken out first, as
    /// for [`Effect::Run`].
    Stop(Release),
    /// Remove what the deployment created: `rollback_complete` or `rollback_failed`.
    Undo(Option<Release>),
    /// Remove every container of the app: `container_stopped` or `stop_failed`. Only the live release
    /// was drained: what is in flight on others ends, or is closed after `drain_timeout`, first.
    RemoveAll,
}

/// An event that time alone brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alarm {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub kind: AlarmKind,
}

/// Which event time brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// `watch_passed`.
    WatchPassed,
    /// `window_passed`.
    WindowPassed,
    /// `pause_ended`.
    PauseEnded,
}

/// A release whose failure the phase has an arrow for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// Which must stay healthy.
    pub release: Release,
    /// Which could take the traffic.
    pub fallback: Option<Release>,
}

/// Where an app's traffic comes in and goes, in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteIntent<'a> {
    /// Where it comes in; empty: nowhere, the proxy answers 404.
    pub routes: &'a [Route],
    /// What its requests may take; `None`: there is nobody whom they could take it of.
    pub limits: Option<&'a TrafficLimits>,
    /// Where it goes; `None`: nowhere yet, the proxy answers 503.
    pub to: Option<&'a Release>,
    /// For how long new requests wait meanwhile.
    pub hold: Option<Hold>,
}

/// What must be so, as long as the phase lasts, whatever moves it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Serves and is settled: it is healed, and runs under its restart policy.
    pub live: Option<Release>,
    /// Must run.
    pub warm: Vec<Release>,
    /// Must not run, and must be kept.
    pub cold: Vec<Release>,
}

impl Phase {
    /// What is owed.
    pub(super) fn owed(&self) -> Owed {
        match self {
            Self::Settled(ground) => Owed { alarm: ground.alarm(), ..Owed::default() },
            Self::Pulling(pulling) => {
                let (attempt, _, plan, pinned) = pulling.request();
                Owed::effect(Effect::Pull {
                    deployment: attempt.deployment,
                    plan: plan.clone(),
                    pinned: pinned.cloned(),
                })
            }
            Self::Holding(holding) => Owed::effect(match holding.stage() {
                HoldStage::Routing => Effect::Route,
                HoldStage::Draining { until } => Effect::Drain { release: holding.live().cloned(), until },
                HoldStage::Stopping => match holding.live() {
                    Some(live) => Effect::Stop(live.clone()),
                    None => Effect::Route,
                },
            }),
            Self::Starting(starting) => Owed::effect(Effect::Run(starting.candidate().clone())),
            Self::HealthCheck(gate) => {
                Owed::effect(Effect::Probe { release: gate.candidate().clone(), until: gate.until() })
            }
            Self::AwaitingPromotion(waiting) => Owed {
                watch: waiting.running().map(|release| Watch { release: release.clone(), fallback: None }),
                ..Owed::default()
            },
            Self::Switching(_) => Owed::effect(Effect::Route),
            Self::Draining(draining) => Owed {
                effect: Some(Effect::Drain {
                    release: draining.previous().cloned(),
                    until: draining.until(),
                }),
                watch: Some(draining.taken().serving().watch()),
                alarm: None,
            },
            Self::Watching(watching) => Owed {
                effect: None,
                watch: Some(watching.taken().serving().watch()),
                alarm: Some(Alarm { at: watching.taken().watch_until(), kind: AlarmKind::WatchPassed }),
            },
            Self::Stopping(stopping) => Owed {
                effect: stopping
                    .serving()
                    .standby
                    .as_ref()
                    .map(|standby| Effect::Stop(standby.release.clone())),
                ..Owed::default()
            },
            Self::RollingBack(undoing) => {
                let release = match undoing.candidate() {
                    Candidate::Nothing { .. } => None,
                    Candidate::Release(release) => Some(release.clone()),
                };
                let back = undoing.ground().serving().map(|serving| serving.live.clone());
                Owed::effect(match (undoing.stage(), back) {
                    (UndoStage::Draining { until }, _) => Effect::Drain { release, until: *until },
                    (UndoStage::Removing, _) => Effect::Undo(release),
                    (UndoStage::Restarting, Some(back)) => Effect::Run(back),
                    (UndoStage::Proving { until }, Some(back)) => {
                        Effect::Probe { release: back, until: *until }
                    }
                    _ => Effect::Route,
                })
            }
            Self::Retiring(retiring) => Owed::effect(match retiring.stage() {
                RetireStage::Unrouting => Effect::Route,
                RetireStage::Draining { until } => {
                    let release = retiring.serving().map(|serving| serving.live.clone());
                    Effect::Drain { release, until }
                }
                RetireStage::Removing => Effect::RemoveAll,
            }),
        }
    }

    /// Where traffic comes in and goes.
    pub(super) fn route(&self) -> RouteIntent<'_> {
        match self {
            Self::Settled(ground) => ground.route(&[]),
            Self::Pulling(pulling) => {
                let (attempt, _, plan, _) = pulling.request();
                attempt.ground.route(&plan.routes)
            }
            Self::Holding(holding) => holding.route(),
            Self::Starting(starting) => starting.attempt().route(&starting.candidate().plan.routes),
            Self::HealthCheck(gate) => gate.attempt().route(&gate.candidate().plan.routes),
            Self::AwaitingPromotion(waiting) => {
                waiting.attempt().ground.route(&waiting.candidate().plan.routes)
            }
            Self::Switching(switching) => RouteIntent::to(switching.candidate()),
            Self::Draining(draining) => RouteIntent::to(&draining.taken().serving().live),
            Self::Watching(watching) => RouteIntent::to(&watching.taken().serving().live),
            Self::Stopping(stopping) => RouteIntent::to(&stopping.serving().live),
            Self::RollingBack(undoing) => match (undoing.hold(), undoing.candidate()) {
                (Some(hold), _) => undoing.ground().held(hold),
                (None, Candidate::Nothing { routes }) => undoing.ground().route(routes),
                (None, Candidate::Release(release)) => undoing.ground().route(&release.plan.routes),
            },
            Self::Retiring(_) => RouteIntent::nowhere(&[]),
        }
    }

    /// The route that was confirmed before the one that is wanted.
    pub(super) fn confirmed_route(&self) -> Option<RouteIntent<'_>> {
        match self {
            Self::Switching(switching) if switching.attempt().hold.is_some() => {
                Some(switching.attempt().route(&[]))
            }
            // Nothing is better than what is to be stopped.
            Self::Holding(_) => None,
            _ => self.serving().map(|serving| RouteIntent::to(&serving.live)),
        }
    }

    /// What must be so all along.
    pub(super) fn upkeep(&self) -> Upkeep {
        match self {
            Self::Settled(ground) => Upkeep::of(ground),
            Self::Pulling(pulling) => Upkeep::of(&pulling.request().0.ground),
            // From here on the slot is the candidate's; its own failure is the gate's business.
            Self::Starting(starting) => starting.attempt().upkeep(),
            Self::HealthCheck(gate) => gate.attempt().upkeep(),
            Self::AwaitingPromotion(waiting) => {
                let mut upkeep = Upkeep::of(&waiting.attempt().ground);
                upkeep.warm.extend(waiting.running().cloned());
                upkeep
            }
            // Nothing is touched while traffic is on its way, and what took it is watched, not healed.
            Self::Holding(_)
            | Self::Switching(_)
            | Self::Draining(_)
            | Self::Watching(_)
            | Self::Retiring(_) => Upkeep::default(),
            Self::Stopping(stopping) => {
                Upkeep { live: Some(stopping.serving().live.clone()), ..Upkeep::default() }
            }
            Self::RollingBack(undoing) => match undoing.stage() {
                UndoStage::Routing { .. } => Upkeep::default(),
                // What was stopped is started by the effects, and by nobody else.
                _ if undoing.recreates() => Upkeep::default(),
                _ => Upkeep::of(undoing.ground()),
            },
        }
    }
}

impl Owed {
    fn effect(effect: Effect) -> Self {
        Self { effect: Some(effect), ..Self::default() }
    }

    /// With the alarm of a pause besides: of two the earlier rings first.
    pub(super) fn and_paused(mut self, access: &Access) -> Self {
        if let Access::Paused(hold) = access {
            let ends = Alarm { at: hold.until, kind: AlarmKind::PauseEnded };
            self.alarm = Some(self.alarm.filter(|alarm| alarm.at < ends.at).unwrap_or(ends));
        }
        self
    }
}

impl Upkeep {
    fn of(ground: &Ground) -> Self {
        let Some(serving) = ground.serving() else { return Self::default() };
        let mut upkeep = match ground.given_up() {
            // It is stopped where it still runs, and started by an order alone.
            Some(live) => Self { cold: vec![live.clone()], ..Self::default() },
            None => Self { live: Some(serving.live.clone()), ..Self::default() },
        };
        if let Some(standby) = &serving.standby {
            match standby.warmth {
                Warmth::Running { .. } => upkeep.warm.push(standby.release.clone()),
                Warmth::Stopped => upkeep.cold.push(standby.release.clone()),
            }
        }
        upkeep
    }
}

impl<'a> RouteIntent<'a> {
    const fn nowhere(routes: &'a [Route]) -> Self {
        Self { routes, limits: None, to: None, hold: None }
    }

    pub(crate) fn to(release: &'a Release) -> Self {
        let Plan { routes, limits, .. } = &release.plan;
        Self { routes, limits: Some(limits), to: Some(release), hold: None }
    }
}

impl Serving {
    fn watch(&self) -> Watch {
        Watch {
            release: self.live.clone(),
            fallback: self.standby.as_ref().map(|standby| standby.release.clone()),
        }
    }
}

impl Ground {
    /// Its route; where nothing serves, `tried` are the routes that answer 503.
    pub(super) fn route<'a>(&'a self, tried: &'a [Route]) -> RouteIntent<'a> {
        match (self.serving(), self) {
            (Some(serving), _) => RouteIntent::to(&serving.live),
            (None, Self::Pending(Some(before))) if tried.is_empty() => RouteIntent::nowhere(&before.routes),
            (None, _) => RouteIntent::nowhere(tried),
        }
    }

    /// Its routes while requests wait: they lead nowhere.
    pub(super) fn held(&self, hold: Hold) -> RouteIntent<'_> {
        RouteIntent { to: None, hold: Some(hold), ..self.route(&[]) }
    }

    fn alarm(&self) -> Option<Alarm> {
        let Self::Serving(serving) = self else { return None };
        match serving.standby.as_ref()?.warmth {
            Warmth::Running { until } => Some(Alarm { at: until, kind: AlarmKind::WindowPassed }),
            Warmth::Stopped => None,
        }
    }
}

impl Attempt {
    /// What stands is kept, unless requests wait since it was to be stopped.
    fn upkeep(&self) -> Upkeep {
        if self.hold.is_some() { Upkeep::default() } else { Upkeep::of(&self.ground) }
    }

    fn route<'a>(&'a self, tried: &'a [Route]) -> RouteIntent<'a> {
        match self.hold {
            Some(hold) => self.ground.held(hold),
            None => self.ground.route(tried),
        }
    }
}

impl Phase {
    /// The color of the candidate, or of what the phase is about.
    pub(super) fn color(&self) -> Option<Color> {
        match self {
            Self::Settled(ground) => ground.serving().map(|serving| serving.live.color),
            Self::Pulling(pulling) => Some(pulling.request().1),
            Self::Holding(holding) => Some(holding.candidate().color),
            Self::Starting(starting) => Some(starting.candidate().color),
            Self::HealthCheck(gate) => Some(gate.candidate().color),
            Self::AwaitingPromotion(waiting) => Some(waiting.candidate().color),
            Self::Switching(switching) => Some(switching.candidate().color),
            Self::Draining(draining) => Some(draining.taken().serving().live.color),
            Self::Watching(watching) => Some(watching.taken().serving().live.color),
            Self::Stopping(stopping) => Some(stopping.serving().live.color),
            Self::RollingBack(undoing) => match undoing.candidate() {
                Candidate::Release(release) => Some(release.color),
                Candidate::Nothing { .. } => None,
            },
            Self::Retiring(retiring) => retiring.serving().map(|serving| serving.live.color),
        }
    }
}
