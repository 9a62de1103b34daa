//! Thousands of slow, idle and huge clients at a time: the others do not notice, and nothing is left of them.

use crate::support::{Running, Wire, eventually, soon};
use crate::upstreams::App;
use dockswap_proof::Proof;
use dockswap_proxy::Limits;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Takes as many file descriptors as this process may have; how many idle sockets that allows, at most
/// `wanted`. Both of their ends are here.
fn idle_sockets(wanted: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let most = limit.maximum.map_or(wanted, |most| usize::try_from(most).unwrap_or(usize::MAX));
    wanted.min(most.saturating_sub(2_000) / 2)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What this process has in memory, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Those who take up room: idle, in the middle of a head, of a body, of an answer.
struct Attack {
    idle: Vec<TcpStream>,
    heads: Vec<Wire>,
    bodies: Vec<Wire>,
    readers: Vec<Wire>,
}

impl Attack {
    async fn begin(addr: SocketAddr, idle: usize) -> Self {
        let mut attack =
            Self { idle: Vec::new(), heads: Vec::new(), bodies: Vec::new(), readers: Vec::new() };
        for _ in 0..idle {
            attack.idle.push(soon(TcpStream::connect(addr)).await.unwrap());
        }
        for _ in 0..200 {
            let mut wire = Wire::connect(addr).await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\nX-").await;
            attack.heads.push(wire);
            let mut wire = Wire::connect(addr).await;
            wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx").await;
            attack.bodies.push(wire);
        }
        for _ in 0..50 {
            let mut wire = Wire::connect(addr).await;
            wire.request("GET", "/large", "a").await;
            attack.readers.push(wire);
        }
        attack
    }
}

/// An app that has a large answer too.
async fn with_large_answers() -> App {
    App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            let length = if request.first_line.contains("/large") { 50_000_000 } else { 2 };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let body = vec![b'x'; length];
            // Whoever asked may be gone.
            if wire.stream.write_all(&[head.into_bytes(), body].concat()).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// `count` requests one after the other: how many were not answered as they should, and the times.
async fn requests(addr: SocketAddr, count: usize) -> (u64, Vec<Duration>) {
    let (mut failed, mut times) = (0, Vec::new());
    let mut wire = Wire::connect(addr).await;
    for _ in 0..count {
        let began = Instant::now();
        wire.request("GET", "/", "a").await;
        if wire.try_message().await.is_none_or(|answer| answer.status() != 200) {
            failed += 1;
            wire = Wire::connect(addr).await;
        }
        times.push(began.elapsed());
    }
    (failed, times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn px_slow_thousands_of_slow_clients_are_cut_off_and_the_others_served() {
    let mut others = Proof::of(
        "px.slow",
        "requests of others, beside idle, slow-head, slow-body and slow-reading clients",
    );
    let mut cut =
        Proof::of("px.slow", "clients that trickle a head, a body, or read nothing: cut off in time");
    let dir = tempfile::tempdir().unwrap();
    let time = Duration::from_secs(2);
    let limits = Limits { head_time: time, stall_time: time, ..Limits::default() };
    let proxy = Running::start_with(&dir, limits).await;
    let app = with_large_answers().await;
    proxy.lead_to([&app.upstream]).await;
    let before = open_files();
    let mut attack = Attack::begin(proxy.addr, idle_sockets(5_000)).await;
    let (failed, times) = requests(proxy.addr, 2_000).await;
    others.kept_times(times.len() as u64 - failed);
    others.broken_times(failed);
    for wire in attack.heads.iter_mut().chain(&mut attack.bodies) {
        // Nothing, or a refusal; and then the end.
        let last = String::from_utf8_lossy(&soon(wire.rest()).await).into_owned();
        if last.is_empty() || last.starts_with("HTTP/1.1 408") { cut.kept() } else { cut.broken(last) }
    }
    let given_up = soon(async {
        while proxy.in_flight().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    given_up.await;
    cut.kept_times(attack.readers.len() as u64);
    drop(attack);
    eventually("all sockets are closed again", || async { open_files() <= before + 20 }).await;
    others.conclude();
    cut.conclude();
}

/// The same as a measurement: rounds with and without the attack by turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn px_slow_the_others_latency_stays_within_twice_its_base() {
    if !dockswap_proof::long() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = with_large_answers().await;
    proxy.lead_to([&app.upstream]).await;
    let idle = idle_sockets(5_000);
    let mut ratios = Vec::new();
    for _ in 0..9 {
        let p99 = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() * 99 / 100]
        };
        let base = p99(requests(proxy.addr, 5_000).await.1);
        let attack = Attack::begin(proxy.addr, idle).await;
        let attacked = p99(requests(proxy.addr, 5_000).await.1);
        drop(attack);
        ratios.push(attacked.as_secs_f64() / base.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("p99 under attack, as a multiple of p99 without: {ratios:.2?}");
    assert!(ratios[ratios.len() / 2] <= 2.0, "{ratios:?}");
    dockswap_proof::kept("px.slow", "p99 of others within twice its base, median of rounds by turns");
}

#[tokio::test]
async fn px_huge_a_hundred_times_leaves_memory_flat() {
    let mut proof = Proof::of(
        "px.huge",
        "a header of a mebibyte, ten thousand headers, a target of 64 KiB; memory after all",
    );
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = App::start("app").await;
    proxy.lead_to([&app.upstream]).await;
    let requests = [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)), [431, 431]),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000)), [431, 431]),
        // More than a whole head may have.
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64 << 10)), [414, 431]),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20 << 10)), [414, 414]),
    ];
    let rounds = if dockswap_proof::long() { 1_000 } else { 100 };
    let mut warm = 0;
    for round in 0..rounds {
        for (request, statuses) in &requests {
            let mut wire = proxy.connect().await;
            wire.send(request).await;
            let status = wire.message().await.status();
            if statuses.contains(&status) {
                proof.kept();
            } else {
                proof.broken(format!("{}: {status}", &request[..40]));
            }
        }
        if round == rounds / 5 {
            warm = resident();
        }
    }
    assert_eq!(app.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    let grown = resident().saturating_sub(warm);
    // Were they kept, it would be more than 80 MiB.
    if grown < 32 * 1024 {
        proof.kept();
    } else {
        proof.broken(format!("{grown} KiB more in memory"));
    }
    proof.conclude();
}

/// `count` connections at a time that are served.
async fn fill(proxy: &Running, count: usize) -> Vec<Wire> {
    let mut admitted = Vec::new();
    while admitted.len() < count {
        let mut wire = proxy.connect().await;
        let sent = wire.stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        if sent.is_ok() && wire.try_message().await.is_some() {
            admitted.push(wire);
        }
    }
    admitted
}

#[tokio::test]
async fn t14_caps_hold_and_give_their_room_back() {
    let mut proof = Proof::of("T14", "more connections than there is room for");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { connections: 100, ..Limits::default() }).await;
    let app = App::start("app").await;
    proxy.lead_to([&app.upstream]).await;
    for _ in 0..3 {
        // Those of the round before may not all be gone yet.
        let admitted = soon(fill(&proxy, 100)).await;
        proof.kept_times(admitted.len() as u64);
        for _ in 0..100 {
            let refused = proxy.connect().await.rest().await;
            if refused.is_empty() { proof.kept() } else { proof.broken("one more was admitted") }
        }
        drop(admitted);
    }
    proof.conclude();
}
