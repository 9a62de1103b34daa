//! Which header fields pass from one side to the other (RFC 9110, section 7.6.1), and which the
//! proxy sets itself. Pure functions over fields.

use crate::fields::decimal;
use crate::message::Fields;
use crate::notable::{Field, Notable};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What the proxy tells an upstream about the client. A client's own word on it never passes.
pub(crate) struct Origin<'a> {
    /// The client's address, and those of all that stand in front.
    pub(crate) chain: &'a HeaderValue,
    pub(crate) scheme: HeaderValue,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) stripped_prefix: Option<HeaderValue>,
}

/// How the request's body is framed for the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// As its `Content-Length` says, or there is none.
    Length,
    /// In chunks.
    Chunked,
}

/// The protocol that a request asks to change to, when it really does: by `Upgrade` and a
/// `Connection` that names it. HTTP/2 by upgrade is not offered: inside such a tunnel a client could
/// reach what no route leads to.
pub(crate) fn requested_upgrade(headers: &Fields, notable: Notable) -> Option<HeaderValue> {
    if !notable.has(Field::Upgrade) {
        return None;
    }
    let protocol = headers.get(&UPGRADE)?;
    let h2c = tokens(protocol).any(|token| token.eq_ignore_ascii_case("h2c"));
    let asked =
        headers.get_all(CONNECTION).flat_map(tokens).any(|token| token.eq_ignore_ascii_case("upgrade"));
    (asked && !h2c).then(|| protocol.clone())
}

/// Makes a client's header fields fit for an upstream. `notable`: what there is among them.
pub(crate) fn prepare_request(
    headers: &mut Fields,
    notable: Notable,
    upgrade: Option<HeaderValue>,
    framing: BodyFraming,
    origin: Origin<'_>,
) {
    let trailers = notable.has(Field::Te)
        && headers.get_all(TE).flat_map(tokens).any(|token| token.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers, notable);
    // Over HTTP/1.1 the proxy itself answers an expectation, as soon as the upstream wants the body. Over HTTP/2 nobody
    // does, and nobody has to: a client does not wait for it for long (RFC 9110, section 10.1.1). Trailers do not pass.
    if notable.has(Field::Doubtful) {
        headers.retain(|name| {
            let stays_here =
                matches!(name.as_str(), "proxy-authorization" | "http2-settings" | "expect" | "trailer");
            // Servers that hand fields on in variables of the environment take these for what frames the request.
            let looks_like_framing = matches!(name.as_str(), "content_length" | "transfer_encoding");
            !(stays_here || looks_like_framing || is_claim_about_origin(name))
        });
    }
    if framing == BodyFraming::Chunked {
        headers.add(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if notable.has(Field::DoubtfulLength) {
        say_length_once(headers);
    }
    if trailers {
        headers.add(TE, HeaderValue::from_static("trailers"));
        headers.add(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(protocol) = upgrade {
        headers.add(UPGRADE, protocol);
        headers.add(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    // What clients say there is gone, as doubtful.
    headers.add(X_FORWARDED_FOR, origin.chain.clone());
    headers.add(X_FORWARDED_PROTO, origin.scheme);
    if let Some(host) = origin.host {
        headers.add(X_FORWARDED_HOST, host);
    }
    if let Some(prefix) = origin.stripped_prefix {
        headers.add(X_FORWARDED_PREFIX, prefix);
    }
}

/// Makes one field of the cookies that HTTP/2 may send apart (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut Fields) {
    let apart: Vec<&[u8]> = headers.get_all(COOKIE).map(HeaderValue::as_bytes).collect();
    if apart.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&apart.join(&b"; "[..]))
    {
        headers.set(COOKIE, joined);
    }
}

/// Whether a request is a gRPC call.
pub(crate) fn is_grpc(headers: &Fields, notable: Notable) -> bool {
    notable.has(Field::ContentType) && has_type(headers, b"application/grpc")
}

/// Whether an answer is a stream of server-sent events.
pub(crate) fn is_event_stream(headers: &Fields) -> bool {
    has_type(headers, b"text/event-stream")
}

fn has_type(headers: &Fields, wanted: &[u8]) -> bool {
    let given = headers.get(&CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let (name, more) = given.split_at(given.len().min(wanted.len()));
    // `application/grpc+proto` is gRPC, `application/grpc-web` is not.
    name.eq_ignore_ascii_case(wanted) && matches!(more.first(), None | Some(b';' | b'+' | b' '))
}

/// Whether an upstream's body can be read as its head says: in chunks, by its length, or to the end of the
/// connection. Other encodings are not undone, and would be passed on as what they are not.
pub(crate) fn has_known_encoding(headers: &Fields) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING);
    let known = encodings.next().is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    known && encodings.next().is_none()
}

/// Makes an upstream's header fields fit for a client. `notable`: what there is among them.
pub(crate) fn prepare_answer(headers: &mut Fields, notable: Notable) {
    if notable.has(Field::TransferEncoding) {
        // The body was read by its chunks; a length beside them says something else or nothing.
        headers.remove(&CONTENT_LENGTH);
    }
    if notable.has(Field::DoubtfulLength) {
        say_length_once(headers);
    }
    remove_hop_by_hop(headers, notable);
    if notable.has(Field::Doubtful) {
        headers.remove(&PROXY_AUTHENTICATE);
    }
}

/// A length that was said twice, in two fields or in one (`3, 3`), may be taken by whom it is sent to, and
/// passed on as one alone, written as everybody writes it (RFC 9110, section 8.6). Lengths that differ say nothing.
fn say_length_once(headers: &mut Fields) {
    let once = {
        let mut lengths =
            headers.get_all(CONTENT_LENGTH).flat_map(tokens).map(|length| decimal(length.as_bytes()));
        let first = lengths.next().flatten();
        first.filter(|_| lengths.all(|other| other == first))
    };
    headers.remove(&CONTENT_LENGTH);
    if let Some(once) = once {
        headers.add(CONTENT_LENGTH, once.into());
    }
}

/// Makes the header fields of a 101 fit for a client.
pub(crate) fn prepare_switch(headers: &mut Fields) {
    let protocol = headers.get(&UPGRADE).cloned();
    remove_hop_by_hop(headers, Notable::of(headers));
    headers.remove(&CONTENT_LENGTH);
    headers.add(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.add(UPGRADE, protocol);
    }
}

fn remove_hop_by_hop(headers: &mut Fields, notable: Notable) {
    if notable.has(Field::Connection) {
        remove_named_by_connection(headers);
    }
    let hop_by_hop = [Field::Connection, Field::Te, Field::TransferEncoding, Field::Upgrade];
    if hop_by_hop.into_iter().any(|field| notable.has(field)) {
        headers.retain(|name| ![CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name));
    }
    if notable.has(Field::Doubtful) {
        headers.retain(|name| !matches!(name.as_str(), "keep-alive" | "proxy-connection"));
    }
}

/// Removes what `Connection` says is only for the next one.
fn remove_named_by_connection(headers: &mut Fields) {
    let ordinary = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close");
    if headers.get_all(CONNECTION).all(ordinary) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .flat_map(tokens)
        // What every connection says names no field.
        .filter(|token| !token.eq_ignore_ascii_case("keep-alive") && !token.eq_ignore_ascii_case("close"))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // These say what the message is, and are nobody's to name.
        .filter(|name| name != HOST && name != CONTENT_LENGTH)
        .collect();
    headers.retain(|name| !named.contains(name));
}

/// Whether a field claims something about where the request came from, also in a spelling that some
/// servers take for the same (`X_Forwarded_For`).
fn is_claim_about_origin(name: &HeaderName) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let same =
        |text: &[u8], other: &[u8]| text.iter().zip(other).all(|(&a, &b)| a == b || (a == b'_' && b == b'-'));
    let bytes = name.as_str().as_bytes();
    name == FORWARDED
        || (bytes.len() >= PREFIX.len() && same(&bytes[..PREFIX.len()], PREFIX))
        || (bytes.len() == b"x-real-ip".len() && same(bytes, b"x-real-ip"))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    // One that no name can have takes no other with it.
    let tokens =
        value.as_bytes().split(|&byte| byte == b',').filter_map(|token| std::str::from_utf8(token).ok());
    tokens.map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use http::HeaderMap;

    /// In no order: what is removed and what is added says itself which there is.
    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        all(fields).into()
    }

    fn all(of: &[(&'static str, &'static str)]) -> Fields {
        let mut fields = Fields::default();
        for &(name, value) in of {
            fields.add(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        fields
    }

    fn prepared(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = all(fields);
        let notable = Notable::of(&headers);
        let upgrade = requested_upgrade(&headers, notable);
        let peer = HeaderValue::from_static("192.0.2.1");
        let origin = Origin {
            chain: &peer,
            scheme: HeaderValue::from_static("http"),
            host: Some(HeaderValue::from_static("example.com")),
            stripped_prefix: None,
        };
        prepare_request(&mut headers, notable, upgrade, BodyFraming::Length, origin);
        let mut headers = HeaderMap::from(headers);
        for set in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
            assert_eq!(headers.get_all(set).iter().count(), 1);
        }
        assert_eq!(headers.get("x-forwarded-for").unwrap(), "192.0.2.1");
        assert_eq!(headers.get("x-forwarded-host").unwrap(), "example.com");
        for set in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
            headers.remove(set);
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_stay_behind() {
        let fields = [
            ("accept", "*/*"),
            ("connection", "close, X-Private"),
            ("connection", "x-other, host, content-length"),
            ("content-length", "0"),
            ("expect", "100-continue"),
            ("host", "a"),
            ("http2-settings", "x"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("trailer", "x-sum"),
            ("upgrade", "websocket"),
            ("x-other", "2"),
            ("x-private", "1"),
        ];
        let kept = [("accept", "*/*"), ("content-length", "0"), ("host", "a")];
        assert_eq!(prepared(&fields), map(&kept));
    }

    #[test]
    fn a_name_that_none_can_have_keeps_no_other_from_being_removed() {
        let mut headers = all(&[("accept", "*/*"), ("x-private", "1")]);
        headers.add(CONNECTION, HeaderValue::from_bytes(b"c\xecose, X-Private").unwrap());
        let notable = Notable::of(&headers);
        remove_hop_by_hop(&mut headers, notable);
        assert_eq!(headers, all(&[("accept", "*/*")]));
    }

    #[test]
    fn a_client_cannot_say_where_it_comes_from() {
        let fields = [
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x_real-ip", "1.2.3.4"),
            ("x-forward", "stays"),
        ];
        assert_eq!(prepared(&fields), map(&[("x-forward", "stays")]));
    }

    #[test]
    fn what_frames_a_request_is_said_once_and_in_one_way() {
        for (said, sent) in [("5", "5"), ("0", "0"), ("0005", "5"), ("00000000000000000000000000000005", "5")]
        {
            assert_eq!(prepared(&[("content-length", said)]), map(&[("content-length", sent)]), "{said}");
        }
        let fields = [("content-length", "5"), ("content_length", "6"), ("transfer_encoding", "chunked")];
        assert_eq!(prepared(&fields), map(&[("content-length", "5")]));
    }

    #[test]
    fn trailers_and_upgrades_are_asked_for_anew() {
        let fields = [("te", "trailers, deflate"), ("connection", "TE")];
        assert_eq!(prepared(&fields), map(&[("te", "trailers"), ("connection", "te")]));
        let fields = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")];
        assert_eq!(prepared(&fields), map(&[("upgrade", "WebSocket"), ("connection", "upgrade")]));
        let smuggled =
            [("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings"), ("http2-settings", "x")];
        assert_eq!(prepared(&smuggled), map(&[]));
    }

    #[test]
    fn cookies_that_came_apart_are_one_field() {
        let joined = |cookies: &[&'static str]| {
            let fields = cookies.iter().map(|cookie| (COOKIE, HeaderValue::from_static(cookie)));
            let mut headers = Fields::default();
            for (name, value) in fields {
                headers.add(name, value);
            }
            join_cookies(&mut headers);
            headers.get_all(COOKIE).map(|one| one.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(joined(&[]).is_empty());
        assert_eq!(joined(&["a=1; b=2"]), ["a=1; b=2"]);
        assert_eq!(joined(&["a=1", "b=2", "c=3"]), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_answer_keeps_its_own_fields_only() {
        let mut headers = all(&[
            ("connection", "x-hop"),
            ("content-length", "3"),
            ("date", "today"),
            ("set-cookie", "a"),
            ("transfer-encoding", "chunked"),
            ("x-hop", "1"),
        ]);
        let notable = Notable::of(&headers);
        prepare_answer(&mut headers, notable);
        assert_eq!(headers, all(&[("date", "today"), ("set-cookie", "a")]));
    }

    #[test]
    fn a_length_is_passed_on_once_or_not_at_all() {
        let length = |values: &[&'static str]| {
            let mut headers = Fields::default();
            for value in values {
                headers.add(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            let notable = Notable::of(&headers);
            prepare_answer(&mut headers, notable);
            headers.get_all(CONTENT_LENGTH).map(|one| one.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(length(&["3"]), ["3"]);
        assert_eq!(length(&["3, 3"]), ["3"]);
        assert_eq!(length(&["3", "3,3"]), ["3"]);
        assert_eq!(length(&["003"]), ["3"]);
        assert_eq!(length(&["3", "03"]), ["3"]);
        assert!(length(&["3", "4"]).is_empty() && length(&["3, 4"]).is_empty());
        assert!(length(&["+3"]).is_empty() && length(&["3, x"]).is_empty() && length(&[""]).is_empty());
    }
}
