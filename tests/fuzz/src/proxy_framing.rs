//! Any bytes as a client connection through the proxy: what reaches the upstream is what a strict reader
//! sees in those bytes, request by request, or nothing; and it reads the same for every reader.

use crate::choices::Choices;
use crate::message::{self, End, Message};
use crate::stage::{CLIENT, Manner, Stage, UPSTREAM, play};
use std::net::IpAddr;

/// How many bytes come at a time; the first input byte chooses.
const CUTS: [usize; 4] = [usize::MAX, 1, 7, 61];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the proxy answers by itself, and what the upstream does.
const STATUSES: [u16; 11] = [100, 200, 400, 404, 405, 408, 414, 431, 502, 503, 504];

/// Fields that the proxy sets itself, or that belong to one connection.
const NOT_END_TO_END: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "host",
    "proxy-authorization",
    "http2-settings",
    "expect",
    "forwarded",
    "content-length",
    "x-real-ip",
];

/// How a connection begins that speaks HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends `bytes` but the first through the proxy.
pub fn proxy_framing(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let cut = *choices.one_of(&CUTS);
    let sent = choices.rest();
    let (answers, seen) = play(async {
        let stage = Stage::new(Manner { answer: ANSWER.to_vec(), first_answer: None });
        (stage.send(sent, cut).await, stage.seen().await)
    });
    if sent.starts_with(PREFACE) {
        // What it asks for and what it is answered is in frames; what the upstream gets is whole all the same.
        for connection in &seen {
            let (_, rest) = message::requests(connection);
            assert!(!matches!(rest, End::Bad { .. }), "{rest:?}: {:?}", String::from_utf8_lossy(connection));
        }
        return;
    }
    let (expected, end) = message::requests(sent);
    let mut arrived: Vec<Message> = Vec::new();
    for connection in &seen {
        let (whole, rest) = message::requests(connection);
        match rest {
            End::Clean | End::InHead => {}
            End::InBody(part) => is_part_of(&part, &expected, &end),
            End::Bad { why, .. } => panic!("{why}: {:?}", String::from_utf8_lossy(connection)),
        }
        arrived.extend(whole);
    }
    // Some may have been refused; none may be new, double or in another order.
    let mut candidates = expected.iter();
    for request in &arrived {
        let found = candidates.any(|expected| same(request, expected));
        assert!(found, "the upstream got {request:#?}\nand the client sent {expected:#?}\n{end:?}");
    }
    understood(&answers, &expected, arrived.len());
}

/// Whether `got` is what the upstream may be sent for `sent`.
fn same(got: &Message, sent: &Message) -> bool {
    same_head(got, sent)
        && got.body == sent.body
        && got.trailers.iter().all(|trailer| sent.trailers.contains(trailer))
}

fn same_head(got: &Message, sent: &Message) -> bool {
    let (target, authority) = origin_form(&sent.first[1]);
    let host = authority.map(|authority| authority.as_bytes().to_vec());
    let host = host.or_else(|| sent.values("host").next().map(<[u8]>::to_vec));
    let host = host.unwrap_or_else(|| UPSTREAM.as_bytes().to_vec());
    got.first[0] == sent.first[0]
        && got.first[1] == target
        && got.values("host").eq([host.as_slice()])
        && got.values("x-forwarded-for").eq([IpAddr::from(CLIENT).to_string().as_bytes()])
        && by_name(end_to_end(got))
            == by_name(end_to_end(sent).filter(|(name, _)| !is_named_by_connection(sent, name)))
}

/// Only fields of one name have an order among them.
fn by_name<'a>(fields: impl Iterator<Item = &'a (String, Vec<u8>)>) -> Vec<&'a (String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| name);
    fields
}

/// The fields that pass as they are.
fn end_to_end(message: &Message) -> impl Iterator<Item = &(String, Vec<u8>)> {
    message.fields.iter().filter(|(name, _)| {
        let plain = name.replace('_', "-");
        !plain.starts_with("x-forwarded-") && plain != "x-real-ip" && !NOT_END_TO_END.contains(&name.as_str())
    })
}

fn is_named_by_connection(message: &Message, name: &str) -> bool {
    let values = message.values("connection").map(String::from_utf8_lossy);
    values.into_iter().any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(name)))
}

/// Path and query, and the authority of an absolute target.
fn origin_form(target: &str) -> (String, Option<&str>) {
    // What a fragment says is for the client alone.
    let target = target.split('#').next().unwrap_or_default();
    match target.split_once("://") {
        Some((scheme, rest))
            if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
        {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            (path, Some(authority))
        }
        _ => (target.to_owned(), None),
    }
}

/// A request that broke off is the beginning of one that the client sent or began.
fn is_part_of(part: &Message, whole: &[Message], end: &End) {
    let unfinished = match end {
        End::InBody(message) => Some(&**message),
        End::Bad { so_far, .. } => so_far.as_deref(),
        End::Clean | End::InHead => None,
    };
    let mut sent = whole.iter().chain(unfinished);
    let found = sent.any(|sent| same_head(part, sent) && sent.body.starts_with(&part.body));
    assert!(found, "the upstream got {part:#?}\nand the client sent {whole:#?}\n{end:?}");
}

/// Every answer is one to a request, and says what became of it.
fn understood(mut answers: &[u8], sent: &[Message], arrived: usize) {
    let mut ok = 0;
    for nth in 0.. {
        if answers.is_empty() {
            break;
        }
        assert!(nth <= sent.len(), "an answer to nothing: {:?}", String::from_utf8_lossy(answers));
        let method = sent.get(nth).map_or("", |request| &request.first[0]);
        let answer = loop {
            let (answer, rest) = message::next_answer(answers, method)
                .unwrap_or_else(|end| panic!("{end:?}: {:?}", String::from_utf8_lossy(answers)));
            answers = rest;
            if answer.status() != 100 {
                break answer;
            }
        };
        assert!(STATUSES.contains(&answer.status()), "{answer:?}");
        ok += usize::from(answer.status() == 200);
        // A request that no strict reader takes is refused, and so is all that comes after it.
        assert!(nth < sent.len() || answer.status() != 200, "the upstream answered what nobody asked");
    }
    assert!(ok <= arrived, "{ok} answers to {arrived} requests");
}
