//! Orders that come with an `Idempotency-Key` are carried out once, however often they are sent. The
//! key is on record before its order is begun, and the answer after it; what becomes of an order whose
//! client went away is recorded all the same.
//!
//! A key without an answer, of an order that nobody is carrying out, is that of an order whose end
//! nobody knows: the controller was killed, or the database did not answer. Then the events that came
//! after the key tell whether the order went through. It must not know how an order is carried out.

use super::access::Caller;
use super::code::Code;
use super::error::Problem;
use super::{PAGE_BODY_LIMIT, wire};
use crate::clock::wall_clock;
use crate::run::state::State;
use axum::body::{Body, to_bytes};
use axum::extract::{self, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dockswap_config::sha256;
use dockswap_core::AppName;
use dockswap_core::machine::{Event, Order, OrderReason, OrderTarget};
use dockswap_core::records::StoreError;
use dockswap_store::{EventScope, KeyId, KeyRecord, NewKey, Reservation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The most characters of a key.
pub(super) const LONGEST_KEY: usize = 255;

/// How long an order may take to be begun. Its client has been answered before that.
const LONGEST: Duration = Duration::from_secs(120);

/// The most bytes of an answer that is kept.
const KEPT: usize = 256 * 1024;

/// How many events are read at once.
const BATCH: u64 = 200;

/// How often old keys are forgotten.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// The orders with a key.
pub(super) struct Orders {
    state: Arc<State>,
    /// Those that are being carried out.
    running: Mutex<BTreeSet<KeyId>>,
}

impl Orders {
    pub(super) fn new(state: Arc<State>) -> Arc<Self> {
        Arc::new(Self { state, running: Mutex::default() })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeSet<KeyId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: somebody else is at it.
    fn take(self: &Arc<Self>, id: &KeyId) -> Option<Turn> {
        self.running().insert(id.clone()).then(|| Turn { orders: self.clone(), id: id.clone() })
    }
}

/// The right to carry out the order with a key; ends when it is dropped.
struct Turn {
    orders: Arc<Orders>,
    id: KeyId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.orders.running().remove(&self.id);
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

/// Lets a request through, once where it is an order with a key.
pub(super) async fn once(
    extract::State(orders): extract::State<Arc<Orders>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match key(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => orders.carry_out(&key, request, next).await.unwrap_or_else(Problem::into_response),
        Err(problem) => problem.into_response(),
    }
}

/// Forgets old keys, for as long as the controller runs.
pub(super) async fn sweep(state: Arc<State>) {
    loop {
        if let Err(error) = state.database.sweep_keys(wall_clock()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old keys of orders are not forgotten yet"
            );
        }
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// The key that a request carries.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    match key {
        Some(key) if (1..=LONGEST_KEY).contains(&key.len()) && keys.next().is_none() => {
            Ok(Some(key.to_owned()))
        }
        _ => {
            let told = format!("write one Idempotency-Key of 1 to {LONGEST_KEY} visible ASCII characters");
            Err(Problem::new(Code::BadKey, told))
        }
    }
}

impl Orders {
    async fn carry_out(
        self: Arc<Self>,
        key: &str,
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let id = KeyId { actor: actor(&request), key_sha: sha256(key.as_bytes()).0 };
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, PAGE_BODY_LIMIT).await.map_err(|error| unread(&error))?;
        let order = NewKey { fingerprint: fingerprint(&parts, &body), at: wall_clock(), id: id.clone() };
        let turn = self.take(&id).ok_or_else(|| {
            Problem::new(
                Code::KeyRunning,
                "the order with this key is being carried out: ask again for its answer",
            )
        })?;
        // Also when its client goes away.
        match tokio::spawn(turn.carry_out(order, parts, body.to_vec(), next)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Turn {
    async fn carry_out(
        self,
        order: NewKey,
        parts: Parts,
        body: Vec<u8>,
        next: Next,
    ) -> Result<Response, Problem> {
        let database = &self.orders.state.database;
        match database.reserve_key(&order).await? {
            Reservation::Fresh => {}
            Reservation::Known(record) if record.fingerprint != order.fingerprint => {
                let told = "this key was sent with another order (method, path or body): write a new one";
                return Err(Problem::new(Code::KeyMismatch, told));
            }
            Reservation::Known(KeyRecord { answer: Some(answer), .. }) => return Ok(replayed(&answer)),
            Reservation::Known(record) => {
                if let Some(found) = self.found(&parts, &body, record.after_event).await? {
                    let answer = serde_json::to_string(&Answer::of(&found)).unwrap_or_default();
                    self.keep(answer.clone()).await;
                    return Ok(replayed(&answer));
                }
            }
        }
        let request = Request::from_parts(parts, Body::from(body));
        let done = tokio::time::timeout(LONGEST, next.run(request)).await;
        let response = done.unwrap_or_else(|_| Problem::late().into_response());
        if response.status().is_server_error() {
            // Whether it went through is not known, or may change.
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|error| unread(&error))?;
        if let Some(answer) = kept(&parts, &body) {
            self.keep(answer).await;
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    async fn keep(&self, answer: String) {
        if let Err(error) = self.orders.state.database.answer_key(&self.id, answer).await {
            // Sent again, the order is looked for among the events.
            tracing::warn!(error = &error as &dyn std::error::Error, "an order's answer is not on record");
        }
    }

    /// What an order did of which nothing is known but that it came after the event `after`.
    async fn found(
        &self,
        parts: &Parts,
        body: &[u8],
        mut after: i64,
    ) -> Result<Option<wire::Accepted>, StoreError> {
        let Some((app, verb)) = aim(parts) else { return Ok(None) };
        let scope = EventScope::App(app);
        loop {
            let rows = self.orders.state.database.history().events_after(&scope, after, BATCH).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            after = last.id;
            let mut events = rows.into_iter().map(wire::Event::from).filter(|event| !event.refused);
            let own = |event: &wire::Event| {
                event.decoded().is_some_and(|event| is_of(&event, &parts.method, verb, body))
            };
            if let Some(event) = events.find(own) {
                let deployment = Some(event.deployment);
                return Ok(Some(wire::Accepted { deployment, begun: true, queued: false }));
            }
        }
    }
}

impl Answer {
    fn of(accepted: &wire::Accepted) -> Self {
        Self {
            status: StatusCode::ACCEPTED.as_u16(),
            kind: "application/json".to_owned(),
            body: serde_json::to_string(accepted).unwrap_or_default(),
        }
    }
}

/// The app that an order is about, and what is ordered.
fn aim(parts: &Parts) -> Option<(AppName, &str)> {
    let rest = parts.uri.path().strip_prefix("/v1/apps/")?;
    let (app, verb) = rest.split_once('/').unwrap_or((rest, ""));
    Some((app.parse().ok()?, verb))
}

/// Whether `event` is what comes of an order.
fn is_of(event: &Event, method: &Method, verb: &str, body: &[u8]) -> bool {
    match (event, method, verb) {
        (Event::Deploy(Order { reason, target, .. }), &Method::POST, verb) => match (reason, verb) {
            (OrderReason::Deploy | OrderReason::Edit, "deployments") => {
                let wanted =
                    serde_json::from_slice(body).ok().and_then(|order: wire::DeployOrder| order.image);
                match (target, wanted) {
                    (OrderTarget::Config(plan), Some(image)) => plan.image == image,
                    (_, wanted) => wanted.is_none(),
                }
            }
            (OrderReason::Rollback, "rollback") | (OrderReason::Switch, "switch") => true,
            _ => false,
        },
        (Event::Promote, &Method::POST, "promote")
        | (Event::Cancel, &Method::POST, "cancel")
        | (Event::ManualRecovery(_), &Method::POST, "recover")
        | (Event::Paused { .. }, &Method::POST, "pause")
        | (Event::Unpaused, &Method::POST, "resume")
        | (Event::MaintenanceBegan { .. }, &Method::POST, "maintenance")
        | (Event::MaintenanceEnded, &Method::DELETE, "maintenance")
        | (Event::Retire { .. }, &Method::DELETE, "") => true,
        _ => false,
    }
}

/// Who sent it.
fn actor(request: &Request) -> String {
    let caller = request.extensions().get::<Caller>();
    // Not by its name alone: another token may have that name later.
    caller.map_or_else(String::new, |caller| match &caller.token {
        Some(token) => format!("{} {}", caller.actor, token.id),
        None => caller.actor.clone(),
    })
}

fn fingerprint(parts: &Parts, body: &[u8]) -> String {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    sha256(format!("{} {target}\n{}", parts.method, sha256(body)).as_bytes()).0
}

/// What of an answer is kept; `None`: nothing, it is too long.
fn kept(parts: &axum::http::response::Parts, body: &[u8]) -> Option<String> {
    let is_secret = parts.headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store");
    let answer = if is_secret {
        let told =
            "the order with this key was carried out, and its answer, which held a secret, is not kept";
        let problem = Problem::new(Code::AnswerNotKept, told).into_wire();
        Answer {
            status: problem.status,
            kind: wire::PROBLEM.to_owned(),
            body: serde_json::to_string(&problem).ok()?,
        }
    } else {
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        Answer {
            status: parts.status.as_u16(),
            kind: kind.unwrap_or_default().to_owned(),
            body: std::str::from_utf8(body).ok()?.to_owned(),
        }
    };
    serde_json::to_string(&answer).ok().filter(|text| text.len() <= KEPT)
}

fn replayed(text: &str) -> Response {
    let Ok(Answer { status, kind, body }) = serde_json::from_str(text) else {
        return Problem::new(Code::Database, "the answer on record cannot be read").into_response();
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if let Ok(kind) = HeaderValue::from_str(&kind)
        && !kind.is_empty()
    {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A body that did not come whole.
fn unread(error: &axum::Error) -> Problem {
    let is_too_long = std::error::Error::source(error)
        .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
    if is_too_long {
        Problem::too_long(PAGE_BODY_LIMIT)
    } else {
        Problem::new(Code::BadRequest, format!("the body broke off: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{Answer, KEY, aim, is_of, kept, key};
    use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
    use dockswap_core::DeploymentId;
    use dockswap_core::machine::{Event, Order, OrderReason, OrderTarget};

    #[test]
    fn a_key_is_one_short_visible_text() {
        let headers = |texts: &[&[u8]]| {
            texts.iter().map(|text| (KEY, HeaderValue::from_bytes(text).unwrap())).collect::<HeaderMap>()
        };
        assert_eq!(key(&headers(&[])).unwrap(), None);
        assert_eq!(key(&headers(&[b"k-1"])).unwrap(), Some("k-1".to_owned()));
        assert!(key(&headers(&[&[b'x'; 255]])).unwrap().is_some());
        for bad in [&[&b""[..]][..], &[b"a b"], &[b"\xff"], &[&[b'x'; 256]], &[b"a", b"b"]] {
            assert!(key(&headers(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_order_is_known_by_its_event() {
        let of = |reason| {
            Event::Deploy(Order { deployment: DeploymentId(7), target: OrderTarget::Standby, reason })
        };
        let orders = [
            (of(OrderReason::Deploy), Method::POST, "deployments"),
            (of(OrderReason::Rollback), Method::POST, "rollback"),
            (of(OrderReason::Switch), Method::POST, "switch"),
            (Event::Promote, Method::POST, "promote"),
            (Event::Cancel, Method::POST, "cancel"),
            (Event::Unpaused, Method::POST, "resume"),
            (Event::MaintenanceBegan { page: None }, Method::POST, "maintenance"),
            (Event::MaintenanceEnded, Method::DELETE, "maintenance"),
            (Event::Retire { newest: None }, Method::DELETE, ""),
        ];
        for (event, method, verb) in &orders {
            for (other, of_method, of_verb) in &orders {
                let expected = event == other;
                assert_eq!(
                    is_of(event, of_method, of_verb, b"{}"),
                    expected,
                    "{method} {verb} {of_verb} {other:?}"
                );
            }
        }
        let parts = |path: &str| Request::post(path).body(()).unwrap().into_parts().0;
        assert_eq!(aim(&parts("/v1/apps/web/rollback")), Some(("web".parse().unwrap(), "rollback")));
        assert_eq!(aim(&parts("/v1/apps/web")), Some(("web".parse().unwrap(), "")));
        assert_eq!(aim(&parts("/v1/reload")), None);
    }

    #[test]
    fn an_answer_that_holds_a_secret_is_not_kept() {
        let parts = |secret: bool| {
            let mut response =
                Response::builder().status(201).header(header::CONTENT_TYPE, "application/json");
            if secret {
                response = response.header(header::CACHE_CONTROL, "no-store");
            }
            response.body(()).unwrap().into_parts().0
        };
        let answer = |text: Option<String>| serde_json::from_str::<Answer>(&text.unwrap()).unwrap();
        let plain = answer(kept(&parts(false), b"{\"a\":1}"));
        assert_eq!((plain.status, plain.body.as_str()), (201, "{\"a\":1}"));
        let secret = answer(kept(&parts(true), b"dsw_canary"));
        assert_eq!(secret.status, 409);
        assert!(!secret.body.contains("canary") && secret.body.contains("answer_not_kept"));
        assert!(kept(&parts(false), &vec![b'x'; 300_000]).is_none());
    }
}
