//! What a client may take before it is one: time, connections, and bytes that are no TLS.

use super::authority::{Authority, exact, hold, secure, secure_addr, shown_for};
use crate::support::{Running, Wire, app, eventually, soon};
use crate::upstreams::App;
use dockswap_proxy::Limits;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn started(limits: Limits) -> (tempfile::TempDir, Running, App, Authority, SocketAddr) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let addr = secure_addr(&proxy).await;
    (dir, proxy, app_, authority, addr)
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head_in_all() {
    let limits = Limits { head_time: Duration::from_millis(300), ..Limits::default() };
    let (_dir, _proxy, _app, authority, addr) = started(limits).await;
    // Nothing; the beginning of a record; a byte of one now and then.
    let silent = TcpStream::connect(addr).await.unwrap();
    let mut begun = TcpStream::connect(addr).await.unwrap();
    begun.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        writer.write_all(&[22, 3, 1, 0xff]).await.unwrap();
        while writer.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for mut stream in [silent, begun] {
        assert_eq!(soon(stream.read_to_end(&mut Vec::new())).await.unwrap_or(0), 0);
    }
    let _cut = soon(reader.read_to_end(&mut Vec::new())).await;
    soon(dripping).await.unwrap();
    // Others were served meanwhile, and are.
    assert_eq!(authority.wire(addr, "example.com").await.get("/").await.text(), "app");
}

#[tokio::test]
async fn one_who_has_not_shaken_hands_counts_as_a_connection() {
    let limits = Limits { connections: 1, head_time: Duration::from_hours(1), ..Limits::default() };
    let (_dir, _proxy, _app, authority, addr) = started(limits).await;
    let first = TcpStream::connect(addr).await.unwrap();
    let mut second = TcpStream::connect(addr).await.unwrap();
    assert_eq!(soon(second.read_to_end(&mut Vec::new())).await.unwrap_or(0), 0);
    drop(first);
    eventually("there is room", || async { authority.connect(addr, "example.com", &[]).await.is_ok() }).await;
}

#[tokio::test]
async fn http_where_tls_is_spoken_is_told_so() {
    let (_dir, _proxy, _app, _authority, addr) = started(Limits::default()).await;
    let mut wire = Wire::connect(addr).await;
    let answer = wire.get("/").await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("for HTTPS"), "{}", answer.text());
    assert!(wire.rest().await.is_empty());
}

#[tokio::test]
async fn what_is_no_tls_at_all_ends_the_connection_and_nothing_else() {
    let (_dir, _proxy, _app, authority, addr) = started(Limits::default()).await;
    let hello = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    for bytes in [&[0_u8; 600][..], &[0xff; 600], b"\x16\x03\x01\x00\x00", b"ssh-2.0-x\r\n", &hello] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        // An alert, a reset or an end: but never an answer.
        let mut rest = Vec::new();
        let _how = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.len() <= 7, "{rest:?}");
        assert_eq!(authority.wire(addr, "example.com").await.get("/").await.text(), "app");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_under_tls_too() {
    let limits = Limits { stall_time: Duration::from_millis(300), ..Limits::default() };
    let (_dir, proxy, _app, authority, addr) = started(limits).await;
    let big = App::start_with(|mut wire| async move {
        wire.try_message().await.unwrap();
        let _cut = wire.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
        while wire.stream.write_all(&[b'x'; 16_384]).await.is_ok() {}
    })
    .await;
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&big.upstream])]).await.unwrap();
    let mut wire = authority.wire(addr, "example.com").await;
    wire.request("GET", "/", "example.com").await;
    eventually("it is in flight", || async { proxy.in_flight().await.0 == 1 }).await;
    eventually("it is cut", || async { proxy.in_flight().await.0 == 0 }).await;
}
