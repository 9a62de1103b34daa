//! The upkeep of the records: what is old is removed, by itself once a day and where they take more room than
//! they may, and when somebody asks. It must not know what may go: that is for the controller to say.

use super::state::State;
use dockswap_config::RetentionSettings;
use dockswap_controller::{OrderError, PruneMode, PruneOutcome, Rest, Retention};
use dockswap_core::records::in_words;
use dockswap_core::retention::Pruned;
use dockswap_core::{AppName, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How soon after the start it is looked for the first time: what is to be deployed then goes first.
const AT_FIRST: Duration = Duration::from_mins(10);

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

/// Looks after the records until `state.stop`.
pub(crate) async fn run(state: Arc<State>) {
    let mut next_round = Instant::now() + AT_FIRST;
    let mut next_look = next_round;
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep_until(next_look) => {}
        }
        next_look = Instant::now() + LOOK;
        let work = async {
            if Instant::now() >= next_round {
                next_round = Instant::now() + ROUND;
                thorough(&state, horizon(&state.retention, state.now())).await?;
            }
            make_room(&state).await
        };
        tokio::select! {
            () = state.stop.cancelled() => return,
            outcome = work => if let Err(error) = outcome {
                tracing::error!(error = in_words(&error), "what is old could not be removed: it is tried again");
            }
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
