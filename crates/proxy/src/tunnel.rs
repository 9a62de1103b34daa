//! What an upgraded connection becomes: bytes both ways, until both sides have ended, or until its upstream
//! is closed. Then it ends in order: what was sent arrives, and a WebSocket is told that the other side goes
//! away.

use crate::client_stream::ClientStream;
use crate::ending::Ending;
use crate::message::Fields;
use crate::proxy::Proxy;
use crate::upstream::{Hold, InFlight, Kind};
use crate::upstream_stream::UpstreamStream;
use crate::websocket::{Frames, GOING_AWAY};
use bytes::Bytes;
use http::header::UPGRADE;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// What is spoken in a tunnel, as far as its end depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    WebSocket,
    Other,
}

impl Protocol {
    /// The one that the head of a 101 names.
    pub(crate) fn of(fields: &Fields) -> Self {
        let named =
            fields.get(&UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if named { Self::WebSocket } else { Self::Other }
    }
}

/// What a tunnel holds until it is closed.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) in_flight: InFlight,
    pub(crate) ending: Ending,
    /// How long it may carry nothing; `None`: as long as it likes.
    pub(crate) silence_time: Option<Duration>,
}

/// A client's socket, with what was read of it and not yet taken, once the answer to its request was written.
pub(crate) type AwaitedSocket = oneshot::Receiver<(ClientStream, Bytes)>;

/// Carries bytes between `client` and `upstream` (with what was read early), in a task of its own, once the client
/// has upgraded. `closings` is how often its upstream had been closed when it was counted in.
pub(crate) fn start(
    proxy: &Arc<Proxy>,
    protocol: Protocol,
    client: AwaitedSocket,
    upstream: (UpstreamStream, Bytes),
    (held, closings): (Held, u64),
) {
    let shared = Arc::clone(proxy);
    let kind = match protocol {
        Protocol::WebSocket => Kind::WebSocket,
        Protocol::Other => Kind::Tunnel,
    };
    let held = Held { in_flight: held.in_flight.counted_as(kind), ..held };
    let held_by = Arc::clone(held.in_flight.upstream());
    let farewell = CancellationToken::new();
    let told = farewell.clone();
    let tunnel = proxy.connections.spawn(async move {
        run(&shared, protocol, (client, upstream), (held, told)).await;
    });
    held_by.hold(Hold::Tunnel(tunnel.abort_handle(), farewell), closings);
}

async fn run(
    proxy: &Proxy,
    protocol: Protocol,
    (client, upstream): (AwaitedSocket, (UpstreamStream, Bytes)),
    (mut held, farewell): (Held, CancellationToken),
) {
    let (moved, given) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = async {
        tokio::select! {
            () = farewell.cancelled() => {}
            () = proxy.ending.given() => {}
            () = silent(&moved, held.silence_time) => tracing::debug!("a tunnel was silent for too long"),
        }
    };
    tokio::pin!(end);
    let opened = tokio::select! {
        opened = open(client, upstream, (&moved, &given)) => opened,
        () = &mut end => return,
    };
    let (mut client, mut upstream) = match opened {
        Ok(ends) => ends,
        Err(error) => return tracing::debug!(%error, "a tunnel did not open"),
    };
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut upstream) => {
            match ended {
                Ok(_) => held.ending.whole(),
                Err(error) => tracing::debug!(%error, "a tunnel broke"),
            }
            held.ending.more(given.load(Ordering::Relaxed));
        }
        () = end => {
            held.ending.more(given.load(Ordering::Relaxed));
            drop((held.in_flight, held.ending, upstream));
            // A client that takes or says too much does not get more time for it.
            let _late = timeout(proxy.limits.linger_time, part(client, protocol)).await;
        }
    }
}

async fn open<'a>(
    client: AwaitedSocket,
    (mut upstream, early_from_upstream): (UpstreamStream, Bytes),
    (moved, given): (&'a AtomicU64, &'a AtomicU64),
) -> io::Result<(ClientEnd<'a, ClientStream>, UpstreamStream)> {
    let (stream, early_from_client) = client.await.map_err(io::Error::other)?;
    let mut client = ClientEnd { stream, frames: Frames::default(), moved, given };
    upstream.write_all(&early_from_client).await?;
    client.write_all(&early_from_upstream).await?;
    client.flush().await?;
    Ok((client, upstream))
}

/// Ends a connection without a reset: says good-bye, and listens until the client has heard it.
async fn part<S>(mut client: ClientEnd<'_, S>, protocol: Protocol) -> io::Result<()>
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
struct ClientEnd<'a, S> {
    stream: S,
    frames: Frames,
    /// Bytes, both ways.
    moved: &'a AtomicU64,
    /// Of these, to the client.
    given: &'a AtomicU64,
}

/// Ready when no byte has moved for `time`, and before it is twice that.
async fn silent(moved: &AtomicU64, time: Option<Duration>) {
    let Some(time) = time else { return std::future::pending().await };
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        sleep(time).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientEnd<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.moved.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientEnd<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.frames.follow(&bytes[..written]);
        this.moved.fetch_add(written as u64, Ordering::Relaxed);
        this.given.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn only_a_tunnel_that_carries_nothing_is_silent() {
        const TIME: Duration = Duration::from_secs(60);
        let (moved, began) = (AtomicU64::new(0), Instant::now());
        let talks = async {
            for _ in 0..10 {
                sleep(TIME / 10 * 9).await;
                moved.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = silent(&moved, Some(TIME)) => {}
            () = talks => {}
        }
        let lasted = began.elapsed();
        assert!(lasted >= 10 * TIME && lasted <= 11 * TIME, "{lasted:?}");

        let for_ever = tokio::time::timeout(1_000_000 * TIME, silent(&moved, None));
        assert!(for_ever.await.is_err());
    }
}
