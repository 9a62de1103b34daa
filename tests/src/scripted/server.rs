//! Docker's API over a Unix socket: requests are understood, made to misbehave where that was ordered,
//! done, and written down.

use super::api;
use super::call::Request;
use super::rule::Fault;
use super::streams::{Body, full};
use super::world::{World, lock};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// The connection is closed without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut as ordered")
    }
}

impl std::error::Error for Cut {}

/// Serves until the listener's runtime ends. While `up` says no, connections are closed at once, and
/// so are those that are open.
pub(super) async fn serve(listener: UnixListener, world: Arc<Mutex<World>>, up: watch::Receiver<bool>) {
    while let Ok((stream, _)) = listener.accept().await {
        if *up.borrow() {
            tokio::spawn(converse(stream, Arc::clone(&world), up.clone()));
        }
    }
}

async fn converse(stream: UnixStream, world: Arc<Mutex<World>>, mut up: watch::Receiver<bool>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&world)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that goes away, or an answer that is withheld, ends it: both are as they should be.
        _ = connection => {}
        _ = up.wait_for(|up| !up) => {}
    }
}

async fn answer(request: hyper::Request<Incoming>, world: Arc<Mutex<World>>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let query = parts.uri.query().unwrap_or_default();
    let Some(request) = Request::read(&parts.method, parts.uri.path(), query, &body) else {
        return Ok(refused(501, &format!("{} {} is not played", parts.method, parts.uri)));
    };
    let fault = lock(&world).meets(&request);
    match fault {
        None => Ok(done(request, world).await),
        Some(Fault::Late(delay)) => {
            // What was asked for is done, also when nobody waits for it any more.
            let late = async move {
                tokio::time::sleep(delay).await;
                done(request, world).await
            };
            tokio::spawn(late).await.map_err(|_| Cut)
        }
        Some(Fault::Says(status, words)) => {
            let mut world = lock(&world);
            let mut entry = world.entry(&request);
            entry.status = Some(status);
            world.write_down(entry);
            Ok(refused(status, &words))
        }
        Some(Fault::Cut) => Err(Cut),
        Some(Fault::LostReply) => {
            done(request, world).await;
            Err(Cut)
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::DoneAndHang) => {
            done(request, world).await;
            std::future::pending().await
        }
        Some(Fault::Meanwhile(what)) => {
            // It may wait, and look at this very Docker.
            let happened = tokio::task::spawn_blocking(move || what()).await;
            happened.expect("what was to happen meanwhile has happened");
            Ok(done(request, world).await)
        }
    }
}

/// Does what is asked for to its end, whether or not anybody waits for the answer.
async fn done(request: Request, world: Arc<Mutex<World>>) -> Response<Body> {
    let answered = tokio::spawn(async move {
        let entry = request.call.changes().then(|| lock(&world).entry(&request));
        // Written down first, for its time is when it began.
        let at = entry.map(|entry| lock(&world).write_down(entry));
        let answer = api::perform(&request, &world).await;
        let status = match &answer {
            Ok(response) => response.status().as_u16(),
            Err((status, _)) => *status,
        };
        if let Some(at) = at {
            lock(&world).asked[at].status = Some(status);
        }
        answer.unwrap_or_else(|(status, words)| refused(status, &words))
    });
    answered.await.unwrap_or_else(|error| refused(500, &error.to_string()))
}

/// An answer with a message, as Docker words its refusals.
fn refused(status: u16, words: &str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(json!({"message": words}).to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
