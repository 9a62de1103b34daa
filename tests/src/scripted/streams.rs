//! Answers that come piece by piece: events, logs, pulls.

use super::call::Request;
use super::events::is_wanted;
use super::image::Pull;
use super::world::{Refusal, World, lock};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// A body in memory, or one that comes piece by piece and may break.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The bytes of a layer of a scripted image, and of a piece of it.
const LAYER: u32 = 1_000;

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn streamed(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response<Body> {
    let mut response =
        Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

/// What happened since, and what happens, until somebody cuts it.
pub(super) fn events(request: &Request, world: &Mutex<World>) -> Response<Body> {
    let world = lock(world);
    let since = request.query.get("since").and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let (labels, actions) = (request.filter("label"), request.filter("event"));
    let (past, live) = world.events.since(since);
    let past: VecDeque<Value> = past.into();
    let mut cuts = world.events.cuts.subscribe();
    cuts.mark_unchanged();
    let pieces = stream::unfold((past, live, cuts), move |(mut past, mut live, mut cuts)| {
        let (labels, actions) = (labels.clone(), actions.clone());
        async move {
            loop {
                let event = match past.pop_front() {
                    Some(event) => event,
                    None => tokio::select! {
                        biased;
                        _ = cuts.changed() => return None,
                        event = live.recv() => match event {
                            Ok(event) => event,
                            Err(RecvError::Lagged(_)) => continue,
                            Err(RecvError::Closed) => return None,
                        },
                    },
                };
                if is_wanted(&event, &labels, &actions) {
                    return Some((Ok(line(&event)), (past, live, cuts)));
                }
            }
        }
    });
    // Docker sends its head at once; so does this, with a body that has not begun.
    streamed(pieces)
}

/// The last lines, each framed as Docker frames what is not a terminal's.
pub(super) fn logs(request: &Request, world: &World) -> Result<Response<Body>, Refusal> {
    let lines = &world.container(&request.object)?.lines;
    let tail = request.query.get("tail").and_then(|text| text.parse().ok()).unwrap_or(lines.len());
    let mut bytes = Vec::new();
    for line in &lines[lines.len().saturating_sub(tail)..] {
        let text = format!("{line}\n");
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    Ok(Response::new(full(Bytes::from(bytes))))
}

/// One step of a pull.
enum Step {
    Say(Value),
    Wait(Duration),
    Keep(Vec<(String, String)>),
    Break,
    Stall,
}

/// What a pull of `reference` brings.
pub(super) fn pull(reference: &str, world: &Arc<Mutex<World>>) -> Result<Response<Body>, Refusal> {
    let script = lock(world).registry.get(reference).cloned();
    let steps: Vec<Step> = match script {
        None => {
            return Err((
                404,
                format!("manifest for {reference} not found: manifest unknown: manifest unknown"),
            ));
        }
        Some(Pull::Says(status, words)) => return Err((status, words)),
        Some(Pull::Gives(environment)) => {
            begins().into_iter().chain(half()).chain([Step::Keep(environment)]).collect()
        }
        Some(Pull::Crawls(environment, pause, count)) => {
            let mut steps = begins();
            for piece in 1..=count {
                steps.push(Step::Wait(pause));
                steps.push(downloading(LAYER * piece / count));
            }
            steps.push(Step::Keep(environment));
            steps
        }
        Some(Pull::Breaks(words)) => {
            let mut steps = begins();
            steps.extend(half());
            steps.push(Step::Say(json!({"errorDetail": {"message": words}, "error": words})));
            steps
        }
        Some(Pull::Cut) => begins().into_iter().chain(half()).chain([Step::Break]).collect(),
        Some(Pull::Stalls) => begins().into_iter().chain(half()).chain([Step::Stall]).collect(),
    };
    let (world, reference) = (Arc::clone(world), reference.to_owned());
    let pieces = stream::iter(steps).then(move |step| {
        let (world, reference) = (Arc::clone(&world), reference.clone());
        async move {
            match step {
                Step::Say(value) => Ok(line(&value)),
                Step::Wait(pause) => {
                    tokio::time::sleep(pause).await;
                    Ok(Bytes::new())
                }
                Step::Keep(environment) => {
                    let id = lock(&world).add_image(&reference, environment);
                    Ok(line(&json!({"status": format!("Digest: {id}")})))
                }
                Step::Break => Err(io::Error::other("cut as ordered")),
                Step::Stall => std::future::pending().await,
            }
        }
    });
    Ok(streamed(pieces))
}

fn begins() -> Vec<Step> {
    vec![
        Step::Say(json!({"status": "Pulling from scripted", "id": "latest"})),
        Step::Say(json!({"status": "Pulling fs layer", "progressDetail": {}, "id": "layer"})),
    ]
}

fn half() -> Vec<Step> {
    vec![downloading(LAYER / 2)]
}

fn downloading(bytes: u32) -> Step {
    Step::Say(json!({
        "status": "Downloading", "id": "layer", "progressDetail": {"current": bytes, "total": LAYER},
    }))
}
