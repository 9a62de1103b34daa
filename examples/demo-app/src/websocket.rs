//! The WebSocket echo. It knows nothing of the other paths.

use crate::answers::{Stopping, told_to_stop};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

/// Accepts the upgrade and echoes every message until the peer closes or the app stops (then it
/// closes with 1001, "going away"). `None` when the request is no WebSocket handshake.
pub(crate) fn echo(
    mut request: Request<Incoming>,
    stopping: watch::Receiver<Stopping>,
) -> Option<Response<()>> {
    let accept = derive_accept_key(request.headers().get(SEC_WEBSOCKET_KEY)?.as_bytes());
    let accept = HeaderValue::from_str(&accept).ok()?;
    let upgrade = hyper::upgrade::on(&mut request);
    // The receiver lives as long as the socket does: the app exits when the last one is dropped.
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            serve(socket, stopping).await;
        }
    });
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

async fn serve(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    mut stopping: watch::Receiver<Stopping>,
) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                // Pings and closes are answered by the library as it is polled.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            () = told_to_stop(&mut stopping) => {
                let going_away = CloseFrame { code: CloseCode::Away, reason: "stopping".into() };
                // The peer may be gone already: then there is nobody to tell.
                let _ = socket.close(Some(going_away)).await;
                return;
            }
        }
    }
}
