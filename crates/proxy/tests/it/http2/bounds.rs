//! What one stream, or one connection of streams, may take.

use super::SHORT;
use super::client::{Client, Pieces, get, held, open, whole};
use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    begun, block, frame, head, next_frame,
};
use crate::support::{PATIENCE, Running, eventually, soon};
use crate::upstreams::App;
use bytes::Bytes;
use dockswap_proxy::Limits;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use std::time::Duration;

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_told_to_go_whatever_else_it_sends() {
    let mut it = held(Limits { idle_time: SHORT, ..Limits::default() }).await;
    let busy = Client::of(&it.proxy).await;
    let begun = busy.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();

    let mut wire = it.proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, b"")).await;
    let mut seen = Vec::new();
    let mut trickle = tokio::time::interval(Duration::from_millis(20));
    let gone = tokio::time::timeout(PATIENCE, async {
        loop {
            tokio::select! {
                frame = next_frame(&mut wire) => match frame {
                    Some((kind, ..)) => seen.push(kind),
                    None => break,
                },
                _ = trickle.tick() => {
                    let _gone = wire.stream.try_write(&frame(PING, 0, 0, &[0; 8]));
                }
            }
        }
    });
    assert!(gone.await.is_ok(), "pings keep it open: {seen:?}");
    assert!(seen.contains(&GOAWAY), "{seen:?}");

    // One that waits for its answer is not idle, however long that takes.
    it.gate.add_permits(1);
    assert_eq!(whole(soon(begun).await.unwrap().unwrap()).await.0, StatusCode::OK);
    busy.ended().await;
}

#[tokio::test]
async fn px_slow_a_stream_whose_client_takes_nothing_is_given_up_and_its_neighbor_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { stall_time: SHORT, ..Limits::default() }).await;
    let app = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            if request.first_line.contains("small") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall").await;
                continue;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            let chunk = vec![b'x'; 64 * 1024];
            while tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &chunk).await.is_ok() {}
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let client = Client::of(&proxy).await;
    let untaken = soon(client.begin(get("/large"))).await.unwrap().unwrap();
    eventually("it is given up", || async {
        assert_eq!(client.get("/small").await, (StatusCode::OK, "small".to_owned()));
        proxy.in_flight().await == (0, 0)
    })
    .await;
    assert!(untaken.into_body().collect().await.is_err());
}

#[tokio::test]
async fn px_slow_a_body_that_stalls_is_given_up_and_its_neighbor_goes_on() {
    let it = open(Limits { stall_time: SHORT, ..Limits::default() }).await;
    let client = Client::of(&it.proxy).await;
    let (pieces, body) = Pieces::some();
    pieces.send(Bytes::from("begun")).unwrap();
    let stalled = client.begin(Request::post("http://example.com/").body(body).unwrap());
    while !stalled.is_finished() {
        assert_eq!(client.get("/").await.0, StatusCode::OK);
    }
    assert_eq!(stalled.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    drop(pieces);
}

#[tokio::test]
async fn px_huge_heads_and_targets_are_refused() {
    let it = open(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let long_field = get("/");
    let (mut head, body) = long_field.into_parts();
    head.headers.insert("x", HeaderValue::from_str(&"x".repeat(40 * 1024)).unwrap());
    let answer = soon(client.begin(Request::from_parts(head, body))).await.unwrap();
    assert!(answer.is_err() || answer.unwrap().status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let client = Client::of(&it.proxy).await;
    assert_eq!(client.get(&format!("/{}", "x".repeat(17 * 1024))).await.0, StatusCode::URI_TOO_LONG);
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn more_streams_than_may_be_wait_and_resets_in_numbers_end_the_connection() {
    let mut it = held(Limits { streams: 5, ..Limits::default() }).await;
    let client = Client::of(&it.proxy).await;
    it.gate.add_permits(1);
    assert_eq!(client.get("/").await.0, StatusCode::OK, "the limit is known now");
    soon(it.seen.recv()).await.unwrap();
    let begun: Vec<_> = (0..20).map(|_| client.begin(get("/"))).collect();
    for _ in 0..5 {
        soon(it.seen.recv()).await.unwrap();
    }
    assert_eq!(it.proxy.in_flight().await, (5, 0));
    it.gate.add_permits(20);
    for answer in begun {
        assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.0, StatusCode::OK);
    }

    // Opened and reset at once, over and over (CVE-2023-44487).
    let mut wire = it.proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, b"")).await;
    let fields = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let mut flood = Vec::new();
    for stream in (1..4_001).step_by(2) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // The other side may be gone before all is sent.
    let _sent = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &flood).await;
    soon(async { while next_frame(&mut wire).await.is_some() {} }).await;
    it.gate.add_permits(10_000);
    eventually("nothing is left of it", || async { it.proxy.in_flight().await == (0, 0) }).await;
    assert_eq!(Client::of(&it.proxy).await.get("/").await.0, StatusCode::OK);
}

/// The settings of a client that takes nothing of any answer: `SETTINGS_INITIAL_WINDOW_SIZE` is 0.
const NOTHING: (u16, u32) = (4, 0);

#[tokio::test]
async fn px_slow_a_client_that_opens_no_window_at_all_is_given_up_whoever_answers() {
    let limits = Limits { stall_time: SHORT, ..Limits::default() };
    let it = open(limits).await;
    // An answer of the app's, and one of the proxy's own.
    for fields in [head("GET", "/"), block(&[(":method", "CONNECT"), (":authority", "a:80")])] {
        let mut wire = begun(&it, &[NOTHING]).await;
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields)).await;
        let mut kinds = Vec::new();
        while !kinds.contains(&RST_STREAM) {
            let (kind, _) = soon(next_frame(&mut wire)).await.expect("a frame");
            kinds.push(kind);
        }
        assert!(kinds.contains(&HEADERS) && !kinds.contains(&DATA), "{kinds:?}");
    }
    eventually("nothing is in flight", || async { it.proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn one_who_takes_an_answer_slowly_gets_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { idle_time: SHORT, ..Limits::default() };
    let proxy = Running::start_with(&dir, limits).await;
    let app = App::start_with(|mut wire| async move {
        wire.try_message().await;
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n{}", "x".repeat(16_000))).await;
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, &[&4_u16.to_be_bytes()[..], &1_000_u32.to_be_bytes()].concat())).await;
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", "/"))).await;
    let mut taken = 0;
    while taken < 16_000 {
        let (kind, payload) = soon(next_frame(&mut wire)).await.expect("more of it");
        assert_ne!(kind, RST_STREAM);
        if kind == DATA {
            taken += payload.len();
            // All of it takes several times as long as a connection may be idle.
            tokio::time::sleep(SHORT / 4).await;
            wire.send(frame(WINDOW_UPDATE, 0, 1, &1_000_u32.to_be_bytes())).await;
        }
    }
}

#[tokio::test]
async fn an_upload_that_was_reset_is_not_whole() {
    let mut it = open(Limits::default()).await;
    // Also when the reset says that nothing is wrong.
    for reason in [0_u32, 8] {
        let mut wire = begun(&it, &[]).await;
        wire.send(frame(HEADERS, END_HEADERS, 1, &head("POST", "/"))).await;
        wire.send(frame(DATA, 0, 1, b"half")).await;
        eventually("it is in flight", || async { it.proxy.in_flight().await == (1, 0) }).await;
        wire.send(frame(RST_STREAM, 0, 1, &reason.to_be_bytes())).await;
        eventually("it is over", || async { it.proxy.in_flight().await == (0, 0) }).await;
    }
    assert!(it.seen.try_recv().is_err(), "the app has seen a whole request");
}
