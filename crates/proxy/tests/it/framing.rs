//! Requests that two readers could take for different ones are refused, and never reach an upstream.

use crate::support::Running;
use crate::upstreams::App;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An app that counts what it gets.
async fn counting() -> (App, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let app = App::start_with(move |mut wire| {
        let counter = Arc::clone(&counter);
        async move {
            while wire.try_message().await.is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (app, requests)
}

#[tokio::test]
async fn ambiguous_requests_get_400_and_end_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, requests) = counting().await;
    proxy.lead_to([&app.upstream]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
    ] {
        let mut wire = proxy.connect().await;
        wire.send(format!("{bad}{smuggled}")).await;
        let answers = String::from_utf8(wire.rest().await).unwrap();
        // Where the parser itself gives up, it may close without a word.
        assert!(answers.is_empty() || answers.starts_with("HTTP/1.1 400 "), "{bad:?}: {answers}");
        assert_eq!(
            answers.matches("HTTP/1.").count(),
            usize::from(!answers.is_empty()),
            "{bad:?}: {answers}"
        );
        assert_eq!(requests.load(Ordering::SeqCst), 0, "{bad:?} reached the upstream");
    }
}

#[tokio::test]
async fn both_lengths_get_400_also_as_the_second_of_two_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, requests) = counting().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.send(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(wire.message().await.status(), 200);
    assert_eq!(wire.message().await.status(), 400);
    assert_eq!(wire.rest().await, b"");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::start("app").await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    let post =
        |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n";
    wire.send(format!("{}{chunked}\r\n{}", post("one"), post("three"))).await;
    for expected in ["appone", "apptwo", "appthree"] {
        assert_eq!(wire.message().await.text(), expected);
    }
}

#[tokio::test]
async fn this_is_no_forward_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, requests) = counting().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("CONNECT", "example.com:443", "example.com:443").await;
    assert_eq!(wire.message().await.status(), 405);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}
