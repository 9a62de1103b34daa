//! One request over one connection to an upstream: opened or used again, sent, answered or not.
//! Holds the rules for when a request may be sent once more; doing so is its caller's business.

use crate::alarm::Alarm;
use crate::form;
use crate::headers;
use crate::http1::{self, Outbox, Unanswered};
use crate::message::{Request, Response};
use crate::meter::Reached;
use crate::notable::Notable;
use crate::pages::Page;
use crate::pool::{Sender, Share};
use crate::proxy::{Entry, Proxy};
use crate::reach::{Over, Unreached, reach};
use crate::request_body::{Progress, RequestBody};
use crate::upstream::{Hold, InFlight, Upstream};
use http::StatusCode;
use hyper::body::{Body, Incoming};
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A request as an upstream gets it.
pub(crate) type Outgoing = Request<RequestBody>;

/// An upstream's answer, its fields fit for a client; those of a change of protocol as they came.
pub(crate) type Incame = Response<Delivery>;

/// The body of an answer on its way from an upstream, with what it comes over.
#[derive(Debug)]
pub(crate) enum Delivery {
    Http1(http1::Delivery),
    Http2 {
        incoming: Incoming,
        /// Counts until the answer has ended.
        _share: Share,
    },
}

/// What came of it.
pub(crate) enum Exchange {
    /// An answer has begun.
    Answered(Incame, InFlight),
    /// This upstream accepted no connection: the request is whole, and in flight nowhere.
    Refused(Arc<Upstream>),
    /// No route leads to this upstream any more, and nothing was sent there: the request is whole, and in flight
    /// nowhere.
    Departed,
    /// A connection that had been used before broke, and the request, whole as it is, may be sent again.
    Again(Entry),
    /// There will be no answer.
    Failed(Page),
}

/// What came of sending a request.
enum Sent {
    Answered(Incame),
    /// The connection broke before an answer. The request is whole, and was not seen, or may be seen twice.
    Whole,
    /// The connection broke before an answer, and the request may not be sent once more.
    Broken,
    /// What came is no answer, or only a part of one.
    Nonsense,
    TimedOut,
}

/// Sends `request` to where `entry` leads. What is left of it is only of use when it is said to be whole.
pub(crate) async fn exchange(proxy: &Proxy, entry: Entry, request: &mut Outgoing, over: Over) -> Exchange {
    let upstream = Arc::clone(entry.in_flight.upstream());
    let terms = &entry.app.terms;
    let (sender, was_reused) = match reach(proxy, &upstream, entry.closings, over, terms.connect_time).await {
        Ok(found) => found,
        Err(Unreached::Departed) => return Exchange::Departed,
        Err(Unreached::Refused(error)) => {
            tracing::debug!(addr = %upstream.addr(), %error, "an upstream refused a connection");
            upstream.note_refusal();
            return Exchange::Refused(upstream);
        }
    };
    let was_closed = || upstream.closings() != entry.closings;
    if was_closed() {
        return Exchange::Failed(Page::Unavailable);
    }
    entry.app.tally.reached(if was_reused { Reached::Again } else { Reached::Anew });
    let progress = request.body.progress();
    let sent = match sender {
        Sender::Http1(connection) => over_http1(&entry, connection, request).await,
        // On the heap: less usual, and large.
        Sender::Http2(share) => Box::pin(over_http2(terms.answer_time, share, request)).await,
    };
    if !matches!(sent, Sent::Answered(_))
        && let Some(fault) = progress.and_then(|progress| progress.fault())
    {
        return Exchange::Failed(fault.page());
    }
    match sent {
        Sent::Answered(answer) => Exchange::Answered(answer, entry.in_flight),
        Sent::TimedOut => Exchange::Failed(Page::GatewayTimeout),
        Sent::Whole | Sent::Broken if was_closed() => Exchange::Failed(Page::Unavailable),
        Sent::Whole if was_reused => Exchange::Again(entry),
        Sent::Whole | Sent::Broken | Sent::Nonsense => Exchange::Failed(Page::BadGateway),
    }
}

async fn over_http1(entry: &Entry, mut connection: Box<http1::Connection>, request: &mut Outgoing) -> Sent {
    let answer_time = entry.app.terms.answer_time;
    let progress = request.body.progress();
    let is_repeatable = is_repeatable(request);
    form::frame(request);
    let mut outbox = Outbox::new(request);
    let mut alarm = mem::take(connection.alarm());
    let asked = |cx: &mut Context<'_>| connection.poll_ask(cx, &mut outbox, request);
    let answered = in_time(answer_time, &mut alarm, progress.as_deref(), asked).await;
    *connection.alarm() = alarm;
    let http1::Head { mut answer, notable, extent, keeps_alive } = match answered {
        Some(Ok(head)) => head,
        Some(Err(Unanswered::Gone | Unanswered::Closed)) if is_repeatable || outbox.is_untouched() => {
            return Sent::Whole;
        }
        Some(Err(Unanswered::Gone | Unanswered::Closed)) => return Sent::Broken,
        Some(Err(error)) => {
            tracing::debug!(addr = %entry.in_flight.upstream().addr(), %error, "no answer");
            return Sent::Nonsense;
        }
        None => return Sent::TimedOut,
    };
    if answer.head.status != StatusCode::SWITCHING_PROTOCOLS {
        headers::prepare_answer(&mut answer.head.fields, notable);
    } else if !outbox.is_sent() {
        // Nobody may change the protocol before the request has ended (RFC 9110, section 7.8).
        return Sent::Nonsense;
    }
    let keeps_alive = keeps_alive && outbox.is_sent();
    if !outbox.is_over() {
        let rest;
        (*connection, rest) = connection.with_rest_sent(outbox, mem::take(&mut request.body), answer_time);
        entry.in_flight.upstream().hold(Hold::Task(rest), entry.closings);
    }
    Sent::Answered(answer.map(|()| Delivery::Http1(http1::Delivery::new(connection, extent, keeps_alive))))
}

async fn over_http2(answer_time: Duration, mut share: Share, request: &mut Outgoing) -> Sent {
    let progress = request.body.progress();
    let second = is_repeatable(request).then(|| copy(request));
    let mut answered = pin!(share.send(form::for_http2(mem::take(request))));
    let mut alarm = Alarm::default();
    match in_time(answer_time, &mut alarm, progress.as_deref(), |cx| answered.as_mut().poll(cx)).await {
        Some(Ok(answer)) => {
            let mut answer = Response::from(answer);
            let notable = Notable::of(&answer.head.fields);
            headers::prepare_answer(&mut answer.head.fields, notable);
            Sent::Answered(answer.map(|incoming| Delivery::Http2 { incoming, _share: share }))
        }
        Some(Err(mut error)) => match error.take_message() {
            Some(unsent) => {
                *request = form::for_http1(unsent.into());
                Sent::Whole
            }
            None if broke_without_answer(&error.into_error()) => match second {
                Some(second) => {
                    *request = second;
                    Sent::Whole
                }
                None => Sent::Broken,
            },
            None => Sent::Nonsense,
        },
        None => Sent::TimedOut,
    }
}

/// Waits for the head of an answer as long as the body of its request still moves and `answer_time` beyond; `None`:
/// that is over.
async fn in_time<A, E>(
    answer_time: Duration,
    alarm: &mut Alarm,
    progress: Option<&Progress>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<A, E>>,
) -> Option<Result<A, E>> {
    let come_so_far = || progress.map(Progress::moves);
    let mut before = come_so_far();
    alarm.set(answer_time);
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = poll(cx) {
            return Poll::Ready(Some(answered));
        }
        while alarm.poll(cx).is_ready() {
            let now = come_so_far();
            // A client that takes its time has clocks of its own.
            if now == before && !progress.is_some_and(Progress::waits_for_client) {
                return Poll::Ready(None);
            }
            before = now;
            alarm.set(answer_time);
        }
        Poll::Pending
    })
    .await;
    if let (Some(Ok(_)), Some(progress)) = (&answered, progress) {
        progress.answered();
    }
    answered
}

/// Whether a request may be sent twice: it has no body, and its method is one whose repetition changes nothing
/// (RFC 9110, section 9.2.2).
fn is_repeatable(request: &Outgoing) -> bool {
    request.body.is_end_stream() && request.method.is_idempotent()
}

/// A copy of a request that may be sent twice.
fn copy(request: &Outgoing) -> Outgoing {
    let Request { method, target, version, fields, .. } = request;
    let (method, target, fields) = (method.clone(), target.clone(), fields.clone());
    Request { method, target, version: *version, fields, body: RequestBody::Empty }
}

/// Whether the connection ended instead of answering, as opposed to answering nonsense.
fn broke_without_answer(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}
