//! A client's socket, with what was read off it and not yet taken. While a request has a body, whoever sends that on
//! reads here, and the connection writes its answer: each from a task of its own, or one after the other in one.

use crate::client_stream::ClientStream;
use crate::extent::Extent;
use crate::parcel::Parcel;
use crate::reading::{self, READ};
use crate::sync::lock;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncWrite;

/// What a client that waits with its body is told (RFC 9110, section 10.1.1).
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How many bytes of a body that nobody wants are read at once, so that the connection can be used again.
const CHEAP: usize = 64 * 1024;

/// Who reads.
#[derive(Debug)]
pub(super) enum Reader {
    /// The connection: no body is under way.
    Connection,
    /// Whoever has the body.
    Body,
    /// The connection again, after a body that nobody wants, of which this is still to come.
    Left(Extent),
    /// Nobody any more: a body broke off, and nothing that comes after it has a meaning.
    Nobody,
}

/// A socket.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: ClientStream,
    /// What was read and not yet taken.
    pub(super) read: Bytes,
    pub(super) reader: Reader,
    /// What of [`GO_ON`] is to be written.
    go_on: &'static [u8],
    /// The answer has begun.
    answers: bool,
    /// The connection, which waits for what becomes of the body.
    waits: Option<Waker>,
}

/// A line that is shared.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Line>>);

impl Shared {
    /// `early` comes before all that is read from `stream`.
    pub(super) fn new(stream: ClientStream, early: Bytes) -> Self {
        let reader = Reader::Connection;
        let line = Line { stream, read: early, reader, go_on: b"", answers: false, waits: None };
        Self(Arc::new(Mutex::new(line)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Line> {
        lock(&self.0)
    }

    /// The bare socket, and what was read of it; `None`: somebody else has a part in it.
    pub(super) fn into_parts(self) -> Option<(ClientStream, Bytes)> {
        let line = Arc::into_inner(self.0)?.into_inner().ok()?;
        Some((line.stream, line.read))
    }
}

impl Line {
    /// Reads more, with room for so many bytes; how many came. 0: the client sends no more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        // The first time nothing has come, and that costs less to find out than to read nothing.
        ready!(self.stream.poll_readable(cx))?;
        reading::poll_read(&mut self.stream, cx, &mut self.read, room)
    }

    /// A request begins; `reader` reads what comes after its head.
    pub(super) fn begin(&mut self, reader: Reader) {
        (self.reader, self.answers) = (reader, false);
    }

    /// Whether the client has gone, for all that can be known while its answer is awaited: what it sends ahead is kept.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.reader {
            Reader::Connection if self.read.is_empty() => match ready!(self.poll_read(cx, READ)) {
                Ok(0) => Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Poll::Pending,
                Err(error) => Poll::Ready(error),
            },
            // Whoever reads it notices, and says so.
            Reader::Body => {
                self.wake_me(cx);
                Poll::Pending
            }
            Reader::Connection | Reader::Left(_) | Reader::Nobody => Poll::Pending,
        }
    }

    /// Ready when nobody has the body any more.
    pub(super) fn poll_returned(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.reader, Reader::Body) {
            self.wake_me(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn wake_me(&mut self, cx: &Context<'_>) {
        if !self.waits.as_ref().is_some_and(|waits| waits.will_wake(cx.waker())) {
            self.waits = Some(cx.waker().clone());
        }
    }

    /// Nobody has the body any more; `reader` is next.
    pub(super) fn give_back(&mut self, reader: Reader) {
        self.reader = reader;
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
    }

    /// Reads and forgets a body that nobody wants, if its end is here already; whether the connection can be used
    /// again after it.
    pub(super) fn forget_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut forgotten = 0;
        while let Reader::Left(extent) = &mut self.reader {
            match extent.take(&mut self.read) {
                Err(_) => self.reader = Reader::Nobody,
                Ok(_) if extent.is_over() => self.reader = Reader::Connection,
                Ok(Some(_)) => {}
                Ok(None) => {
                    let came = if forgotten < CHEAP { self.poll_read(cx, READ) } else { Poll::Pending };
                    match came {
                        Poll::Ready(Ok(count)) if count > 0 => forgotten += count,
                        _ => return false,
                    }
                }
            }
        }
        matches!(self.reader, Reader::Connection | Reader::Body)
    }

    /// Tells the client to go on, unless its answer has begun.
    pub(super) fn tell_to_go_on(&mut self) {
        if !self.answers {
            self.go_on = GO_ON;
        }
    }

    /// Writes what the client is to be told before its answer. That it takes a while is no reason to wait.
    pub(super) fn write_go_on(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Self { stream, go_on, .. } = self;
        while !go_on.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, go_on) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => *go_on = &go_on[count..],
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
            if go_on.is_empty()
                && let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(cx)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The answer begins; what goes before it of what was begun to be said.
    pub(super) fn begin_answer(&mut self) -> &'static [u8] {
        self.answers = true;
        let rest = std::mem::take(&mut self.go_on);
        if rest.len() < GO_ON.len() { rest } else { b"" }
    }

    /// Writes some of `parcel`.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parcel: &mut Parcel,
    ) -> Poll<io::Result<usize>> {
        parcel.poll_write(cx, &mut self.stream)
    }

    /// Sends what was written, where that needs to be said: under TLS it may still be here.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Whether the client was in the middle of something, or has said more than was looked at: it may still send.
    pub(super) fn has_more_to_come(&self) -> bool {
        !matches!(self.reader, Reader::Connection) || !self.read.is_empty()
    }
}
