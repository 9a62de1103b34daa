//! The body of an answer on its way to a client, and what ends with its last byte: the request's
//! count, the loan of the connection, the client connection's being busy.

use crate::client_io::Busy;
use crate::pool::Sender;
use crate::upstream::InFlight;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

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
    _busy: Busy,
}

#[derive(Debug)]
enum Source {
    /// A page of the proxy's own; `None` when it was taken.
    Page(Option<Bytes>),
    /// What the upstream sends; the loan goes back at its end.
    Upstream(Incoming, Option<Loan>),
}

impl AnswerBody {
    pub(crate) const fn page(text: Bytes, busy: Busy) -> Self {
        Self { source: Source::Page(Some(text)), _busy: busy }
    }

    pub(crate) const fn empty(busy: Busy) -> Self {
        Self { source: Source::Page(None), _busy: busy }
    }

    pub(crate) fn upstream(body: Incoming, loan: Loan, busy: Busy) -> Self {
        let mut source = Source::Upstream(body, Some(loan));
        source.settle();
        Self { source, _busy: busy }
    }
}

impl Source {
    /// Gives the loan back if nothing more will come.
    fn settle(&mut self) {
        if let Self::Upstream(body, loan) = self
            && body.is_end_stream()
            && let Some(loan) = loan.take()
        {
            loan.give_back();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let source = &mut self.get_mut().source;
        let (body, loan) = match source {
            Source::Page(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream(body, loan) => (body, loan),
        };
        let polled = std::task::ready!(Pin::new(body).poll_frame(cx));
        match &polled {
            None => {
                if let Some(loan) = loan.take() {
                    loan.give_back();
                }
            }
            Some(Err(_)) => *loan = None,
            Some(Ok(_)) => source.settle(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(text) => text.is_none(),
            Source::Upstream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream(body, _) => body.size_hint(),
        }
    }
}
