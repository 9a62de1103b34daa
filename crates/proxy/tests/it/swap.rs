//! A switch loses nothing, and is seen by every request that begins after it.

use crate::support::{PATIENCE, Running, Wire, any_host, app, eventually, host, soon, upstream};
use crate::upstreams::{App, BlackHole};
use dockswap_core::ports::Router;
use dockswap_core::routes::InFlight;
use dockswap_proof::Proof;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SWAPS: u64 = 200;

/// What the load generators share.
struct Load {
    addr: SocketAddr,
    /// The newest version whose switch was confirmed.
    confirmed: AtomicU64,
    over: AtomicBool,
    answered: AtomicU64,
}

impl Load {
    /// Checks one answer to a request that began when `confirmed` was the newest.
    fn check(&self, confirmed: u64, answer: Option<crate::support::Message>, body: &str) {
        let answer = answer.expect("a request was lost");
        assert_eq!(answer.status(), 200, "{answer:?}");
        let version = answer.text().strip_suffix(body).expect("the body came back");
        let version: u64 = version.parse().unwrap();
        assert!(version >= confirmed, "version {version} answered after {confirmed} was confirmed");
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    async fn keep_alive(self: Arc<Self>) {
        let mut wire = Wire::connect(self.addr).await;
        while !self.over.load(Ordering::SeqCst) {
            let confirmed = self.confirmed.load(Ordering::SeqCst);
            wire.request("GET", "/", "a").await;
            self.check(confirmed, wire.try_message().await, "");
        }
    }

    async fn one_shot(self: Arc<Self>) {
        while !self.over.load(Ordering::SeqCst) {
            let confirmed = self.confirmed.load(Ordering::SeqCst);
            let mut wire = Wire::connect(self.addr).await;
            wire.request("GET", "/", "a").await;
            self.check(confirmed, wire.try_message().await, "");
        }
    }

    async fn post(self: Arc<Self>) {
        let mut wire = Wire::connect(self.addr).await;
        let body = "x".repeat(20_000);
        while !self.over.load(Ordering::SeqCst) {
            let confirmed = self.confirmed.load(Ordering::SeqCst);
            wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
            wire.send(&body).await;
            self.check(confirmed, wire.try_message().await, &body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scar_p02_p04_p06_the_old_version_is_stopped_when_drained_and_no_request_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let mut live = App::start("0").await;
    proxy.lead_to([&live.upstream]).await;

    let load = Arc::new(Load {
        addr: proxy.addr,
        confirmed: AtomicU64::new(0),
        over: AtomicBool::new(false),
        answered: AtomicU64::new(0),
    });
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(Arc::clone(&load).keep_alive());
        clients.spawn(Arc::clone(&load).one_shot());
        clients.spawn(Arc::clone(&load).post());
    }

    let swaps = if dockswap_proof::long() { 10 * SWAPS } else { SWAPS };
    for version in 1..=swaps {
        let before = load.answered.load(Ordering::Relaxed);
        let next = App::start(&version.to_string()).await;
        proxy.lead_to([&next.upstream]).await;
        load.confirmed.store(version, Ordering::SeqCst);
        let old = std::mem::replace(&mut live, next);
        let left = proxy.control.drained(std::slice::from_ref(&old.upstream.id), PATIENCE).await.unwrap();
        assert_eq!(left, [], "version {} never drained", version - 1);
        old.kill().await;
        eventually("traffic goes on", || async {
            load.answered.load(Ordering::Relaxed) > before || clients.is_empty()
        })
        .await;
    }
    load.over.store(true, Ordering::SeqCst);
    while let Some(ended) = soon(clients.join_next()).await {
        ended.unwrap();
    }
    let answered = load.answered.load(Ordering::Relaxed);
    assert!(answered >= swaps);
    for row in ["P2", "P3"] {
        let mut proof =
            Proof::of(row, "proxy alone, requests in a row while the app behind is swapped and stopped");
        proof.kept_times(answered);
        proof.conclude();
    }
    for row in ["scar-P02", "scar-P03", "scar-P04", "scar-P06"] {
        let mut proof =
            Proof::of(row, "proxy alone, an upstream stopped the moment nothing is in flight on it");
        proof.kept_times(swaps);
        proof.conclude();
    }
    assert_eq!(proxy.in_flight().await, (0, 0));
}

/// An app whose answers are held back until it is told.
async fn held() -> (App, Arc<tokio::sync::Semaphore>) {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let app = App::start_with(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_message().await.is_some() {
                gate.acquire().await.unwrap().forget();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld").await;
            }
        }
    })
    .await;
    (app, go)
}

#[tokio::test]
async fn a_request_counts_until_it_is_answered_and_a_drain_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (old, go) = held().await;
    proxy.lead_to([&old.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;

    let new = App::start("new").await;
    proxy.lead_to([&new.upstream]).await;
    let ids = [old.upstream.id.clone()];
    let left = proxy.control.drained(&ids, Duration::ZERO).await.unwrap();
    let one = InFlight { requests: 1, ..InFlight::default() };
    assert_eq!(left.iter().map(|load| load.in_flight).collect::<Vec<_>>(), [one]);
    // New requests do not go there any more.
    assert_eq!(proxy.connect().await.get("/").await.text(), "new");

    let drained = proxy.control.drained(&ids, PATIENCE);
    go.add_permits(1);
    let (left, answer) = tokio::join!(drained, wire.message());
    assert_eq!(left.unwrap(), []);
    assert_eq!(answer.text(), "held");
    // The client's connection was not tied to the old version.
    assert_eq!(wire.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_client_that_goes_away_counts_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, _go) = held().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    drop(wire);
    assert_eq!(proxy.control.drained(std::slice::from_ref(&app.upstream.id), PATIENCE).await.unwrap(), []);
}

#[tokio::test]
async fn what_does_not_drain_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, _go) = held().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    let ids = [app.upstream.id.clone()];
    proxy.control.close(&ids).await.unwrap();
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    assert_eq!(wire.message().await.status(), 503);
}

#[tokio::test]
async fn an_answer_whose_client_is_the_slower_one_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::endless().await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    let reader = tokio::spawn(async move { while wire.exactly(4096).await.is_some() {} });
    let ids = [app.upstream.id.clone()];
    proxy.control.close(&ids).await.unwrap();
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    crate::support::soon(reader).await.unwrap();
}

#[tokio::test]
async fn nothing_is_in_flight_on_what_the_proxy_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let stranger = upstream(([127, 0, 0, 1], 1).into());
    assert_eq!(proxy.control.drained(std::slice::from_ref(&stranger.id), PATIENCE).await.unwrap(), []);
    proxy.control.close(&[stranger.id]).await.unwrap();
}

#[tokio::test]
async fn scar_p14_a_dead_app_leaves_the_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (well, dead) = (App::start("well").await, App::start("dead").await);
    let apps = |color: &App| {
        vec![app("a", vec![host("a")], [&color.upstream]), app("b", vec![host("b")], [&well.upstream])]
    };
    proxy.apply(apps(&dead)).await.unwrap();
    let mut bystander = proxy.connect().await;
    assert_eq!(bystander.get_from("b", "/").await.text(), "well");
    let gone = dead.upstream.clone();
    dead.kill().await;
    for _ in 0..3 {
        assert_eq!(proxy.connect().await.get_from("a", "/").await.status(), 502);
        assert_eq!(bystander.get_from("b", "/").await.text(), "well");
    }
    let mended = App::start("mended").await;
    proxy.apply(apps(&mended)).await.unwrap();
    assert_eq!(proxy.connect().await.get_from("a", "/").await.text(), "mended");
    assert_eq!(proxy.control.drained(&[gone.id], Duration::ZERO).await.unwrap(), []);
    dockswap_proof::kept("scar-P14", "proxy alone, a dead app beside another");
}

/// Scar P12: an address that Docker gave to another container. The connections of the life before
/// are not used for the next one.
#[tokio::test]
async fn scar_p12_a_new_life_at_the_same_address_gets_new_connections() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start("one").await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..3 {
        wire.get("/").await;
        eventually("idle", || async { proxy.in_flight().await == (0, 0) }).await;
    }
    let connections = server.connections.load(Ordering::SeqCst);
    let next_life = upstream(server.upstream.addr);
    proxy.apply(vec![app("web", vec![any_host()], &[next_life])]).await.unwrap();
    wire.get("/").await;
    assert_eq!(server.connections.load(Ordering::SeqCst), connections + 1);
    dockswap_proof::kept("scar-P12", "proxy alone, another life at the same address");
}

/// Scar P12 again: a connection that is asked for while a container ends may be accepted by the next holder of its
/// address.
#[tokio::test]
async fn scar_p12_what_was_connected_to_while_its_routes_left_it_is_sent_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let hole = BlackHole::open().await;
    proxy.lead_to([&hole.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    let live = App::start("live ").await;
    proxy.lead_to([&live.upstream]).await;
    let left = hole.upstream.clone();
    let _next_holder = hole.serve("somebody else ");
    assert_eq!(wire.message().await.text(), "live hello");
    proxy.drained(&left).await;
    dockswap_proof::kept("scar-P12", "a connection that was opened while its upstream left the routes");
}
