//! What the app answers on each path. It knows nothing of sockets and signals.

use crate::settings::Settings;
use crate::websocket;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A body in memory, a stream, or the request's own.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// The app: its settings and what it has seen.
pub(crate) struct App {
    settings: Settings,
    started: Instant,
    requests: AtomicU64,
    probes: AtomicU64,
    in_flight: InFlight,
    /// What `/allocate` was asked for: kept for ever, as a leak would.
    leaked: Mutex<Vec<Vec<u8>>>,
    stopping: watch::Receiver<Stopping>,
}

/// Whether SIGTERM has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Not yet.
    No,
    /// Finish what is in flight.
    Yes,
}

/// Resolves when SIGTERM has come.
pub(crate) async fn told_to_stop(stopping: &mut watch::Receiver<Stopping>) {
    // The sender outlives every receiver, so there is no other way for this to end.
    let _ = stopping.wait_for(|stopping| *stopping == Stopping::Yes).await;
}

impl App {
    /// An app that starts now, and closes its web sockets when `stopping` says so.
    pub(crate) fn new(settings: Settings, in_flight: InFlight, stopping: watch::Receiver<Stopping>) -> Self {
        Self {
            settings,
            started: Instant::now(),
            requests: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            in_flight,
            leaked: Mutex::default(),
            stopping,
        }
    }

    /// Answers one request. Every answer names the version and the container.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = self.route(request).await;
        let headers = response.headers_mut();
        for (name, text) in
            [("x-app-version", &self.settings.version), ("x-container", &self.settings.container)]
        {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let _counted = (path != "/health").then(|| {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.in_flight.one_more()
        });
        match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/health") => self.health(),
            (&Method::GET | &Method::HEAD, "/") => text(format!("hello from {}\n", self.settings.version)),
            (&Method::GET, "/slow") => {
                let wait = Duration::from_millis(number(&request, "ms").unwrap_or(1_000));
                tokio::time::sleep(wait).await;
                text(format!("waited {} ms\n", wait.as_millis()))
            }
            (&Method::GET, "/sse") => server_sent_events(
                number(&request, "n").unwrap_or(10),
                Duration::from_millis(number(&request, "ms").unwrap_or(1_000)),
            ),
            (&Method::GET, "/bytes") => bytes(number(&request, "n").unwrap_or(1_024)),
            (&Method::GET, "/allocate") => self.allocate(number(&request, "mb").unwrap_or(1)),
            (&Method::GET, "/env") => {
                match query(&request, "name").and_then(|name| self.settings.environment.text(name)) {
                    Some(value) => text(value),
                    _ => status(StatusCode::NOT_FOUND),
                }
            }
            (&Method::GET, "/headers") => {
                text(request.headers().iter().fold(String::new(), |mut lines, (name, value)| {
                    // Writing to a String cannot fail.
                    let _ = writeln!(lines, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
                    lines
                }))
            }
            (&Method::GET, "/ws") => websocket::echo(request, self.stopping.clone())
                .map_or_else(|| status(StatusCode::UPGRADE_REQUIRED), |response| response.map(|()| empty())),
            (&Method::POST | &Method::PUT, "/echo") => {
                let kind = request.headers().get(CONTENT_TYPE).cloned();
                let mut response = Response::new(request.into_body().boxed());
                if let Some(kind) = kind {
                    response.headers_mut().insert(CONTENT_TYPE, kind);
                }
                response
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// Takes memory and writes to all of it, so that a memory limit is felt.
    fn allocate(&self, megabytes: u64) -> Response<Body> {
        let Some(bytes) = usize::try_from(megabytes).ok().and_then(|count| count.checked_mul(1 << 20)) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let mut leaked = self.leaked.lock().unwrap_or_else(PoisonError::into_inner);
        leaked.push(vec![1; bytes]);
        text(format!("{megabytes} MiB more\n"))
    }

    fn health(&self) -> Response<Body> {
        let (settings, requests) = (&self.settings.health, self.requests.load(Ordering::Relaxed));
        let probe = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        let code = settings.status(self.started.elapsed(), requests, probe);
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = text(if code.is_success() { "ok\n" } else { "not well\n" });
        *response.status_mut() = code;
        if let Some(location) = settings.location.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
        {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

/// Counts the requests that are being answered, probes not among them. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicU64>);

impl InFlight {
    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }
}

/// Counts until it is dropped.
struct Counted(InFlight);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn text(content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(content));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = text(format!("{code}\n"));
    *response.status_mut() = code;
    response
}

/// `count` events, one every `pause`.
fn server_sent_events(count: u64, pause: Duration) -> Response<Body> {
    let events = stream::unfold(0, move |sent| async move {
        if sent == count {
            return None;
        }
        if sent > 0 {
            tokio::time::sleep(pause).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("data: {}\n\n", sent + 1)))), sent + 1))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `count` bytes, streamed: each is its own offset modulo 251, so that a reader can check them.
fn bytes(count: u64) -> Response<Body> {
    const CHUNK: u64 = 64 * 1_024;
    let chunks = stream::unfold(0, move |sent| async move {
        let end = count.min(sent + CHUNK);
        let chunk: Bytes = (sent..end).map(|at| (at % 251) as u8).collect();
        (end > sent).then(|| (Ok(Frame::data(chunk)), end))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(chunks)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn query<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    query(request, name)?.parse().ok()
}
