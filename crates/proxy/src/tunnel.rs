//! What an upgraded connection becomes: bytes both ways, until both sides have ended, or until its upstream
//! is closed. Then it ends in order: what was sent arrives, and a WebSocket is told that the other side goes
//! away.

use crate::client_io::ClientIo;
use crate::client_stream::ClientStream;
use crate::proxy::Proxy;
use crate::upstream::{Hold, InFlight, Kind};
use crate::upstream_stream::UpstreamStream;
use crate::websocket::{Frames, GOING_AWAY};
use bytes::Bytes;
use http::HeaderMap;
use http::header::UPGRADE;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What is spoken in a tunnel, as far as its end depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    WebSocket,
    Other,
}

impl Protocol {
    /// The one that the head of a 101 names.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let named =
            headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if named { Self::WebSocket } else { Self::Other }
    }
}

/// Carries bytes between `client` and `upstream` (with what was read early), in a task of its own, once the client
/// has upgraded. `in_flight` counts until the tunnel is closed; `closings` is how often its upstream had been closed
/// when it was counted in.
pub(crate) fn start(
    proxy: &Arc<Proxy>,
    protocol: Protocol,
    client: OnUpgrade,
    upstream: (UpstreamStream, Bytes),
    (in_flight, closings): (InFlight, u64),
) {
    let shared = Arc::clone(proxy);
    let in_flight = in_flight.counted_as(match protocol {
        Protocol::WebSocket => Kind::WebSocket,
        Protocol::Other => Kind::Tunnel,
    });
    let held_by = Arc::clone(in_flight.upstream());
    let farewell = CancellationToken::new();
    let told = farewell.clone();
    let tunnel = proxy.connections.spawn(async move {
        run(&shared, protocol, (client, upstream), (in_flight, told)).await;
    });
    held_by.hold(Hold::Tunnel(tunnel.abort_handle(), farewell), closings);
}

async fn run(
    proxy: &Proxy,
    protocol: Protocol,
    (client, upstream): (OnUpgrade, (UpstreamStream, Bytes)),
    (in_flight, farewell): (InFlight, CancellationToken),
) {
    let end = async {
        tokio::select! {
            () = farewell.cancelled() => {}
            () = proxy.ending.given() => {}
        }
    };
    tokio::pin!(end);
    let opened = tokio::select! {
        opened = open(client, upstream) => opened,
        () = &mut end => return,
    };
    let (mut client, mut upstream) = match opened {
        Ok(ends) => ends,
        Err(error) => return tracing::debug!(%error, "a tunnel did not open"),
    };
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a tunnel broke");
            }
        }
        () = end => {
            drop((in_flight, upstream));
            // A client that takes or says too much does not get more time for it.
            let _late = timeout(proxy.limits.linger_time, part(client, protocol)).await;
        }
    }
}

async fn open(
    client: OnUpgrade,
    (mut upstream, early_from_upstream): (UpstreamStream, Bytes),
) -> io::Result<(ClientEnd<ClientStream>, UpstreamStream)> {
    let (client, early_from_client) = bare(client.await.map_err(io::Error::other)?)?;
    let (client, not_yet_taken) = client.into_inner().into_parts();
    let mut client = ClientEnd { stream: client, frames: Frames::default() };
    upstream.write_all(&early_from_client).await?;
    upstream.write_all(&not_yet_taken).await?;
    client.write_all(&early_from_upstream).await?;
    client.flush().await?;
    Ok((client, upstream))
}

/// Ends a connection without a reset: says good-bye, and listens until the client has heard it.
async fn part<S>(mut client: ClientEnd<S>, protocol: Protocol) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if protocol == Protocol::WebSocket && client.frames.may_end_here() {
        client.stream.write_all(&GOING_AWAY).await?;
    }
    client.stream.shutdown().await?;
    let mut scratch = [0; 4096];
    while client.stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// The client's end of a tunnel, which knows how far the frames have come that were written to it.
#[derive(Debug)]
struct ClientEnd<S> {
    stream: S,
    frames: Frames,
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientEnd<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientEnd<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.frames.follow(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The socket under an upgraded connection, and what was already read from it.
fn bare(upgraded: Upgraded) -> io::Result<(TokioIo<ClientIo<ClientStream>>, Bytes)> {
    let parts =
        upgraded.downcast().map_err(|_| io::Error::other("an upgraded connection of another kind"))?;
    Ok((parts.io, parts.read_buf))
}
