//! A connection of HTTP/1.1 from request to request: what is sent ahead, what is answered early, what is left unread.

use crate::support::{Running, Wire, eventually};
use crate::upstreams::App;
use dockswap_proxy::Limits;
use std::sync::Arc;
use tokio::sync::Semaphore;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn proxy_to(app: &App) -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    proxy.lead_to([&app.upstream]).await;
    (dir, proxy)
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_are_the_same_wherever_the_bytes_are_cut() {
    let app = App::start("app").await;
    let (_dir, proxy) = proxy_to(&app).await;
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nt: u\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!("\r\n{}{get}\r\n{chunked}{get}", post("one"));
    let mut wire = proxy.connect().await;
    for cut in 0..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        wire.send(first).await;
        tokio::task::yield_now().await;
        wire.send(second).await;
        for expected in ["appone", "app", "apptwo", "app"] {
            assert_eq!(wire.message().await.text(), expected, "cut at {cut}");
        }
    }
    assert_eq!(app.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_sent_ahead_of_an_answer_is_kept_and_answered_in_its_turn() {
    let go = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&go);
    let app = App::start_with(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(request) = wire.try_message().await {
                gate.acquire().await.unwrap().forget();
                let target = request.first_line.split(' ').nth(1).unwrap();
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()))
                    .await;
            }
        }
    })
    .await;
    let (_dir, proxy) = proxy_to(&app).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/0", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    // More than is read at once.
    let long = format!("X: {}\r\n", "x".repeat(4_000));
    let ahead: Vec<String> =
        (1..20).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n{long}\r\n")).collect();
    wire.send(ahead.concat()).await;
    go.add_permits(20);
    for number in 0..20 {
        assert_eq!(wire.message().await.text(), format!("/{number}"));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_after_it_sent_ahead_is_noticed_when_it_is_answered() {
    let app = App::start("app").await;
    let (_dir, proxy) = proxy_to(&app).await;
    for _ in 0..20 {
        let mut wire = proxy.connect().await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50)).await;
    }
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn one_who_waits_with_his_body_is_not_told_to_go_on_where_nobody_wants_it() {
    let app = App::start_with(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        }
    })
    .await;
    let (_dir, proxy) = proxy_to(&app).await;
    let expecting = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    // No route leads anywhere: the answer is the proxy's, and comes first.
    proxy.apply(vec![]).await.unwrap();
    let mut wire = proxy.connect().await;
    wire.send(expecting).await;
    let answer = wire.message().await;
    assert_eq!((answer.status(), answer.field("connection")), (404, Some("close")));
    assert_eq!(wire.rest().await, b"");
    // Who sends it all the same is understood.
    let mut wire = proxy.connect().await;
    wire.send(format!("{expecting}abc")).await;
    assert_eq!(wire.message().await.status(), 404);
    wire.send(post("abc")).await;
    assert_eq!(wire.message().await.status(), 404);
}

#[tokio::test]
async fn a_body_that_nobody_wants_ends_the_connection_unless_its_end_is_here() {
    let app = App::start("app").await;
    let (_dir, proxy) = proxy_to(&app).await;
    proxy.apply(vec![]).await.unwrap();
    let mut wire = proxy.connect().await;
    for body in ["", "short", "x".repeat(10_000).as_str()] {
        wire.send(post(body)).await;
        let answer = wire.message().await;
        assert_eq!((answer.status(), answer.field("connection")), (404, None), "{}", body.len());
    }
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let answer = wire.message().await;
    assert_eq!((answer.status(), answer.field("connection")), (404, Some("close")));
    // What it still sends is heard, and answered by nothing.
    wire.send(vec![b'x'; 900_000]).await;
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn an_old_client_keeps_its_connection_where_it_says_so_and_the_end_is_known() {
    let app = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            if request.first_line.contains("/chunks") {
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
            } else {
                wire.send(OK).await;
            }
        }
    })
    .await;
    let (_dir, proxy) = proxy_to(&app).await;
    let mut wire = proxy.connect().await;
    let ask = |target: &str| format!("GET {target} HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n");
    for _ in 0..2 {
        wire.send(ask("/")).await;
        let answer = wire.message().await;
        assert_eq!((answer.first_line.as_str(), answer.text()), ("HTTP/1.0 200 OK", "ok"));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    wire.send(ask("/chunks")).await;
    let head = wire.head().await.unwrap();
    assert_eq!((head.field("connection"), head.field("transfer-encoding")), (None, None));
    assert_eq!(wire.rest().await, b"ok");
}

#[tokio::test]
async fn a_refusal_says_why_but_to_one_who_wants_a_head_alone() {
    let app = App::start("app").await;
    let (_dir, proxy) = proxy_to(&app).await;
    let bad = "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (method, says) in [("GET", true), ("HEAD", false)] {
        let mut wire = proxy.connect().await;
        wire.send(format!("{method} / HTTP/1.1\r\n{bad}")).await;
        let head = wire.head().await.unwrap();
        assert_eq!((head.status(), head.field("connection")), (400, Some("close")));
        let length: usize = head.field("content-length").unwrap().parse().unwrap();
        assert_eq!(length > 0, says, "{method}");
        assert_eq!(wire.rest().await.len(), length, "{method}");
    }
}

#[tokio::test]
async fn an_answer_without_a_date_gets_one() {
    let app = App::start_with(|mut wire| async move {
        while wire.try_message().await.is_some() {
            wire.send(OK).await;
        }
    })
    .await;
    let (_dir, proxy) = proxy_to(&app).await;
    let answer = proxy.connect().await.get("/").await;
    let date = answer.field("date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
}

#[tokio::test]
async fn a_head_of_many_lines_that_come_one_by_one_is_one_request() {
    let app = App::start("app").await;
    let (_dir, proxy) = proxy_to(&app).await;
    let mut wire = proxy.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    for number in 0..90 {
        wire.send(format!("X-{number}")).await;
        tokio::task::yield_now().await;
        wire.send(": y\r\n").await;
    }
    wire.send("\r\n").await;
    assert_eq!(wire.message().await.text(), "app");
}

#[tokio::test]
async fn a_connection_that_rests_is_closed_when_the_proxy_stops_and_a_busy_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits::default()).await;
    let go = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&go);
    let app = App::start_with(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_message().await.is_some() {
                gate.acquire().await.unwrap().forget();
                wire.send(OK).await;
            }
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let (mut rests, mut busy): (Wire, Wire) = (proxy.connect().await, proxy.connect().await);
    go.add_permits(1);
    assert_eq!(rests.get("/").await.text(), "ok");
    busy.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    // Sent ahead of the end, and never begun.
    busy.request("GET", "/never", "a").await;
    proxy.begin_stop();
    assert_eq!(rests.rest().await, b"");
    go.add_permits(1);
    let answer = busy.message().await;
    assert_eq!((answer.text(), answer.field("connection")), ("ok", Some("close")));
    assert_eq!(busy.rest().await, b"");
    proxy.stopped().await;
}
