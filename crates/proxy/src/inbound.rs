//! HTTP/1.1 to a client: one request after the other over one connection, driven by one task. It reads heads strictly
//! ([`head`]), lends the socket to a request's body while there is one ([`line`]), writes the answers ([`reply`]), and
//! keeps to the limits on the way. What a request is answered is the business of [`crate::forward`].

mod answering;
mod body;
mod date;
mod head;
mod line;
mod reply;
mod reply_head;

pub(crate) use body::{Body, BrokenBody};

use crate::alarm::Alarm;
use crate::answer::{Answer, AnswerBody};
use crate::client_io::Busy;
use crate::client_stream::ClientStream;
use crate::connection::Client;
use crate::message::Response;
use crate::pages::Page;
use crate::reading::READ;
use crate::record::Record;
use crate::request_body::Incoming;
use crate::stop::Stop;
use answering::Answering;
use bytes::Bytes;
use head::{Asked, Head, Refusal};
use http::{StatusCode, Version};
use hyper::body::Body as _;
use line::{Reader, Shared};
use reply::{Reply, Step, Then, Unsent};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// For how many bytes a closing connection listens on, so that a client that still sends gets to
/// read the answer instead of a reset.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// Why a connection was not ended in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the rest of an answer could not be sent")]
    Answer(#[source] Unsent),
    #[error("a socket that should be free is in use")]
    Shared,
}

/// A client's connection.
struct Connection<'a> {
    client: &'a Arc<Client>,
    listener: &'a Stop,
    line: Shared,
    /// For who is to send a head.
    reading: Alarm,
    /// What it was set for, since the last request.
    reading_for: Option<Phase>,
    /// For who is to take an answer.
    writing: Alarm,
    /// Whether it takes nothing, and `writing` is set.
    stalled: bool,
}

/// What a client is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Between,
    Head,
}

/// Serves `client` on `stream`, of which `early` was read, to the end of the connection. It ends after the request that
/// it is at once `listener` or the proxy says so.
pub(crate) async fn serve(
    client: &Arc<Client>,
    stream: ClientStream,
    early: Bytes,
    listener: &Stop,
) -> Result<(), Broken> {
    let mut connection = Connection {
        client,
        listener,
        line: Shared::new(stream, early),
        reading: Alarm::default(),
        reading_for: None,
        writing: Alarm::default(),
        stalled: false,
    };
    loop {
        let head = match poll_fn(|cx| connection.poll_head(cx)).await? {
            Next::Request(head) => head,
            Next::None => break,
            Next::Refused(refusal) => {
                connection.refuse(refusal).await?;
                break;
            }
        };
        let asked = head.asked;
        let mut answering = connection.ask(head);
        let answer = poll_fn(|cx| connection.poll_answer(cx, &mut answering)).await?;
        let status = answer.head.status;
        let (mut body, then) = connection.write(asked, answer).await?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let given = body.take_switch().zip(connection.line.into_parts());
            let (give, socket) = given.ok_or(Broken::Shared)?;
            // Whoever was to take it may be gone: then it ends here.
            let _ended = give.send(socket);
            return Ok(());
        }
        drop(body);
        if then == Then::Close || !connection.settle().await {
            break;
        }
    }
    connection.end().await
}

/// What comes next from a client.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is made, and the large one is the usual one"
)]
enum Next {
    Request(Head),
    /// Nothing more.
    None,
    Refused(Refusal),
}

impl Connection<'_> {
    /// Whether it is to end after the request at hand.
    fn is_ending(&self) -> bool {
        self.listener.is_given() || self.client.proxy.draining.is_given()
    }

    /// Reads the next head. A connection that rests for too long is over; one whose head does not come in time breaks.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, io::Error>> {
        let limits = &self.client.proxy.limits;
        let mut line = self.line.lock();
        // A head that comes byte by byte is only looked at where a line may have ended.
        let mut has_news = self.reading_for.is_none();
        loop {
            head::skip_empty_lines(&mut line.read);
            if !line.read.is_empty() && (has_news || line.read.len() > limits.head_bytes) {
                match head::take(&mut line.read, limits) {
                    Ok(Some(head)) => {
                        self.reading_for = None;
                        return Poll::Ready(Ok(Next::Request(head)));
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Ok(Next::Refused(refusal))),
                }
            }
            if line.read.is_empty() && self.is_ending() {
                return Poll::Ready(Ok(Next::None));
            }
            let before = line.read.len();
            match line.poll_read(cx, READ) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Next::None)),
                Poll::Ready(Ok(_)) => has_news = before == 0 || line.read[before..].contains(&b'\n'),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let rests = line.read.is_empty();
        drop(line);
        // What has begun to send something is not resting again, once it turns out that it was an empty line: a client
        // that sends nothing else would have as long as it likes.
        let has_begun = !rests || self.reading_for == Some(Phase::Head);
        let phase = if has_begun { Phase::Head } else { Phase::Between };
        if self.reading_for != Some(phase) {
            self.reading_for = Some(phase);
            self.reading.set(if phase == Phase::Head { limits.head_time } else { limits.idle_time });
        }
        ready!(self.reading.poll(cx));
        Poll::Ready(if rests { Ok(Next::None) } else { Err(io::ErrorKind::TimedOut.into()) })
    }

    /// Begins to have a request answered.
    fn ask(&self, head: Head) -> Answering {
        let Head { mut request, notable, extent, expects, .. } = head;
        if extent.is_over() {
            self.line.lock().begin(Reader::Connection);
        } else {
            self.line.lock().begin(Reader::Body);
            let body = Body::new(self.line.clone(), extent);
            request.body = Incoming::Http1(Box::new(if expects { body.expected() } else { body }));
        }
        self.client.shared.begin_alone();
        Answering::new(Arc::clone(self.client), request, notable)
    }

    /// The answer, as long as its client waits for it.
    fn poll_answer(&self, cx: &mut Context<'_>, answering: &mut Answering) -> Poll<io::Result<Answer>> {
        if let Poll::Ready(answer) = answering.poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        let mut line = self.line.lock();
        // With a body that nobody reads yet its end would not be seen.
        if self.client.shared.is_waiting() && line.stream.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        line.poll_gone(cx).map(Err)
    }

    /// Writes all of `answer`; what is left of its body, and whether another request may follow.
    async fn write(&mut self, asked: Asked, answer: Answer) -> Result<(AnswerBody, Then), Broken> {
        let Response { head, mut body } = answer;
        let mut begun = None;
        let then = poll_fn(|cx| {
            let (reply, then) = begun.get_or_insert_with(|| {
                let mut line = self.line.lock();
                // A body that nobody wants any more ends the connection, unless its end is here.
                let keeps_alive = asked.keeps_alive && line.forget_body(cx) && !self.is_parting();
                let then = if keeps_alive { Then::Next } else { Then::Close };
                Reply::new(&head, body.size_hint().exact(), asked, then, line.begin_answer())
            });
            ready!(self.poll_write(cx, reply, &mut body)).map_err(Broken::Answer)?;
            Poll::Ready(Ok::<_, Broken>(*then))
        })
        .await?;
        Ok((body, then))
    }

    fn is_parting(&self) -> bool {
        self.client.proxy.parting.is_given() || self.is_ending()
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Reply,
        body: &mut AnswerBody,
    ) -> Poll<Result<(), Unsent>> {
        loop {
            let step = ready!(reply.poll_step(cx, body))?;
            let mut line = self.line.lock();
            let (waits, polled) = match step {
                Step::Write => (false, line.poll_write(cx, &mut reply.parcel).map_ok(|_| ())),
                Step::Done | Step::Wait => (step == Step::Wait, line.poll_flush(cx)),
            };
            let gone = if waits || polled.is_pending() { line.poll_gone(cx) } else { Poll::Pending };
            drop(line);
            if let Poll::Ready(error) = gone {
                return Poll::Ready(Err(error.into()));
            }
            ready!(self.unless_stalled(polled, cx))?;
            match step {
                Step::Write => {}
                Step::Done => return Poll::Ready(Ok(())),
                Step::Wait => return Poll::Pending,
            }
        }
    }

    /// The outcome of anything that waits for the client to take something: an error instead of waiting when it has
    /// taken nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = false;
            return polled;
        }
        if !self.stalled {
            self.stalled = true;
            self.writing.set(self.client.shared.stall_time(&self.client.proxy.limits));
        }
        self.writing.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits until the body of the request that was answered has been read; whether another request may follow.
    async fn settle(&mut self) -> bool {
        poll_fn(|cx| {
            let mut line = self.line.lock();
            ready!(line.poll_returned(cx));
            Poll::Ready(line.forget_body(cx))
        })
        .await
    }

    /// Answers a request whose head is refused.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Broken> {
        tracing::debug!(error = %refusal, "a request is refused");
        let (client, status) = (self.client, refusal.status());
        client.proxy.meter.unrouted(status);
        if let Some(journal) = &client.proxy.journal {
            Record::unreadable(journal, client, status);
        }
        let page = match refusal {
            Refusal::Malformed => Page::BadRequest,
            Refusal::TooLong => Page::HeadTooLong,
            Refusal::TargetTooLong => Page::UriTooLong,
        };
        let for_head = {
            let mut line = self.line.lock();
            line.begin(Reader::Nobody);
            line.read.starts_with(b"HEAD ")
        };
        let asked =
            Asked { version: Version::HTTP_11, for_head: false, keeps_alive: false, takes_trailers: false };
        client.shared.begin_alone();
        let answer = page.answer(Busy::alone());
        // Whether it was a `HEAD` only its sender knows: one that is empty says the same to both.
        let answer = if for_head { answer.map(AnswerBody::without_text) } else { answer };
        self.write(asked, answer).await.map(|_| ())
    }

    /// Ends the connection in order: what was written arrives, also where the client still sends.
    async fn end(mut self) -> Result<(), Broken> {
        poll_fn(|cx| {
            let shut = self.line.lock().poll_shutdown(cx);
            self.unless_stalled(shut, cx)
        })
        .await?;
        if !self.line.lock().has_more_to_come() {
            return Ok(());
        }
        self.reading.set(self.client.proxy.limits.linger_time);
        let mut heard = 0;
        poll_fn(|cx| {
            let mut line = self.line.lock();
            while heard < LINGER_BYTES && self.reading.poll(cx).is_pending() {
                line.read.clear();
                match ready!(line.poll_read(cx, READ)) {
                    Ok(count) if count > 0 => heard += count,
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
        Ok(())
    }
}
