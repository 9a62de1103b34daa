//! The upkeep of the records: what is old is removed, by itself once a day and where they take more room than
//! they may, and when somebody asks; and images that nobody can go back to any more are given up as soon as a
//! deployment has ended. It must not know what may go: that is for the controller to say.

use super::state::State;
use dockswap_config::RetentionSettings;
use dockswap_controller::{Notice, OrderError, PruneMode, PruneOutcome, Rest, Retention};
use dockswap_core::records::in_words;
use dockswap_core::retention::Pruned;
use dockswap_core::{AppName, DeploymentId, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// How soon after the start it is looked for the first time: what is to be deployed then goes first.
const AT_FIRST: Duration = Duration::from_mins(1);

/// How often it is looked whether the records take too much.
const LOOK: Duration = Duration::from_hours(1);

/// How often what is old is removed.
const ROUND: Duration = Duration::from_hours(24);

/// How long one app is worked at in one go.
const GO: Duration = Duration::from_secs(5);

/// What is younger is not removed for want of room.
const YOUNG: Duration = Duration::from_hours(24);

/// Into how many parts the time on record is divided when the oldest are to go for want of room.
const PARTS: i64 = 20;

/// One app, and what went of it.
pub(crate) type OfApp = (AppName, Pruned);

/// What came of a look at every app.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// What went, of the apps of which anything did.
    pub(crate) apps: Vec<OfApp>,
    /// Whether there is more to do.
    pub(crate) more: bool,
}

/// Removes what is old of every app, for at most `time` altogether.
///
/// # Errors
/// The first failure; what was removed until then stays so.
pub(crate) async fn prune(
    state: &State,
    mode: PruneMode,
    before: Timestamp,
    time: Duration,
) -> Result<Round, OrderError> {
    // One at a time: two would do the same.
    let _turn = state.pruning.lock().await;
    let until = Instant::now() + time;
    let mut round = Round::default();
    for app in state.controller.app_names() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            round.more = true;
            break;
        }
        let retention =
            Retention { deployments: state.retention.deployments, before, mode, time: left.min(GO) };
        let PruneOutcome { pruned, rest } = match state.controller.prune(&app, &retention).await {
            // It has moved on, or is gone.
            Err(OrderError::Refused(_) | OrderError::UnknownApp(_)) => continue,
            outcome => outcome?,
        };
        round.more |= rest == Rest::Later && !pruned.is_nothing();
        if !pruned.is_nothing() {
            round.apps.push((app, pruned));
        }
    }
    Ok(round)
}

/// The time before which records may go.
pub(crate) fn horizon(retention: &RetentionSettings, now: Timestamp) -> Timestamp {
    let micros = i64::try_from(retention.history.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(micros))
}

/// When everything was last looked through, over restarts: a file in the data directory that holds the time.
#[derive(Clone, Debug)]
pub(crate) struct LastRound(pub(crate) PathBuf);

impl LastRound {
    /// How long after `now` the next one is due. One from the future is none: the clock was set back.
    fn due_in(&self, now: Timestamp) -> Duration {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let last = text.trim().parse().ok().map(Timestamp::from_micros).filter(|last| *last <= now);
        last.map_or(Duration::ZERO, |last| (last + ROUND).saturating_since(now))
    }

    fn note(&self, now: Timestamp) {
        if let Err(error) = std::fs::write(&self.0, format!("{}\n", now.as_micros())) {
            // It is repeated after the next start: nothing is lost by that.
            tracing::debug!(file = %self.0.display(), %error, "the time of the last round cannot be noted");
        }
    }
}

/// Looks after the records until `state.stop`.
pub(crate) async fn run(state: Arc<State>) {
    let mut notices = state.controller.notices();
    let mut next_look = Instant::now() + AT_FIRST;
    // By app, the deployment after which its images were looked at.
    let mut looked_at = BTreeMap::new();
    loop {
        let due = tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep_until(next_look) => Due::Look,
            () = state.prune_on.notified() => Due::Rest,
            notice = notices.recv() => match notice {
                Ok(Notice::Committed { app, deployment }) => Due::Images(vec![(app, deployment)]),
                Ok(Notice::Progress { .. }) => continue,
                Err(RecvError::Lagged(_)) => Due::Images(newest(&state)),
                // The controller is about to end.
                Err(RecvError::Closed) => return,
            },
        };
        let work = async {
            match due {
                Due::Images(apps) => {
                    for (app, deployment) in apps {
                        give_up_images(&state, &app, deployment, &mut looked_at).await?;
                    }
                    Ok(())
                }
                Due::Rest => thorough(&state, horizon(&state.retention, state.now())).await,
                Due::Look => {
                    next_look = Instant::now() + LOOK;
                    if state.last_round.due_in(state.now()).is_zero() {
                        thorough(&state, horizon(&state.retention, state.now())).await?;
                        state.last_round.note(state.now());
                    }
                    make_room(&state).await
                }
            }
        };
        tokio::select! {
            () = state.stop.cancelled() => return,
            outcome = work => if let Err(error) = outcome {
                tracing::error!(error = in_words(&error), "what is old could not be removed: it is tried again");
            }
        }
    }
}

/// What is to be done.
enum Due {
    /// Deployments of these apps may have ended.
    Images(Vec<(AppName, DeploymentId)>),
    /// What an order has left.
    Rest,
    /// It is time to look.
    Look,
}

/// Every app, with what was last deployed.
fn newest(state: &State) -> Vec<(AppName, DeploymentId)> {
    let views = state.controller.views().into_iter();
    views.filter_map(|view| Some((view.app, view.serving?))).collect()
}

/// Gives up the images of `app` that it cannot go back to any more, once `deployment` has ended: on a small disk the
/// next one may need their room before the day is over.
async fn give_up_images(
    state: &State,
    app: &AppName,
    deployment: DeploymentId,
    looked_at: &mut BTreeMap<AppName, DeploymentId>,
) -> Result<(), OrderError> {
    let settled = state.controller.view(app).is_some_and(|view| view.in_flight.is_none());
    if !settled || looked_at.insert(app.clone(), deployment) == Some(deployment) {
        return Ok(());
    }
    let _turn = state.pruning.lock().await;
    // Nothing else is as old as that.
    let before = Timestamp::default();
    let most = state.retention.deployments;
    let retention = Retention { deployments: most, before, mode: PruneMode::ForReal, time: GO };
    match state.controller.prune(app, &retention).await {
        Ok(PruneOutcome { pruned, .. }) => {
            if pruned.images > 0 {
                tracing::info!(%app, images = pruned.images, "gave up images that cannot be gone back to any more");
            }
            Ok(())
        }
        // It has moved on, or is gone.
        Err(OrderError::Refused(_) | OrderError::UnknownApp(_)) => {
            looked_at.remove(app);
            Ok(())
        }
        Err(error) => {
            looked_at.remove(app);
            Err(error)
        }
    }
}

/// Until nothing is left that may go.
async fn thorough(state: &State, before: Timestamp) -> Result<(), OrderError> {
    loop {
        let round = prune(state, PruneMode::ForReal, before, Duration::from_mins(1)).await?;
        for (app, Pruned { images, deployments, configs, events }) in &round.apps {
            tracing::info!(%app, images, deployments, configs, events, "removed what is old");
        }
        if !round.more {
            return Ok(());
        }
    }
}

/// Removes the oldest, a part at a time, until the records take no more than they may.
async fn make_room(state: &State) -> Result<(), OrderError> {
    let history = state.database.history();
    let newest = Timestamp::from_micros(
        state.now().as_micros() - i64::try_from(YOUNG.as_micros()).unwrap_or(i64::MAX),
    );
    let mut before = match history.oldest_event().await? {
        Some(oldest) if oldest < newest => oldest,
        _ => return Ok(()),
    };
    let part = (newest.as_micros() - before.as_micros()) / PARTS + 1;
    while history.used_bytes().await? > state.retention.max_size_bytes {
        if before >= newest {
            tracing::warn!(
                max_size = state.retention.max_size_bytes,
                "the records take more than retention.max_size, and all that may go is gone"
            );
            return Ok(());
        }
        before = Timestamp::from_micros(before.as_micros() + part).min(newest);
        thorough(state, before).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{LastRound, ROUND};
    use dockswap_core::Timestamp;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    #[test]
    fn a_restart_neither_repeats_nor_starves_a_round() {
        let dir = tempfile::tempdir().unwrap();
        let last = LastRound(dir.path().join("last-round"));
        assert_eq!(last.due_in(NOW), Duration::ZERO);
        last.note(NOW);
        assert_eq!(last.due_in(NOW), ROUND);
        assert_eq!(last.due_in(NOW + ROUND / 4), ROUND * 3 / 4);
        assert_eq!(last.due_in(NOW + ROUND), Duration::ZERO);
        // Noted while the clock was ahead, or not by us.
        last.note(NOW + ROUND);
        assert_eq!(last.due_in(NOW), Duration::ZERO);
        std::fs::write(&last.0, "yesterday").unwrap();
        assert_eq!(last.due_in(NOW), Duration::ZERO);
    }
}
