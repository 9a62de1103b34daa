//! The head of an answer (RFC 9112, sections 4 to 6): what it says, how far the body behind it goes, and whether the
//! connection can be used again. Pure functions over bytes that were read: knows no sockets.

use super::Nonsense;
use crate::extent::Extent;
use crate::fields::{closes, decimal, fields, says};
use crate::headers::has_known_encoding;
use crate::message::{Response, ResponseHead};
use crate::notable::{Field, Notable};
use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Method, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use std::mem::MaybeUninit;

/// The longest head, in bytes.
const LONGEST: usize = 64 * 1024;

/// How many fields it may have.
const MOST_FIELDS: usize = 100;

/// What came before the body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) answer: Response<()>,
    /// What there is among its fields.
    pub(crate) notable: Notable,
    pub(crate) extent: Extent,
    /// Another exchange may follow on the connection.
    pub(crate) keeps_alive: bool,
}

/// Takes the head of the answer to a request of this `method` from the front of `read`, and what is said on the way
/// to it (all of 1xx but 101); `None`: it is not whole.
pub(crate) fn take(read: &mut Bytes, method: &Method) -> Result<Option<Head>, Nonsense> {
    loop {
        let mut fields_of_it = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut parsed, read, &mut fields_of_it) {
            Ok(Status::Complete(length)) if length <= LONGEST => length,
            Ok(Status::Partial) if read.len() <= LONGEST => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Nonsense::TooLong),
            Err(_) => return Err(Nonsense::Head),
        };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Nonsense::Head)?;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            read.advance(length);
            continue;
        }
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let reason = match parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason()) {
            None => None,
            Some(reason) => Some(ReasonPhrase::try_from(reason.as_bytes()).map_err(|_| Nonsense::Head)?),
        };
        let (fields, notable) = fields(read, parsed.headers, 0).ok_or(Nonsense::Head)?;
        read.advance(length);
        let head = ResponseHead { status, reason, fields };
        let (extent, keeps_alive) =
            (extent(&head, (version, notable), method)?, keeps_alive(&head, (version, notable)));
        return Ok(Some(Head { answer: Response { head, body: () }, notable, extent, keeps_alive }));
    }
}

/// How far the body goes (RFC 9112, section 6.3).
fn extent(
    answer: &ResponseHead,
    (version, notable): (Version, Notable),
    method: &Method,
) -> Result<Extent, Nonsense> {
    let fields = &answer.fields;
    let has_encoding = notable.has(Field::TransferEncoding);
    if has_encoding && !has_known_encoding(fields) {
        return Err(Nonsense::Encoding);
    }
    let status = answer.status;
    let bare =
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    if bare || method == Method::HEAD {
        return Ok(Extent::Sized(0));
    }
    if has_encoding {
        // HTTP/1.0 has none: who says it nevertheless may mean anything.
        let known = version == Version::HTTP_11;
        return if known { Ok(Extent::CHUNKED) } else { Err(Nonsense::Encoding) };
    }
    if !notable.has(Field::ContentLength) {
        return Ok(Extent::ToEnd);
    }
    if !notable.has(Field::DoubtfulLength) {
        let length = fields.get(&CONTENT_LENGTH).map(HeaderValue::as_bytes).unwrap_or_default();
        return self::length(length).map(Extent::Sized);
    }
    let mut lengths = fields.get_all(CONTENT_LENGTH).flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let length = length(lengths.next().unwrap_or_default())?;
    // Said twice, it is still the same (RFC 9110, section 8.6).
    if lengths.any(|other| self::length(other) != Ok(length)) {
        return Err(Nonsense::Length);
    }
    Ok(Extent::Sized(length))
}

fn length(text: &[u8]) -> Result<u64, Nonsense> {
    decimal(text.trim_ascii()).ok_or(Nonsense::Length)
}

/// Whether another exchange may follow (RFC 9112, section 9.3).
fn keeps_alive(answer: &ResponseHead, (version, notable): (Version, Notable)) -> bool {
    let fields = &answer.fields;
    // Who says both a length and chunks has been made to say one of them (RFC 9112, section 6.1).
    let contradicts = notable.has(Field::TransferEncoding) && notable.has(Field::ContentLength);
    let asked = notable.has(Field::Connection);
    match version {
        _ if contradicts || answer.status == StatusCode::SWITCHING_PROTOCOLS => false,
        Version::HTTP_11 => !(asked && closes(fields)),
        _ => asked && says(fields, CONNECTION, "keep-alive") && !closes(fields),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Nonsense> {
        take(&mut Bytes::copy_from_slice(text.as_bytes()), &Method::GET)
    }

    /// How far the body goes, and whether the connection can be used again.
    fn frame(text: &str) -> Result<(Extent, bool), Nonsense> {
        head(text).map(|head| head.unwrap()).map(|head| (head.extent, head.keeps_alive))
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole_and_nothing_behind_it() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Nope\r\nA: 1\r\nContent-Length: 3\r\na: 2\r\n\r\nabc";
        let whole = text.len() - 3;
        for cut in 0..text.len() {
            let mut read = Bytes::copy_from_slice(&text.as_bytes()[..cut]);
            let head = take(&mut read, &Method::GET).unwrap();
            assert_eq!(head.is_some(), cut >= whole, "cut at {cut}");
            assert!(cut < whole || read.len() == cut - whole);
        }
        let Head { answer, extent, keeps_alive, .. } = head(text).unwrap().unwrap();
        let ResponseHead { status, reason, fields } = answer.head;
        assert_eq!((status.as_u16(), extent, keeps_alive), (404, Extent::Sized(3), true));
        let name = http::HeaderName::from_static("a");
        assert_eq!(fields.get_all(name).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(reason.unwrap().as_bytes(), b"Nope");
    }

    #[test]
    fn the_body_goes_as_far_as_the_standard_says() {
        let chunked = Extent::CHUNKED;
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (Extent::Sized(5), true)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
                (Extent::Sized(5), true),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", (chunked, true)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", (chunked, false)),
            ("HTTP/1.1 200 OK\r\n\r\n", (Extent::ToEnd, true)),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", (Extent::Sized(0), true)),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", (Extent::Sized(0), true)),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", (Extent::Sized(0), false)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n",
                (Extent::Sized(0), false),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", (Extent::Sized(0), false)),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
                (Extent::Sized(0), true),
            ),
        ] {
            assert_eq!(frame(text), Ok(expected), "{text:?}");
        }
        let mut read = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(take(&mut read, &Method::HEAD).unwrap().unwrap().extent, Extent::Sized(0));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_nonsense() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(LONGEST));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MOST_FIELDS + 1));
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Nonsense::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", Nonsense::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", Nonsense::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", Nonsense::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", Nonsense::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Nonsense::Encoding),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Nonsense::Encoding),
            ("HTTP/1.1 204 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Nonsense::Encoding),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Nonsense::Encoding),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Nonsense::Head),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Nonsense::Head),
            ("HTTP/1.1 099 OK\r\n\r\n", Nonsense::Head),
            ("HTTP/2.0 200 OK\r\n\r\n", Nonsense::Head),
            ("hello\r\n\r\n", Nonsense::Head),
            (&long, Nonsense::TooLong),
            (&long[..=LONGEST], Nonsense::TooLong),
            (&many, Nonsense::TooLong),
        ] {
            assert_eq!(head(text).unwrap_err(), expected, "{:?}", &text[..text.len().min(80)]);
        }
    }
}
