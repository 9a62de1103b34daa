//! What goes wrong between the proxy and an app: resets, addresses that change hands, transfers and
//! tunnels that a switch overtakes, apps that fall silent. Each test is a row of the fault matrix.

use crate::support::{Message, PATIENCE, Running, Wire, app, eventually, host, soon};
use crate::upstreams::{App, BlackHole};
use dockswap_core::ports::Router;
use dockswap_proof::Proof;
use dockswap_proxy::Limits;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

fn target(request: &Message) -> String {
    request.first_line.split(' ').nth(1).unwrap().to_owned()
}

/// An app that resets the connection where the target says so, and counts how often it got each target.
async fn resetting() -> (App, Arc<Mutex<HashMap<String, usize>>>) {
    let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counter = Arc::clone(&counts);
    let app = App::start_with(move |mut wire| {
        let counts = Arc::clone(&counter);
        async move {
            while let Some(request) = wire.try_message().await {
                let target = target(&request);
                *counts.lock().unwrap().entry(target.clone()).or_default() += 1;
                match target.split('/').nth(1).unwrap() {
                    "no-head" => {}
                    "half-head" => wire.send("HTTP/1.1 200 OK\r\nContent-Le").await,
                    "half-body" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await,
                    _ => {
                        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                        continue;
                    }
                }
                // What is still under way is thrown away.
                wire.stream.set_zero_linger().unwrap();
                return;
            }
        }
    })
    .await;
    (app, counts)
}

#[tokio::test]
async fn px_reset_nothing_happens_twice_that_must_not() {
    let mut proof =
        Proof::of("px.reset", "an upstream resets before, in and after its head, new and used connections");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (app, counts) = resetting().await;
    proxy.lead_to([&app.upstream]).await;
    let rounds = if dockswap_proof::long() { 200 } else { 17 };
    for round in 0..rounds {
        for method in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
            for body in ["", "abc"] {
                for stage in ["no-head", "half-head", "half-body"] {
                    for used in [false, true] {
                        let id = format!("/{stage}/{method}/{body}/{used}/{round}");
                        let mut wire = proxy.connect().await;
                        if used {
                            assert_eq!(wire.get("/ok").await.text(), "ok");
                            eventually("idle", || async { proxy.in_flight().await == (0, 0) }).await;
                        }
                        wire.send(format!(
                            "{method} {id} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ))
                        .await;
                        let answer = wire.try_message().await;
                        let refused = answer.as_ref().is_some_and(|answer| answer.status() == 502);
                        let said = if stage == "half-body" { answer.is_none() || refused } else { refused };
                        let seen = counts.lock().unwrap().remove(&id).unwrap_or_default();
                        let repeatable = body.is_empty() && !["POST", "PATCH"].contains(&method);
                        let most = if repeatable && stage != "half-body" { 2 } else { 1 };
                        if said && (1..=most).contains(&seen) {
                            proof.kept();
                        } else {
                            proof.broken(format!("{id} was seen {seen} times, and answered {answer:?}"));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(proxy.connect().await.get("/ok").await.text(), "ok");
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
    proof.conclude();
}

/// An app at an address of the test's choice.
async fn at(addr: SocketAddr, name: &str) -> App {
    let listener = TcpListener::bind(addr).await.unwrap();
    App::start_on(listener, name)
}

#[tokio::test]
async fn px_stale_an_address_that_changes_hands_answers_for_its_new_app_alone() {
    let mut proof = Proof::of("px.stale", "two apps whose addresses are swapped, under kept connections");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let mut addresses = [([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into()];
    let mut clients = [proxy.connect().await, proxy.connect().await];
    let rounds = if dockswap_proof::long() { 1_000 } else { 100 };
    for round in 0..rounds {
        let names = [format!("a{round}"), format!("b{round}")];
        let apps = [at(addresses[0], &names[0]).await, at(addresses[1], &names[1]).await];
        let routes = [("a", &apps[0]), ("b", &apps[1])];
        let routes = routes.map(|(name, to)| app(name, vec![host(name)], [&to.upstream]));
        proxy.apply(routes.to_vec()).await.unwrap();
        for _ in 0..3 {
            for (index, name) in ["a", "b"].into_iter().enumerate() {
                let answer = clients[index].get_from(name, "/").await;
                if answer.status() == 200 && answer.text() == names[index] {
                    proof.kept();
                } else {
                    proof.broken(format!("{name} was answered {answer:?} in round {round}"));
                }
            }
        }
        // Each gets the other's address next.
        addresses = [apps[1].upstream.addr, apps[0].upstream.addr];
        for app in apps {
            app.kill().await;
        }
    }
    proof.conclude();
}

/// Bytes that are nowhere the same.
fn payload(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index * 31 + index / 251 + seed) % 256).to_le_bytes()[0]).collect()
}

/// An app that stops in the middle of every transfer until it is told to go on: it echoes an upload, and
/// says its number in events.
async fn pausing(go: &watch::Sender<bool>) -> App {
    let go = go.subscribe();
    App::start_with(move |mut wire| {
        let mut go = go.clone();
        async move {
            while let Some(head) = wire.head().await {
                match target(&head).as_str() {
                    "/events" => {
                        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                        wire.send("9\r\ndata: 1\n\n\r\n").await;
                        go.wait_for(|go| *go).await.unwrap();
                        wire.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
                    }
                    _ => {
                        let length: usize = head.field("content-length").unwrap().parse().unwrap();
                        let first = wire.exactly(length / 2).await.unwrap();
                        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
                        wire.send(&first).await;
                        go.wait_for(|go| *go).await.unwrap();
                        let second = wire.exactly(length - length / 2).await.unwrap();
                        wire.send(&second).await;
                    }
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn px_sse_transfers_that_a_switch_overtakes_end_whole() {
    let mut proof =
        Proof::of("px.sse", "uploads, downloads and event streams, ten switches in the middle of each");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (go, _) = watch::channel(false);
    let blue = pausing(&go).await;
    proxy.lead_to([&blue.upstream]).await;
    let length = if dockswap_proof::long() { 20 << 20 } else { 1 << 20 };
    let mut transfers = tokio::task::JoinSet::new();
    let begun = Arc::new(tokio::sync::Semaphore::new(0));
    for seed in 0..50 {
        let (mut wire, begun, mut on) = (proxy.connect().await, Arc::clone(&begun), go.subscribe());
        transfers.spawn(async move {
            if seed % 5 == 0 {
                wire.request("GET", "/events", "a").await;
                wire.head().await.unwrap();
                let first = wire.line().await.zip(wire.exactly(11).await);
                begun.add_permits(1);
                let second = wire.line().await.zip(wire.exactly(11).await);
                let end = wire.line().await;
                return first.is_some_and(|(_, data)| data.starts_with(b"data: 1"))
                    && second.is_some_and(|(_, data)| data.starts_with(b"data: 2"))
                    && end.as_deref() == Some("0");
            }
            let body = payload(seed, length);
            let (first, second) = body.split_at(length / 2);
            wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
            wire.send(first).await;
            if wire.head().await.is_none_or(|head| head.status() != 200) {
                return false;
            }
            let back = wire.exactly(length / 2).await;
            begun.add_permits(1);
            on.wait_for(|go| *go).await.unwrap();
            wire.send(second).await;
            back.is_some_and(|back| back == first)
                && wire.exactly(second.len()).await.is_some_and(|back| back == second)
        });
    }
    soon(begun.acquire_many(50)).await.unwrap().forget();
    let mut live = None;
    for switch in 0..10 {
        let next = App::start(&switch.to_string()).await;
        proxy.lead_to([&next.upstream]).await;
        assert_eq!(proxy.connect().await.get("/").await.text(), switch.to_string());
        live = Some(next);
    }
    let ids = [blue.upstream.id.clone()];
    let left = proxy.control.drained(&ids, Duration::ZERO).await.unwrap();
    assert_eq!(left.iter().map(|load| load.in_flight.total()).sum::<u64>(), 50);
    go.send(true).unwrap();
    while let Some(whole) = soon(transfers.join_next()).await {
        if whole.unwrap() { proof.kept() } else { proof.broken("a transfer was cut or mixed up") }
    }
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    drop(live);
    proof.conclude();
}

/// What a client hears last, and how the connection ends.
async fn last_words(wire: &mut Wire) -> std::io::Result<Vec<u8>> {
    let mut words = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut wire.stream, &mut words)).await?;
    Ok(words)
}

#[tokio::test]
async fn px_ws_live_through_switches_until_the_drain_ends_and_are_told_good_bye() {
    let mut proof = Proof::of("px.ws", "a hundred WebSockets, ten switches, then the end of the drain");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let blue = App::start_with(|mut wire| async move {
        if wire.try_message().await.is_some() {
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            )
            .await;
            // Frames of five bytes, echoed without their mask.
            while let Some(frame) = wire.exactly(11).await {
                wire.send([&[0x81, 5][..], &frame[6..]].concat()).await;
            }
        }
    })
    .await;
    proxy.lead_to([&blue.upstream]).await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let mut wire = proxy.connect().await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().status(), 101);
        sockets.push(wire);
    }
    let mut live = None;
    for _ in 0..10 {
        let next = App::start("next").await;
        proxy.lead_to([&next.upstream]).await;
        for wire in &mut sockets {
            wire.send([&[0x81, 0x85, 0, 0, 0, 0][..], b"hello"].concat()).await;
            match wire.exactly(7).await {
                Some(frame) if frame == [&[0x81, 5][..], b"hello"].concat() => proof.kept(),
                other => proof.broken(format!("the echo was {other:?}")),
            }
        }
        live = Some(next);
    }
    let ids = [blue.upstream.id.clone()];
    let left = proxy.control.drained(&ids, Duration::ZERO).await.unwrap();
    assert_eq!(left.iter().map(|load| load.in_flight.websockets).sum::<u64>(), 100);
    proxy.control.close(&ids).await.unwrap();
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    for (index, wire) in sockets.iter_mut().enumerate() {
        if index % 2 == 0 {
            // What a client says after the end is no reason for a reset. (It may be too late to be heard.)
            let _late = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, b"late").await;
        }
        match last_words(wire).await {
            Ok(words) if words == [0x88, 0x02, 0x03, 0xE9] => proof.kept(),
            other => proof.broken(format!("the last words were {other:?}")),
        }
    }
    drop(live);
    proof.conclude();
}

#[tokio::test]
async fn scar_p07_another_protocol_ends_without_a_word_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::start_with(|mut wire| async move {
        wire.try_message().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: own\r\nConnection: Upgrade\r\n\r\nhello")
            .await;
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n").await;
    assert_eq!(wire.head().await.unwrap().status(), 101);
    assert_eq!(wire.exactly(5).await.unwrap(), b"hello");
    proxy.control.close(std::slice::from_ref(&app.upstream.id)).await.unwrap();
    assert_eq!(last_words(&mut wire).await.unwrap(), b"");
    dockswap_proof::kept("scar-P07", "a tunnel of another protocol, ended by its drain");
}

#[tokio::test]
async fn p16_every_wait_for_an_app_ends() {
    const SHORT: Duration = Duration::from_millis(200);
    let mut proof = Proof::of("P16", "an app that falls silent: connection, request, head, body, tunnel");
    let limits = Limits { connect_time: SHORT, answer_time: SHORT, silence_time: SHORT, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    let hole = BlackHole::open().await;
    let app = App::start_with(|mut wire| async move {
        let Some(head) = wire.head().await else { return };
        match target(&head).as_str() {
            "/request" | "/head" => {}
            "/body" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await,
            _ => wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await,
        }
        std::future::pending::<()>().await;
    })
    .await;
    proxy
        .apply(vec![
            self::app("hole", vec![host("hole")], [&hole.upstream]),
            self::app("web", vec![host("web")], [&app.upstream]),
        ])
        .await
        .unwrap();
    for _ in 0..5 {
        for (host, target, status) in [
            ("hole", "/", Some(502)),
            ("web", "/head", Some(504)),
            ("web", "/body", None),
            ("web", "/chunks", None),
        ] {
            let mut wire = proxy.connect().await;
            wire.request("GET", target, host).await;
            let answer = soon(wire.try_message()).await.map(|answer| answer.status());
            if answer == status { proof.kept() } else { proof.broken(format!("{host}{target}: {answer:?}")) }
        }
        // A body that nobody reads.
        let mut wire = proxy.connect().await;
        wire.send("POST /request HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000000\r\n\r\n").await;
        let (mut read, mut write) = wire.stream.split();
        let sending = async {
            let chunk = vec![b'x'; 64 * 1024];
            while tokio::io::AsyncWriteExt::write_all(&mut write, &chunk).await.is_ok() {}
        };
        let mut answer = [0; 12];
        let read = soon(async {
            let reading = tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer);
            tokio::pin!(reading);
            // One that sends faster than it reads may come to the end of the connection first: the answer is there.
            tokio::select! { biased; read = &mut reading => read, () = sending => reading.await }.is_ok()
        })
        .await;
        if read && answer == *b"HTTP/1.1 504" {
            proof.kept();
        } else {
            proof.broken("a body that nobody reads");
        }
    }
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
    proof.conclude();
}
