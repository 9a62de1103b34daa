//! HTTP/2 to a client: requests side by side on one connection, each with bounds of its own. Which request goes
//! where is not its business.

use crate::client_io::Shared;
use crate::limits::Limits;
use crate::stall::unless_stalled;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What one stream may hold, in bytes, of an answer that its client does not take.
const SEND_BUFFER: usize = 64 * 1024;

/// How far ahead of the upstream, in bytes, a client may be with one body.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all bodies of one connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Streams that a client opens and resets before anybody has looked at them: one more ends the connection
/// (CVE-2023-44487).
const UNSEEN_RESETS: usize = 20;

/// How connections are served.
pub(crate) fn builder(limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams { stall_time: limits.stall_time });
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// Runs each stream in a task of its own, as long as its client takes what it asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    stall_time: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(unless_stalled(stream, self.stall_time));
    }
}

/// A connection that parts from its client when its socket says that it is time.
pub(crate) struct Parting<C, F> {
    connection: Pin<Box<C>>,
    shared: Arc<Shared>,
    /// Tells the client to ask for nothing more here.
    tell: F,
    told: bool,
}

impl<C, F: Fn(Pin<&mut C>)> Parting<C, F> {
    pub(crate) fn new(connection: C, shared: Arc<Shared>, tell: F) -> Self {
        Self { connection: Box::pin(connection), shared, tell, told: false }
    }

    /// Lets what was begun come to its end, and accepts nothing more.
    pub(crate) fn finish(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            (self.tell)(self.connection.as_mut());
        }
    }
}

impl<C: Future, F: Fn(Pin<&mut C>) + Unpin> Future for Parting<C, F> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.get_mut();
        let polled = this.connection.as_mut().poll(cx);
        if polled.is_ready() || this.told || !this.shared.is_parting() {
            return polled;
        }
        this.finish();
        this.connection.as_mut().poll(cx)
    }
}
