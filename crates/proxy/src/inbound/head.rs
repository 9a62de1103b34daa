//! The head of a request (RFC 9112, sections 3 to 6), read once and strictly: what two readers could take for two
//! things is refused here, and never repaired. Pure functions over bytes that were read: knows no sockets.

use crate::extent::Extent;
use crate::fields::{closes, decimal, fields, has_bare_line_feed, says};
use crate::limits::Limits;
use crate::message::{Fields, Request};
use crate::notable::{Field, Notable};
use crate::request_body::Incoming;
use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};
use http::uri::Uri;
use http::{Method, StatusCode, Version};
use httparse::{ParserConfig, Status};
use std::mem::MaybeUninit;

/// How many fields it may have.
const MOST_FIELDS: usize = 100;

/// Room for the fields that the proxy adds.
const ADDED: usize = 5;

/// The longest target, in bytes, that can be looked at at all.
const LONGEST_TARGET: usize = 65_534;

/// The longest body that can be announced, in bytes: beyond it, others count below zero.
const LONGEST_BODY: u64 = i64::MAX as u64;

/// What came before the body.
#[derive(Debug)]
pub(super) struct Head {
    /// Its body is not known here.
    pub(super) request: Request<Incoming>,
    /// What there is among its fields.
    pub(super) notable: Notable,
    pub(super) extent: Extent,
    /// It waits with its body until it is told to go on.
    pub(super) expects: bool,
    pub(super) asked: Asked,
}

/// What a request says of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) version: Version,
    /// `HEAD`: a head alone.
    pub(super) for_head: bool,
    /// Another request may follow on the connection.
    pub(super) keeps_alive: bool,
    /// It understands trailers.
    pub(super) takes_trailers: bool,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the head of a request could be read in more than one way, or in none")]
    Malformed,
    #[error("the head of a request is too long")]
    TooLong,
    #[error("the target of a request is too long")]
    TargetTooLong,
}

impl Refusal {
    /// What its client is told.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
        }
    }
}

/// Takes the empty lines from the front of `read` that may stand before a request (RFC 9112, section 2.2).
pub(super) fn skip_empty_lines(read: &mut Bytes) {
    while read.starts_with(b"\r\n") {
        read.advance(2);
    }
}

/// Takes the head of a request from the front of `read`; `None`: it is not whole.
pub(super) fn take(read: &mut Bytes, limits: &Limits) -> Result<Option<Head>, Refusal> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    let length = match config.parse_request_with_uninit_headers(&mut parsed, read, &mut room) {
        Ok(Status::Complete(length)) if length <= limits.head_bytes => length,
        Ok(Status::Partial) if read.len() <= limits.head_bytes => return unfinished(read),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
        Err(_) => return Err(Refusal::Malformed),
    };
    if has_bare_line_feed(&read[..length]) {
        return Err(Refusal::Malformed);
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(Refusal::Malformed) };
    if target.len() > LONGEST_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed)?;
    let target = read.slice_ref(target.as_bytes());
    let target = Uri::from_maybe_shared(target).map_err(|_| Refusal::Malformed)?;
    let (fields, notable) = fields(read, parsed.headers, ADDED).ok_or(Refusal::Malformed)?;
    let extent = extent(version, &fields, notable)?;
    let expects = notable.has(Field::Doubtful) && version == Version::HTTP_11 && expects(&fields);
    let asked = Asked {
        version,
        for_head: method == Method::HEAD,
        keeps_alive: keeps_alive(version, &fields, notable),
        takes_trailers: notable.has(Field::Te) && says(&fields, TE, "trailers"),
    };
    let request = Request { method, target, version, fields, body: Incoming::None };
    // What is refused stays where it is.
    read.advance(length);
    Ok(Some(Head { request, notable, extent, expects, asked }))
}

/// What there is of a head that is not whole: none of it may be wrong already.
fn unfinished(read: &Bytes) -> Result<Option<Head>, Refusal> {
    if has_bare_line_feed(read) { Err(Refusal::Malformed) } else { Ok(None) }
}

/// How far the body goes: as one length or the one encoding says, and not at all where there is neither (RFC 9112,
/// section 6.3). Both at once, or one of them twice, is how requests are smuggled.
fn extent(version: Version, fields: &Fields, notable: Notable) -> Result<Extent, Refusal> {
    let only = |name: HeaderName| {
        let mut values = fields.get_all(name);
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes).ok_or(Refusal::Malformed)
    };
    match (notable.has(Field::ContentLength), notable.has(Field::TransferEncoding)) {
        (false, false) => Ok(Extent::Sized(0)),
        (true, false) => {
            let length = decimal(only(CONTENT_LENGTH)?).filter(|&length| length <= LONGEST_BODY);
            length.map(Extent::Sized).ok_or(Refusal::Malformed)
        }
        // HTTP/1.0 has no encodings.
        (false, true) => {
            let known =
                version == Version::HTTP_11 && only(TRANSFER_ENCODING)?.eq_ignore_ascii_case(b"chunked");
            if known { Ok(Extent::CHUNKED) } else { Err(Refusal::Malformed) }
        }
        (true, true) => Err(Refusal::Malformed),
    }
}

/// Whether another request may follow (RFC 9112, section 9.3).
fn keeps_alive(version: Version, fields: &Fields, notable: Notable) -> bool {
    let asked = notable.has(Field::Connection);
    let closes = asked && closes(fields);
    !closes && (version == Version::HTTP_11 || (asked && says(fields, CONNECTION, "keep-alive")))
}

fn expects(fields: &Fields) -> bool {
    fields.get_all(EXPECT).any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Refusal> {
        take(&mut Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
    }

    fn sound(text: &str) -> Head {
        head(text).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole_however_it_is_cut() {
        let text = "POST /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 5\r\nx: 2\r\n\r\nhello";
        let whole = text.len() - 5;
        for cut in 0..text.len() {
            let mut read = Bytes::copy_from_slice(&text.as_bytes()[..cut]);
            let head = take(&mut read, &Limits::default()).unwrap();
            assert_eq!(head.is_some(), cut >= whole, "cut at {cut}");
            assert!(cut < whole || read.len() == cut - whole);
        }
        let Head { request, extent, asked, .. } = sound(text);
        assert_eq!((&request.method, request.target.to_string()), (&Method::POST, "/a?b".to_owned()));
        assert_eq!(extent, Extent::Sized(5));
        let name = HeaderName::from_static("x");
        assert_eq!(request.fields.get_all(name).collect::<Vec<_>>(), ["1", "2"]);
        let plain =
            Asked { version: Version::HTTP_11, for_head: false, keeps_alive: true, takes_trailers: false };
        assert_eq!(asked, plain);
    }

    #[test]
    fn empty_lines_before_it_are_no_part_of_it() {
        let mut read = Bytes::from_static(b"\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        skip_empty_lines(&mut read);
        assert!(take(&mut read, &Limits::default()).unwrap().is_some() && read.is_empty());
        let mut read = Bytes::from_static(b"\r\n\r");
        skip_empty_lines(&mut read);
        assert_eq!(read.as_ref(), b"\r");
    }

    #[test]
    fn the_body_goes_as_far_as_one_field_says() {
        let chunked = Extent::CHUNKED;
        for (fields, expected) in [
            ("", Extent::Sized(0)),
            ("Content-Length: 0\r\n", Extent::Sized(0)),
            ("content-length:\t 5 \r\n", Extent::Sized(5)),
            ("Content-Length: 00000000000000000000000000005\r\n", Extent::Sized(5)),
            ("Content-Length: 9223372036854775807\r\n", Extent::Sized(LONGEST_BODY)),
            ("Transfer-Encoding: Chunked\r\n", chunked),
            ("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", Extent::Sized(5)),
        ] {
            assert_eq!(sound(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).extent, expected, "{fields:?}");
        }
    }

    #[test]
    fn what_a_request_says_of_its_answer_is_found() {
        let asked =
            |version: &str, fields: &str| sound(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).asked;
        for (version, fields, keeps_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(asked(version, fields).keeps_alive, keeps_alive, "{version} {fields:?}");
        }
        let expects =
            |version: &str, fields: &str| sound(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).expects;
        assert!(expects("1.1", "Expect: x\r\nExpect: 100-CONTINUE\r\n"));
        assert!(!expects("1.0", "Expect: 100-continue\r\n") && !expects("1.1", "Expect: x\r\n"));
        assert!(asked("1.1", "TE: deflate, Trailers\r\n").takes_trailers);
        assert!(sound("HEAD / HTTP/1.1\r\n\r\n").asked.for_head);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in [
            // Lengths and encodings.
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            // Lines.
            "\nGET / HTTP/1.1\r\n\r\n",
            "\rGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\n A: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            // The first line.
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET: / HTTP/1.1\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\n\r\n",
            "GET http:///a HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
        ] {
            assert_eq!(head(bad).unwrap_err(), Refusal::Malformed, "{bad:?}");
            // Nor does it pass when it comes in two pieces.
            for cut in 0..bad.len() {
                let begun = take(&mut Bytes::copy_from_slice(&bad.as_bytes()[..cut]), &Limits::default());
                assert!(!matches!(begun, Ok(Some(_))), "{bad:?} cut at {cut}");
            }
        }
        assert_eq!(head("GET / HTTP/1.1\nHost: a").unwrap_err(), Refusal::Malformed, "before it is whole");
    }

    #[test]
    fn what_is_too_long_is_refused_whole_or_not() {
        let limits = Limits { head_bytes: 80_000, ..Limits::default() };
        let long = |text: String| take(&mut Bytes::from(text), &limits).unwrap_err();
        assert_eq!(long(format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(80_000))), Refusal::TooLong);
        assert_eq!(long(format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(80_000))), Refusal::TooLong);
        let many = "A: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(long(format!("GET / HTTP/1.1\r\n{many}\r\n")), Refusal::TooLong);
        let target = "x".repeat(LONGEST_TARGET);
        assert_eq!(long(format!("GET /{target} HTTP/1.1\r\n\r\n")), Refusal::TargetTooLong);
        let fits = "A: b\r\n".repeat(MOST_FIELDS);
        assert!(head(&format!("GET / HTTP/1.1\r\n{fits}\r\n")).unwrap().is_some());
    }
}
