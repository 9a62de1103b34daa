//! One request's way: understood, routed, counted, sent, answered. Which fields pass is the business
//! of [`crate::headers`], how it is sent that of [`crate::exchange`].

use crate::answer::{Answer, AnswerBody, Loan};
use crate::client_io::{Busy, Trust};
use crate::connection::Client;
use crate::detour;
use crate::exchange::{Exchange, Incame, Outgoing, exchange};
use crate::headers::{self, BodyFraming, Origin};
use crate::hold::InQueue;
use crate::host;
use crate::meter::{By, Tally};
use crate::pages::Page;
use crate::proxy::{Entry, NoEntry, Proxy};
use crate::reach::Over;
use crate::request_body::{Progress, RequestBody};
use crate::tunnel::{self, Protocol};
use crate::upstream::{InFlight, Kind, Upstream};
use http::header::{CONTENT_LENGTH, HOST, STRICT_TRANSPORT_SECURITY};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Answers `request`, whatever happens.
pub(crate) async fn answer(client: &Client, request: Request<Incoming>, busy: Busy, trust: Trust) -> Answer {
    let on_stream = request.version() == Version::HTTP_2;
    let is_head = request.method() == Method::HEAD;
    let begun = Instant::now();
    let busy = match detour::acme(client, request.method(), request.uri(), busy) {
        Ok(answer) => return answer,
        Err(busy) => busy,
    };
    let mut notes = Notes::default();
    let carried = match Order::read(client, request, trust) {
        Ok(order) => order.carry_out(client, &mut notes).await,
        Err(page) => Err(page),
    };
    let Notes { request_body, hsts, tally } = notes;
    let (by, status) = match &carried {
        Ok(Carried::Answer(answer, _) | Carried::Switched(answer)) => (By::App, answer.status()),
        Ok(Carried::Moved(_)) => (By::Proxy, StatusCode::PERMANENT_REDIRECT),
        Err(page) => (By::Proxy, page.status()),
    };
    match tally {
        Some(tally) => tally.answered(by, status, begun.elapsed()),
        None => client.proxy.meter.unrouted(status),
    }
    let mut answer = match carried {
        Ok(Carried::Answer(answer, loan)) => {
            let (mut head, body) = answer.into_parts();
            head.version = Version::HTTP_11;
            headers::prepare_answer(&mut head.headers);
            let body = AnswerBody::upstream(body, loan, busy, client.proxy.limits.silence_time);
            Answer::from_parts(head, if on_stream { body.on_stream(request_body) } else { body })
        }
        Ok(Carried::Switched(answer)) => {
            let (mut head, _) = answer.into_parts();
            headers::prepare_switch(&mut head.headers);
            Answer::from_parts(head, AnswerBody::empty(busy))
        }
        Ok(Carried::Moved(location)) => detour::moved(location, busy),
        // Over HTTP/1.1 the connection sees to it that such an answer has no body.
        Err(page) if is_head && on_stream => page.head(busy),
        Err(page) => page.answer(busy),
    };
    if let Some(hsts) = hsts {
        answer.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    answer
}

/// What is learned of a request on its way, and matters to its answer.
#[derive(Default)]
struct Notes {
    /// The body that is sent.
    request_body: Option<Arc<Progress>>,
    /// What its route says of HTTPS.
    hsts: Option<HeaderValue>,
    /// Where its outcome is to be counted.
    tally: Option<Arc<Tally>>,
}

/// How a request ended well.
enum Carried {
    /// With an answer.
    Answer(Incame, Loan),
    /// With a change of protocol; the tunnel runs.
    Switched(Incame),
    /// It is to be sent there.
    Moved(HeaderValue),
}

/// A request that was understood.
struct Order {
    request: Request<Incoming>,
    /// `Host`, or the authority of an absolute target, which wins.
    host: Option<HeaderValue>,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

impl Order {
    fn read(client: &Client, mut request: Request<Incoming>, trust: Trust) -> Result<Self, Page> {
        if trust == Trust::Ambiguous {
            return Err(Page::BadRequest);
        }
        if request.method() == Method::CONNECT {
            return Err(Page::MethodNotAllowed);
        }
        if target_length(request.uri()) > client.proxy.limits.uri_bytes {
            return Err(Page::UriTooLong);
        }
        if !is_valid_target(&request) {
            return Err(Page::BadRequest);
        }
        let host = host_of(&request)?;
        if let Some(secured) = &client.secured {
            let mut buffer = [0; _];
            let host = host.as_ref().and_then(|host| host::normalize(host.to_str().ok()?, &mut buffer));
            if detour::is_misdirected(&client.proxy, secured, host) {
                return Err(Page::Misdirected);
            }
        }
        let upgrade = match headers::requested_upgrade(request.headers()) {
            Some(protocol) if request.version() == Version::HTTP_11 => {
                Some((protocol, hyper::upgrade::on(&mut request)))
            }
            _ => None,
        };
        Ok(Self { request, host, upgrade })
    }

    async fn carry_out(self, client: &Client, notes: &mut Notes) -> Result<Carried, Page> {
        let Self { request, host, upgrade } = self;
        let proxy = &client.proxy;
        let kind = headers::is_grpc(request.headers()).then_some(Kind::Call);
        let route = Route { client, host: host.clone(), target: request.uri().clone(), kind };
        let mut entry = match route.enter(&[], &mut notes.tally).await {
            Ok(entry) => entry,
            Err(Turned::Away(page)) => return Err(page),
            Err(Turned::ToHttps(port)) => {
                return detour::to_https(proxy, host.as_ref(), request.uri(), port).map(Carried::Moved);
            }
        };
        notes.hsts = entry.hsts.take();
        let (asked, on_upgrade) = upgrade.unzip();
        let mut request = prepare(client, request, host, asked, &entry)?;
        notes.request_body = request.body().progress();
        let mut tried = Vec::new();
        let mut over = Over::Any;
        loop {
            let closings = entry.closings;
            match exchange(proxy, entry, request, over).await {
                Exchange::Answered(answer, loan) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return switch(proxy, answer, on_upgrade, loan.in_flight, closings);
                }
                Exchange::Answered(answer, _) if !headers::has_known_encoding(answer.headers()) => {
                    return Err(Page::BadGateway);
                }
                Exchange::Answered(answer, loan) if headers::is_event_stream(answer.headers()) => {
                    let in_flight = loan.in_flight.counted_as(Kind::EventStream);
                    return Ok(Carried::Answer(answer, Loan { in_flight, ..loan }));
                }
                Exchange::Answered(answer, loan) => return Ok(Carried::Answer(answer, loan)),
                Exchange::Refused(whole, upstream) => {
                    tried.push(upstream);
                    request = whole;
                    let tally = &mut notes.tally;
                    entry = match route.find(&tried, tally) {
                        Err(NoEntry::Held(_) | NoEntry::Closed(_)) => {
                            route.enter(&tried, tally).await.map_err(Turned::into_page)?
                        }
                        found => found.map_err(|_| Page::BadGateway)?,
                    };
                }
                // Once: a fresh connection that breaks is no reason to try again.
                Exchange::Again(whole, same) => {
                    request = whole;
                    entry = same;
                    over = Over::Fresh;
                }
                Exchange::Failed(page) => return Err(page),
            }
        }
    }
}

/// How often a request that waits for a gate looks whether its client is still there.
const GLANCE: Duration = Duration::from_secs(1);

/// Why a request does not go to its app.
enum Turned {
    /// It is answered with this page.
    Away(Page),
    /// It is to come again over HTTPS, on this port.
    ToHttps(u16),
}

impl Turned {
    /// The page of a request that had come to its app before.
    fn into_page(self) -> Page {
        match self {
            Self::Away(page) => page,
            Self::ToHttps(_) => Page::Unavailable,
        }
    }
}

/// What decides where a request goes.
struct Route<'a> {
    client: &'a Client,
    host: Option<HeaderValue>,
    target: Uri,
    /// What it is known to be from the beginning.
    kind: Option<Kind>,
}

impl Route<'_> {
    /// The request's entry; where the app's gate holds it up, as soon as that lets it go.
    async fn enter(&self, tried: &[Arc<Upstream>], tally: &mut Option<Arc<Tally>>) -> Result<Entry, Turned> {
        let mut place: Option<InQueue> = None;
        loop {
            let hold = match self.find(tried, tally) {
                Ok(entry) => return Ok(entry),
                Err(NoEntry::NoRoute) => return Err(Turned::Away(Page::NoRoute)),
                Err(NoEntry::OverHttps(port)) => return Err(Turned::ToHttps(port)),
                Err(NoEntry::NoUpstream) => return Err(Turned::Away(Page::Unavailable)),
                Err(NoEntry::Closed(page)) => return Err(Turned::Away(Page::Maintenance(page))),
                Err(NoEntry::Held(hold)) => hold,
            };
            // Where only its terms changed, a request keeps its place.
            let kept = place.take().filter(|place| place.is_of(&hold));
            let waits = kept.or_else(|| hold.queue()).ok_or(Turned::Away(Page::Unavailable))?;
            let seen = self.client.shared.wait();
            loop {
                tokio::select! {
                    () = hold.ended() => break,
                    () = self.client.proxy.closing.given() => return Err(Turned::Away(Page::Unavailable)),
                    // The connection is polled too, which notices a client that went away.
                    () = tokio::time::sleep(GLANCE) => {}
                }
            }
            drop(seen);
            place = Some(waits);
        }
    }

    fn find(&self, tried: &[Arc<Upstream>], tally: &mut Option<Arc<Tally>>) -> Result<Entry, NoEntry> {
        let mut buffer = [0; _];
        let host = self.host.as_ref().and_then(|host| host::normalize(host.to_str().ok()?, &mut buffer));
        let path = match self.target.path() {
            "*" => "/",
            path => path,
        };
        let entry = self.client.proxy.enter(self.client.door, host, path, tried, tally)?;
        Ok(match self.kind {
            Some(kind) => Entry { in_flight: entry.in_flight.counted_as(kind), ..entry },
            None => entry,
        })
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
    let authority = request.uri().authority();
    let missing = match request.version() {
        Version::HTTP_11 => field.is_none(),
        Version::HTTP_2 => field.is_none() && authority.is_none(),
        _ => false,
    };
    // Two that differ are one too many (RFC 9113, section 8.3.1).
    let contradicted = request.version() == Version::HTTP_2
        && authority.zip(field).is_some_and(|(authority, field)| authority.as_str() != field);
    if missing || second.is_some() || contradicted {
        return Err(Page::BadRequest);
    }
    let named = match authority {
        // An absolute target: what it says is what counts (RFC 9112, section 3.2.2).
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| Page::BadRequest)?),
        None => field.cloned(),
    };
    // Without an authority both are the same.
    for host in named.iter().chain(field.filter(|_| authority.is_some())) {
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
    let client_speaks_http2 = head.version == Version::HTTP_2;
    head.version = Version::HTTP_11;
    head.extensions.clear();
    if client_speaks_http2 {
        headers::join_cookies(&mut head.headers);
    }
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
    let scheme = HeaderValue::from_static(if client.secured.is_some() { "https" } else { "http" });
    let said = client.is_front.map(|ip| client.proxy.front.said(&head.headers, ip)).unwrap_or_default();
    let origin = Origin {
        chain: said.chain.as_ref().unwrap_or(&client.peer),
        scheme: said.scheme.unwrap_or(scheme),
        host: said.host.or_else(|| host.clone()),
        stripped_prefix,
    };
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
        RequestBody::streamed(body, client_speaks_http2.then_some(client.proxy.limits.stall_time))
    };
    Ok(Request::from_parts(head, body))
}

/// Path and query alone, without the first `strip` bytes of the path.
fn origin_form(uri: &Uri, strip: usize) -> Option<Uri> {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if target == "*" {
        return Some(Uri::from(PathAndQuery::from_static("*")));
    }
    let rest = &target[strip..];
    let target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    PathAndQuery::try_from(target).ok().map(Uri::from)
}

/// Starts the tunnel that an upstream agreed to.
fn switch(
    proxy: &Arc<Proxy>,
    mut answer: Incame,
    client: Option<OnUpgrade>,
    in_flight: InFlight,
    closings: u64,
) -> Result<Carried, Page> {
    // Nobody asked for another protocol: this is no answer to the request.
    let Some(client) = client else { return Err(Page::BadGateway) };
    let upstream = hyper::upgrade::on(&mut answer);
    let protocol = Protocol::of(answer.headers());
    tunnel::start(proxy, protocol, (client, upstream), in_flight, closings);
    Ok(Carried::Switched(answer))
}
