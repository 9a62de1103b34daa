//! One proxy takes the place of another: no connection is refused, no request lost, and what the old one still carries
//! counts.

use crate::http2::client::{Client, get, held, whole};
use crate::support::{PATIENCE, Running, Wire, any_host, app, config, eventually, free_port, host, soon};
use crate::upgrades::{echo, say, upgrade};
use crate::upstreams::App;
use dockswap_core::ports::{Router, RouterError};
use dockswap_core::routes::{InFlight, RouteTable};
use dockswap_core::spec::Route;
use dockswap_proxy::{Limits, ProxyClient, ProxyConfig};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Asks without end, over connections that are kept as long as they may be, or over one for each request; what fails
/// ends it with a panic.
async fn ask_on(addr: std::net::SocketAddr, keep: bool, answered: Arc<AtomicU64>, enough: Arc<AtomicBool>) {
    let mut kept = None;
    while !enough.load(Ordering::SeqCst) {
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => Wire::connect(addr).await,
        };
        let answer = wire.get("/").await;
        assert_eq!((answer.status(), answer.text()), (200, "web"));
        answered.fetch_add(1, Ordering::SeqCst);
        kept = (keep && answer.field("connection").is_none()).then_some(wire);
    }
}

#[tokio::test]
async fn proxies_follow_each_other_under_load_and_nobody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let web = App::start("web").await;
    let mut proxy = Running::start(&dir).await;
    proxy.lead_to([&web.upstream]).await;
    let (answered, enough) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for number in 0..8 {
        clients.spawn(ask_on(proxy.addr, number % 2 == 0, Arc::clone(&answered), Arc::clone(&enough)));
    }
    let goes_on = async || {
        let before = answered.load(Ordering::SeqCst);
        eventually("requests are answered", || async { answered.load(Ordering::SeqCst) > before + 50 }).await;
    };
    for _ in 0..10 {
        goes_on().await;
        let next = Running::take_over(&dir).await;
        assert_eq!(next.addr, proxy.addr);
        goes_on().await;
        soon(proxy.ended()).await;
        proxy = next;
    }
    enough.store(true, Ordering::SeqCst);
    while let Some(client) = soon(clients.join_next()).await {
        client.unwrap();
    }
}

#[tokio::test]
async fn one_who_rests_may_ask_once_more_and_is_told_that_it_is_the_last_time() {
    let dir = tempfile::tempdir().unwrap();
    let web = App::start("web").await;
    let old = Running::start(&dir).await;
    old.lead_to([&web.upstream]).await;
    let (mut asks, mut rests) = (old.connect().await, old.connect().await);
    for wire in [&mut asks, &mut rests] {
        assert_eq!(wire.get("/").await.field("connection"), None);
    }
    let new = Running::take_over(&dir).await;
    let answer = asks.get("/").await;
    assert_eq!((answer.text(), answer.field("connection")), ("web", Some("close")));
    assert_eq!(asks.rest().await, b"");
    assert_eq!(rests.rest().await, b"", "a connection that nobody uses ends by itself");
    assert_eq!(new.connect().await.get("/").await.field("connection"), None);
    soon(old.ended()).await;
}

#[tokio::test]
async fn a_websocket_stays_where_it_is_and_counts_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (blue, green) = (echo("blue").await, echo("green").await);
    let old = Running::start(&dir).await;
    old.lead_to([&blue.upstream]).await;
    let mut wires = [old.connect().await, old.connect().await];
    for wire in &mut wires {
        upgrade(wire, "a", "websocket").await;
        assert_eq!([wire.line().await, wire.line().await].map(Option::unwrap), ["blue", "blue early"]);
    }
    // Through two proxies: each speaks for those before it.
    let between = Running::take_over(&dir).await;
    let new = Running::take_over(&dir).await;
    let in_flight = || async { new.control.status().await.unwrap().load.iter().sum::<InFlight>() };
    assert_eq!(in_flight().await, InFlight { websockets: 2, ..InFlight::default() });
    for wire in &mut wires {
        assert_eq!(say(wire, "hello").await, "blue hello");
    }

    new.lead_to([&green.upstream]).await;
    let [mut one, mut two] = wires;
    let ids = [blue.upstream.id.clone()];
    let drained = new.control.drained(&ids, PATIENCE);
    let leaves = async {
        assert_eq!(say(&mut one, "bye").await, "blue bye");
        drop(one);
    };
    let closed = async {
        leaves.await;
        eventually("one has left", || async { in_flight().await.websockets == 1 }).await;
        new.control.close(&ids).await.unwrap();
        two.rest().await;
    };
    let (left, ()) = tokio::join!(drained, closed);
    assert_eq!(left.unwrap(), []);
    soon(old.ended()).await;
    soon(between.ended()).await;
    assert_eq!(in_flight().await, InFlight::default());
}

#[tokio::test]
async fn the_old_one_knows_every_later_table() {
    let dir = tempfile::tempdir().unwrap();
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let old = Running::start(&dir).await;
    old.lead_to([&blue.upstream]).await;
    let mut wire = old.connect().await;
    assert_eq!(wire.get("/").await.text(), "blue");
    let new = Running::take_over(&dir).await;
    new.lead_to([&green.upstream]).await;
    assert_eq!(wire.get("/").await.text(), "green", "an old connection, and a new route");
    assert_eq!(new.connect().await.get("/").await.text(), "green");
}

#[tokio::test]
async fn requests_over_http2_are_finished_and_the_client_is_told_to_go() {
    let mut held = held(Limits::default()).await;
    let client = Client::of(&held.proxy).await;
    let asked = client.begin(get("/"));
    held.seen.recv().await.unwrap();
    let new = Running::take_over(&held.dir).await;
    assert_eq!(new.in_flight().await, (1, 0));
    held.gate.add_permits(1);
    let (status, _) = whole(soon(asked).await.unwrap().unwrap()).await;
    assert_eq!(status, 200);
    client.ended().await;
    assert_eq!(new.in_flight().await, (0, 0));
    soon(held.proxy.ended()).await;
}

#[tokio::test]
async fn listeners_of_routes_are_handed_over_too() {
    let dir = tempfile::tempdir().unwrap();
    let web = App::start("web").await;
    let old = Running::start(&dir).await;
    let port = free_port().await;
    let routes = vec![host("web"), Route { listen_port: Some(port), ..any_host() }];
    old.apply(vec![app("web", routes.clone(), [&web.upstream])]).await.unwrap();
    let listeners = old.control.status().await.unwrap().listeners;
    let new = Running::take_over(&dir).await;
    assert_eq!(new.control.status().await.unwrap().listeners, listeners);
    assert_eq!(Wire::connect(([127, 0, 0, 1], port).into()).await.get("/").await.text(), "web");
    soon(old.ended()).await;

    // They are the new one's to close.
    new.apply(vec![app("web", routes[..1].to_vec(), [&web.upstream])]).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

/// Asks the proxy in `dir` for its sockets as a successor does, and says `words`.
async fn ask(dir: &Path, words: &[u8]) -> UnixStream {
    let path = dir.join("proxy.sock");
    eventually("the control socket is there", || async { UnixStream::connect(&path).await.is_ok() }).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = "POST /v1/handover HTTP/1.1\r\nHost: proxy\r\nConnection: upgrade\r\n\
                   Upgrade: dockswap-handover/1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream.write_all(words).await.unwrap();
    stream
}

/// Reads what is offered, as far as it is text.
async fn read_offer(stream: &mut UnixStream) {
    let (count, length) = (stream.read_u32().await.unwrap(), stream.read_u32().await.unwrap());
    assert!(count > 0);
    // The descriptors come beside this byte, and are closed unseen.
    stream.read_u8().await.unwrap();
    stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
}

#[tokio::test]
async fn a_successor_that_goes_away_half_way_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let old = Running::start(&dir).await;
    old.lead_to([&blue.upstream]).await;
    let mut kept = old.connect().await;
    for step in 0..5 {
        let mut stream = ask(dir.path(), if step == 1 { b"X" } else { b"L" }).await;
        if step > 1 {
            read_offer(&mut stream).await;
        }
        if step > 2 {
            stream.write_all(b"R").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'P');
        }
        if step > 3 {
            // It has put its own socket there, as one does that is killed just before it accepts.
            std::fs::remove_file(dir.path().join("proxy.sock")).unwrap();
            drop(UnixListener::bind(dir.path().join("proxy.sock")).unwrap());
        }
        drop(stream);
        // Also who connects anew: what is kept open leads to it all the time.
        eventually("it answers again", || async {
            ProxyClient::new(dir.path().join("proxy.sock")).status().await.is_ok()
        })
        .await;
        old.lead_to([&green.upstream]).await;
        assert_eq!(kept.get("/").await.text(), "green");
        old.lead_to([&blue.upstream]).await;
        assert_eq!(old.connect().await.get("/").await.text(), "blue");
    }
    let new = Running::take_over(&dir).await;
    assert_eq!(new.connect().await.get("/").await.text(), "blue");
    soon(old.ended()).await;
}

/// Whoever confirms a table must be the one that answers requests by it.
#[tokio::test]
async fn a_table_that_comes_while_sockets_are_handed_over_is_confirmed_by_nobody_or_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let old = Running::start(&dir).await;
    old.lead_to([&blue.upstream]).await;
    let mut stream = ask(dir.path(), b"L").await;
    read_offer(&mut stream).await;
    let table =
        |revision| RouteTable { revision, apps: vec![app("web", vec![any_host()], [&green.upstream])] };
    let client = ProxyClient::new(dir.path().join("proxy.sock"));
    let offered = table(100);
    let applied = tokio::spawn(async move { client.apply(&offered).await });
    stream.write_all(b"R").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'P');
    // A connection that comes now waits for whoever accepts next.
    let mut waits = old.connect().await;
    let answer = soon(applied).await.unwrap();
    assert!(matches!(answer, Err(RouterError::Unavailable { .. })), "{answer:?}");
    drop(stream);
    assert_eq!(waits.get("/").await.text(), "blue");
    eventually("it answers again", || async { old.control.status().await.is_ok() }).await;
    old.control.apply(&table(101)).await.unwrap();
    assert_eq!(waits.get("/").await.text(), "green");
}

#[tokio::test]
async fn of_two_that_want_to_take_over_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let blue = App::start("blue").await;
    let old = Running::start(&dir).await;
    old.lead_to([&blue.upstream]).await;
    let mut first = ask(dir.path(), b"L").await;
    read_offer(&mut first).await;
    let mut second = ask(dir.path(), b"L").await;
    first.write_all(b"R").await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'P');
    assert!(soon(second.read_u8()).await.is_err(), "nothing is left for the second");
    first.write_all(b"T").await.unwrap();
    eventually("the old one answers no more", || async { old.control.status().await.is_err() }).await;
    drop(first);
    soon(old.ended()).await;
}

/// What is in flight there is counted by nobody any more, and the next one wants its place.
#[tokio::test]
async fn one_that_lost_its_successor_ends_at_once_and_another_can_start() {
    let dir = tempfile::tempdir().unwrap();
    let (blue, web) = (echo("blue").await, App::start("web").await);
    let old = Running::start(&dir).await;
    old.apply(vec![
        app("chat", vec![host("chat")], [&blue.upstream]),
        app("web", vec![any_host()], [&web.upstream]),
    ])
    .await
    .unwrap();
    let mut wires = [old.connect().await, old.connect().await];
    upgrade(&mut wires[0], "chat", "websocket").await;
    let between = Running::take_over(&dir).await;
    upgrade(&mut wires[1], "chat", "websocket").await;
    let new = Running::take_over(&dir).await;
    new.kill().await;
    for wire in &mut wires {
        wire.rest().await;
    }
    let next = Running::start(&dir).await;
    assert_eq!(next.connect().await.get("/").await.text(), "web");
    soon(old.ended()).await;
    soon(between.ended()).await;
}

#[tokio::test]
async fn without_a_proxy_to_take_over_from_it_starts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let web = App::start("web").await;
    let first = Running::take_over(&dir).await;
    first.lead_to([&web.upstream]).await;
    assert_eq!(first.connect().await.get("/").await.text(), "web");
    first.kill().await;
    // What a dead one left is no proxy.
    let second = Running::take_over(&dir).await;
    assert_eq!(second.connect().await.get("/").await.text(), "web");
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_used_where_they_fit() {
    let dir = tempfile::tempdir().unwrap();
    let sockets: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [common, own] = [0, 1].map(|at| sockets[at].local_addr().unwrap());
    // Nobody else could bind them.
    let config = ProxyConfig { http: common, sockets, ..config(dir.path(), Limits::default()) };
    let proxy = Running::start_as(config, 2).await;
    let web = App::start("web").await;
    let route = Route { listen_port: Some(own.port()), ..any_host() };
    proxy.apply(vec![app("web", vec![any_host(), route], [&web.upstream])]).await.unwrap();
    assert_eq!(proxy.control.status().await.unwrap().listeners, [common, own]);
    for addr in [common, own] {
        assert_eq!(Wire::connect(addr).await.get("/").await.text(), "web");
    }
}
