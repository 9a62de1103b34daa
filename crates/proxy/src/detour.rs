//! What a request gets in the place of its route: the way to HTTPS, the answer for an ACME server, or the word that
//! it came over a connection that is for other hosts.

use crate::answer::{Answer, AnswerBody};
use crate::client_io::Busy;
use crate::connection::Client;
use crate::handshake::Secured;
use crate::host::Named;
use crate::message::Response;
use crate::pages::Page;
use crate::proxy::Proxy;
use crate::table::Door;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;

/// Where ACME servers ask (RFC 8555, section 8.3).
const ACME: &str = "/.well-known/acme-challenge/";

/// The answer to an ACME server; `None`: the request is no such question, or nobody waits for it.
pub(crate) fn acme(client: &Client, method: &Method, uri: &Uri, busy: Busy) -> Result<Answer, Busy> {
    let asked = client.door == Door::Common && method == Method::GET;
    let Some(token) = asked.then(|| uri.path().strip_prefix(ACME)).flatten() else { return Err(busy) };
    let certificates = client.proxy.certificates();
    let Some(text) = certificates.answer(token) else { return Err(busy) };
    let mut answer = Response::new(StatusCode::OK, AnswerBody::page(text.clone(), busy));
    let fields = &mut answer.head.fields;
    fields.add(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.add(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// The same request over HTTPS on `port`.
pub(crate) fn to_https(host: Option<&Named>, uri: &Uri, port: u16) -> Result<HeaderValue, Page> {
    let mut buffer = [0; _];
    let host = host.and_then(|host| host.normalized(&mut buffer));
    let host = host.ok_or(Page::BadRequest)?;
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = if target.starts_with('/') { target } else { "/" };
    let location = match port {
        443 => format!("https://{host}{target}"),
        _ => format!("https://{host}:{port}{target}"),
    };
    HeaderValue::from_str(&location).map_err(|_| Page::BadRequest)
}

/// The answer that sends a client there, with its method and its body (RFC 9110, section 15.4.9).
pub(crate) fn moved(location: HeaderValue, busy: Busy) -> Answer {
    let mut answer = Response::new(StatusCode::PERMANENT_REDIRECT, AnswerBody::empty(busy));
    let fields = &mut answer.head.fields;
    fields.add(LOCATION, location);
    // For ever would be longer than the route may be there.
    fields.add(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Whether a request for `host`, normalized, may come over a connection that was made for another name: only what
/// the client was shown a certificate for is what it believes to ask (RFC 9110, section 7.4).
pub(crate) fn is_misdirected(proxy: &Proxy, secured: &Secured, host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    if secured.name.as_deref() == Some(host) {
        return false;
    }
    let certificates = proxy.certificates();
    let own = certificates.find(Some(host));
    let same =
        own.is_some_and(|own| Arc::ptr_eq(own, &secured.certificate) || own.stands_for(&secured.certificate));
    !same && !secured.certificate.covers(host)
}
