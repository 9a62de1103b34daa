//! A client's socket with the rules that need every byte: framing, time limits, a lingering close.
//! Knows nothing of HTTP beyond where requests begin and end; of HTTP/2 not even that.

use crate::alarm::Alarm;
use crate::framing::{Framing, Phase};
use crate::gather;
use crate::limits::Limits;
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// For how many bytes a closing connection listens on, so that a client that still sends gets to
/// read the answer instead of a reset.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// What the socket and the service of one client connection tell each other.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first request, counted from 0, whose framing cannot be trusted; `u32::MAX`: none.
    untrusted_from: AtomicU32,
    /// Requests that the service was given.
    requests: AtomicU32,
    /// Those that are being answered: in HTTP/1.1 one at a time.
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
pub(crate) struct Busy(Arc<Shared>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self {
            untrusted_from: AtomicU32::new(u32::MAX),
            requests: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            parting: AtomicBool::new(false),
            stall_millis: AtomicU64::new(0),
        }
    }

    /// The service was given the next request; whether its framing can be trusted.
    pub(crate) fn begin(self: &Arc<Self>) -> (Busy, Trust) {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.stall_millis.store(0, Ordering::Relaxed);
        let trusted = request < self.untrusted_from.load(Ordering::Relaxed);
        (Busy(Arc::clone(self)), if trusted { Trust::Sound } else { Trust::Ambiguous })
    }

    /// The client may stand still for so long in the middle of the request at hand.
    pub(crate) fn stalls_after(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        if self.stall_millis.load(Ordering::Relaxed) != millis {
            self.stall_millis.store(millis, Ordering::Relaxed);
        }
    }

    fn stall_time(&self, limits: &Limits) -> Duration {
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

    fn is_waiting(&self) -> bool {
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

/// What a socket has to know of what is spoken on it.
#[derive(Debug)]
pub(crate) enum Rules {
    /// Requests are followed byte by byte.
    Http1(Framing),
    /// Its frames leave no doubt, and its requests are side by side. What has asked for nothing for too long
    /// is not cut, but told ([`Shared::is_parting`]).
    Http2,
}

impl Rules {
    /// What the client is in the middle of sending; of HTTP/2 its streams know.
    fn phase(&self) -> Phase {
        match self {
            Self::Http1(framing) => framing.phase(),
            Self::Http2 => Phase::Between,
        }
    }
}

/// Whether a request's framing can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It means the same to everybody.
    Sound,
    /// Two readers could disagree about where it ends.
    Ambiguous,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the bytes come over.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Whether the client has gone, or says that it sends no more: also while what it sent before waits to be read.
    fn has_ended(&self) -> bool;
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct ClientIo<S> {
    stream: S,
    /// What was read before its protocol was known.
    early: Bytes,
    rules: Rules,
    shared: Arc<Shared>,
    limits: Arc<Limits>,
    reading: Alarm,
    /// What `reading` was set for: the phase, and which head, which request or how many bytes it was.
    reading_for: Option<(Phase, u64)>,
    received: u64,
    sent: u64,
    /// Both, when `reading` was set.
    then: (u64, u64),
    writing: Alarm,
    stalled: bool,
    /// Bytes that came since the connection began to close.
    lingered: Option<usize>,
}

impl<S: Socket> ClientIo<S> {
    /// `early` comes before all that is read from `stream`.
    pub(crate) fn new(
        stream: S,
        early: Bytes,
        rules: Rules,
        shared: Arc<Shared>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            stream,
            early,
            rules,
            shared,
            limits,
            reading: Alarm::default(),
            reading_for: None,
            received: 0,
            sent: 0,
            then: (0, 0),
            writing: Alarm::default(),
            stalled: false,
            lingered: None,
        }
    }

    /// The bare socket, for a tunnel, and what of it was read and not yet taken: none of the rules hold there.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.early)
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

    /// The client sends nothing: an error when it has not for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.rules.phase();
        // A head must be complete in time; in a body, each byte buys more of it. In HTTP/2 no frame does, but
        // for one that asks for something.
        let key = match &self.rules {
            Rules::Http1(framing) if phase == Phase::Head => (phase, framing.heads().into()),
            Rules::Http1(_) => (phase, self.received),
            Rules::Http2 => (phase, self.shared.requests.load(Ordering::Relaxed).into()),
        };
        if self.reading_for != Some(key) {
            self.reading_for = Some(key);
            self.then = (self.received, self.sent);
            self.reading.set(match phase {
                Phase::Head => self.limits.head_time,
                Phase::Body => self.shared.stall_time(&self.limits),
                Phase::Between | Phase::Lost => self.limits.idle_time,
            });
        }
        loop {
            ready!(self.reading.poll(cx));
            let (received, sent) = (self.received - self.then.0, self.sent - self.then.1);
            // The end of an answer may be long on its way after it was handed over. (What only answers the client's
            // own frames is no more than those.)
            let delivers = matches!(self.rules, Rules::Http2) && sent > received;
            let excused = phase == Phase::Between && (self.shared.is_busy() || delivers);
            match &self.rules {
                _ if excused => {
                    self.then = (self.received, self.sent);
                    self.reading.set(self.limits.idle_time);
                }
                // To be told, and to hear of it.
                Rules::Http2 if !self.shared.parting.swap(true, Ordering::Relaxed) => {
                    self.reading.set(self.limits.linger_time);
                }
                _ => return Poll::Ready(io::ErrorKind::TimedOut.into()),
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
            self.writing.set(self.shared.stall_time(&self.limits));
        }
        self.writing.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and forgets what a client in the middle of a request still sends.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lingered.is_none() {
            self.lingered = Some(0);
            self.reading.set(self.limits.linger_time);
        }
        let mut scratch = [0; 4096];
        while self.lingered < Some(LINGER_BYTES) && self.reading.poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.lingered = self.lingered.map(|bytes| bytes + buffer.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: Socket> AsyncRead for ClientIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Rules::Http1(framing) = &this.rules
            && framing.is_broken_off()
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        match this.poll_next(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let new = &buffer.filled()[before..];
                this.received += new.len() as u64;
                let Rules::Http1(framing) = &mut this.rules else { return Poll::Ready(Ok(())) };
                let (came, sound) = (new.len(), framing.follow(new));
                if let Some(request) = framing.untrusted_from() {
                    this.shared.untrusted_from.store(request, Ordering::Relaxed);
                }
                if came > 0 && sound == 0 {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                buffer.set_filled(before + sound);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let late = ready!(this.poll_silence(cx));
                // One that was told to go, and rests on, is ended as if it had gone: in order, which under TLS is said.
                Poll::Ready(if matches!(this.rules, Rules::Http2) { Ok(()) } else { Err(late) })
            }
        }
    }
}

impl<S: Socket> AsyncWrite for ClientIo<S> {
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
        let written = gather::poll_write(Pin::new(&mut this.stream), cx, slices);
        this.limit_stall(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // With a body that nobody reads yet its end would not be seen. (Without one hyper sees it, and HTTP/2 reads on.)
        if this.shared.is_waiting() && matches!(this.rules, Rules::Http1(_)) && this.stream.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // Under TLS, what was written may still be here.
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.limit_wait(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        ready!(this.limit_wait(shut, cx))?;
        if this.rules.phase() != Phase::Between {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
