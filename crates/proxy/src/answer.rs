//! The body of an answer on its way to a client, and what ends with its last byte: the request's
//! count, the loan of the connection, the client connection's being busy.

use crate::client_io::Busy;
use crate::ending::Ending;
use crate::pool::Sender;
use crate::request_body::Progress;
use crate::silence::Silence;
use crate::stall;
use crate::upstream::InFlight;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// An answer to a client.
pub(crate) type Answer = http::Response<AnswerBody>;

/// A connection on loan from an upstream, for one request that is in flight on it.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) sender: Sender,
    pub(crate) in_flight: InFlight,
}

impl Loan {
    /// The answer was read to its end: the connection can serve the next request. Dropping a loan
    /// without this closes the connection.
    fn give_back(self) {
        let Self { sender, in_flight } = self;
        if in_flight.upstream().is_routed() {
            in_flight.upstream().pool().put(sender);
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    source: Source,
    /// Of an HTTP/2 stream: its pieces are small, and its request body ends with it.
    stream: Option<Stream>,
    ending: Ending,
    _busy: Busy,
}

/// What an answer over HTTP/2 has besides.
#[derive(Debug, Default)]
struct Stream {
    /// What came in one piece and was not handed over yet.
    rest: Bytes,
    request: Option<Arc<Progress>>,
}

/// What is handed over at a time on an HTTP/2 stream, in bytes: the client's window holds it up, and each piece that
/// the client takes buys the next its time.
const PIECE: usize = 16 * 1024;

#[derive(Debug)]
enum Source {
    /// A page of the proxy's own; `None` when it was taken.
    Page(Option<Bytes>),
    /// What the upstream sends; the loan goes back at its end.
    Upstream(Incoming, Option<Loan>, Silence),
}

/// Why an answer is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenAnswer {
    /// The connection to the upstream broke, or what came over it makes no sense.
    #[error("the upstream broke off its answer")]
    Upstream(#[source] hyper::Error),
    /// It did not go on.
    #[error("the upstream sent nothing for too long")]
    Silent,
}

impl AnswerBody {
    fn of(source: Source, busy: Busy) -> Self {
        Self { source, stream: None, ending: Ending::default(), _busy: busy }
    }

    pub(crate) fn page(text: Bytes, busy: Busy) -> Self {
        Self::of(Source::Page(Some(text)), busy)
    }

    pub(crate) fn empty(busy: Busy) -> Self {
        Self::of(Source::Page(None), busy)
    }

    /// Nothing of it but its end.
    pub(crate) fn without_text(self) -> Self {
        Self { source: Source::Page(None), ..self }
    }

    /// An upstream's, given up when nothing of it came for `silence`; `None`: never.
    pub(crate) fn upstream(body: Incoming, loan: Loan, busy: Busy, silence: Option<Duration>) -> Self {
        let mut source = Source::Upstream(body, Some(loan), Silence::at_most(silence));
        source.settle();
        Self::of(source, busy)
    }

    /// Holds `ending` until it is over.
    pub(crate) fn hold(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// The answer goes over an HTTP/2 stream; `request` is the body that came over it, if one did.
    pub(crate) fn on_stream(mut self, request: Option<Arc<Progress>>) -> Self {
        self.stream = Some(Stream { rest: Bytes::new(), request });
        self
    }

    /// Keeps back what is more than a piece.
    fn cut(stream: Option<&mut Stream>, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(stream) = stream else { return frame };
        match frame.into_data() {
            Ok(mut data) => {
                stream.rest = data.split_off(data.len().min(PIECE));
                Frame::data(data)
            }
            Err(frame) => frame,
        }
    }
}

impl AnswerBody {
    fn has_rest(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.rest.is_empty())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            request.over();
        }
    }
}

impl Source {
    /// Gives the loan back if nothing more will come.
    fn settle(&mut self) {
        if let Self::Upstream(body, loan, _) = self
            && body.is_end_stream()
            && let Some(loan) = loan.take()
        {
            loan.give_back();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let Self { source, stream, .. } = self.get_mut();
        if let Some(stream) = stream.as_mut().filter(|stream| !stream.rest.is_empty()) {
            stall::handed_over();
            let piece = stream.rest.split_to(stream.rest.len().min(PIECE));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let (body, loan, silence) = match source {
            Source::Page(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(body, loan, silence) => (body, loan, silence),
        };
        let polled = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                silence.broken();
                stall::handed_over();
                frame.map(|frame| frame.map_err(BrokenAnswer::Upstream))
            }
            Poll::Pending => {
                stall::waits_for_upstream();
                std::task::ready!(silence.poll(cx));
                Some(Err(BrokenAnswer::Silent))
            }
        };
        match &polled {
            None => {
                if let Some(loan) = loan.take() {
                    loan.give_back();
                }
            }
            Some(Err(_)) => *loan = None,
            Some(Ok(_)) => source.settle(),
        }
        Poll::Ready(polled.map(|frame| frame.map(|frame| Self::cut(stream.as_mut(), frame))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(text) => text.is_none(),
            Source::Upstream(body, ..) => body.is_end_stream() && !self.has_rest(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream(body, ..) => body.size_hint(),
        }
    }
}
