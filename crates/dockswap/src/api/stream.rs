//! Events as they happen, as server-sent events. What is sent comes from the database: a notice of
//! the controller only says that it is time to look, so a follower that was too slow, or away,
//! misses no event.
//!
//! Messages: `transition` (data: an event, id: its id), `progress` (data: app and progress, no id),
//! and, in the stream of a deployment, a last `ended` (data: the deployment).

use super::access::{Caller, shut_out};
use super::code::Code;
use super::error::Problem;
use super::query::Asked;
use super::segment::Segment;
use super::{app_name, apps, deployment_id, wire};
use crate::run::state::State;
use axum::extract::{self, Extension};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use dockswap_controller::Notice;
use dockswap_core::AppName;
use dockswap_core::records::{DeploymentStatus, StoreError};
use dockswap_store::{EventScope, Page};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// How many rows are read at once.
const BATCH: u64 = 100;

/// How often the database is looked at without a notice.
const LOOK: Duration = Duration::from_secs(10);

/// How often a stream on which nothing happens says that it is alive.
const ALIVE: Duration = Duration::from_secs(10);

/// From where a stream begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// Only this app's.
    app: Option<AppName>,
    /// After this event; absent: what happens from now on.
    after: Option<EventId>,
}

/// The same where it is said already whose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// After this event; absent: what happens from now on (of a deployment: all that has happened).
    after: Option<EventId>,
}

/// The id of an event; 0: before the first one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct EventId(i64);

impl TryFrom<String> for EventId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let id = text.parse().ok().filter(|id| *id >= 0);
        id.map(Self).ok_or("write the id of an event, or 0 for all of them")
    }
}

type Answer = Result<Sse<KeepAliveStream<Messages>>, Problem>;
type Messages = std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>;

pub(super) async fn everything(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Asked(from): Asked<From>,
) -> Answer {
    let scope = match &from.app {
        Some(app) if !caller.sees(&state, app) => return Err(Problem::unknown_app(app)),
        Some(app) => EventScope::App(apps::view(&state, app)?.app),
        None => EventScope::All,
    };
    let after = begin(&state, &headers, from.after).await?;
    Ok(follow(Follower { app: from.app, scope, after, caller, state }))
}

pub(super) async fn app(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Asked(After { after }): Asked<After>,
) -> Answer {
    let app = app_name(&app)?;
    apps::view(&state, &app)?;
    let after = begin(&state, &headers, after).await?;
    Ok(follow(Follower { app: Some(app.clone()), scope: EventScope::App(app), after, caller, state }))
}

pub(super) async fn deployment(
    extract::State(state): extract::State<Arc<State>>,
    Segment(id): Segment,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Asked(After { after }): Asked<After>,
) -> Answer {
    let id = deployment_id(&id)?;
    let row = state.database.history().deployment(id).await?;
    let app = row.ok_or_else(|| Problem::unknown_deployment(id))?.app_name;
    let after = begin(&state, &headers, after.or(Some(EventId(0)))).await?;
    Ok(follow(Follower { app: Some(app), scope: EventScope::Deployment(id), after, caller, state }))
}

/// A client that comes back says what it saw last.
async fn begin(state: &State, headers: &HeaderMap, after: Option<EventId>) -> Result<i64, Problem> {
    let seen = match headers.get("last-event-id") {
        // So a browser says that it has seen none.
        Some(id) if id.is_empty() => None,
        Some(id) => {
            let id = id.to_str().map_err(|_| "no text").and_then(|id| EventId::try_from(id.to_owned()));
            Some(id.map_err(|told| Problem::new(Code::BadRequest, format!("Last-Event-ID: {told}")))?)
        }
        None => None,
    };
    match seen.or(after) {
        Some(EventId(after)) => Ok(after),
        None => {
            let newest = state.database.history().events(&EventScope::All, Page::first(1)).await?;
            Ok(newest.first().map_or(0, |event| event.id))
        }
    }
}

fn follow(follower: Follower) -> Sse<KeepAliveStream<Messages>> {
    let (sender, receiver) = mpsc::channel(16);
    let shut_out = shut_out(follower.state.clone(), follower.caller.clone(), follower.app.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = follower.run(sender) => {}
            () = shut_out => {}
        }
    });
    let messages = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|message| (Ok(message), receiver))
    });
    Sse::new(Box::pin(messages) as Messages).keep_alive(KeepAlive::new().interval(ALIVE))
}

/// Whom nobody listens to any more.
struct Gone;

type Sender = mpsc::Sender<Event>;

struct Follower {
    /// Whose notices are of interest; `None`: everybody's.
    app: Option<AppName>,
    scope: EventScope,
    /// The last event that was sent.
    after: i64,
    /// Who follows: only what they may see is told.
    caller: Caller,
    state: Arc<State>,
}

impl Follower {
    async fn run(mut self, sender: Sender) {
        // Listen first, then look: what is committed in between is noticed.
        let mut notices = self.state.controller.notices();
        while let Ok(true) = self.catch_up(&sender).await {
            let stop = self.state.stop.clone();
            loop {
                let notice = tokio::select! {
                    notice = notices.recv() => notice,
                    () = tokio::time::sleep(LOOK) => break,
                    () = stop.cancelled() => return,
                    () = sender.closed() => return,
                };
                match notice {
                    Ok(Notice::Committed { app, .. }) if self.is_about(&app) => break,
                    Ok(Notice::Progress { app, progress }) if self.is_about(&app) => {
                        let message = message("progress", &wire::ProgressNotice { app, progress });
                        if send(&sender, message).await.is_err() {
                            return;
                        }
                    }
                    Ok(Notice::Committed { .. } | Notice::Progress { .. }) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    fn is_about(&self, app: &AppName) -> bool {
        self.app.as_ref().is_none_or(|own| own == app) && self.caller.sees(&self.state, app)
    }

    /// Sends what is new. `false`: it was the last.
    async fn catch_up(&mut self, sender: &Sender) -> Result<bool, Gone> {
        match self.try_catch_up(sender).await {
            Ok(goes_on) => goes_on,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a follower of events has to wait");
                Ok(true)
            }
        }
    }

    async fn try_catch_up(&mut self, sender: &Sender) -> Result<Result<bool, Gone>, StoreError> {
        let history = self.state.database.history().clone();
        // The status first: an event that is read after it cannot be missing.
        let ended = match &self.scope {
            EventScope::Deployment(id) => {
                history.deployment(*id).await?.filter(|row| row.status != DeploymentStatus::InProgress)
            }
            EventScope::All | EventScope::App(_) => None,
        };
        loop {
            let rows = history.events_after(&self.scope, self.after, BATCH).await?;
            let count = rows.len();
            for row in rows {
                self.after = row.id;
                if !self.caller.sees(&self.state, &row.app_name) {
                    continue;
                }
                let event = self.caller.veil(&self.state).over_event(wire::Event::from(row));
                let message = message("transition", &event).map(|message| message.id(event.id.to_string()));
                if send(sender, message).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
            if count < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                break;
            }
        }
        let Some(row) = ended else { return Ok(Ok(true)) };
        Ok(send(sender, message("ended", &wire::Deployment::from(row))).await.map(|()| false))
    }
}

fn message(name: &str, data: &impl Serialize) -> Result<Event, axum::Error> {
    Event::default().event(name).json_data(data)
}

async fn send(sender: &Sender, message: Result<Event, axum::Error>) -> Result<(), Gone> {
    match message {
        Ok(message) => sender.send(message).await.map_err(|_| Gone),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written as JSON");
            Ok(())
        }
    }
}
