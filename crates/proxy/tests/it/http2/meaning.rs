//! What a request means must be the same to everybody.

use super::client::{Client, Pieces, open};
use super::frames::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, begun, block, frame, head,
    next_frame,
};
use crate::support::soon;
use dockswap_proxy::Limits;
use http::{Request, StatusCode};

#[tokio::test]
async fn px_smuggle_requests_of_two_meanings_are_refused() {
    let it = open(Limits::default()).await;
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [&pseudo[..], more].concat();
    let cases = [
        // Two hosts; none; a host that is none.
        with(&[(":authority", "a"), ("host", "b")]),
        with(&[]),
        with(&[(":authority", "a b")]),
        // What only HTTP/1.1 may say (RFC 9113, section 8.2.2).
        with(&[(":authority", "a"), ("connection", "close")]),
        with(&[(":authority", "a"), ("transfer-encoding", "chunked")]),
        with(&[(":authority", "a"), ("upgrade", "websocket")]),
        with(&[(":authority", "a"), ("te", "gzip")]),
        // Names and values that would end a line.
        with(&[(":authority", "a"), ("x", "1\r\nhost: b")]),
        with(&[(":authority", "a"), ("x\r\nhost", "b")]),
        with(&[(":authority", "a"), ("X-Upper", "1")]),
        // A body that is not as long as was said.
        with(&[(":authority", "a"), ("content-length", "3")]),
        with(&[(":authority", "a"), ("content-length", "0"), ("content-length", "3")]),
        // Pseudo fields twice, or where they may not be.
        with(&[(":authority", "a"), (":path", "/b")]),
        with(&[(":authority", "a"), ("x", "1"), (":method", "POST")]),
        // Targets that are none.
        vec![(":method", "GET"), (":scheme", "http"), (":path", "nowhere"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")],
        vec![(":method", "CONNECT"), (":authority", "a:80")],
    ];
    let mut proof = dockswap_proof::Proof::of(
        "px.smuggle",
        "HTTP/2: two hosts, two lengths, forbidden fields, line ends",
    );
    for fields in cases {
        let mut wire = it.proxy.connect().await;
        wire.send(PREFACE).await;
        wire.send(frame(SETTINGS, 0, 0, b"")).await;
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
        let refusal = soon(async {
            loop {
                match next_frame(&mut wire).await {
                    // Its status is the first field of the answer's head, in one byte when it is a usual one.
                    Some((HEADERS, head)) => break Some(head),
                    Some((RST_STREAM | GOAWAY, _)) | None => break None,
                    Some(_) => {}
                }
            }
        })
        .await;
        // 200 is 0x88 in the static table (RFC 7541, appendix A).
        if refusal.is_none_or(|head| head.first() != Some(&0x88)) {
            proof.kept();
        } else {
            proof.broken(format!("{fields:?} was answered 200"));
        }
    }
    proof.conclude();
    let mut seen = it.seen;
    assert!(seen.try_recv().is_err(), "no upstream has seen any");
}

#[tokio::test]
async fn a_question_about_the_server_as_a_whole_stays_one() {
    let mut it = open(Limits::default()).await;
    let mut wire = begun(&it, &[]).await;
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("OPTIONS", "*"))).await;
    assert_eq!(soon(it.seen.recv()).await.unwrap().first_line, "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whoever_gives_it() {
    let it = open(Limits::default()).await;
    it.proxy.apply(Vec::new()).await.unwrap();
    let client = Client::of(&it.proxy).await;
    let request = Request::head("http://example.com/").body(Pieces::none()).unwrap();
    let answer = soon(client.begin(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert!(length > 0 && hyper::body::Body::is_end_stream(answer.body()));
}
