//! Request smuggling: bytes that two readers could take for different requests, sent through the proxy
//! to two upstreams with different parsers. Each sees exactly the requests that the client was entitled
//! to; what cannot be read in one way only is refused, and ends its connection.

mod answers;
mod bodies;
mod heads;
mod recorder;
mod targets;

use crate::support::{PATIENCE, Running, Wire};
use dockswap_proof::Proof;
use recorder::{Parser, Recorder, Seen};
use std::fmt::Write as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// Bytes that a client sends, and what it is entitled to.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// The requests that arrive, in order.
    arrive: Vec<Seen>,
    then: Then,
}

/// How a case goes on after the requests that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// What the client sends next is understood.
    Next,
    /// At most one more answer, which refuses; then the connection ends.
    Closed,
    /// A request is not over: what follows belongs to it.
    Endless,
}

/// How the bytes are cut into writes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Nowhere,
    At(usize),
}

/// A case whose one request is `POST /a` with `body` at host `a`, and whatever follows it is understood.
fn passes(name: &str, bytes: impl Into<Vec<u8>>, body: &str) -> Case {
    arrives(name, bytes, ("POST", "/a", "a", body))
}

/// A case whose one request arrives as said.
fn arrives(name: &str, bytes: impl Into<Vec<u8>>, request: (&str, &str, &str, &str)) -> Case {
    let arrive = vec![seen_as(request)];
    Case { name: name.to_owned(), bytes: bytes.into(), arrive, then: Then::Next }
}

/// `(method, target, host, body)` as an upstream writes it down.
fn seen_as((method, target, host, body): (&str, &str, &str, &str)) -> Seen {
    Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        host: host.to_owned(),
        body: body.to_owned(),
    }
}

/// A case of which nothing arrives, nor anything after it.
fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name: name.to_owned(), bytes: bytes.into(), arrive: Vec::new(), then: Then::Closed }
}

/// A proxy with an upstream, and a second client who must notice nothing.
struct Lane {
    proxy: Running,
    recorder: Recorder,
    bystander: Wire,
    trials: usize,
    _dir: TempDir,
}

impl Lane {
    async fn start(parser: Parser) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // One thread: the bytes of two connections are read in the order in which they came.
        let proxy = Running::start_on(&dir, dockswap_proxy::Limits::default(), 1).await;
        let recorder = Recorder::start(parser).await;
        proxy.lead_to([&recorder.upstream]).await;
        let bystander = proxy.connect().await;
        Self { proxy, recorder, bystander, trials: 0, _dir: dir }
    }

    /// One more request of the bystander's, who gets the answer to it and no other.
    async fn bystand(&mut self) -> Result<Seen, String> {
        self.trials += 1;
        let target = format!("/bystander/{}", self.trials);
        self.bystander.request("GET", &target, "bystander").await;
        let answer = self.bystander.message().await;
        let expected = seen_as(("GET", &target, "bystander", ""));
        if answer.text() != expected.to_string() {
            return Err(format!("the bystander asked for {expected} and was answered {}", answer.text()));
        }
        Ok(expected)
    }

    /// Sends `case`, and behind it a request that marks where it ends.
    async fn trial(&mut self, case: &Case, cut: Cut) -> Result<(), String> {
        let mut bytes = case.bytes.clone();
        bytes.extend(b"GET /mark HTTP/1.1\r\nHost: mark\r\nConnection: close\r\n\r\n");
        let mut arrive: Vec<Seen> = case.arrive.clone();
        if case.then == Then::Next {
            arrive.push(seen_as(("GET", "/mark", "mark", "")));
        }

        let mut wire = self.proxy.connect().await;
        let mut expected = Vec::new();
        if let Cut::At(at) = cut {
            if wire.stream.write_all(&bytes[..at]).await.is_err() {
                return Err("a connection that ended while a request was sent".to_owned());
            }
            bytes.drain(..at);
            // Once this is answered, the first part was read.
            expected.push(self.bystand().await?);
        }
        // A connection that was refused already may be closed.
        let _sent = wire.stream.write_all(&bytes).await;
        let text = if case.then == Then::Endless {
            drop(wire);
            String::new()
        } else {
            String::from_utf8_lossy(&wire.rest().await).into_owned()
        };
        if case.then == Then::Endless {
            let ids = [self.recorder.upstream.id.clone()];
            let left = dockswap_core::ports::Router::drained(&self.proxy.control, &ids, PATIENCE);
            let left = left.await.unwrap();
            if !left.is_empty() {
                return Err(format!("still in flight: {left:?}"));
            }
        }

        let bystander = self.bystand().await?;
        let mut got = self.recorder.take();
        // What was seen of the bystander while the first part was on its way stands anywhere.
        got.retain(|seen| !expected.contains(seen));
        arrive.push(bystander);
        if got != arrive {
            return Err(format!("the upstream saw {}instead of {}", list(&got), list(&arrive)));
        }
        arrive.pop();
        if case.then == Then::Endless { Ok(()) } else { answered(&text, &arrive, case.then) }
    }
}

/// Whether a client that reads `text` got an answer to each of `arrived`, and no more than a refusal besides.
fn answered(text: &str, arrived: &[Seen], then: Then) -> Result<(), String> {
    let mut rest = text;
    for request in arrived.iter().filter(|request| request.method != "HEAD") {
        let answer = request.to_string();
        let Some(at) = rest.find(&answer) else { return Err(format!("no answer to {request} in {text:?}")) };
        rest = &rest[at + answer.len()..];
    }
    // Requests that came back in an answer have no status behind the version.
    let heads = |text: &str| {
        let of = |version: &str| text.matches(version).count();
        of("HTTP/1.1 ") + of("HTTP/1.0 ") - of("HTTP/1.1 100 ")
    };
    match then {
        _ if rest.is_empty() && heads(text) == arrived.len() => Ok(()),
        Then::Closed if rest.starts_with("HTTP/1.1 4") || rest.starts_with("HTTP/1.0 4") => {
            let clean = heads(rest) == 1 && heads(text) == arrived.len() + 1;
            if clean { Ok(()) } else { Err(format!("more than one answer in {text:?}")) }
        }
        _ => Err(format!("unexpected {rest:?}")),
    }
}

fn list(requests: &[Seen]) -> String {
    requests.iter().fold(String::new(), |mut text, request| {
        let _ = write!(text, "{request} ");
        text
    })
}

/// Sends each case whole, and cut in two: in the long mode at every byte, else at every second one, and at
/// every eighth with hyper behind, which takes heads apart by the same crate as the proxy (`httparse`).
async fn prove(parser: Parser, cases: Vec<Case>, setting: &str) {
    let mut proof = Proof::of("px.smuggle", format!("{setting}, whole and cut in two, {parser} behind"));
    let mut lane = Lane::start(parser).await;
    let step = match parser {
        _ if dockswap_proof::long() => 1,
        Parser::Tiny => 2,
        Parser::Hyper => 8,
    };
    for (index, case) in cases.into_iter().enumerate() {
        // In a head of thousands of bytes, the last ones are the telling ones.
        let length = case.bytes.len();
        let telling = |at: &usize| *at < 300 || length - at < 100;
        let cuts = (1 + index % step..length).step_by(step).filter(telling).map(Cut::At);
        for cut in std::iter::once(Cut::Nowhere).chain(cuts) {
            let tried = tokio::time::timeout(PATIENCE / 2, lane.trial(&case, cut)).await;
            match tried.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                Ok(()) => proof.kept(),
                Err(why) => {
                    proof.broken(format!(
                        "{} ({cut:?}): {why}\n    sent {}",
                        case.name,
                        case.bytes.escape_ascii()
                    ));
                    // Whatever is left over belongs to no other trial.
                    lane = Lane::start(parser).await;
                }
            }
        }
    }
    proof.conclude();
}

macro_rules! with_both_parsers {
    ($($test:ident: $cases:expr, $setting:literal;)*) => {$(
        mod $test {
            use super::{Parser, prove};

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn px_smuggle_to_hyper() {
                prove(Parser::Hyper, $cases, $setting).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn px_smuggle_to_tiny() {
                prove(Parser::Tiny, $cases, $setting).await;
            }
        }
    )*};
}

with_both_parsers! {
    lengths: super::heads::lengths(), "lengths";
    encodings: super::heads::encodings(), "transfer encodings";
    fields: super::heads::fields(), "lines and fields";
    chunks: super::bodies::chunks(), "chunks and trailers";
    sequences: super::bodies::sequences(), "sequences of requests";
    destinations: super::targets::targets(), "targets and hosts";
}
