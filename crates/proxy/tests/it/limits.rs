//! What one client takes does not touch the others: sizes, times, counts.

use crate::support::{Running, eventually, soon};
use crate::upstreams::App;
use dockswap_proxy::Limits;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

async fn start(limits: Limits) -> (tempfile::TempDir, Running, App) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    let app = App::start("app").await;
    proxy.lead_to([&app.upstream]).await;
    (dir, proxy, app)
}

#[tokio::test]
async fn px_huge_heads_and_targets_are_refused() {
    let (_dir, proxy, app) = start(Limits::default()).await;
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many_fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101));
    let all_together =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "y".repeat(1000)).repeat(40));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17 * 1024));
    for (request, status) in [(long_field, 431), (many_fields, 431), (all_together, 431), (long_target, 414)]
    {
        let mut wire = proxy.connect().await;
        // A client that writes all before it reads still gets to see the answer.
        wire.send(&request).await;
        assert_eq!(wire.message().await.status(), status, "{}", &request[..60]);
    }
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(8000), "y".repeat(16_000));
    let mut wire = proxy.connect().await;
    wire.send(fits).await;
    assert_eq!(wire.message().await.text(), "app");
    assert_eq!(app.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn px_slow_a_head_must_be_complete_in_time_however_it_trickles() {
    let (_dir, proxy, _app) = start(Limits { head_time: SHORT, ..Limits::default() }).await;
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get("/").await.text(), "app");
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let mut trickle = tokio::time::interval(Duration::from_millis(5));
    // Each byte comes soon after the one before; together they take for ever.
    loop {
        tokio::select! {
            rest = wire.stream.readable() => {
                rest.unwrap();
                break;
            }
            _ = trickle.tick() => {
                let _gone = wire.stream.try_write(b"x");
            }
        }
    }
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn px_slow_empty_lines_before_a_head_buy_no_time() {
    let (_dir, proxy, _app) = start(Limits { head_time: SHORT, ..Limits::default() }).await;
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get("/").await.text(), "app");
    let mut trickle = tokio::time::interval(Duration::from_millis(5));
    // Half a line break, and the other half: each time nothing is left to be read.
    let sends = async {
        for half in b"\r\n".iter().cycle() {
            tokio::select! {
                rest = wire.stream.readable() => {
                    rest.unwrap();
                    break;
                }
                _ = trickle.tick() => {
                    let _gone = wire.stream.try_write(&[*half]);
                }
            }
        }
    };
    soon(sends).await;
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { idle_time: SHORT, ..Limits::default() }).await;
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let gate = std::sync::Arc::new(tokio::sync::Mutex::new(Some(gate)));
    let app = App::start_with(move |mut wire| {
        let gate = std::sync::Arc::clone(&gate);
        async move {
            wire.try_message().await;
            gate.lock().await.take().unwrap().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut busy = proxy.connect().await;
    busy.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    // Two idle times pass, one after the other, while the busy one waits.
    for _ in 0..2 {
        assert_eq!(proxy.connect().await.rest().await, b"");
    }
    go.send(()).unwrap();
    assert_eq!(busy.message().await.text(), "slow");
    assert_eq!(busy.rest().await, b"");
}

#[tokio::test]
async fn px_slow_a_body_that_stalls_is_given_up() {
    let (_dir, proxy, _app) = start(Limits { stall_time: SHORT, ..Limits::default() }).await;
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = String::from_utf8(wire.rest().await).unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn px_slow_a_client_that_reads_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { stall_time: SHORT, ..Limits::default() }).await;
    let app = App::endless().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_a_504() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { answer_time: SHORT, ..Limits::default() }).await;
    let app = App::start_with(|mut wire| async move { while wire.try_message().await.is_some() {} }).await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get("/").await.status(), 504);
    // A body that keeps moving is no silence of the upstream's.
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut chunks = tokio::time::interval(SHORT / 5);
    for _ in 0..15 {
        chunks.tick().await;
        wire.send("1\r\nx\r\n").await;
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.message().await.status(), 504);
}

#[tokio::test]
async fn a_client_that_was_answered_early_and_falls_silent_loses_its_place() {
    let (_dir, proxy, _app) = start(Limits { connections: 1, linger_time: SHORT, ..Limits::default() }).await;
    proxy.apply(vec![]).await.unwrap();
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc").await;
    assert_eq!(wire.message().await.status(), 404);
    eventually("there is room again", || proxy.has_room()).await;
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_at_once() {
    let (_dir, proxy, _app) = start(Limits { connections: 2, ..Limits::default() }).await;
    let (mut one, mut two) = (proxy.connect().await, proxy.connect().await);
    assert_eq!(one.get("/").await.text(), "app");
    assert_eq!(two.get("/").await.text(), "app");
    assert_eq!(proxy.connect().await.rest().await, b"");
    drop(one);
    eventually("there is room again", || proxy.has_room()).await;
}
