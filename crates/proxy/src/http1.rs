//! HTTP/1.1 to an upstream: one exchange after the other over one connection. Whoever asks drives the socket himself:
//! there is no task for it, no channel to one, and while nothing comes no buffer. What may be sent twice, and where
//! connections rest between two exchanges, is not its business.

mod delivery;
mod head;
mod outbox;

pub(crate) use delivery::{Broken, Delivery};
pub(crate) use head::Head;
pub(crate) use outbox::Outbox;

use crate::alarm::Alarm;
use crate::closing::Closing;
use crate::exchange::Outgoing;
use crate::reading::{self, READ};
use crate::request_body::RequestBody;
use crate::upstream_stream::UpstreamStream;
use bytes::Bytes;
use outbox::Unsent;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, split};
use tokio::task::AbortHandle;

/// What makes no sense in an answer, or could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nonsense {
    #[error("the head of an answer is malformed")]
    Head,
    #[error("the head of an answer is too long")]
    TooLong,
    #[error("an answer's Content-Length is malformed, or there are several that differ")]
    Length,
    #[error("an answer has a Transfer-Encoding other than chunked")]
    Encoding,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The request itself broke off.
    #[error(transparent)]
    Request(Unsent),
    /// The connection ended before there was a whole head.
    #[error("the connection ended before an answer")]
    Gone,
    /// What came is none.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
    /// The upstream was closed.
    #[error("the upstream was closed")]
    Closed,
}

/// A connection to an upstream. Whoever has it has it on the heap, where it stays: it is handed on many times for each
/// request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UpstreamStream,
    /// What was read and not yet taken.
    read: Bytes,
    /// To wait for answers with: setting it again costs nothing.
    alarm: Alarm,
    closing: Arc<Closing>,
}

impl Connection {
    /// One that was just opened. It carries nothing any more once `closing` is given.
    pub(crate) fn new(stream: UpstreamStream, closing: Arc<Closing>) -> Self {
        Self { stream, read: Bytes::new(), alarm: Alarm::default(), closing }
    }

    /// Whether it can take a request, as far as is known: neither side has ended it, and nothing came unasked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        !self.closing.is_given() && self.read.is_empty() && self.stream.is_quiet()
    }

    /// What to wait for an answer with; to be put back afterwards.
    pub(crate) fn alarm(&mut self) -> &mut Alarm {
        &mut self.alarm
    }

    /// Sends `request`, of which `outbox` knows what was sent, and reads the head of the answer.
    pub(crate) fn poll_ask(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        request: &mut Outgoing,
    ) -> Poll<Result<Head, Unanswered>> {
        if !outbox.is_over()
            && let Poll::Ready(Err(unsent)) = outbox.poll_send(cx, &mut self.stream, &mut request.body)
        {
            match unsent {
                // It may have answered before it stopped listening.
                Unsent::Upstream(error) => tracing::debug!(%error, "an upstream took no more of a request"),
                broken => return Poll::Ready(Err(Unanswered::Request(broken))),
            }
        }
        loop {
            if !self.read.is_empty()
                && let Some(head) = head::take(&mut self.read, &request.method)?
            {
                return Poll::Ready(Ok(head));
            }
            match self.poll_read(cx, READ) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(Unanswered::Gone)),
                Poll::Pending => return self.closing.poll(cx).map(|()| Err(Unanswered::Closed)),
            }
        }
    }

    /// Reads more, with room for so many bytes; how many came. 0: the other side has ended it.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        // The first time nothing has come, and that costs less to find out than to read nothing.
        ready!(self.stream.poll_readable(cx))?;
        reading::poll_read(&mut self.stream, cx, &mut self.read, room)
    }

    /// The answer came before all of the request was sent: what is left goes on its way in a task of its own, for as
    /// long as the upstream takes some of what there is within each `patience`. There is no other exchange on such a connection.
    pub(crate) fn with_rest_sent(
        self,
        mut outbox: Outbox,
        mut body: RequestBody,
        patience: Duration,
    ) -> (Self, AbortHandle) {
        let Self { stream, read, alarm, closing } = self;
        let (half, mut stream) = split(Box::new(stream));
        let task = tokio::spawn(async move {
            let mut alarm = Alarm::default();
            alarm.set(patience);
            let mut before = outbox.sent();
            let sent = poll_fn(|cx| {
                if let Poll::Ready(sent) = outbox.poll_send(cx, &mut stream, &mut body) {
                    return Poll::Ready(sent.ok());
                }
                while alarm.poll(cx).is_ready() {
                    // Whether the client goes on is not this one's business.
                    if mem::replace(&mut before, outbox.sent()) == outbox.sent() && outbox.has_more() {
                        return Poll::Ready(None);
                    }
                    alarm.set(patience);
                }
                Poll::Pending
            });
            match sent.await {
                Some(()) => {}
                // Whoever still reads what comes back notices.
                None => drop(stream.shutdown().await),
            }
        });
        (Self { stream: UpstreamStream::Half(half), read, alarm, closing }, task.abort_handle())
    }

    /// The bare stream, and what was read of it and not yet taken: for a tunnel.
    pub(crate) fn into_parts(self) -> (UpstreamStream, Bytes) {
        (self.stream, self.read)
    }
}
