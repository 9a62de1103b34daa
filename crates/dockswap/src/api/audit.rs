//! Putting orders on record: each leaves one row, done or not. What is written in a transaction of its own takes the row
//! with it; what is left is written here, once the answer is known. What is refused again and again is counted.

use super::access::Caller;
use super::code::Code;
use super::error::Problem;
use super::query::{Asked, Limit, Offset, Part};
use super::records::Listed;
use super::tokens::random_digits;
use super::wire;
use crate::clock::wall_clock;
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Request};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dockswap_controller::Signature;
use dockswap_core::AppName;
use dockswap_core::audit::{AuditRecord, AuditResult};
use dockswap_core::ports::Store;
use dockswap_store::{AuditScope, Database};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many orders of one caller that were not carried out get a row each in a [`WINDOW`].
const MOST_REFUSED: u32 = 30;

/// See [`MOST_REFUSED`].
const WINDOW: Duration = Duration::from_secs(60);

/// How many callers are counted apart.
const MOST_CALLERS: usize = 1_024;

/// Whoever comes when so many are counted already.
const OTHERS: &str = "others";

/// Names a request, in its answer and on record.
const REQUEST_ID: &str = "x-request-id";

/// It waits for its turn: whoever carries it out, or gives it up, puts it on record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued;

/// The record of an order that was just asked. `caller`: as far as they are known.
pub(super) fn record(verb: &str, target: String, caller: &Result<Caller, String>) -> AuditRecord {
    let (actor, token, address) = match caller {
        Ok(caller) => {
            (caller.actor.clone(), caller.token.as_ref().map(|token| token.id.clone()), caller.via.clone())
        }
        Err(address) => ("unknown".to_owned(), None, Some(address.clone())),
    };
    AuditRecord {
        at: wall_clock(),
        actor,
        token,
        address,
        verb: verb.to_owned(),
        target,
        detail: json!({}),
        result: AuditResult::Failed,
        deployment: None,
        request: request_id(),
    }
}

/// The same for what a command does by itself, as the user who runs it.
pub(crate) fn record_of_this_user(verb: &str, target: String) -> AuditRecord {
    let uid = nix::unistd::Uid::current();
    let name = nix::unistd::User::from_uid(uid).ok().flatten();
    let actor = name.map_or_else(|| format!("uid:{uid}"), |user| format!("uid:{uid}({})", user.name));
    AuditRecord { actor, address: None, ..record(verb, target, &Err(String::new())) }
}

/// A name for a request that no other has.
pub(crate) fn request_id() -> String {
    // Without randomness nothing else works either; the time tells requests apart even so.
    random_digits(16).map_or_else(|_| wall_clock().as_micros().to_string(), |digits| digits.to_string())
}

/// Carries an order out, to its end, whether or not anybody still waits for the answer, and sees that it is on record.
pub(super) async fn carry_out(
    state: Arc<State>,
    record: AuditRecord,
    request: Request,
    next: Next,
) -> Response {
    let name = HeaderValue::from_str(&record.request).ok();
    let mut request = request;
    let signature = Signature::of(record);
    request.extensions_mut().insert(signature.clone());
    let work = tokio::spawn(async move {
        let carried_out = tokio::spawn(next.run(request)).await;
        // Where the handler has panicked, that is on record too.
        let response = carried_out.unwrap_or_else(|_| broke_off());
        conclude(&state, &signature, Told::of(&response)).await;
        response
    });
    let mut response = work.await.unwrap_or_else(|_| broke_off());
    if let Some(name) = name {
        response.headers_mut().insert(REQUEST_ID, name);
    }
    response
}

fn broke_off() -> Response {
    let detail = "the controller broke off: its log says why";
    Problem::new(Code::BrokeOff, detail).into_response()
}

/// What an answer says of what became of an order.
pub(super) enum Told {
    /// It waits for its turn.
    Queued,
    /// It was carried out, or not, and why not.
    Ended(StatusCode, Option<wire::Problem>),
}

impl Told {
    pub(super) fn of(response: &Response) -> Self {
        match response.extensions().get::<Queued>() {
            Some(Queued) => Self::Queued,
            None => Self::Ended(response.status(), response.extensions().get().cloned()),
        }
    }
}

/// Puts an order on record that nobody has put there yet, as it was answered.
pub(super) async fn conclude(state: &State, signature: &Signature, told: Told) {
    let Told::Ended(status, problem) = told else { return };
    let Some(mut record) = signature.take() else { return };
    record.result = match status {
        status if status.is_success() => AuditResult::Done,
        status if status.is_client_error() => AuditResult::Refused,
        _ => AuditResult::Failed,
    };
    if let Some(problem) = problem {
        record.note("code", problem.code.as_str());
        record.note("error", problem.detail.as_str());
    }
    state.ledger.enter(record).await;
}

/// What one caller was refused of late.
struct Refusals {
    since: Instant,
    written: u32,
    left_out: u64,
    last: AuditRecord,
}

/// Writes what is written nowhere else.
pub(crate) struct Ledger {
    database: Arc<Database>,
    refused: Arc<Mutex<HashMap<String, Refusals>>>,
}

impl Ledger {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, refused: Arc::default() }
    }

    /// Puts an order on record, or counts it.
    async fn enter(&self, record: AuditRecord) {
        if record.result == AuditResult::Done || self.has_room_for(&record) {
            write(&self.database, &record).await;
        }
    }

    /// Whether an order that was not carried out gets a row of its own. If not, it is counted, and the count gets one
    /// when the minute is over.
    fn has_room_for(&self, record: &AuditRecord) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, refusals| refusals.left_out > 0 || refusals.since.elapsed() < WINDOW);
        let mut who = match &record.address {
            Some(address) => format!("{} {address}", record.actor),
            None => record.actor.clone(),
        };
        if refused.len() >= MOST_CALLERS && !refused.contains_key(&who) {
            OTHERS.clone_into(&mut who);
        }
        let refusals = match refused.entry(who.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Refusals { since: Instant::now(), written: 0, left_out: 0, last: record.clone() })
            }
        };
        if refusals.written < MOST_REFUSED {
            refusals.written += 1;
            return true;
        }
        refusals.left_out += 1;
        if refusals.left_out == 1 {
            let left = WINDOW.saturating_sub(refusals.since.elapsed());
            let (database, all) = (self.database.clone(), self.refused.clone());
            tokio::spawn(async move {
                tokio::time::sleep(left).await;
                let over = all.lock().unwrap_or_else(PoisonError::into_inner).remove(&who);
                if let Some(over) = over {
                    write(&database, &counted(over)).await;
                }
            });
        }
        false
    }

    /// Writes down what was counted and is not on record yet: for the end.
    pub(crate) async fn close(&self) {
        let counted_so_far =
            std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        for refusals in counted_so_far.into_values().filter(|refusals| refusals.left_out > 0) {
            write(&self.database, &counted(refusals)).await;
        }
    }
}

/// A row for the orders that got none.
fn counted(refusals: Refusals) -> AuditRecord {
    AuditRecord {
        at: wall_clock(),
        verb: "refused_more".to_owned(),
        target: "controller".to_owned(),
        detail: json!({ "orders": refusals.left_out }),
        result: AuditResult::Refused,
        deployment: None,
        request: request_id(),
        ..refusals.last
    }
}

async fn write(database: &Database, record: &AuditRecord) {
    if let Err(error) = database.record_audit(record).await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(
            actor = record.actor,
            verb = record.verb,
            target = record.target,
            error,
            "an order is not on record"
        );
    }
}

/// Which rows are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    app: Option<AppName>,
    actor: Option<String>,
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    offset: Offset,
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Asked(Which { app, actor, limit, offset }): Asked<Which>,
    uri: Uri,
) -> Listed<wire::AuditLog> {
    let part = Part::of(limit, offset);
    let mut rows = state.database.history().audit(&AuditScope { app, actor }, part.to_read()).await?;
    let next = part.cut(&mut rows, &uri);
    Ok((next, Json(wire::AuditLog { audit: rows.into_iter().map(wire::AuditEntry::from).collect() })))
}
