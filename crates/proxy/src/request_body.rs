//! The body of a request on its way to an upstream, streamed as it comes.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// How far a body has come: any other number than before means that it moved.
pub(crate) type Progress = Arc<AtomicU64>;

/// A request body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None: such a request can be sent again.
    Empty,
    /// What the client sends.
    Streamed(Incoming, Progress),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(incoming, progress) => {
                let polled = Pin::new(incoming).poll_frame(cx);
                if polled.is_ready() {
                    progress.fetch_add(1, Ordering::Relaxed);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(incoming, _) => incoming.size_hint(),
        }
    }
}
