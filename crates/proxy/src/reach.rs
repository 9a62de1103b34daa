//! A connection to an upstream for one request: one that is there, or one that is opened. What is sent over it is not
//! its business.

use crate::closing::Closing;
use crate::dialer::Dialer;
use crate::http1;
use crate::pool::{STREAMS, Sender};
use crate::proxy::Proxy;
use crate::upstream::{Hold, Upstream};
use crate::upstream_stream::UpstreamStream;
use dockswap_core::spec::Protocol;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How far ahead of its client, in bytes, an upstream may be with one answer over HTTP/2; also its longest head.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all answers on one connection: a client that takes nothing of its own keeps none from another.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;

/// How often an HTTP/2 connection is looked at until the upstream has said how many streams it takes.
const GREETING_TICK: Duration = Duration::from_millis(1);

/// How long an HTTP/2 connection with requests in flight may be silent before it is asked whether it lives, and how long
/// it may take to say so.
const PING_AFTER: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Over which connection a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// One that is there, if there is any.
    Any,
    /// One that nothing was sent over before.
    Fresh,
}

/// Why a request has no connection.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// None could be opened.
    Refused(io::Error),
    /// While one was opened, the last route to the upstream went away. So may the upstream, and its address be
    /// another container's by now.
    Departed,
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

/// A connection to `upstream`, and whether it was used before.
/// `closings`: how often the upstream had been closed when the request was counted in. `patience`: how long one may take
/// that has to be opened.
pub(crate) async fn reach(
    proxy: &Proxy,
    upstream: &Arc<Upstream>,
    closings: u64,
    over: Over,
    patience: Duration,
) -> Result<(Sender, bool), Unreached> {
    let pool = upstream.pool();
    let there = match (over, upstream.protocol()) {
        (Over::Any, Protocol::Http1) => pool.take(),
        (Over::Any, Protocol::H2c) => pool.share(),
        (Over::Fresh, _) => None,
    };
    let reached = match there {
        Some(sender) => (sender, true),
        // Seldom, and large: it does not take up room in every request.
        None => {
            let opened = Box::pin(timeout(patience, open_one(proxy, upstream, closings, over))).await;
            if !upstream.is_routed() {
                return Err(Unreached::Departed);
            }
            opened.map_err(io::Error::from)??
        }
    };
    upstream.note_acceptance();
    Ok(reached)
}

/// The same when there is no connection that may be used.
async fn open_one(
    proxy: &Proxy,
    upstream: &Arc<Upstream>,
    closings: u64,
    over: Over,
) -> io::Result<(Sender, bool)> {
    let connect = || connect(proxy, Held { upstream: Arc::clone(upstream), closings });
    if upstream.protocol() == Protocol::Http1 {
        return Ok((connect().await?, false));
    }
    let pool = upstream.pool();
    let _turn = pool.opening().await;
    if upstream.closings() != closings {
        return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
    }
    // Whose turn it was before has opened one for more than itself; one that broke is not among them.
    match pool.share() {
        Some(sender) => Ok((sender, over == Over::Any)),
        None => Ok((connect().await?, false)),
    }
}

async fn connect(proxy: &Proxy, held: Held) -> io::Result<Sender> {
    let stream = match &proxy.dialer {
        Dialer::Tcp => {
            let stream = TcpStream::connect(held.upstream.addr()).await?;
            stream.set_nodelay(true)?;
            UpstreamStream::Tcp(stream)
        }
        #[cfg(feature = "in-memory")]
        Dialer::Memory(dial) => UpstreamStream::Memory(dial(held.upstream.addr())?),
    };
    open(stream, held).await
}

/// Makes a connection to an upstream of a stream that leads there. How it ends shows in the requests that it
/// carries; an idle one may end in any way.
async fn open(stream: UpstreamStream, held: Held) -> io::Result<Sender> {
    match held.upstream.protocol() {
        Protocol::Http1 => {
            let closing = Arc::new(Closing::default());
            held.upstream.hold(Hold::Connection(Arc::clone(&closing)), held.closings);
            Ok(Sender::Http1(Box::new(http1::Connection::new(stream, closing))))
        }
        Protocol::H2c => {
            let opened = http2::Builder::new(held.clone())
                // None until it has said how many it takes.
                .initial_max_send_streams(0)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(STREAM_WINDOW)
                // One that is dead is not shared until TCP has noticed.
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_AFTER)
                .keep_alive_timeout(PONG_WITHIN)
                .handshake(TokioIo::new(stream))
                .await;
            let (sender, mut connection) = opened.map_err(io::Error::other)?;
            let (tell, mut room) = watch::channel(0);
            let mut ticks = interval(GREETING_TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut greeted = false;
            held.execute(poll_fn(move |cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                let streams = connection.current_max_send_streams();
                tell.send_if_modified(|room| std::mem::replace(room, streams) != streams);
                greeted |= streams > 0;
                // Nothing else wakes it when that is said.
                while !greeted && ticks.poll_tick(cx).is_ready() {}
                polled
            }));
            let greeted = room.wait_for(|room| *room > 0).await.map(drop);
            greeted.map_err(|_| io::Error::other("it does not speak HTTP/2"))?;
            Ok(held.upstream.pool().put_to_share(sender, room))
        }
    }
}

/// Runs what belongs to connections of an upstream, to be ended when that is closed.
#[derive(Clone, Debug)]
struct Held {
    upstream: Arc<Upstream>,
    closings: u64,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Held {
    fn execute(&self, connection: F) {
        let task = tokio::spawn(connection).abort_handle();
        self.upstream.hold(Hold::Task(task), self.closings);
    }
}
