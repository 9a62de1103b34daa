//! WebSocket and other changes of protocol: bytes both ways, counted until they end.

use crate::support::{PATIENCE, Running, Wire, app, eventually, host};
use crate::upstreams::App;
use dockswap_core::ports::Router;
use dockswap_core::routes::InFlight;
use std::time::Duration;

/// An app that agrees to every change of protocol, greets, and then sends back what it gets.
pub(crate) async fn echo(name: &'static str) -> App {
    App::start_with(move |mut wire| async move {
        let Some(request) = wire.try_message().await else { return };
        let protocol = request.field("upgrade").expect("only upgrades come here");
        assert_eq!(request.field("connection"), Some("upgrade"));
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n"
        ))
        .await;
        wire.send(format!("{name}\r\n")).await;
        while let Some(line) = wire.line().await {
            wire.send(format!("{name} {line}\r\n")).await;
        }
    })
    .await
}

pub(crate) async fn upgrade(wire: &mut Wire, host: &str, protocol: &str) {
    let request = format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    // The first line comes early, before the answer.
    wire.send(format!("{request}early\r\n")).await;
    let answer = wire.head().await.unwrap();
    assert_eq!((answer.status(), answer.field("upgrade")), (101, Some(protocol)));
    assert_eq!(answer.field("connection"), Some("upgrade"));
}

pub(crate) async fn say(wire: &mut Wire, text: &str) -> String {
    wire.send(format!("{text}\r\n")).await;
    wire.line().await.unwrap()
}

#[tokio::test]
async fn what_is_in_flight_is_counted_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    // Answers heads, and never ends what it began.
    let app = App::start_with(|mut wire| async move {
        let request = wire.try_message().await.unwrap();
        let answer = match request.first_line.split(' ').nth(1).unwrap() {
            "/events" => "200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nContent-Length: 9",
            "/ws" => "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade",
            "/other" => "101 Switching Protocols\r\nUpgrade: chat/1\r\nConnection: Upgrade",
            _ => "200 OK\r\nContent-Length: 9",
        };
        wire.send(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut open = Vec::new();
    for (path, fields) in [
        ("/", ""),
        ("/events", ""),
        // What it was taken for, it is not.
        ("/events", "Content-Type: application/grpc\r\n"),
        ("/ws", "Content-Type: application/grpc\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("/call", "Content-Type: application/grpc+proto\r\n"),
        ("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("/other", "Connection: Upgrade\r\nUpgrade: chat/1\r\n"),
    ] {
        let mut wire = proxy.connect().await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        wire.head().await.unwrap();
        open.push(wire);
    }
    let in_flight = || async { proxy.control.status().await.unwrap().load.iter().sum::<InFlight>() };
    let expected = InFlight { requests: 1, event_streams: 2, calls: 1, websockets: 2, tunnels: 1 };
    assert_eq!(in_flight().await, expected);
    drop(open);
    eventually("nothing is in flight", || async { in_flight().await == InFlight::default() }).await;
}

/// A client that lost its connection comes back: thousands at the same moment would be an attack on the new color.
#[tokio::test]
async fn what_a_drain_has_left_is_closed_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app = echo("app").await;
    proxy.lead_to([&app.upstream]).await;
    let mut open = Vec::new();
    for _ in 0..50 {
        let mut wire = proxy.connect().await;
        upgrade(&mut wire, "chat", "chat/1").await;
        assert_eq!([wire.line().await, wire.line().await].map(Option::unwrap), ["app", "app early"]);
        open.push(wire);
    }
    let next = App::start("next").await;
    proxy.lead_to([&next.upstream]).await;
    let ids = [app.upstream.id.clone()];
    let mut last = open.pop().unwrap();
    let seen = async {
        open[0].rest().await;
        assert_eq!(say(&mut last, "still there?").await, "app still there?");
        for wire in open.iter_mut().chain([&mut last]) {
            wire.rest().await;
        }
    };
    let (closed, ()) = tokio::join!(proxy.control.close(&ids), seen);
    closed.unwrap();
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
}

#[tokio::test]
async fn scar_p07_an_open_websocket_survives_its_own_and_other_apps_switches() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (blue, green) = (echo("blue").await, echo("green").await);
    let other = App::start("other").await;
    let apps = |live: &App| {
        vec![
            app("chat", vec![host("chat")], [&live.upstream]),
            app("other", vec![host("other")], [&other.upstream]),
        ]
    };
    proxy.apply(apps(&blue)).await.unwrap();
    let mut old = proxy.connect().await;
    upgrade(&mut old, "chat", "websocket").await;
    assert_eq!(old.line().await.as_deref(), Some("blue"));
    assert_eq!(old.line().await.as_deref(), Some("blue early"));
    assert_eq!(proxy.in_flight().await, (0, 1));

    for live in [&green, &blue, &green, &blue, &green] {
        proxy.apply(apps(live)).await.unwrap();
        assert_eq!(say(&mut old, "still there?").await, "blue still there?");
    }
    let mut new = proxy.connect().await;
    upgrade(&mut new, "chat", "websocket").await;
    assert_eq!(new.line().await.as_deref(), Some("green"));

    // The drain waits for the tunnel, and for nothing else.
    let ids = [blue.upstream.id.clone()];
    let left = proxy.control.drained(&ids, Duration::ZERO).await.unwrap();
    let one = InFlight { websockets: 1, ..InFlight::default() };
    assert_eq!(left.iter().map(|load| load.in_flight).collect::<Vec<_>>(), [one]);
    drop(old);
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    assert_eq!(new.line().await.as_deref(), Some("green early"));
    assert_eq!(say(&mut new, "here").await, "green here");
    dockswap_proof::kept("scar-P07", "proxy alone, switches of its own app and of another");
}

#[tokio::test]
async fn a_tunnel_can_be_closed_when_the_drain_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = echo("app").await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    upgrade(&mut wire, "a", "websocket").await;
    assert_eq!(wire.line().await.as_deref(), Some("app"));
    let ids = [server.upstream.id.clone()];
    proxy.control.close(&ids).await.unwrap();
    assert_eq!(proxy.control.drained(&ids, PATIENCE).await.unwrap(), []);
    wire.rest().await;
}

#[tokio::test]
async fn any_protocol_passes_but_http_2() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = echo("app").await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    upgrade(&mut wire, "a", "my-own/1").await;
    assert_eq!(wire.line().await.as_deref(), Some("app"));

    let plain = App::start("plain").await;
    proxy.lead_to([&plain.upstream]).await;
    let mut wire = proxy.connect().await;
    for field in
        ["Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA", "Upgrade: websocket"]
    {
        wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")).await;
        assert_eq!(wire.message().await.text(), "plain");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_answer_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start("no").await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        assert_eq!(wire.message().await.text(), "no");
    }
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start_with(|mut wire| async move {
        wire.try_message().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&server.upstream]).await;
    assert_eq!(proxy.connect().await.get("/").await.status(), 502);
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn px_smuggle_a_body_before_a_change_of_protocol_is_the_requests_and_what_follows_the_tunnels() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = echo("one").await;
    proxy.lead_to([&server.upstream]).await;
    for (framing, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let mut wire = proxy.connect().await;
        let head = format!(
            "POST /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n{framing}\r\n\r\n"
        );
        wire.send(format!("{head}{body}GET /smuggled HTTP/1.1\r\n")).await;
        assert_eq!(wire.head().await.unwrap().status(), 101, "{framing}");
        let lines = [wire.line().await, wire.line().await].map(Option::unwrap);
        assert_eq!(lines, ["one", "one GET /smuggled HTTP/1.1"], "{framing}");
    }
}

/// Else what is left of the body would be what the new protocol begins with.
#[tokio::test]
async fn px_smuggle_a_change_of_protocol_before_the_request_has_ended_is_a_502() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start_with(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 10\r\n\r\nhello",
    )
    .await;
    assert_eq!(wire.message().await.status(), 502);
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}
