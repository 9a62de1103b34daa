//! One client connection: a socket, what is spoken on it, and each request answered by [`crate::forward`].

use crate::admission::Admitted;
use crate::client_io::{ClientIo, Shared};
use crate::client_stream::ClientStream;
use crate::forward;
use crate::handshake::{Secured, Shaken, shake};
use crate::http2::{self, Parting};
use crate::inbound;
use crate::message::Request;
use crate::notable::Notable;
use crate::proxy::Proxy;
use crate::request_body::Incoming;
use crate::room::Room;
use crate::sniff::{Spoken, sniff};
use crate::stall;
use crate::stop::{Stop, run_until};
use crate::table::Door;
use bytes::Bytes;
use http::HeaderValue;
use hyper::server::conn::http2::Connection;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

/// The one at the other end, as far as its requests are concerned.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) door: Door,
    /// Its address, as `X-Forwarded-For` says it.
    pub(crate) peer: HeaderValue,
    /// The same, where it is one that stands in front and is believed.
    pub(crate) is_front: Option<IpAddr>,
    pub(crate) shared: Arc<Shared>,
    /// What its address may have in flight on HTTP/2 connections, where that is counted.
    pub(crate) streams: Option<Arc<Room>>,
    /// What was agreed on under TLS; `None`: it is plain.
    pub(crate) secured: Option<Secured>,
}

/// How a connection begins.
enum Begun {
    /// By what the client says first.
    Plainly(ClientStream, Spoken, Bytes),
    /// By a handshake.
    Secured(ClientStream, Spoken, Secured),
    /// There will be no requests.
    Over,
}

/// Serves `stream` in a task of its own, until it ends or is told to.
pub(crate) fn start(
    proxy: &Arc<Proxy>,
    door: Door,
    stream: ClientStream,
    ip: IpAddr,
    mut admitted: Admitted,
    listener: Arc<Stop>,
) {
    let served = Arc::clone(proxy);
    proxy.connections.spawn(async move {
        let begun = tokio::select! {
            begun = begin(&served, door, stream, ip, &mut admitted) => begun,
            // It has not asked for anything yet.
            () = listener.given() => return,
            () = served.draining.given() => return,
        };
        let (ip, begun) = match begun {
            Ok(begun) => begun,
            Err(error) => return tracing::debug!(%ip, %error, "a connection did not begin"),
        };
        let (stream, spoken, early, secured) = match begun {
            Begun::Plainly(stream, spoken, early) => (stream, spoken, early, None),
            Begun::Secured(stream, spoken, secured) => (stream, spoken, Bytes::new(), Some(secured)),
            Begun::Over => return,
        };
        let Ok(peer) = HeaderValue::from_str(&ip.to_string()) else { return };
        let is_front = served.front.trusts(ip).then_some(ip);
        let shared = Arc::new(Shared::new());
        let streams = if spoken == Spoken::Http2 { admitted.streams() } else { None };
        let client = Client { proxy: Arc::clone(&served), door, peer, is_front, shared, streams, secured };
        let ended = serve(client, spoken, stream, early, &listener).await;
        if let Some(Err(error)) = ended {
            tracing::debug!(%ip, %error, "a client connection broke");
        }
        drop(admitted);
    });
}

/// Finds out who is at the other end of a connection from `ip`, and what it speaks.
async fn begin(
    proxy: &Proxy,
    door: Door,
    mut stream: ClientStream,
    ip: IpAddr,
    admitted: &mut Admitted,
) -> io::Result<(IpAddr, Begun)> {
    let client = proxy.front.greet(&mut stream, ip, proxy.limits.head_time).await?;
    if client != ip && !admitted.is_of(client) {
        proxy.meter.refused();
        return Err(io::Error::other("too many connections"));
    }
    Ok((client, speak(proxy, door, stream).await?))
}

async fn speak(proxy: &Proxy, door: Door, stream: ClientStream) -> io::Result<Begun> {
    match stream {
        // On the heap: a connection would keep its room to its end, and a plain one as well.
        ClientStream::Tcp(stream) if proxy.table().is_secure(door) => {
            match Box::pin(shake(stream, proxy)).await? {
                Shaken::Client(stream, spoken, secured) => {
                    Ok(Begun::Secured(ClientStream::Tls(stream), spoken, secured))
                }
                Shaken::AcmeServer => Ok(Begun::Over),
            }
        }
        mut stream => {
            let (spoken, early) = sniff(&mut stream, &proxy.limits).await?;
            Ok(Begun::Plainly(stream, spoken, early.freeze()))
        }
    }
}

/// Serves a client whose protocol is known, to the end of its connection; `None`: it was cut.
async fn serve(
    client: Client,
    spoken: Spoken,
    stream: ClientStream,
    early: Bytes,
    listener: &Stop,
) -> Option<Result<(), Broken>> {
    let proxy = Arc::clone(&client.proxy);
    let client = Arc::new(client);
    match spoken {
        Spoken::Http1 => {
            let connection = pin!(inbound::serve(&client, stream, early, listener));
            // It looks at the signals itself: here they wake it.
            run_until(connection, [listener, &proxy.draining], &proxy.ending, |_| ())
                .await
                .map(|ended| Ok(ended?))
        }
        Spoken::Http2 => {
            let shared = Arc::clone(&client.shared);
            let io = TokioIo::new(ClientIo::new(stream, early, shared, Arc::clone(&proxy.limits)));
            let asked = Arc::clone(&client);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let client = Arc::clone(&asked);
                // On the heap: it is large, moved about, and a connection that rests would keep its room.
                Box::pin(async move {
                    let mut request = Request::from(request).map(Incoming::Http2);
                    let (busy, notable) = (client.shared.begin(), Notable::of(&request.fields));
                    let answer = forward::answer(&client, &mut request, notable, busy).await;
                    // From now on it is the client's turn, also before the first piece.
                    stall::handed_over();
                    Ok::<_, Infallible>(http::Response::from(answer))
                })
            });
            let connection = http2::builder(&proxy.limits).serve_connection(io, service);
            let tell = |connection: Pin<&mut _>| Connection::graceful_shutdown(connection);
            let connection = Parting::new(connection, Arc::clone(&client.shared), tell);
            // It loses nothing by being told at once: what is on its way is told apart from what comes too late.
            let gentle = [listener, &proxy.parting];
            let finish = |mut connection: Pin<&mut Parting<_, _>>| connection.finish();
            run_until(pin!(connection), gentle, &proxy.ending, finish).await.map(|ended| Ok(ended?))
        }
    }
}

/// How a connection ended that was not ended in order.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Http1(#[from] inbound::Broken),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}
