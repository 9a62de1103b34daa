//! Deciding: a phase and an event give the next phase, and what becomes of deployments. Nothing is
//! changed here.

use super::event::{Event, Fallback, Observation, Order, OrderTarget};
use super::phase::{
    Cause, Draining, Failed, Ground, Healing, HoldStage, Holding, Phase, RetireStage, Retiring, RollingBack,
    Taken, UndoStage, Watching,
};
use super::refusal::Refusal;
use super::release::{Release, Serving, Warmth};
use crate::name::DeploymentId;
use crate::records::DeploymentStatus;
use crate::spec::{OnRegression, Promotion};
use crate::time::Timestamp;

/// A deployment that ends with a step.
pub(super) type End = (DeploymentId, DeploymentStatus);

/// The next phase, and the deployments that end by it.
pub(super) struct Next {
    pub(super) phase: Phase,
    pub(super) ends: Vec<End>,
}

impl From<Phase> for Next {
    fn from(phase: Phase) -> Self {
        Self { phase, ends: Vec::new() }
    }
}

impl Next {
    fn ending(mut self, deployment: DeploymentId, status: DeploymentStatus) -> Self {
        self.ends.push((deployment, status));
        self
    }
}

fn settled(ground: Ground) -> Phase {
    Phase::Settled(ground)
}

/// The whole table of arrows.
pub(super) fn step(phase: Phase, event: &Event, now: Timestamp) -> Result<Next, Refusal> {
    let not_now = Refusal::NotNow { event: event.name(), state: phase.name() };
    match phase {
        Phase::Settled(ground) => from_settled(ground, event, now).unwrap_or(Err(not_now)),
        Phase::Pulling(pulling) => match event {
            Event::ImageReady(image) => Ok(pulling.image_ready(image.clone(), now).into()),
            Event::ImageFailed(failure) => {
                Ok(Phase::RollingBack(pulling.undo(Cause::Failed(failure.clone()))).into())
            }
            Event::Resumed => Ok(Phase::Pulling(pulling.resume(now)).into()),
            _ => abandoned(event).map(|cause| Phase::RollingBack(pulling.undo(cause)).into()).ok_or(not_now),
        },
        Phase::Holding(holding) => from_holding(holding, event, now).ok_or(not_now),
        Phase::Starting(starting) => match event {
            Event::ContainerStarted => Ok(Phase::HealthCheck(starting.started(now)).into()),
            Event::ContainerFailed(failure) => {
                Ok(Phase::RollingBack(starting.undo(Cause::Failed(failure.clone()))).into())
            }
            Event::Resumed => Ok(Phase::Starting(starting.resume(now)).into()),
            _ => abandoned(event).map(|cause| Phase::RollingBack(starting.undo(cause)).into()).ok_or(not_now),
        },
        Phase::HealthCheck(gate) => match event {
            // A rollback does not wait for a promotion: somebody has just asked for it. Nor do requests, where it was
            // promoted before they began to wait.
            Event::HealthCheckPassed => Ok(match gate.candidate().plan.policy.promotion {
                Promotion::Manual if gate.attempt().undoes.is_none() && gate.attempt().hold.is_none() => {
                    Phase::AwaitingPromotion(gate.await_promotion())
                }
                Promotion::Manual | Promotion::Auto => Phase::Switching(gate.switch()),
            }
            .into()),
            Event::HealthCheckFailed(failure) => {
                Ok(Phase::RollingBack(gate.undo(Cause::Failed(failure.clone()))).into())
            }
            Event::Resumed => Ok(Phase::HealthCheck(gate.resume(now)).into()),
            _ => abandoned(event).map(|cause| Phase::RollingBack(gate.undo(cause)).into()).ok_or(not_now),
        },
        Phase::AwaitingPromotion(waiting) => match event {
            Event::Promote => Ok(waiting.promoted(now).into()),
            Event::TargetUnhealthy { origin, failure, .. } => {
                about(waiting.candidate(), *origin, event)?;
                Ok(Phase::RollingBack(waiting.undo(Cause::Failed(failure.clone()))).into())
            }
            Event::Resumed => Ok(Phase::AwaitingPromotion(waiting).into()),
            _ => abandoned(event).map(|cause| Phase::RollingBack(waiting.undo(cause)).into()).ok_or(not_now),
        },
        Phase::Switching(switching) => match event {
            Event::TrafficSwitched { .. } => {
                let undone = switching.attempt().undoes;
                let next = Next::from(match switching.attempt().hold {
                    Some(_) => Phase::Watching(switching.released(now)),
                    None => Phase::Draining(switching.switched(now)),
                });
                Ok(match undone {
                    Some(undone) => next.ending(undone, DeploymentStatus::RolledBack),
                    None => next,
                })
            }
            Event::SwitchFailed(failure) => {
                Ok(Phase::RollingBack(switching.undo(Cause::Failed(failure.clone()))).into())
            }
            Event::ManualRecovery(_) => Ok(Phase::RollingBack(switching.undo(Cause::Cancelled)).into()),
            Event::Resumed => Ok(Phase::Switching(switching.resume(now)).into()),
            _ => Err(not_now),
        },
        Phase::Draining(draining) => from_draining(draining, event, now, not_now),
        Phase::Watching(watching) => from_watching(watching, event, now, not_now),
        Phase::Stopping(stopping) => match event {
            // Not stopped is no reason to doubt what serves: stopping is owed again, as upkeep.
            Event::ContainerStopped | Event::StopFailed(_) => {
                Ok(settled(Ground::Serving(stopping.stopped())).into())
            }
            Event::Resumed | Event::ManualRecovery(_) => Ok(Phase::Stopping(stopping).into()),
            _ => Err(busy(event, not_now)),
        },
        Phase::RollingBack(undoing) => {
            from_rolling_back(undoing, event, now).unwrap_or(Err(busy(event, not_now)))
        }
        Phase::Retiring(retiring) => from_retiring(retiring, event, now, not_now),
    }
}

fn from_holding(holding: Holding, event: &Event, now: Timestamp) -> Option<Next> {
    Some(
        match (event, holding.stage()) {
            (Event::TrafficSwitched { .. }, HoldStage::Routing) => Phase::Holding(holding.routed(now)),
            (Event::DrainComplete | Event::DrainTimedOut { .. }, HoldStage::Draining { .. }) => {
                Phase::Holding(holding.drained())
            }
            (Event::ContainerStopped, HoldStage::Stopping) => Phase::Starting(holding.stopped()),
            (Event::SwitchFailed(failure), HoldStage::Routing)
            | (Event::StopFailed(failure), HoldStage::Stopping) => {
                Phase::RollingBack(holding.undo(Cause::Failed(failure.clone())))
            }
            (Event::Resumed, _) => Phase::Holding(holding.resume(now)),
            _ => Phase::RollingBack(holding.undo(abandoned(event)?)),
        }
        .into(),
    )
}

fn from_draining(
    draining: Draining,
    event: &Event,
    now: Timestamp,
    not_now: Refusal,
) -> Result<Next, Refusal> {
    match event {
        Event::DrainComplete | Event::DrainTimedOut { .. } => Ok(Phase::Watching(draining.drained()).into()),
        Event::Cancel => undone(draining.undo(Cause::Cancelled, now)),
        Event::TargetUnhealthy { origin, failure, fallback } => {
            match regression(draining.taken(), *origin, *fallback, event)? {
                Regression::Recorded => Ok(Phase::Draining(draining.with_regression(failure.clone())).into()),
                Regression::ToPrevious => undone(draining.undo(Cause::Regressed(failure.clone()), now)),
                Regression::Lost => Ok(lost(draining.into_serving(), failure.clone())),
            }
        }
        Event::ManualRecovery(seen) => match judge(draining.taken().serving(), seen) {
            Verdict::LiveIsHealthy => Ok(Phase::Draining(draining.resume(now)).into()),
            Verdict::StandbyIsHealthy => undone(draining.undo(Cause::Cancelled, now)),
            Verdict::NothingIs => Err(Refusal::NothingHealthy),
        },
        // Requests may still run on the previous color: only it itself can take over now.
        Event::Deploy(order) if matches!(order.target, OrderTarget::Standby) => {
            let ended = draining.taken().serving().deployment;
            begin(Ground::Serving(draining.into_serving()), order, now)
                .map(|next| next.ending(ended, DeploymentStatus::Success))
        }
        Event::Resumed => Ok(Phase::Draining(draining.resume(now)).into()),
        _ => Err(busy(event, not_now)),
    }
}

fn from_watching(
    watching: Watching,
    event: &Event,
    now: Timestamp,
    not_now: Refusal,
) -> Result<Next, Refusal> {
    match event {
        Event::WatchPassed if now < watching.taken().watch_until() => {
            Err(Refusal::TooEarly { event: event.name() })
        }
        Event::WatchPassed => {
            let serving = watching.into_serving();
            let ended = serving.deployment;
            let phase = match serving.standby.as_ref().map(|standby| standby.warmth) {
                Some(Warmth::Running { until }) if until <= now => Phase::Stopping(serving.stop_standby()),
                _ => settled(Ground::Serving(serving)),
            };
            Ok(Next::from(phase).ending(ended, DeploymentStatus::Success))
        }
        Event::Cancel => undone(watching.undo(Cause::Cancelled, now)),
        Event::TargetUnhealthy { origin, failure, fallback } => {
            match regression(watching.taken(), *origin, *fallback, event)? {
                Regression::Recorded => Ok(Phase::Watching(watching.with_regression(failure.clone())).into()),
                Regression::ToPrevious => undone(watching.undo(Cause::Regressed(failure.clone()), now)),
                Regression::Lost => Ok(lost(watching.into_serving(), failure.clone())),
            }
        }
        Event::ManualRecovery(seen) => match judge(watching.taken().serving(), seen) {
            Verdict::LiveIsHealthy => Ok(Phase::Watching(watching.resume(now)).into()),
            Verdict::StandbyIsHealthy => undone(watching.undo(Cause::Cancelled, now)),
            Verdict::NothingIs => Err(Refusal::NothingHealthy),
        },
        Event::Deploy(order) if order.reason.undoes() => {
            let ended = watching.taken().serving().deployment;
            begin(Ground::Serving(watching.into_serving()), order, now)
                .map(|next| next.ending(ended, DeploymentStatus::Success))
        }
        Event::Resumed => Ok(Phase::Watching(watching.resume(now)).into()),
        _ => Err(busy(event, not_now)),
    }
}

fn from_retiring(
    retiring: Retiring,
    event: &Event,
    now: Timestamp,
    not_now: Refusal,
) -> Result<Next, Refusal> {
    match (event, retiring.stage()) {
        (Event::TrafficSwitched { .. }, RetireStage::Unrouting) => {
            Ok(Phase::Retiring(retiring.unrouted(now)).into())
        }
        (Event::DrainComplete | Event::DrainTimedOut { .. }, RetireStage::Draining { .. }) => {
            Ok(Phase::Retiring(retiring.drained()).into())
        }
        (Event::SwitchFailed(failure), RetireStage::Unrouting) => {
            Ok(settled(Ground::Failed(retiring.still_routed(failure.clone()))).into())
        }
        (Event::ContainerStopped, RetireStage::Removing) => Ok(settled(retiring.complete()).into()),
        (Event::StopFailed(failure), RetireStage::Removing) => {
            Ok(settled(Ground::Failed(retiring.fail(failure.clone()))).into())
        }
        (Event::Resumed | Event::ManualRecovery(_), _) => Ok(Phase::Retiring(retiring.resume(now)).into()),
        _ => Err(busy(event, not_now)),
    }
}

/// An operator whose order has to wait is told that, and not that it makes no sense.
fn busy(event: &Event, not_now: Refusal) -> Refusal {
    match (event, not_now) {
        (Event::Deploy(_) | Event::Retire { .. }, Refusal::NotNow { state, .. }) => Refusal::Busy { state },
        (_, not_now) => not_now,
    }
}

fn from_settled(ground: Ground, event: &Event, now: Timestamp) -> Option<Result<Next, Refusal>> {
    Some(match event {
        Event::Deploy(order) => begin(ground, order, now),
        Event::Retire { .. } => match ground {
            Ground::Retired { .. } => Err(Refusal::Already { event: event.name() }),
            ground @ (Ground::Pending(_) | Ground::Serving(_) | Ground::Failed(_)) => {
                Ok(Phase::Retiring(ground.retire()?).into())
            }
        },
        Event::WindowPassed => match ground {
            Ground::Serving(serving) => match serving.standby.as_ref()?.warmth {
                Warmth::Running { until } if until <= now => {
                    Ok(Phase::Stopping(serving.stop_standby()).into())
                }
                Warmth::Running { .. } => Err(Refusal::TooEarly { event: event.name() }),
                Warmth::Stopped => return None,
            },
            Ground::Pending(_) | Ground::Failed(_) | Ground::Retired { .. } => return None,
        },
        Event::StandbyLost(_) => match ground {
            Ground::Serving(serving) if serving.standby.is_some() => {
                Ok(settled(Ground::Serving(Serving { standby: None, ..serving })).into())
            }
            Ground::Serving(_) | Ground::Pending(_) | Ground::Failed(_) | Ground::Retired { .. } => {
                return None;
            }
        },
        // Nothing is in flight: only an end that the clock has moved away from has to be set anew.
        Event::Resumed => match ground {
            Ground::Serving(serving) => {
                let resumed = serving.clone().resume(now);
                if resumed == serving {
                    return None;
                }
                Ok(settled(Ground::Serving(resumed)).into())
            }
            Ground::Failed(_) | Ground::Pending(_) | Ground::Retired { .. } => return None,
        },
        Event::ExternalChange(_) | Event::Healed { .. } => match ground {
            ground @ (Ground::Serving(_) | Ground::Failed(Failed { serving: Some(_), .. })) => {
                Ok(settled(ground).into())
            }
            Ground::Failed(_) | Ground::Pending(_) | Ground::Retired { .. } => return None,
        },
        Event::GivenUp(failure) => match ground {
            Ground::Serving(serving)
            | Ground::Failed(Failed { serving: Some(serving), healing: Healing::GoesOn, .. }) => {
                Ok(settled(Ground::Failed(Failed {
                    deployment: serving.deployment,
                    serving: Some(serving),
                    reason: failure.clone(),
                    healing: Healing::GivenUp,
                }))
                .into())
            }
            Ground::Failed(_) | Ground::Pending(_) | Ground::Retired { .. } => return None,
        },
        Event::ManualRecovery(seen) => match ground {
            ground @ Ground::Serving(_) => Ok(settled(ground).into()),
            Ground::Failed(failed) => recover(failed, seen, now),
            Ground::Pending(_) | Ground::Retired { .. } => return None,
        },
        _ => return None,
    })
}

fn from_rolling_back(undoing: RollingBack, event: &Event, now: Timestamp) -> Option<Result<Next, Refusal>> {
    Some(Ok(match (event, undoing.stage()) {
        (Event::TrafficSwitched { .. }, UndoStage::Routing { .. }) => {
            Phase::RollingBack(undoing.routed(now)).into()
        }
        (Event::DrainComplete | Event::DrainTimedOut { .. }, UndoStage::Draining { .. }) => {
            Phase::RollingBack(undoing.drained()).into()
        }
        (Event::RollbackComplete, UndoStage::Removing) if undoing.recreates() => {
            Phase::RollingBack(undoing.restart()).into()
        }
        (Event::ContainerStarted, UndoStage::Restarting) => Phase::RollingBack(undoing.restarted(now)).into(),
        (Event::HealthCheckPassed, UndoStage::Proving { .. }) => Phase::RollingBack(undoing.proven()).into(),
        (Event::ContainerFailed(failure), UndoStage::Restarting)
        | (Event::HealthCheckFailed(failure), UndoStage::Proving { .. }) => {
            Phase::RollingBack(undoing.surrender(failure.clone())).into()
        }
        // What has the traffic is left with it. Anywhere later nothing has, and who waits is told.
        (Event::RollbackFailed(failure), _) if undoing.recreates() && undoing.confirmed().is_none() => {
            Phase::RollingBack(undoing.surrender(failure.clone())).into()
        }
        (Event::TrafficSwitched { .. }, UndoStage::Releasing { fault: Some(fault), .. }) => {
            let (deployment, undid, reason) = (undoing.deployment(), undoing.restores(), fault.clone());
            let next = Next::from(settled(Ground::Failed(undoing.surrendered(reason))))
                .ending(deployment, DeploymentStatus::Failed);
            match undid {
                Some(undid) => next.ending(undid, DeploymentStatus::Success),
                None => next,
            }
        }
        (Event::RollbackComplete, UndoStage::Removing)
        | (Event::TrafficSwitched { .. }, UndoStage::Releasing { fault: None, .. }) => {
            let (deployment, status) = (undoing.deployment(), undoing.cause().status());
            let undid = undoing.restores();
            let next = Next::from(settled(undoing.complete())).ending(deployment, status);
            match undid {
                Some(undid) => next.ending(undid, DeploymentStatus::Success),
                None => next,
            }
        }
        (Event::RollbackFailed(failure), _) => {
            let (deployment, undid) = (undoing.deployment(), undoing.restores());
            let next = Next::from(settled(Ground::Failed(undoing.fail(failure.clone()))))
                .ending(deployment, DeploymentStatus::Failed);
            match undid {
                Some(undid) => next.ending(undid, DeploymentStatus::Success),
                None => next,
            }
        }
        (Event::Resumed | Event::ManualRecovery(_), _) => Phase::RollingBack(undoing.resume(now)).into(),
        _ => return None,
    }))
}

/// A deployment begins on `ground`.
fn begin(ground: Ground, order: &Order, now: Timestamp) -> Result<Next, Refusal> {
    let undoes =
        if order.reason.undoes() { ground.serving().map(|serving| serving.deployment) } else { None };
    Ok(match &order.target {
        OrderTarget::Config(plan) => {
            Phase::Pulling(ground.pull(order.deployment, undoes, plan.clone(), None))
        }
        OrderTarget::Pinned { plan, image_id } => {
            Phase::Pulling(ground.pull(order.deployment, undoes, plan.clone(), Some(image_id.clone())))
        }
        OrderTarget::Standby => {
            Phase::HealthCheck(ground.rewarm(order.deployment, undoes, now).ok_or(Refusal::NoWarmStandby)?)
        }
    }
    .into())
}

/// What ends a deployment before its switch, whatever it is doing.
fn abandoned(event: &Event) -> Option<Cause> {
    match event {
        Event::Cancel | Event::ManualRecovery(_) => Some(Cause::Cancelled),
        Event::Superseded { .. } => Some(Cause::Superseded),
        _ => None,
    }
}

fn undone(undoing: Option<RollingBack>) -> Result<Next, Refusal> {
    undoing.map(|undoing| Phase::RollingBack(undoing).into()).ok_or(Refusal::NothingToGoBackTo)
}

/// The new color is unhealthy and the previous one no better: what serves stays, for want of
/// better, and people are told.
fn lost(serving: Serving, reason: super::event::Failure) -> Next {
    let deployment = serving.deployment;
    Next::from(settled(Ground::Failed(Failed {
        deployment,
        serving: Some(serving),
        reason,
        healing: Healing::GoesOn,
    })))
    .ending(deployment, DeploymentStatus::Failed)
}

enum Regression {
    Recorded,
    ToPrevious,
    Lost,
}

fn about(release: &Release, origin: DeploymentId, event: &Event) -> Result<(), Refusal> {
    if release.origin == origin {
        Ok(())
    } else {
        Err(Refusal::Elsewhere { event: event.name(), about: origin, release: release.origin })
    }
}

fn regression(
    taken: &Taken,
    origin: DeploymentId,
    fallback: Fallback,
    event: &Event,
) -> Result<Regression, Refusal> {
    let live = &taken.serving().live;
    about(live, origin, event)?;
    match (live.plan.policy.on_regression, fallback) {
        (OnRegression::Record, _) if taken.regression().is_some() => {
            Err(Refusal::Already { event: event.name() })
        }
        (OnRegression::Record, _) => Ok(Regression::Recorded),
        // It is started again, however it is now.
        (OnRegression::RollBack, _) if taken.serving().recreates() => Ok(Regression::ToPrevious),
        (OnRegression::RollBack, Fallback::Healthy) if taken.serving().standby.is_some() => {
            Ok(Regression::ToPrevious)
        }
        (OnRegression::RollBack, Fallback::Healthy | Fallback::Unfit) => Ok(Regression::Lost),
    }
}

enum Verdict {
    LiveIsHealthy,
    StandbyIsHealthy,
    NothingIs,
}

fn judge(serving: &Serving, seen: &Observation) -> Verdict {
    let healthy = |release: &Release| seen.healthy.contains(&(release.color, release.origin));
    if healthy(&serving.live) {
        Verdict::LiveIsHealthy
    } else if serving.standby.as_ref().is_some_and(|standby| healthy(&standby.release)) {
        Verdict::StandbyIsHealthy
    } else {
        Verdict::NothingIs
    }
}

fn recover(failed: Failed, seen: &Observation, now: Timestamp) -> Result<Next, Refusal> {
    let verdict = failed.serving.as_ref().map_or(Verdict::NothingIs, |serving| judge(serving, seen));
    let given_up = failed.healing == Healing::GivenUp;
    let phase = match verdict {
        Verdict::LiveIsHealthy => failed.recovered(now).map(|serving| settled(Ground::Serving(serving))),
        Verdict::StandbyIsHealthy => failed.fall_back().map(Phase::RollingBack),
        // It was given up, and is now to be tried again.
        Verdict::NothingIs if given_up => {
            failed.recovered(now).map(|serving| settled(Ground::Serving(serving)))
        }
        Verdict::NothingIs => None,
    };
    phase.map(Next::from).ok_or(Refusal::NothingHealthy)
}
