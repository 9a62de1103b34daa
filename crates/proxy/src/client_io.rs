//! A client's socket under HTTP/2, with the time limits that need every byte; and what a socket and the service of its
//! connection tell each other. Knows nothing of HTTP: HTTP/1.1 keeps to its limits by itself ([`crate::inbound`]).

use crate::alarm::Alarm;
use crate::client_stream::ClientStream;
use crate::limits::Limits;
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the socket and the service of one client connection tell each other.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Requests that the service was given.
    requests: AtomicU32,
    /// Those that are being answered.
    busy: AtomicU32,
    /// Those that wait for an app's gate.
    waiting: AtomicU32,
    /// The socket wants the connection to end in order.
    parting: AtomicBool,
    /// How long, in milliseconds, the client may stand still in the middle of the request at hand (in HTTP/2 its stream
    /// knows). 0: as long as on any connection.
    stall_millis: AtomicU64,
}

/// A request waits for an app's gate: nobody reads what its client sends.
#[derive(Debug)]
pub(crate) struct Waits<'a>(&'a Shared);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request is being answered: the connection is not idle, however quiet the client is.
#[derive(Debug)]
pub(crate) struct Busy(Option<Arc<Shared>>);

impl Busy {
    /// It is alone on its connection, which knows by itself.
    pub(crate) const fn alone() -> Self {
        Self(None)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    pub(crate) const fn new() -> Self {
        Self {
            requests: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            parting: AtomicBool::new(false),
            stall_millis: AtomicU64::new(0),
        }
    }

    /// The service was given the next request of those that are side by side.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Some(Arc::clone(self)))
    }

    /// The service was given the next request, which is alone.
    pub(crate) fn begin_alone(&self) {
        self.stall_millis.store(0, Ordering::Relaxed);
    }

    /// The client may stand still for so long in the middle of the request at hand.
    pub(crate) fn stalls_after(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        self.stall_millis.store(millis, Ordering::Relaxed);
    }

    /// How long it may.
    pub(crate) fn stall_time(&self, limits: &Limits) -> Duration {
        match self.stall_millis.load(Ordering::Relaxed) {
            0 => limits.stall_time,
            millis => Duration::from_millis(millis),
        }
    }

    /// A request waits for an app's gate. A client of HTTP/1.1 that goes away meanwhile is noticed whenever the
    /// connection is polled.
    pub(crate) fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(self)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// The client has asked for nothing for too long, and is to be told to go. To be asked after each poll
    /// of the connection.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Relaxed)
    }
}

/// A client's socket. Its frames leave no doubt, and its requests are side by side. What has asked for nothing for too
/// long is not cut, but told ([`Shared::is_parting`]).
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: ClientStream,
    /// What was read before its protocol was known.
    early: Bytes,
    shared: Arc<Shared>,
    limits: Arc<Limits>,
    reading: Alarm,
    /// How many requests had come when `reading` was set.
    reading_since: Option<u32>,
    received: u64,
    sent: u64,
    /// Both, when `reading` was set.
    then: (u64, u64),
    writing: Alarm,
    stalled: bool,
}

impl ClientIo {
    /// `early` comes before all that is read from `stream`.
    pub(crate) fn new(stream: ClientStream, early: Bytes, shared: Arc<Shared>, limits: Arc<Limits>) -> Self {
        Self {
            stream,
            early,
            shared,
            limits,
            reading: Alarm::default(),
            reading_since: None,
            received: 0,
            sent: 0,
            then: (0, 0),
            writing: Alarm::default(),
            stalled: false,
        }
    }

    /// The next bytes: those that were read early, then those of the socket.
    fn poll_next(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.advance(count);
        if self.early.is_empty() {
            // Gives the room back.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    /// The client sends nothing: ready when it has not for too long. No frame buys more time but one that asks for
    /// something.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let requests = self.shared.requests.load(Ordering::Relaxed);
        if self.reading_since != Some(requests) {
            self.reading_since = Some(requests);
            self.then = (self.received, self.sent);
            self.reading.set(self.limits.idle_time);
        }
        loop {
            ready!(self.reading.poll(cx));
            let (received, sent) = (self.received - self.then.0, self.sent - self.then.1);
            // The end of an answer may be long on its way after it was handed over. (What only answers the client's
            // own frames is no more than those.)
            if self.shared.is_busy() || sent > received {
                self.then = (self.received, self.sent);
                self.reading.set(self.limits.idle_time);
            } else if !self.shared.parting.swap(true, Ordering::Relaxed) {
                // To be told, and to hear of it.
                self.reading.set(self.limits.linger_time);
            } else {
                return Poll::Ready(());
            }
        }
    }

    /// The outcome of a write: an error instead of waiting when the client has taken nothing for
    /// too long.
    fn limit_stall(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &written {
            self.sent += *count as u64;
        }
        self.limit_wait(written, cx)
    }

    /// The outcome of anything that waits for the client to take something.
    fn limit_wait<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = false;
            return polled;
        }
        if !self.stalled {
            self.stalled = true;
            self.writing.set(self.limits.stall_time);
        }
        self.writing.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match this.poll_next(cx, buffer) {
            Poll::Ready(Ok(())) => {
                this.received += (buffer.filled().len() - before) as u64;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // One that was told to go, and rests on, is ended as if it had gone: in order, which under TLS is said.
            Poll::Pending => this.poll_silence(cx).map(Ok),
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.limit_stall(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.limit_stall(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Under TLS, what was written may still be here.
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.limit_wait(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.limit_wait(shut, cx)
    }
}
