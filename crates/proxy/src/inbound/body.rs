//! The body of a request, read off its client's socket as it is asked for, by whoever has it. Its trailers are read and
//! forgotten.

use super::line::{Reader, Shared};
use crate::extent::{Extent, Malformed, Part};
use crate::silence::Silence;
use bytes::Bytes;
use hyper::body::SizeHint;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

/// A body that comes over a client's connection.
#[derive(Debug)]
pub(crate) struct Body {
    line: Shared,
    extent: Extent,
    hold: Hold,
    silence: Silence,
}

/// Whether the line is lent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The client waits to be told to go on.
    Expected,
    Has,
    GaveBack,
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBody {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the client sent nothing for too long")]
    Silent,
}

impl Body {
    /// The body behind a head that came over `line`, which is lent to it; it is not empty.
    pub(super) fn new(line: Shared, extent: Extent) -> Self {
        Self { line, extent, hold: Hold::Has, silence: Silence::at_most(None) }
    }

    /// The same, where its client waits until it is told to go on.
    pub(super) fn expected(mut self) -> Self {
        self.hold = Hold::Expected;
        self
    }

    /// Its client may be silent for so long in the middle of it; `None`: for ever.
    pub(crate) fn stalls_after(&mut self, time: Option<Duration>) {
        self.silence = Silence::at_most(time);
    }

    /// The next piece.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        if self.hold == Hold::GaveBack {
            return Poll::Ready(None);
        }
        let polled = self.poll_part(cx);
        match &polled {
            Poll::Ready(Err(_)) => self.give_back(Reader::Nobody),
            Poll::Ready(Ok(_)) if self.extent.is_over() => self.give_back(Reader::Connection),
            _ => {}
        }
        polled.map(Result::transpose)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BrokenBody>> {
        let mut line = self.line.lock();
        if self.hold == Hold::Expected {
            self.hold = Hold::Has;
            line.tell_to_go_on();
        }
        line.write_go_on(cx)?;
        loop {
            match self.extent.take(&mut line.read)? {
                Some(Part::Data(data)) => return Poll::Ready(Ok(Some(data))),
                Some(Part::Trailers(_)) | None if self.extent.is_over() => return Poll::Ready(Ok(None)),
                Some(Part::Trailers(_)) | None => {}
            }
            match line.poll_read(cx, self.extent.room()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Malformed::Incomplete.into())),
                Poll::Ready(Ok(_)) => self.silence.broken(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return self.silence.poll(cx).map(|()| Err(BrokenBody::Silent)),
            }
        }
    }

    fn give_back(&mut self, reader: Reader) {
        self.hold = Hold::GaveBack;
        self.line.lock().give_back(reader);
    }

    /// Whether all of it was taken.
    pub(crate) const fn is_over(&self) -> bool {
        self.extent.is_over()
    }

    /// How much of it is to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.extent.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.hold != Hold::GaveBack {
            self.give_back(Reader::Left(self.extent));
        }
    }
}
