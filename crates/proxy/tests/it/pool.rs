//! Connections to upstreams: used again, tried again where that is safe, shared out over replicas.

use crate::support::{PATIENCE, Running, eventually, upstream};
use crate::upstreams::App;
use dockswap_core::ports::Router;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::start("app").await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..50 {
        assert_eq!(wire.get("/").await.text(), "app");
    }
    let connections = app.connections.load(Ordering::SeqCst);
    assert!(connections <= 3, "50 requests in a row took {connections} connections");
}

/// An app that breaks off every connection at its second request, having read it.
async fn breaks_at_second() -> (App, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let app = App::start_with(move |mut wire| {
        let counter = Arc::clone(&counter);
        async move {
            wire.try_message().await;
            counter.fetch_add(1, Ordering::SeqCst);
            wire.send(OK).await;
            if wire.try_message().await.is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            drop(wire);
        }
    })
    .await;
    (app, requests)
}

#[tokio::test]
async fn a_get_on_a_connection_that_broke_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, requests) = breaks_at_second().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..20 {
        assert_eq!(wire.get("/").await.status(), 200);
        eventually("idle", || async { proxy.in_flight().await == (0, 0) }).await;
    }
    assert!(requests.load(Ordering::SeqCst) > 20, "no request met a broken connection: nothing was tested");
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, requests) = breaks_at_second().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    for (round, body) in ["", "abc", ""].into_iter().enumerate() {
        let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        wire.send(&post).await;
        assert_eq!(wire.message().await.status(), 200);
        eventually("idle", || async { proxy.in_flight().await == (0, 0) }).await;
        wire.send(&post).await;
        assert_eq!(wire.message().await.status(), 502);
        assert_eq!(requests.load(Ordering::SeqCst), 2 * (round + 1));
    }
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_while_idle_costs_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::start_with(|mut wire| async move {
        wire.try_message().await;
        wire.send(OK).await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..100 {
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc")
            .await;
        let status = wire.message().await.status();
        // The close may come while the request is on its way: then a POST cannot be sent again.
        assert!(status == 200 || status == 502);
        eventually("idle", || async { proxy.in_flight().await == (0, 0) }).await;
        assert_eq!(wire.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn the_least_busy_replica_gets_the_next_request() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let go = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&go);
    let busy = App::start_with(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_message().await.is_some() {
                gate.acquire().await.unwrap().forget();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbusy").await;
            }
        }
    })
    .await;
    let free = App::start("free").await;
    proxy.lead_to([&busy.upstream, &free.upstream]).await;
    // Keep the one busy with a request.
    let mut held = proxy.connect().await;
    loop {
        held.request("GET", "/", "a").await;
        tokio::select! {
            _free = held.message() => {}
            () = eventually("it is held", || async { busy.connections.load(Ordering::SeqCst) > 0 }) => break,
        }
    }
    let mut wire = proxy.connect().await;
    for _ in 0..20 {
        assert_eq!(wire.get("/").await.text(), "free");
        eventually("only the held one is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    }
    go.add_permits(100);
    assert_eq!(held.message().await.text(), "busy");
}

#[tokio::test]
async fn idle_replicas_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let apps = [App::start("a").await, App::start("b").await, App::start("c").await];
    proxy.lead_to(apps.iter().map(|app| &app.upstream)).await;
    let mut wire = proxy.connect().await;
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..30 {
        answers.insert(wire.get("/").await.text().to_owned());
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[tokio::test]
async fn a_replica_that_refuses_connections_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let well = App::start("well").await;
    let gone = App::start("gone").await;
    let gone_upstream = gone.upstream.clone();
    gone.kill().await;
    proxy.lead_to([&gone_upstream, &well.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..20 {
        // Also with a body: nothing of it was sent to the one that refused.
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(wire.message().await.text(), "wellabc");
    }
    assert_eq!(proxy.control.drained(&[gone_upstream.id], PATIENCE).await.unwrap(), []);
    proxy.lead_to(&[upstream(([127, 0, 0, 1], 1).into())]).await;
    assert_eq!(wire.get("/").await.status(), 502);
}
