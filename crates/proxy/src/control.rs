//! The control socket: HTTP and JSON for the one controller. Understands questions; what they do
//! is the business of [`crate::switchboard`] and [`crate::upstream`].

use crate::switchboard::Switchboard;
use crate::wire::{self, Failure};
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::routes::RouteTable;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
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

/// Serves `board` on `listener`.
pub(crate) fn start(listener: UnixListener, board: Arc<Switchboard>) -> Control {
    let stop = CancellationToken::new();
    let until_stopped = stop.clone().run_until_cancelled_owned(serve(listener, board));
    Control { stop, serving: tokio::spawn(async move { until_stopped.await.unwrap_or(()) }) }
}

async fn serve(listener: UnixListener, board: Arc<Switchboard>) {
    let mut connections = JoinSet::new();
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
        let board = Arc::clone(&board);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let board = Arc::clone(&board);
                async move { Ok::<_, Infallible>(answer(board, request).await) }
            });
            // A connection may end in any way: each question is answered or asked again.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(board: Arc<Switchboard>, request: Request<Incoming>) -> Reply {
    let done = match (request.method(), request.uri().path()) {
        (&Method::PUT, wire::TABLE) => put_table(board, request).await,
        (&Method::PUT, wire::CERTIFICATES) => put_certificates(board, request).await,
        (&Method::GET, wire::CERTIFICATES) => json(StatusCode::OK, &wire::Held { tag: board.held() }),
        (&Method::GET, wire::STATUS) => json(StatusCode::OK, &board.status().await),
        (&Method::POST, wire::DRAINED) => drained(&board, request).await,
        (&Method::POST, wire::CLOSE) => close(board, request).await,
        (method, path) => Err(Failure::Misunderstood { message: format!("there is no {method} {path}") }),
    };
    done.or_else(|failure| json(failure.status(), &failure)).unwrap_or_else(|_| {
        let mut reply = Response::new(Full::default());
        *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        reply
    })
}

async fn put_table(board: Arc<Switchboard>, request: Request<Incoming>) -> Result<Reply, Failure> {
    let table: RouteTable = read(request).await?;
    // In a task of its own: a controller that goes away half-way leaves no half-made change.
    match tokio::spawn(async move { board.install(table).await }).await {
        Ok(installed) => installed.map(|()| no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
}

async fn put_certificates(board: Arc<Switchboard>, request: Request<Incoming>) -> Result<Reply, Failure> {
    let keyring: Keyring = read(request).await?;
    // In a task of its own, as above.
    match tokio::spawn(async move { board.hold(keyring).await }).await {
        Ok(()) => Ok(no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
}

async fn drained(board: &Switchboard, request: Request<Incoming>) -> Result<Reply, Failure> {
    let wire::Drain { upstreams, patience } = read(request).await?;
    let left = board.proxy().upstreams.drained(&upstreams, patience.min(LONGEST_PATIENCE)).await;
    json(StatusCode::OK, &left)
}

async fn close(board: Arc<Switchboard>, request: Request<Incoming>) -> Result<Reply, Failure> {
    let wire::Close { upstreams } = read(request).await?;
    // In a task of its own: what was begun is finished, whoever waits for it.
    match tokio::spawn(async move { board.proxy().upstreams.close(&upstreams).await }).await {
        Ok(()) => Ok(no_content()),
        Err(error) => Err(Failure::Refused { message: error.to_string() }),
    }
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

fn no_content() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Stale { .. } => StatusCode::CONFLICT,
            Self::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Misunderstood { .. } => StatusCode::BAD_REQUEST,
        }
    }
}
