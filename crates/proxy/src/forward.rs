//! One request's way: understood, routed, counted, sent, answered. Which fields pass is the business
//! of [`crate::headers`], how it is sent that of [`crate::exchange`].

use crate::answer::{Answer, AnswerBody, GiveSocket};
use crate::app::{App, Sort};
use crate::client_io::Busy;
use crate::connection::Client;
use crate::detour;
use crate::ending::Ending;
use crate::exchange::{Delivery, Exchange, Incame, Outgoing, exchange};
use crate::headers::{self, BodyFraming, Origin};
use crate::hold::InQueue;
use crate::host::Named;
use crate::message::{Request, Response};
use crate::meter::By;
use crate::notable::Notable;
use crate::pages::Page;
use crate::proxy::{Entry, NoEntry, Proxy};
use crate::reach::Over;
use crate::record::Record;
use crate::request_body::{Incoming, Progress, RequestBody};
use crate::stall;
use crate::target;
use crate::tunnel::{self, Held, Protocol};
use crate::upstream::{InFlight, Kind, Upstream};
use http::header::{CONTENT_LENGTH, HOST, STRICT_TRANSPORT_SECURITY};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, StatusCode, Version};
use hyper::body::Body;
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::oneshot;

/// Answers `request`, whatever happens; what is sent on is taken out of it. `notable`: what there is among its fields.
pub(crate) async fn answer(
    client: &Client,
    request: &mut Request<Incoming>,
    notable: Notable,
    busy: Busy,
) -> Answer {
    let on_stream = request.version == Version::HTTP_2;
    let is_head = request.method == Method::HEAD;
    let begun = Instant::now();
    let mut notes = Notes::default();
    let journal = client.proxy.journal.as_ref();
    notes.ending.record = journal.map(|journal| Record::begin(journal, client, request));
    let busy = match detour::acme(client, &request.method, &request.target, busy) {
        Ok(mut answer) => {
            notes.ending.answered(None, By::Proxy, answer.head.status, Some("acme"));
            answer.body.hold(notes.ending);
            return answer;
        }
        Err(busy) => busy,
    };
    let order = seat(client, &mut notes).and_then(|()| Order::read(client, request, notable));
    let carried = match order {
        Ok(order) => order.carry_out(client, request, &mut notes).await,
        Err(page) => Err(page),
    };
    let Notes { request_body, hsts, app, kind, mut ending } = notes;
    let (by, status, why) = match &carried {
        Ok(Carried::Answer(answer, _)) => (By::App, answer.head.status, None),
        Ok(Carried::Switched(answer, _)) => (By::App, answer.head.status, None),
        Ok(Carried::Moved(_)) => (By::Proxy, StatusCode::PERMANENT_REDIRECT, Some("https")),
        Err(page) => (By::Proxy, page.status(), Some(page.reason())),
    };
    match &app {
        Some(app) => app.tally.answered(by, status, begun.elapsed()),
        None => client.proxy.meter.unrouted(status),
    }
    ending.answered(app.as_ref(), by, status, why);
    let mut answer = match carried {
        Ok(Carried::Answer(answer, in_flight)) => {
            let Response { head, body } = answer;
            let silence = app.and_then(|app| app.terms.silence_of(kind));
            let body = AnswerBody::upstream(body, in_flight, busy, silence);
            Response { head, body: if on_stream { body.on_stream(request_body) } else { body } }
        }
        Ok(Carried::Switched(answer, give)) => {
            let mut answer = answer.map(|()| AnswerBody::switch(give, busy));
            headers::prepare_switch(&mut answer.head.fields);
            answer
        }
        Ok(Carried::Moved(location)) => detour::moved(location, busy),
        // Over HTTP/1.1 the connection sees to it that such an answer has no body.
        Err(page) if is_head && on_stream => page.head(busy),
        Err(page) => page.answer(busy),
    };
    answer.body.hold(ending);
    if let Some(hsts) = hsts {
        answer.head.fields.set(STRICT_TRANSPORT_SECURITY, hsts);
    }
    answer
}

/// Gives the request its place among those that its client may have in flight, where they are numbered.
fn seat(client: &Client, notes: &mut Notes) -> Result<(), Page> {
    if let Some(streams) = &client.streams {
        let seat = streams.take(client.proxy.limits.streams_per_ip).ok_or(Page::TooManyStreams)?;
        notes.ending.seats[1] = Some(seat);
    }
    Ok(())
}

/// What is learned of a request on its way, and matters to its answer.
#[derive(Default)]
struct Notes {
    /// The body that is sent.
    request_body: Option<Arc<Progress>>,
    /// What its route says of HTTPS.
    hsts: Option<HeaderValue>,
    /// Whose it is.
    app: Option<Arc<App>>,
    /// What it turned out to be, if not an ordinary request.
    kind: Option<Kind>,
    ending: Ending,
}

/// How a request ended well.
enum Carried {
    /// With an answer.
    Answer(Incame, InFlight),
    /// With a change of protocol; the tunnel waits for the client's socket.
    Switched(Response<()>, GiveSocket),
    /// It is to be sent there.
    Moved(HeaderValue),
}

/// A request that was understood.
struct Order {
    /// `Host`, or the authority of an absolute target, which wins.
    host: Option<Named>,
    /// The protocol that it asks to change to.
    upgrade: Option<HeaderValue>,
    /// What there is among its fields.
    notable: Notable,
}

impl Order {
    fn read(client: &Client, request: &Request<Incoming>, notable: Notable) -> Result<Self, Page> {
        if request.method == Method::CONNECT {
            return Err(Page::MethodNotAllowed);
        }
        if target::length(&request.target) > client.proxy.limits.uri_bytes {
            return Err(Page::UriTooLong);
        }
        if !target::is_valid(request) {
            return Err(Page::BadRequest);
        }
        let host = target::host(request)?;
        if let Some(secured) = &client.secured {
            let mut buffer = [0; _];
            let host = host.as_ref().and_then(|host| host.normalized(&mut buffer));
            if detour::is_misdirected(&client.proxy, secured, host) {
                return Err(Page::Misdirected);
            }
        }
        let upgrade = headers::requested_upgrade(&request.fields, notable);
        let upgrade = upgrade.filter(|_| request.version == Version::HTTP_11);
        Ok(Self { host, upgrade, notable })
    }

    async fn carry_out(
        self,
        client: &Client,
        request: &mut Request<Incoming>,
        notes: &mut Notes,
    ) -> Result<Carried, Page> {
        let Self { host, upgrade, notable } = self;
        let proxy = &client.proxy;
        let kind = headers::is_grpc(&request.fields, notable).then_some(Kind::Call);
        let route = Route { client, host, target: request.target.clone(), kind };
        let mut entry = match route.enter(&[], &mut notes.app).await {
            Ok(entry) => entry,
            Err(Turned::Away(page)) => return Err(page),
            Err(Turned::ToHttps(port)) => {
                return detour::to_https(route.host.as_ref(), &request.target, port).map(Carried::Moved);
            }
        };
        notes.hsts = entry.hsts.take();
        // Its own patience is for calls where they can be: elsewhere nobody's word for it counts.
        let kind = kind.filter(|_| entry.is_for_calls());
        notes.kind = kind;
        notes.ending.found(&entry.app);
        notes.ending.seats[0] = entry.app.admit(Sort::Request)?;
        if upgrade.is_some() {
            notes.ending.seats[2] = entry.app.admit(Sort::Upgrade)?;
        }
        entry.app.terms.check_length(&request.body)?;
        let may_switch = upgrade.is_some();
        let host = route.host.as_ref().map(|host| host.authority().clone());
        let mut request = prepare(client, (request, notable), host, upgrade, &entry, kind)?;
        notes.request_body = request.body.progress();
        let mut tried = Vec::new();
        let mut over = Over::Any;
        loop {
            let closings = entry.closings;
            notes.ending.sent();
            let exchanged = exchange(proxy, entry, &mut request, over).await;
            notes.ending.heard();
            match exchanged {
                Exchange::Answered(answer, in_flight)
                    if answer.head.status == StatusCode::SWITCHING_PROTOCOLS =>
                {
                    // Nobody asked for another protocol: this is no answer to the request.
                    if !may_switch {
                        return Err(Page::BadGateway);
                    }
                    return switch(proxy, answer, (in_flight, closings), notes);
                }
                Exchange::Answered(answer, in_flight) if headers::is_event_stream(&answer.head.fields) => {
                    notes.kind = Some(Kind::EventStream);
                    return Ok(Carried::Answer(answer, in_flight.counted_as(Kind::EventStream)));
                }
                Exchange::Answered(answer, in_flight) => return Ok(Carried::Answer(answer, in_flight)),
                Exchange::Refused(upstream) => {
                    tried.push(upstream);
                    let app = &mut notes.app;
                    entry = match route.find(&tried, app) {
                        Err(NoEntry::Held(_) | NoEntry::Closed(_)) => {
                            route.enter(&tried, app).await.map_err(Turned::into_page)?
                        }
                        found => found.map_err(|_| Page::BadGateway)?,
                    };
                }
                // Where its route leads now.
                Exchange::Departed => {
                    let entered = route.enter(&tried, &mut notes.app).await;
                    entry = entered.map_err(Turned::into_page)?;
                }
                // Once: a fresh connection that breaks is no reason to try again.
                Exchange::Again(same) => {
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
    host: Option<Named>,
    target: Uri,
    /// What it is known to be from the beginning.
    kind: Option<Kind>,
}

impl Route<'_> {
    /// The request's entry; where the app's gate holds it up, as soon as that lets it go.
    async fn enter(&self, tried: &[Arc<Upstream>], app: &mut Option<Arc<App>>) -> Result<Entry, Turned> {
        let mut place: Option<InQueue> = None;
        loop {
            let hold = match self.find(tried, app) {
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

    fn find(&self, tried: &[Arc<Upstream>], app: &mut Option<Arc<App>>) -> Result<Entry, NoEntry> {
        let mut buffer = [0; _];
        let host = self.host.as_ref().and_then(|host| host.normalized(&mut buffer));
        let path = match self.target.path() {
            "*" => "/",
            path => path,
        };
        let entry = self.client.proxy.enter(self.client.door, host, path, tried, app)?;
        Ok(match self.kind {
            Some(kind) => Entry { in_flight: entry.in_flight.counted_as(kind), ..entry },
            None => entry,
        })
    }
}

/// The request as the upstream gets it.
fn prepare(
    client: &Client,
    (request, notable): (&mut Request<Incoming>, Notable),
    host: Option<HeaderValue>,
    upgrade: Option<HeaderValue>,
    entry: &Entry,
    kind: Option<Kind>,
) -> Result<Outgoing, Page> {
    let Request { method, mut target, version, mut fields, body } = mem::take(request);
    let client_speaks_http2 = version == Version::HTTP_2;
    if client_speaks_http2 {
        headers::join_cookies(&mut fields);
    }
    let path = target.path();
    let stripped_prefix = match entry.strip {
        0 => None,
        length => Some(HeaderValue::from_str(&path[..length]).map_err(|_| Page::BadRequest)?),
    };
    let has_authority = target.authority().is_some();
    if has_authority || entry.strip > 0 {
        target = origin_form(&target, entry.strip).ok_or(Page::BadRequest)?;
    }
    let terms = &entry.app.terms;
    let stall = if client_speaks_http2 {
        stall::after(terms.stall_time);
        terms.stall_of(kind)
    } else {
        client.shared.stalls_after(terms.stall_time);
        Some(terms.stall_time)
    };
    // The same body, framed the same way.
    let chunked = !body.is_end_stream() && !fields.has(&CONTENT_LENGTH);
    let framing = if chunked { BodyFraming::Chunked } else { BodyFraming::Length };
    let scheme = HeaderValue::from_static(if client.secured.is_some() { "https" } else { "http" });
    let said = client.is_front.map(|ip| client.proxy.front.said(&fields, ip)).unwrap_or_default();
    let origin = Origin {
        chain: said.chain.as_ref().unwrap_or(&client.peer),
        scheme: said.scheme.unwrap_or(scheme),
        host: said.host.or_else(|| host.clone()),
        stripped_prefix,
    };
    headers::prepare_request(&mut fields, notable, upgrade, framing, origin);
    let host = match host {
        // It is what the field says.
        Some(_) if !has_authority => None,
        None => Some(
            HeaderValue::from_str(&entry.in_flight.upstream().addr().to_string())
                .map_err(|_| Page::BadRequest)?,
        ),
        named => named,
    };
    if let Some(host) = host {
        fields.set(HOST, host);
    }
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::streamed(body, terms.body_bytes, stall)
    };
    Ok(Request { method, target, version: Version::HTTP_11, fields, body })
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
    answer: Incame,
    (in_flight, closings): (InFlight, u64),
    notes: &mut Notes,
) -> Result<Carried, Page> {
    let Response { head, body: delivery } = answer;
    // HTTP/2 has no such answer.
    let Delivery::Http1(delivery) = delivery else { return Err(Page::BadGateway) };
    let protocol = Protocol::of(&head.fields);
    let mut ending = mem::take(&mut notes.ending);
    // The request is over; what it became has a place of its own.
    ending.seats[0] = None;
    ending.answered(notes.app.as_ref(), By::App, head.status, None);
    let silence_time = notes.app.as_ref().and_then(|app| app.terms.stream_silence_time);
    let terms = Held { in_flight, ending, silence_time };
    let (give, client) = oneshot::channel();
    tunnel::start(proxy, protocol, client, delivery.into_parts(), (terms, closings));
    Ok(Carried::Switched(Response { head, body: () }, give))
}
