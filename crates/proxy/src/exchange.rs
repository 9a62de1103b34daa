//! One request over one connection to an upstream: opened or used again, sent, answered or not.
//! Holds the rules for when a request may be sent once more; doing so is its caller's business.

use crate::answer::Loan;
use crate::form;
use crate::meter::Reached;
use crate::pages::Page;
use crate::pool::Sender;
use crate::proxy::{Entry, Proxy};
use crate::reach::{Over, reach};
use crate::request_body::RequestBody;
use crate::upstream::Upstream;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A request as an upstream gets it.
pub(crate) type Outgoing = Request<RequestBody>;

/// An answer as an upstream gives it.
pub(crate) type Incame = Response<Incoming>;

/// What came of it.
pub(crate) enum Exchange {
    /// The head of an answer; its body comes over the connection on loan.
    Answered(Incame, Loan),
    /// This upstream accepted no connection: the request is whole, and in flight nowhere.
    Refused(Outgoing, Arc<Upstream>),
    /// A connection that had been used before broke, and the request may be sent again.
    Again(Outgoing, Entry),
    /// There will be no answer.
    Failed(Page),
}

/// What came of sending a request.
enum Sent {
    Answered(Incame),
    /// It never left: the request is whole.
    Unsent(Outgoing),
    /// The connection broke before an answer; the upstream may have seen the request.
    Broken(hyper::Error),
    TimedOut,
}

/// Sends `request` to where `entry` leads.
pub(crate) async fn exchange(proxy: &Proxy, entry: Entry, request: Outgoing, over: Over) -> Exchange {
    let upstream = Arc::clone(entry.in_flight.upstream());
    let (mut sender, was_reused) =
        match reach(proxy, &upstream, entry.closings, over, entry.app.terms.connect_time).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(addr = %upstream.addr(), %error, "an upstream refused a connection");
                upstream.note_refusal();
                return Exchange::Refused(request, upstream);
            }
        };
    let was_closed = || upstream.closings() != entry.closings;
    if was_closed() {
        return Exchange::Failed(Page::Unavailable);
    }
    entry.app.tally.reached(if was_reused { Reached::Again } else { Reached::Anew });
    let spare = if was_reused { copy_if_repeatable(&request) } else { None };
    let progress = request.body().progress();
    let sent = send(entry.app.terms.answer_time, &mut sender, request).await;
    if !matches!(sent, Sent::Answered(_))
        && let Some(fault) = progress.and_then(|progress| progress.fault())
    {
        return Exchange::Failed(fault.page());
    }
    match sent {
        Sent::Answered(answer) => Exchange::Answered(answer, Loan { sender, in_flight: entry.in_flight }),
        Sent::TimedOut => Exchange::Failed(Page::GatewayTimeout),
        Sent::Unsent(_) | Sent::Broken(_) if was_closed() => Exchange::Failed(Page::Unavailable),
        Sent::Unsent(request) if was_reused => Exchange::Again(request, entry),
        Sent::Broken(error) if broke_without_answer(&error) => match spare {
            Some(spare) => Exchange::Again(spare, entry),
            None => Exchange::Failed(Page::BadGateway),
        },
        Sent::Unsent(_) | Sent::Broken(_) => Exchange::Failed(Page::BadGateway),
    }
}

/// Sends a request, and waits for the head of its answer as long as the body still moves and
/// `answer_time` beyond.
async fn send(answer_time: Duration, sender: &mut Sender, request: Outgoing) -> Sent {
    let progress = request.body().progress();
    let come_so_far = || progress.as_ref().map(|progress| progress.moves());
    let http2 = matches!(sender, Sender::Http2(_));
    let request = if http2 { form::for_http2(request) } else { request };
    let mut answered = pin!(sender.send(request));
    let alarm = sender.alarm();
    let mut before = come_so_far();
    alarm.set(answer_time);
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = answered.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        while alarm.poll(cx).is_ready() {
            let now = come_so_far();
            if now == before {
                return Poll::Ready(None);
            }
            before = now;
            alarm.set(answer_time);
        }
        Poll::Pending
    });
    match answered.await {
        Some(Ok(answer)) => {
            if let Some(progress) = progress {
                progress.answered();
            }
            Sent::Answered(answer)
        }
        Some(Err(mut error)) => match error.take_message() {
            Some(request) if http2 => Sent::Unsent(form::for_http1(request)),
            Some(request) => Sent::Unsent(request),
            None => Sent::Broken(error.into_error()),
        },
        None => Sent::TimedOut,
    }
}

/// A copy of a request that may be sent twice: without a body, and of a method whose repetition
/// changes nothing (RFC 9110, section 9.2.2).
fn copy_if_repeatable(request: &Outgoing) -> Option<Outgoing> {
    if !request.body().is_end_stream() || !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the connection ended instead of answering, as opposed to answering nonsense.
fn broke_without_answer(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}
