//! The body of a request on its way to an upstream, streamed as it comes, without its trailers.

use crate::inbound::{self, BrokenBody};
use crate::pages::Page;
use crate::silence::Silence;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How a body fares on its way, for the one who waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    moves: AtomicU64,
    /// The client has not sent what comes next.
    waits: AtomicBool,
    fault: OnceLock<Fault>,
    answered: AtomicBool,
    over: AtomicBool,
    /// Who sends the body.
    sender: AtomicWaker,
}

/// Why a body will not be whole. It is the client's doing, and not the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be understood, or the client went away in the middle of it.
    Broken,
    /// The client sent nothing for too long.
    Stalled,
    /// It is longer than the app takes.
    TooLong,
}

impl Progress {
    /// How far the body has come: any other number than before means that it moved.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Whether what comes next is the client's to send.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// The answer has begun: from now on its sender knows what it waits for.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The answer has ended, or will never: what is left of the body is nobody's concern.
    pub(crate) fn over(&self) {
        self.over.store(true, Ordering::Release);
        self.sender.wake();
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Why the body will not be whole, if so.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get().copied()
    }
}

/// A request body.
#[derive(Debug, Default)]
pub(crate) enum RequestBody {
    /// None: such a request can be sent again.
    #[default]
    Empty,
    /// What the client sends. (Apart: requests without a body are moved about a lot.)
    Streamed(Box<Streamed>),
}

/// A body as its client sends it.
#[derive(Debug, Default)]
pub(crate) enum Incoming {
    /// There is none.
    #[default]
    None,
    /// On a connection of its own, as long as it comes.
    Http1(Box<inbound::Body>),
    /// On a stream beside others.
    Http2(hyper::body::Incoming),
}

/// A body that comes as the client sends it.
#[derive(Debug)]
pub(crate) struct Streamed {
    incoming: Incoming,
    progress: Arc<Progress>,
    /// How many more bytes of it the app takes.
    left: u64,
    /// Of one that comes over an HTTP/2 stream. (Else it keeps the time itself, also when the answer has begun.)
    silence: Option<Silence>,
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenRequest {
    /// It broke off, or makes no sense.
    #[error("the client broke off its request")]
    Http1(#[from] BrokenBody),
    /// The same.
    #[error("the client broke off its request")]
    Http2(#[from] hyper::Error),
    /// It did not go on.
    #[error("the client sent nothing for too long")]
    Silent,
    /// It was reset.
    #[error("the client gave up its request")]
    GivenUp,
    /// It is longer than it may be.
    #[error("the body of the request is too long")]
    TooLong,
    /// Nobody waits for the rest.
    #[error("the request was answered before it had ended")]
    Over,
}

impl RequestBody {
    /// What a client sends, at most `longest` bytes of it. In the middle of it, its client may send nothing for
    /// `stall`; `None`: for ever.
    pub(crate) fn streamed(mut incoming: Incoming, longest: u64, stall: Option<Duration>) -> Self {
        let silence = match &mut incoming {
            Incoming::None => return Self::Empty,
            Incoming::Http1(body) => {
                body.stalls_after(stall);
                None
            }
            Incoming::Http2(_) => Some(Silence::at_most(stall)),
        };
        Self::Streamed(Box::new(Streamed { incoming, progress: Arc::default(), left: longest, silence }))
    }

    /// To follow it by; `None`: there is nothing to follow.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streamed(streamed) => Some(Arc::clone(&streamed.progress)),
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BrokenRequest;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenRequest>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => body.poll_data(cx).map(|data| data.map(|data| Ok(data.map(Frame::data)?))),
            Self::Http2(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_over(),
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(incoming) => incoming.size_hint(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenRequest;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenRequest>>> {
        let Self::Streamed(streamed) = self.get_mut() else { return Poll::Ready(None) };
        let Streamed { incoming, progress, left, silence } = &mut **streamed;
        // An HTTP/2 stream is reset only when both of its ends are let go.
        if silence.is_some() {
            progress.sender.register(cx.waker());
            if progress.over.load(Ordering::Acquire) {
                return Poll::Ready(Some(Err(BrokenRequest::Over)));
            }
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        progress.waits.store(polled.is_pending(), Ordering::Relaxed);
        let Poll::Ready(frame) = polled else {
            if let Some(silence) = silence.as_mut().filter(|_| !progress.is_answered()) {
                ready!(silence.poll(cx));
                progress.fault.get_or_init(|| Fault::Stalled);
                return Poll::Ready(Some(Err(BrokenRequest::Silent)));
            }
            return Poll::Pending;
        };
        if let Some(silence) = silence {
            silence.broken();
            // A stream that was reset without an error looks like one that has ended.
            if frame.is_none() && !incoming.is_end_stream() {
                progress.fault.get_or_init(|| Fault::Broken);
                return Poll::Ready(Some(Err(BrokenRequest::GivenUp)));
            }
        }
        progress.moves.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(match frame {
            // A client's trailers end here (RFC 9110, section 6.5.1): servers that do not know them take
            // them for the next request, others for fields of the head, which they could then forge.
            Some(Ok(frame)) if frame.is_trailers() => None,
            Some(Err(error)) => {
                progress.fault.get_or_init(|| Fault::of(&error));
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(length) else {
                    progress.fault.get_or_init(|| Fault::TooLong);
                    return Poll::Ready(Some(Err(BrokenRequest::TooLong)));
                };
                *left = rest;
                Some(Ok(frame))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
        }
    }
}

impl Fault {
    /// What its client is told.
    pub(crate) const fn page(self) -> Page {
        match self {
            Self::Broken => Page::BadRequest,
            Self::Stalled => Page::RequestTimeout,
            Self::TooLong => Page::BodyTooLong,
        }
    }

    fn of(error: &BrokenRequest) -> Self {
        match error {
            BrokenRequest::Http1(BrokenBody::Silent) => Self::Stalled,
            _ => Self::Broken,
        }
    }
}
