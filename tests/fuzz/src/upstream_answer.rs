//! Any bytes as an upstream's answer: the client gets what a strict reader sees in them, or an error;
//! never what looks whole and is not, and never does the next client get any of it.

use crate::choices::Choices;
use crate::message::{self, End, Message};
use crate::stage::{FirstAnswer, Manner, Stage, Then, play};

/// What the first client asks.
const REQUESTS: [(&str, &str); 4] = [
    ("GET", "GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    ("HEAD", "HEAD /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    ("POST", "POST /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"),
    ("GET", "GET /one HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
];

/// What the first client wants to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Other,
}

/// Answers a request with `bytes` but the first, and asks for something else then.
pub fn upstream_answer(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let options = choices.byte();
    let (method, request) = REQUESTS[usize::from(options) % REQUESTS.len()];
    let then = if options & 4 == 0 { Then::Close } else { Then::Listen };
    let given = choices.rest();
    // No input holds what depends on all of it.
    let mark = given.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let fresh = format!("HTTP/1.1 200 OK\r\nX-Mark: {mark:016x}\r\nContent-Length: 5\r\n\r\nfresh");
    let first = FirstAnswer { bytes: given.to_vec(), then };
    let manner = Manner { answer: fresh.into_bytes(), first_answer: Some(first) };
    let (one, other) = play(async {
        let stage = Stage::new(manner);
        let one = stage.send(request.as_bytes(), usize::MAX).await;
        let next = b"GET /other HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
        let other = stage.send(next, usize::MAX).await;
        stage.seen().await;
        (one, other)
    });
    let (answer, rest) = message::next_answer(&other, "GET").unwrap_or_else(|end| panic!("{end:?}"));
    let marked = answer.values("x-mark").eq([format!("{mark:016x}").as_bytes()]);
    assert!(rest.is_empty(), "more than one answer: {answer:?}");
    assert!(marked || answer.status() >= 500, "the next client got what was not for it: {answer:?}");
    let protocol = if request.contains("Upgrade:") { Protocol::Other } else { Protocol::Http };
    judge(&one, given, method, protocol, then);
}

/// Bytes as the answer to one request.
enum Reading {
    Whole(Box<Message>),
    /// It breaks off in the body.
    Part(Box<Message>),
    /// No strict reader takes it.
    Strange(End),
}

/// Whether `got` is what a client may be told of an upstream's answer `given`.
fn judge(got: &[u8], given: &[u8], method: &str, protocol: Protocol, then: Then) {
    if got.is_empty() {
        // An answer that broke off as soon as it began is a connection that does.
        return assert!(!matches!(reading(given, method), Reading::Whole(_)), "a whole answer was lost");
    }
    let (got, whole) = match reading(got, method) {
        Reading::Whole(answer) => (answer, true),
        Reading::Part(answer) => (answer, false),
        Reading::Strange(end) => panic!("the client got {end:?}: {:?}", String::from_utf8_lossy(got)),
    };
    if got.status() == 101 {
        return assert!(protocol == Protocol::Other, "nobody asked for another protocol");
    }
    let (given, given_whole) = match reading(given, method) {
        Reading::Whole(answer) => (answer, true),
        Reading::Part(answer) => (answer, false),
        // What this reader does not take, others may. The client's copy of it reads well.
        Reading::Strange(_) => return,
    };
    if matches!(got.status(), 502..=504) && whole {
        return;
    }
    let shown = String::from_utf8_lossy(&got.body);
    assert_eq!(got.status(), given.status(), "{shown}");
    assert!(given.body.starts_with(&got.body), "{shown:?} of {:?}", String::from_utf8_lossy(&given.body));
    if !given_whole && then == Then::Close {
        assert!(!whole, "a part of an answer looks whole: {shown:?}");
    }
    if given_whole && whole {
        assert_eq!(got.body, given.body, "a whole answer looks like another");
    }
}

/// The final answer in `bytes`.
fn reading(mut bytes: &[u8], method: &str) -> Reading {
    loop {
        match message::next_answer(bytes, method) {
            Ok((answer, rest)) if answer.status() < 200 && answer.status() != 101 => bytes = rest,
            Ok((answer, _)) => return Reading::Whole(Box::new(answer)),
            Err(End::InBody(answer)) => return Reading::Part(answer),
            Err(end) => return Reading::Strange(end),
        }
    }
}
