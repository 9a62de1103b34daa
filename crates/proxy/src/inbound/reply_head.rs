//! The head of an answer as its client gets it (RFC 9112, section 4; RFC 9110, section 8.6). How its body is framed was
//! decided before.

use super::date;
use super::head::Asked;
use super::reply::Then;
use crate::fields::decimal;
use crate::message::{Fields, ResponseHead};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use hyper::ext::ReasonPhrase;
use std::io::Write;

/// What a head says of how long its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Nothing: there is none, or the connection's end ends it.
    None,
    /// What its fields say.
    AsSaid,
    Known(u64),
    Chunks,
}

/// Writes `head`; the trailers that it tells of.
pub(super) fn write(
    to: &mut Vec<u8>,
    head: &ResponseHead,
    asked: Asked,
    length: Length,
    then: Then,
) -> Option<Vec<HeaderName>> {
    status_line(to, head, asked.version);
    let (mut trailers, mut has_date, mut says_length) = (None, false, false);
    for (name, value) in head.fields.iter() {
        if *name == CONTENT_LENGTH {
            // What the body really has is what counts.
            let true_to_it = match length {
                Length::None | Length::Chunks => false,
                Length::AsSaid => true,
                Length::Known(length) => decimal(value.as_bytes()) == Some(length),
            };
            if !true_to_it || std::mem::replace(&mut says_length, true) {
                continue;
            }
        } else if *name == DATE {
            has_date = true;
        } else if *name == TRAILER {
            if length != Length::Chunks {
                continue;
            }
            let names = value.to_str().unwrap_or_default().split(',');
            let names = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
            trailers.get_or_insert_with(Vec::new).extend(names);
        } else if *name == TRANSFER_ENCODING || (*name == CONNECTION && is_close(value)) {
            // Said below, where it is so.
            continue;
        }
        field(to, name, value.as_bytes());
    }
    match length {
        Length::Known(length) if !says_length => {
            to.extend_from_slice(b"content-length: ");
            // Writing into memory does not fail.
            let _written = write!(to, "{length}\r\n");
        }
        Length::Chunks => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Length::None | Length::AsSaid | Length::Known(_) => {}
    }
    match (then, asked.version) {
        (Then::Close, Version::HTTP_11) => to.extend_from_slice(b"connection: close\r\n"),
        (Then::Next, Version::HTTP_10) => to.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    if !has_date {
        to.extend_from_slice(b"date: ");
        date::write(to);
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
    trailers
}

fn status_line(to: &mut Vec<u8>, head: &ResponseHead, version: Version) {
    let said = head.reason.as_ref();
    if said.is_none() && head.status == StatusCode::OK && version == Version::HTTP_11 {
        return to.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let version: &[u8] = if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    let canonical = || head.status.canonical_reason().unwrap_or("<none>").as_bytes();
    let reason = said.map_or_else(canonical, ReasonPhrase::as_bytes);
    for part in [version, head.status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

pub(super) fn field(to: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

pub(super) fn says_close(fields: &Fields) -> bool {
    fields.get_all(CONNECTION).any(is_close)
}

/// Whether the proxy itself has said so: no other hop's word comes here.
fn is_close(value: &HeaderValue) -> bool {
    value.as_bytes() == b"close"
}
