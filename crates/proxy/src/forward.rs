//! One request's way: understood, routed, counted, sent, answered. Holds the rules for trying
//! again; which fields pass is the business of [`crate::headers`].

use crate::answer::{Answer, AnswerBody, Loan};
use crate::client_io::{Busy, Trust};
use crate::connection::Client;
use crate::headers::{self, BodyFraming, Origin};
use crate::host;
use crate::pages::Page;
use crate::pool::Sender;
use crate::proxy::{Entry, NoEntry, Proxy};
use crate::request_body::{Progress, RequestBody};
use crate::tunnel;
use crate::upstream::{InFlight, Upstream};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What one connection to an upstream may hold: the longest head of an answer, and the largest read.
const UPSTREAM_BUFFER: usize = 64 * 1024;

type Outgoing = Request<RequestBody>;
type Incame = http::Response<Incoming>;

/// Answers `request`, whatever happens.
pub(crate) async fn answer(client: &Client, request: Request<Incoming>, busy: Busy, trust: Trust) -> Answer {
    let order = match Order::read(&client.proxy, request, trust) {
        Ok(order) => order,
        Err(page) => return page.answer(busy),
    };
    match order.carry_out(client).await {
        Ok(Carried::Answer(answer, loan)) => {
            let (mut head, body) = answer.into_parts();
            head.version = Version::HTTP_11;
            headers::prepare_answer(&mut head.headers);
            Answer::from_parts(head, AnswerBody::upstream(body, loan, busy))
        }
        Ok(Carried::Switched(answer)) => {
            let (mut head, _) = answer.into_parts();
            headers::prepare_switch(&mut head.headers);
            Answer::from_parts(head, AnswerBody::empty(busy))
        }
        Err(page) => page.answer(busy),
    }
}

/// How a request ended well.
enum Carried {
    /// With an answer.
    Answer(Incame, Loan),
    /// With a change of protocol; the tunnel runs.
    Switched(Incame),
}

/// A request that was understood.
struct Order {
    request: Request<Incoming>,
    /// `Host`, or the authority of an absolute target, which wins.
    host: Option<HeaderValue>,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

/// What came of sending a request over one connection.
enum Sent {
    Answered(Incame),
    /// It never left: the request is whole.
    Unsent(Outgoing),
    /// The connection broke before an answer; the upstream may have seen the request.
    Broken(hyper::Error),
    TimedOut,
}

impl Order {
    fn read(proxy: &Proxy, mut request: Request<Incoming>, trust: Trust) -> Result<Self, Page> {
        if trust == Trust::Ambiguous {
            return Err(Page::BadRequest);
        }
        if request.method() == Method::CONNECT {
            return Err(Page::MethodNotAllowed);
        }
        if target_length(request.uri()) > proxy.limits.uri_bytes {
            return Err(Page::UriTooLong);
        }
        if !is_valid_target(&request) {
            return Err(Page::BadRequest);
        }
        let host = host_of(&request)?;
        let upgrade = match headers::requested_upgrade(request.headers()) {
            Some(protocol) if request.version() == Version::HTTP_11 => {
                Some((protocol, hyper::upgrade::on(&mut request)))
            }
            _ => None,
        };
        Ok(Self { request, host, upgrade })
    }

    async fn carry_out(self, client: &Client) -> Result<Carried, Page> {
        let Self { request, host, upgrade } = self;
        let proxy = &client.proxy;
        let route = Route { client, host: host.clone(), target: request.uri().clone() };
        let mut entry = route.enter(&[]).map_err(NoEntry::into_page)?;
        let (asked, on_upgrade) = upgrade.unzip();
        let mut outgoing = Some(prepare(client, request, host, asked, &entry)?);
        // Upstreams that refused a connection, and whether the request was already sent once.
        let mut tried = Vec::new();
        let mut again = Again::NotYet;
        loop {
            let Entry { in_flight, closings, .. } = entry;
            let upstream = Arc::clone(in_flight.upstream());
            let reused = if again == Again::NotYet { upstream.pool().take() } else { None };
            let was_reused = reused.is_some();
            let connected = match reused {
                Some(sender) => Ok(sender),
                None => connect(proxy, &upstream).await,
            };
            let Ok(sender) = connected else {
                upstream.note_refusal();
                tried.push(upstream);
                // The count of the one that refused ends here, before the next is counted in.
                drop(in_flight);
                entry = route.enter(&tried).map_err(|_| Page::BadGateway)?;
                continue;
            };
            if upstream.closings() != closings {
                return Err(Page::Unavailable);
            }
            let Some(request) = outgoing.take() else { return Err(Page::BadGateway) };
            let spare = if was_reused { copy_if_repeatable(&request) } else { None };
            let mut loan = Loan { sender, in_flight };
            match send(&proxy.limits, &mut loan.sender, request).await {
                Sent::Answered(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return switch(proxy, answer, on_upgrade, loan.in_flight);
                }
                Sent::Answered(answer) => return Ok(Carried::Answer(answer, loan)),
                Sent::TimedOut => return Err(Page::GatewayTimeout),
                Sent::Broken(_) if upstream.closings() != closings => return Err(Page::Unavailable),
                Sent::Unsent(request) if was_reused => outgoing = Some(request),
                Sent::Broken(error) if spare.is_some() && broke_without_answer(&error) => outgoing = spare,
                Sent::Unsent(_) | Sent::Broken(_) => return Err(Page::BadGateway),
            }
            again = Again::Now;
            let Loan { in_flight, sender: _ } = loan;
            entry = Entry { in_flight, closings, strip: 0 };
        }
    }
}

/// Whether the request is being sent for the second time, which is done on a fresh connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    NotYet,
    Now,
}

/// What decides where a request goes.
struct Route<'a> {
    client: &'a Client,
    host: Option<HeaderValue>,
    target: Uri,
}

impl Route<'_> {
    fn enter(&self, tried: &[Arc<Upstream>]) -> Result<Entry, NoEntry> {
        let mut buffer = [0; _];
        let host = self.host.as_ref().and_then(|host| host::normalize(host.to_str().ok()?, &mut buffer));
        let path = match self.target.path() {
            "*" => "/",
            path => path,
        };
        self.client.proxy.enter(self.client.door, host, path, tried)
    }
}

impl NoEntry {
    const fn into_page(self) -> Page {
        match self {
            Self::NoRoute => Page::NoRoute,
            Self::NoUpstream => Page::Unavailable,
        }
    }
}

fn target_length(uri: &Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |target| target.as_str().len())
}

/// The one host that a request names; HTTP/1.0 may name none.
fn host_of(request: &Request<Incoming>) -> Result<Option<HeaderValue>, Page> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    let missing = field.is_none() && request.version() == Version::HTTP_11;
    if missing || second.is_some() {
        return Err(Page::BadRequest);
    }
    let authority = request.uri().authority();
    let named = match authority {
        // An absolute target: what it says is what counts (RFC 9112, section 3.2.2).
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| Page::BadRequest)?),
        None => field.cloned(),
    };
    for host in named.iter().chain(field) {
        let well_formed = host.to_str().is_ok_and(|host| host::normalize(host, &mut [0; _]).is_some());
        if !well_formed {
            return Err(Page::BadRequest);
        }
    }
    Ok(named)
}

/// Whether the target names a resource, or, for `OPTIONS`, the server as a whole.
fn is_valid_target(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    path.starts_with('/') || (path == "*" && request.method() == Method::OPTIONS)
}

/// The request as the upstream gets it.
fn prepare(
    client: &Client,
    request: Request<Incoming>,
    host: Option<HeaderValue>,
    upgrade: Option<HeaderValue>,
    entry: &Entry,
) -> Result<Outgoing, Page> {
    let (mut head, body) = request.into_parts();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let path = head.uri.path();
    let stripped_prefix = match entry.strip {
        0 => None,
        length => Some(HeaderValue::from_str(&path[..length]).map_err(|_| Page::BadRequest)?),
    };
    if head.uri.authority().is_some() || entry.strip > 0 {
        head.uri = origin_form(&head.uri, entry.strip).ok_or(Page::BadRequest)?;
    }
    // The same body, framed the same way.
    let chunked = !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH);
    let framing = if chunked { BodyFraming::Chunked } else { BodyFraming::Length };
    let origin = Origin { peer: &client.peer, host: host.clone(), stripped_prefix };
    headers::prepare_request(&mut head.headers, upgrade, framing, origin);
    let host = match host {
        Some(host) => host,
        None => HeaderValue::from_str(&entry.in_flight.upstream().addr().to_string())
            .map_err(|_| Page::BadRequest)?,
    };
    head.headers.insert(HOST, host);
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Streamed(body, Progress::default())
    };
    Ok(Request::from_parts(head, body))
}

/// Path and query alone, without the first `strip` bytes of the path.
fn origin_form(uri: &Uri, strip: usize) -> Option<Uri> {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = &target[strip..];
    let target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    PathAndQuery::try_from(target).ok().map(Uri::from)
}

/// Opens a connection to `upstream`.
async fn connect(proxy: &Proxy, upstream: &Arc<Upstream>) -> io::Result<Sender> {
    let stream = timeout(proxy.limits.connect_time, TcpStream::connect(upstream.addr())).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(UPSTREAM_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // How a connection ends shows in the request that it carries; an idle one may end in any way.
    let task = tokio::spawn(async move { drop(connection.with_upgrades().await) });
    upstream.hold(task.abort_handle());
    upstream.note_acceptance();
    Ok(sender)
}

/// Sends a request, and waits for the head of its answer as long as the body still moves and
/// `answer_time` beyond.
async fn send(limits: &crate::Limits, sender: &mut Sender, request: Outgoing) -> Sent {
    let progress = match request.body() {
        RequestBody::Empty => None,
        RequestBody::Streamed(_, progress) => Some(Arc::clone(progress)),
    };
    let come_so_far = || progress.as_ref().map(|progress| progress.load(Ordering::Relaxed));
    let answered = sender.try_send_request(request);
    tokio::pin!(answered);
    loop {
        let before = come_so_far();
        match timeout(limits.answer_time, answered.as_mut()).await {
            Ok(Ok(answer)) => return Sent::Answered(answer),
            Ok(Err(mut error)) => {
                return match error.take_message() {
                    Some(request) => Sent::Unsent(request),
                    None => Sent::Broken(error.into_error()),
                };
            }
            Err(_) if come_so_far() == before => return Sent::TimedOut,
            Err(_) => {}
        }
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

/// Starts the tunnel that an upstream agreed to.
fn switch(
    proxy: &Arc<Proxy>,
    mut answer: Incame,
    client: Option<OnUpgrade>,
    in_flight: InFlight,
) -> Result<Carried, Page> {
    // Nobody asked for another protocol: this is no answer to the request.
    let Some(client) = client else { return Err(Page::BadGateway) };
    let upstream = hyper::upgrade::on(&mut answer);
    tunnel::start(proxy, client, upstream, in_flight.upgrade());
    Ok(Carried::Switched(answer))
}
