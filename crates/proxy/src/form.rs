//! The form of a request in each protocol. [`crate::forward`] makes it as HTTP/1.1 has it; what goes to an upstream
//! that speaks HTTP/2 is turned round here, and back when it could not be sent.

use crate::message::Request;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Parts, Scheme, Uri};
use http::{HeaderValue, Version};
use hyper::body::Body;

/// As HTTP/2 has it: who is asked stands in the target, and no field is about the connection (RFC 9113, section
/// 8.2.2). A host that fits into no target stays out of it, and nobody sends that.
pub(crate) fn for_http2<B>(mut request: Request<B>) -> Request<B> {
    let authority = request.fields.get(&HOST).and_then(|host| host.as_bytes().try_into().ok());
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = authority;
    parts.path_and_query = request.target.path_and_query().cloned();
    if let Ok(target) = Uri::from_parts(parts) {
        request.target = target;
    }
    request.version = Version::HTTP_2;
    request.fields.retain(|name| ![HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name));
    request
}

/// As HTTP/1.1 has it, after [`for_http2`]. An upgrade that was asked for is forgotten.
pub(crate) fn for_http1<B>(mut request: Request<B>) -> Request<B> {
    let host = request.target.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.fields.set(HOST, host);
    }
    if let Some(target) = request.target.path_and_query().cloned() {
        request.target = Uri::from(target);
    }
    request.version = Version::HTTP_11;
    request
}

/// Says how a body is framed, where nothing says it: what was made for HTTP/2 may go over HTTP/1.1 in the end.
pub(crate) fn frame<B: Body>(request: &mut Request<B>) {
    if request.body.is_end_stream() {
        return;
    }
    let fields = &mut request.fields;
    let framed = fields.has(&TRANSFER_ENCODING) || fields.has(&CONTENT_LENGTH);
    if !framed {
        fields.add(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    #[test]
    fn a_request_is_turned_round_and_back() {
        let request = || {
            let request =
                http::Request::post("/a?b=c").header(HOST, "example.com:8080").header("te", "trailers");
            Request::from(request.body("body").unwrap())
        };
        let mut hop_by_hop = request();
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
            hop_by_hop.fields.set(name, HeaderValue::from_static("x"));
        }
        let turned = for_http2(hop_by_hop);
        assert_eq!(
            (turned.target.to_string(), turned.version),
            ("http://example.com:8080/a?b=c".to_owned(), Version::HTTP_2)
        );
        assert_eq!(turned.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["te"]);
        let back = for_http1(turned);
        let mut expected = request();
        expected.fields.remove(&HOST);
        expected.fields.add(HOST, HeaderValue::from_static("example.com:8080"));
        assert_eq!(back, expected);
    }
}
