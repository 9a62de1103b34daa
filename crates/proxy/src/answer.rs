//! The body of an answer on its way to a client, and what ends with its last byte: the request's
//! count, the use of the connection, the client connection's being busy.

use crate::client_io::Busy;
use crate::client_stream::ClientStream;
use crate::ending::Ending;
use crate::exchange::Delivery;
use crate::http1;
use crate::message::Response;
use crate::request_body::Progress;
use crate::silence::Silence;
use crate::stall;
use crate::upstream::InFlight;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// An answer to a client.
pub(crate) type Answer = Response<AnswerBody>;

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
    /// Nothing, and then the client's socket is somebody else's.
    Switch(GiveSocket),
    /// What the upstream sends.
    Upstream(Delivery, InFlight, Silence),
    /// Nothing more.
    Over,
}

/// Gives a client's socket away, with what was read of it and not yet taken.
pub(crate) type GiveSocket = oneshot::Sender<(ClientStream, Bytes)>;

/// Why an answer is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenAnswer {
    /// The connection to the upstream broke, or what came over it makes no sense.
    #[error("the upstream broke off its answer")]
    Http1(#[from] http1::Broken),
    /// The same.
    #[error("the upstream broke off its answer")]
    Http2(#[from] hyper::Error),
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

    /// That of a change of protocol: what comes next is for whoever waits for `give`.
    pub(crate) fn switch(give: GiveSocket, busy: Busy) -> Self {
        Self::of(Source::Switch(give), busy)
    }

    /// Whom the client's socket is to be given to, once the answer was written.
    pub(crate) fn take_switch(&mut self) -> Option<GiveSocket> {
        match mem::replace(&mut self.source, Source::Over) {
            Source::Switch(give) => Some(give),
            other => {
                self.source = other;
                None
            }
        }
    }

    /// Nothing of it but its end.
    pub(crate) fn without_text(self) -> Self {
        Self { source: Source::Page(None), ..self }
    }

    /// An upstream's, given up when nothing of it came for `silence`; `None`: never.
    pub(crate) fn upstream(
        body: Delivery,
        in_flight: InFlight,
        busy: Busy,
        silence: Option<Duration>,
    ) -> Self {
        let mut source = Source::Upstream(body, in_flight, Silence::at_most(silence));
        source.settle();
        Self::of(source, busy)
    }

    /// Holds `ending` until it is over.
    pub(crate) fn hold(&mut self, ending: Ending) {
        self.ending = ending;
        if matches!(self.source, Source::Page(_)) || self.is_end_stream() {
            self.ending.whole();
        }
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
    /// The next frame, if there is one.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let Self { source, stream, .. } = self;
        if let Some(stream) = stream.as_mut().filter(|stream| !stream.rest.is_empty()) {
            stall::handed_over();
            let piece = stream.rest.split_to(stream.rest.len().min(PIECE));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let (delivery, silence) = match source {
            Source::Page(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(delivery, _, silence) => (delivery, silence),
            Source::Switch(_) | Source::Over => return Poll::Ready(None),
        };
        let polled = match delivery.poll_frame(cx) {
            Poll::Ready(frame) => {
                silence.broken();
                stall::handed_over();
                frame
            }
            Poll::Pending => {
                stall::waits_for_upstream();
                std::task::ready!(silence.poll(cx));
                Some(Err(BrokenAnswer::Silent))
            }
        };
        match &polled {
            Some(Err(_)) => *source = Source::Over,
            Some(Ok(_)) | None => source.settle(),
        }
        Poll::Ready(polled.map(|frame| frame.map(|frame| Self::cut(stream.as_mut(), frame))))
    }

    /// Writes down what became of it.
    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, BrokenAnswer>>) {
        let data = frame.and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.ending.more(data.map_or(0, |data| data.len() as u64));
        if frame.is_none_or(|frame| frame.is_ok() && self.is_end_stream()) {
            self.ending.whole();
        }
    }

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

impl Delivery {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match self {
            Self::Http1(delivery) => delivery.poll_frame(cx).map_err(BrokenAnswer::Http1),
            Self::Http2 { incoming, .. } => Pin::new(incoming).poll_frame(cx).map_err(BrokenAnswer::Http2),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Http1(delivery) => delivery.is_over(),
            Self::Http2 { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(delivery) => delivery.size_hint(),
            Self::Http2 { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Source {
    /// Ends the exchange if nothing more will come: the connection can serve the next request. One that is dropped
    /// before is closed.
    fn settle(&mut self) {
        if !matches!(self, Self::Upstream(delivery, ..) if delivery.is_over()) {
            return;
        }
        if let Self::Upstream(Delivery::Http1(delivery), in_flight, _) = mem::replace(self, Self::Over)
            && in_flight.upstream().is_routed()
            && let Some(connection) = delivery.into_connection()
        {
            in_flight.upstream().pool().put(connection);
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
        let this = self.get_mut();
        let frame = std::task::ready!(this.poll_next(cx));
        if this.ending.record.is_some() {
            this.note(frame.as_ref());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(text) => text.is_none(),
            Source::Upstream(delivery, ..) => delivery.is_over() && !self.has_rest(),
            Source::Switch(_) | Source::Over => !self.has_rest(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream(delivery, ..) => delivery.size_hint(),
            Source::Switch(_) | Source::Over => SizeHint::with_exact(0),
        }
    }
}
