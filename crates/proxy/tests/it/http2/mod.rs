//! HTTP/2 from clients, with prior knowledge: what is the same as over HTTP/1.1, and what only HTTP/2 has.

mod bounds;
pub(crate) mod client;
mod frames;
mod meaning;

use crate::support::{Running, eventually, soon};
use crate::upstreams::App;
use bytes::Bytes;
use client::{Client, Pieces, get, held, open, whole};
use dockswap_proxy::Limits;
use frames::{PREFACE, SETTINGS, frame, next_frame};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_upstream_gets_an_ordinary_request() {
    let mut it = open(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let request = Request::get("http://Example.com:8080/a%20b?c=d")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .header("accept", "*/*");
    let answer = soon(client.begin(request.body(Pieces::none()).unwrap())).await.unwrap().unwrap();
    assert_eq!(whole(answer).await, (StatusCode::OK, "GET /a%20b?c=d HTTP/1.1".to_owned()));
    let seen = it.seen.recv().await.unwrap();
    for (name, value) in [
        ("host", "Example.com:8080"),
        ("cookie", "a=1; b=2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "Example.com:8080"),
        ("x-forwarded-proto", "http"),
        ("te", "trailers"),
        ("accept", "*/*"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}");
    }
    for none in ["content-length", "transfer-encoding"] {
        assert_eq!(seen.field(none), None, "{none}");
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    const AT_ONCE: usize = 50;
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun: Vec<_> = (0..AT_ONCE).map(|number| client.begin(get(&format!("/{number}")))).collect();
    for _ in 0..AT_ONCE {
        soon(it.seen.recv()).await.unwrap();
    }
    assert_eq!(it.proxy.in_flight().await, (AT_ONCE as u64, 0));
    it.gate.add_permits(AT_ONCE);
    for (number, answer) in begun.into_iter().enumerate() {
        let (status, text) = whole(soon(answer).await.unwrap().unwrap()).await;
        assert_eq!((status, text), (StatusCode::OK, format!("GET /{number} HTTP/1.1")));
    }
    eventually("nothing is in flight", || async { it.proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn bodies_are_streamed_both_ways_and_trailers_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    // Echoes each chunk as it comes.
    let app = App::start_with(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (Some("chunked"), None));
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n").await;
        loop {
            let size = usize::from_str_radix(&wire.line().await.unwrap(), 16).unwrap();
            let chunk = String::from_utf8(wire.exactly(size + 2).await.unwrap()).unwrap();
            if size == 0 {
                break;
            }
            wire.send(format!("{size:x}\r\n{chunk}")).await;
        }
        wire.send("0\r\nx-sum: 7\r\n\r\n").await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let client = Client::of(&proxy).await;
    let (pieces, body) = Pieces::some();
    let request = Request::post("http://example.com/").header("te", "trailers").body(body).unwrap();
    let mut answer = soon(client.begin(request)).await.unwrap().unwrap();
    for piece in ["one", "two"] {
        pieces.send(Bytes::from(piece)).unwrap();
        let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-sum"], HeaderValue::from_static("7"));
    assert!(answer.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn what_a_stream_asked_for_is_given_up_with_it() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun = client.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();
    begun.abort();
    eventually("nothing is in flight", || async { it.proxy.in_flight().await == (0, 0) }).await;
    // One for the app that has not noticed.
    it.gate.add_permits(2);
    assert_eq!(client.get("/next").await.0, StatusCode::OK, "the connection lives on");
}

#[tokio::test]
async fn a_switch_loses_no_stream() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun: Vec<_> = (0..20).map(|_| client.begin(get("/old"))).collect();
    for _ in 0..20 {
        soon(it.seen.recv()).await.unwrap();
    }
    let new = App::start("new").await;
    it.proxy.lead_to([&new.upstream]).await;
    assert_eq!(client.get("/").await, (StatusCode::OK, "new".to_owned()));
    assert_eq!(it.proxy.in_flight().await, (20, 0), "the old one drains");
    it.gate.add_permits(20);
    for answer in begun {
        assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.1, "GET /old HTTP/1.1");
    }
    eventually("the old one is drained", || async { it.proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_ending_proxy_says_go_away_and_finishes_what_was_begun() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun = client.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();
    it.proxy.begin_stop();
    eventually("it takes nothing more", || async {
        // What came before it was told to end is held like the first.
        let late = client.begin(get("/late"));
        let abort = late.abort_handle();
        let refused = matches!(tokio::time::timeout(SHORT, late).await, Ok(Ok(Err(_))));
        abort.abort();
        refused
    })
    .await;
    it.gate.add_permits(100);
    assert_eq!(whole(soon(begun).await.unwrap().unwrap()).await.0, StatusCode::OK);
    it.proxy.stopped().await;
    client.ended().await;
}

#[tokio::test]
async fn the_preface_may_come_in_pieces_and_http1_goes_on_as_before() {
    let it = open(Limits::default()).await;
    for cut in 1..PREFACE.len() {
        let mut wire = it.proxy.connect().await;
        let (first, second) = PREFACE.split_at(cut);
        wire.send(first).await;
        tokio::task::yield_now().await;
        wire.send(second).await;
        wire.send(frame(SETTINGS, 0, 0, b"")).await;
        assert_eq!(soon(next_frame(&mut wire)).await.map(|(kind, _)| kind), Some(SETTINGS), "cut at {cut}");
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::GET] {
        let mut wire = it.proxy.connect().await;
        for byte in format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").into_bytes() {
            wire.send([byte]).await;
        }
        assert_eq!(wire.message().await.text(), format!("{method} / HTTP/1.1"));
    }
}
