//! What stands in front is believed, and nobody else.

use crate::support::{Running, Wire, config};
use crate::upstreams::App;
use dockswap_proxy::{Front, Greeting, Limits, ProxyConfig};

/// A proxy in front of an app that shows what it is told of the client; whoever is on loopback stands in front.
async fn stage(dir: &tempfile::TempDir, greeting: Greeting) -> (Running, App) {
    let front = Front { trusted: vec!["127.0.0.0/8".parse().unwrap()], greeting };
    let proxy = Running::start_as(ProxyConfig { front, ..config(dir.path(), Limits::default()) }, 2).await;
    let app = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
                .map(|name| request.field(name).unwrap_or("-").to_owned())
                .join(" | ");
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len())).await;
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    (proxy, app)
}

async fn told(wire: &mut Wire, fields: &str) -> String {
    wire.send(format!("GET / HTTP/1.1\r\nHost: a.org\r\n{fields}\r\n")).await;
    wire.message().await.text().to_owned()
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_a_request_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, _app) = stage(&dir, Greeting::None).await;
    let mut wire = proxy.connect().await;
    let fields =
        "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.org\r\n";
    assert_eq!(told(&mut wire, fields).await, "192.0.2.7, 127.0.0.1 | https | b.org");
    // Each request is somebody's own.
    assert_eq!(told(&mut wire, "").await, "127.0.0.1 | http | a.org");
}

#[tokio::test]
async fn the_proxy_protocol_tells_who_a_connection_is_from() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, _app) = stage(&dir, Greeting::ProxyProtocol).await;
    let mut wire = proxy.connect().await;
    wire.send("PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n").await;
    for _ in 0..2 {
        // A client's own word on it is nothing.
        assert_eq!(told(&mut wire, "X-Forwarded-For: 6.6.6.6\r\n").await, "192.0.2.7 | http | a.org");
    }
    let mut without = proxy.connect().await;
    without.send("GET / HTTP/1.1\r\nHost: a.org\r\n\r\n").await;
    assert_eq!(without.rest().await, b"");
}
