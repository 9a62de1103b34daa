//! The control socket: HTTP and JSON for the one controller. Understands questions; what they do
//! is the business of [`crate::switchboard`] and [`crate::upstream`].

use crate::socket::Claim;
use crate::switchboard::{Asker, Switchboard};
use crate::wire::{self, Failure};
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::RouterError;
use dockswap_core::routes::RouteTable;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The longest question: a table of some 100,000 routes.
const LONGEST: usize = 64 * 1024 * 1024;

/// The longest that a drain is waited for in one call.
const LONGEST_PATIENCE: Duration = Duration::from_hours(24);

type Reply = Response<Full<Bytes>>;

/// The running control socket.
#[derive(Debug)]
pub(crate) struct Control {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Control {
    /// Ends all its connections.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // Only a panic or the runtime's end could make this an error; nobody is served then either.
        let _ended = self.serving.await;
    }
}

/// What questions are about.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) board: Arc<Switchboard>,
    /// What a successor is handed besides the listeners.
    pub(crate) claim: Arc<Claim>,
}

/// Answers on `listener`.
pub(crate) fn start(listener: UnixListener, desk: Desk) -> Control {
    let stop = CancellationToken::new();
    let until_stopped = stop.clone();
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        until_stopped.run_until_cancelled(serve(listener, desk, &mut connections)).await;
        // Waited for: each holds the claim, which the next proxy needs.
        connections.shutdown().await;
    });
    Control { stop, serving }
}

async fn serve(listener: UnixListener, desk: Desk, connections: &mut JoinSet<()>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the control socket");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let service = service(&desk, Channel::Socket);
        connections.spawn(async move {
            // A connection may end in any way: each question is answered or asked again.
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(serving.with_upgrades().await);
        });
    }
}

/// Answers the one that took over, as long as either lives.
async fn serve_lifeline(lifeline: UnixStream, desk: Desk) {
    let serving = http2::Builder::new(TokioExecutor::new());
    drop(serving.serve_connection(TokioIo::new(lifeline), service(&desk, Channel::Lifeline)).await);
    desk.board.lose_successor();
}

/// Over what questions come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Socket,
    Lifeline,
}

impl Channel {
    /// Who asks `request`.
    fn asker(self, request: &Request<Incoming>) -> Asker {
        match self {
            Self::Socket => Asker::OnSocket,
            Self::Lifeline => {
                let within = request.headers().get(wire::WITHIN).and_then(|value| value.to_str().ok());
                Asker::OnLifeline(Duration::from_millis(
                    within.and_then(|text| text.parse().ok()).unwrap_or(0),
                ))
            }
        }
    }
}

fn service(
    desk: &Desk,
    channel: Channel,
) -> impl HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible, Future: Send> + use<> {
    let desk = desk.clone();
    service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok(answer(desk, channel.asker(&request), request).await) }
    })
}

async fn answer(desk: Desk, asker: Asker, request: Request<Incoming>) -> Reply {
    let board = Arc::clone(&desk.board);
    let done = match (request.method(), request.uri().path()) {
        (&Method::PUT, wire::TABLE) => put_table(board, asker, request).await,
        (&Method::GET, wire::STATUS) => json(StatusCode::OK, &board.status(asker).await),
        (&Method::PUT, wire::CERTIFICATES) => put_certificates(board, asker, request).await,
        (&Method::GET, wire::CERTIFICATES) => json(StatusCode::OK, &wire::Held { tag: board.held() }),
        (&Method::GET, wire::METRICS) => Ok(text(board.proxy().meter.text())),
        (&Method::POST, wire::DRAINED) => drained(&board, asker, request).await,
        (&Method::POST, wire::CLOSE) => close(board, asker, request).await,
        (&Method::POST, wire::HANDOVER) => hand_over(&desk, request),
        (method, path) => Err(Failure::Misunderstood { message: format!("there is no {method} {path}") }),
    };
    // What was found out while another proxy took over is not the whole truth.
    let done = desk.board.answers(asker).and(done);
    done.or_else(|failure| json(failure.status(), &failure)).unwrap_or_else(|_| {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        reply
    })
}

async fn put_table(
    board: Arc<Switchboard>,
    asker: Asker,
    request: Request<Incoming>,
) -> Result<Reply, Failure> {
    let table: RouteTable = read(request).await?;
    // In a task of its own: a controller that goes away half-way leaves no half-made change.
    match tokio::spawn(async move { board.install(table, asker).await }).await {
        Ok(installed) => installed.map(|()| no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
}

async fn put_certificates(
    board: Arc<Switchboard>,
    asker: Asker,
    request: Request<Incoming>,
) -> Result<Reply, Failure> {
    let unread = |_| Failure::Misunderstood { message: "it is no keyring of this version".to_owned() };
    // What is wrong with it could quote a key.
    let keyring: Keyring = read(request).await.map_err(unread)?;
    // In a task of its own, as above.
    match tokio::spawn(async move { board.hold(keyring, asker).await }).await {
        Ok(held) => held.map(|()| no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
}

async fn drained(board: &Switchboard, asker: Asker, request: Request<Incoming>) -> Result<Reply, Failure> {
    let wire::Drain { upstreams, patience } = read(request).await?;
    let left = board.drained(&upstreams, patience.min(LONGEST_PATIENCE), asker).await?;
    json(StatusCode::OK, &left)
}

async fn close(board: Arc<Switchboard>, asker: Asker, request: Request<Incoming>) -> Result<Reply, Failure> {
    let wire::Close { upstreams } = read(request).await?;
    // In a task of its own: what was begun is finished, whoever waits for it.
    match tokio::spawn(async move { board.end(&upstreams, asker).await }).await {
        Ok(ended) => ended.map(|()| no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
}

/// Begins to hand over to another proxy.
fn hand_over(desk: &Desk, mut request: Request<Incoming>) -> Result<Reply, Failure> {
    let asked = request.headers().get(UPGRADE).map(HeaderValue::as_bytes);
    if asked != Some(wire::HANDOVER_PROTOCOL.as_bytes()) {
        let message = format!("this proxy hands over by {} only", wire::HANDOVER_PROTOCOL);
        return Err(Failure::Misunderstood { message });
    }
    if desk.board.has_parted() {
        return Err(Failure::Refused { message: "another proxy has taken over, or is about to".to_owned() });
    }
    let (upgrade, desk) = (hyper::upgrade::on(&mut request), desk.clone());
    // In a task of its own: it outlives the control socket.
    tokio::spawn(async move {
        let Ok(asked) = upgrade.await else { return };
        match desk.board.hand_over(asked, &desk.claim).await {
            Ok(lifeline) => serve_lifeline(lifeline, desk).await,
            Err(error) => tracing::error!(%error, "another proxy wanted to take over and did not"),
        }
    });
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    reply.headers_mut().insert(UPGRADE, HeaderValue::from_static(wire::HANDOVER_PROTOCOL));
    Ok(reply)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let body = Limited::new(request.into_body(), LONGEST).collect().await;
    let bytes = body.map_err(|error| Failure::Misunderstood { message: error.to_string() })?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| Failure::Misunderstood { message: error.to_string() })
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Reply, Failure> {
    let text =
        serde_json::to_vec(value).map_err(|error| Failure::Misunderstood { message: error.to_string() })?;
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

fn text(text: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

fn no_content() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// What another proxy did not do may be done when it is asked again.
impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        Self::Unavailable { message: error.to_string() }
    }
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Stale { .. } => StatusCode::CONFLICT,
            Self::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Misunderstood { .. } => StatusCode::BAD_REQUEST,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
