//! What an app's containers wrote, as it is: nothing is escaped here.

use super::access::{Caller, shut_out};
use super::error::Problem;
use super::query::Asked;
use super::segment::Segment;
use super::{app_name, apps};
use crate::run::state::State;
use axum::body::Body;
use axum::extract::{self, Extension};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use dockswap_core::Color;
use dockswap_core::ports::{Container, EngineError};
use dockswap_docker::Follow;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Absent: what serves, else what is there.
    color: Option<Color>,
    /// Lines from the end; absent: all.
    tail: Option<usize>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn logs(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let app = app_name(&app)?;
    let view = apps::view(&state, &app)?;
    let all = state.controller.containers(&app).await?;
    let color = which.color.or(view.active_color);
    let chosen: Vec<Container> =
        all.into_iter().filter(|container| color.is_none_or(|color| container.color == color)).collect();
    if chosen.is_empty() {
        return Err(Problem::no_container(&app, color));
    }
    let follow = if which.follow { Follow::Yes } else { Follow::No };
    let several = chosen.len() > 1;
    let streams = chosen.iter().map(|container| {
        let log = state.docker.logs(&container.id, which.tail, follow);
        if several { named(container.name.clone(), log) } else { log }
    });
    let shut_out = Box::pin(shut_out(state.clone(), caller, Some(app)));
    let log =
        stream::select_all(streams).take_until(state.stop.clone().cancelled_owned()).take_until(shut_out);
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(log)).into_response())
}

type Log = BoxStream<'static, Result<Bytes, EngineError>>;

/// The lines of `log`, each with the container's name before it.
fn named(name: String, log: Log) -> Log {
    // The end of a line that has begun and not ended is kept until the rest comes.
    let pieces = log.map(Some).chain(stream::once(async { None }));
    let lines = pieces.scan(BytesMut::new(), move |open, piece| {
        let out = match piece {
            Some(Ok(bytes)) => {
                open.extend_from_slice(&bytes);
                let ended = open.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                Some(Ok(prefixed(&name, &open.split_to(ended))))
            }
            Some(Err(error)) => Some(Err(error)),
            None => {
                open.extend_from_slice(if open.is_empty() { b"" } else { b"\n" });
                Some(Ok(prefixed(&name, &open.split())))
            }
        };
        std::future::ready(out)
    });
    lines.boxed()
}

fn prefixed(name: &str, lines: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" | ");
        out.extend_from_slice(line);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::named;
    use bytes::Bytes;
    use futures_util::stream::{self, StreamExt};

    #[tokio::test]
    async fn pieces_of_lines_are_put_together_before_they_are_named() {
        let pieces = ["one\ntw", "o\n", "thr", "ee"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let named: Vec<_> = named("web-blue-1".to_owned(), stream::iter(pieces).boxed()).collect().await;
        let text: String = named
            .into_iter()
            .map(|piece| String::from_utf8(piece.expect("bytes").to_vec()).expect("UTF-8"))
            .collect();
        assert_eq!(text, "web-blue-1 | one\nweb-blue-1 | two\nweb-blue-1 | three\n");
    }
}
