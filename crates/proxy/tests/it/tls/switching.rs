//! A switch under TLS load loses nothing.

use super::authority::{Authority, exact, hold, secure, secure_addr, shown_for};
use crate::http2::client::{Client, get, whole};
use crate::support::{Running, app, config, free_port, soon};
use crate::upstreams::App;
use dockswap_proof::Proof;
use dockswap_proxy::{Limits, ProxyConfig, Start};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinSet;

const SWAPS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_switch_and_a_new_certificate_lose_no_request() {
    let mut proof = Proof::of("P3", "switches and new certificates under load over TLS").part("tls");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let authority = Arc::new(Authority::new());
    let mut live = App::start("app").await;
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&live.upstream])]).await.unwrap();
    hold(&proxy, "0", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let addr = secure_addr(&proxy).await;
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for kind in 0..6 {
        let (authority, over, answered) = (Arc::clone(&authority), Arc::clone(&over), Arc::clone(&answered));
        clients.spawn(async move {
            let mut wire = authority.wire(addr, "example.com").await;
            let client = Client::on(authority.connect(addr, "example.com", &["h2"]).await.unwrap()).await;
            while !over.load(Ordering::SeqCst) {
                match kind % 3 {
                    0 => assert_eq!(wire.get("/").await.text(), "app"),
                    1 => assert_eq!(authority.wire(addr, "example.com").await.get("/").await.text(), "app"),
                    _ => {
                        let answer = soon(client.begin(get("/"))).await.unwrap().unwrap();
                        assert_eq!(whole(answer).await, (http::StatusCode::OK, "app".to_owned()));
                    }
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for swap in 1..=SWAPS {
        let next = App::start("app").await;
        proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&next.upstream])]).await.unwrap();
        if swap % 3 == 0 {
            let pair = authority.pair(&["example.com"]);
            hold(&proxy, &swap.to_string(), vec![shown_for(exact("example.com"), &pair)]).await;
        }
        let before = answered.load(Ordering::SeqCst);
        proxy.drained(&live.upstream).await;
        live.kill().await;
        live = next;
        crate::support::eventually("load goes on", || async { answered.load(Ordering::SeqCst) > before + 6 })
            .await;
        proof.kept();
    }
    over.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    proof.conclude();
}

#[tokio::test]
async fn a_proxy_that_takes_over_has_the_certificates_and_refuses_no_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let https = SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let proxy = Running::start_at(&dir, https, Limits::default()).await;
    let (authority, app_) = (Authority::new(), App::start("app").await);
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let mut open = authority.wire(https, "example.com").await;
    assert_eq!(open.get("/").await.text(), "app");
    let next = ProxyConfig { https, start: Start::TakingOver, ..config(dir.path(), Limits::default()) };
    let next = Running::start_as(next, 2).await;
    assert_eq!(secure_addr(&next).await, https);
    // The one that was open is answered once more, and ends in order.
    let last = open.get("/").await;
    assert_eq!((last.text(), last.field("connection")), ("app", Some("close")));
    assert!(soon(open.try_message()).await.is_none());
    assert_eq!(authority.wire(https, "example.com").await.get("/").await.text(), "app");
    soon(proxy.ended()).await;
    assert_eq!(authority.wire(https, "example.com").await.get("/").await.text(), "app");
}
