//! The access log: one line for each request, when it is over, and what it says.

use crate::http2::client::{Client, Pieces};
use crate::support::{Running, any_host, app, config, eventually, host, soon};
use crate::upgrades::{echo, upgrade};
use crate::upstreams::App;
use dockswap_proxy::{AccessLog, Form, Front, Greeting, Limits, ProxyConfig};
use http::Request;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A proxy that writes its log as JSON, and where.
async fn start() -> (TempDir, PathBuf, Running) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let access_log = Some(AccessLog { form: Form::Json, file: Some(file.clone()) });
    let front = Front { trusted: vec!["127.0.0.0/8".parse().unwrap()], greeting: Greeting::None };
    let config = ProxyConfig { access_log, front, ..config(dir.path(), Limits::default()) };
    let proxy = Running::start_as(config, 2).await;
    (dir, file, proxy)
}

fn lines(file: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is written of the request for `path`.
fn of<'a>(lines: &'a [Value], path: &str) -> &'a Value {
    let mut of_path = lines.iter().filter(|line| line["path"] == path);
    let one = of_path.next().unwrap_or_else(|| panic!("nothing about {path}: {lines:#?}"));
    assert!(of_path.next().is_none(), "{path} is there twice: {lines:#?}");
    one
}

#[tokio::test]
async fn each_request_is_a_line_that_says_who_answered_and_how_much() {
    let (_dir, file, proxy) = start().await;
    let (web, chat) = (App::start("web").await, echo("chat").await);
    let apps = vec![
        app("chat", vec![host("chat")], [&chat.upstream]),
        app("web", vec![host("web")], [&web.upstream]),
    ];
    proxy.apply(apps).await.unwrap();
    let mut wire = proxy.connect().await;
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nUser-Agent: tests\r\nCookie: secret=1\r\n";
    wire.send(format!(
        "POST /posted?token=secret HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n{fields}\r\nbody"
    ))
    .await;
    assert_eq!(wire.message().await.text(), "webbody");
    assert_eq!(wire.get_from("nobody", "/lost").await.status(), 404);
    let client = Client::of(&proxy).await;
    let over_http2 = client.begin(Request::get("http://web/streamed").body(Pieces::none()).unwrap());
    assert_eq!(crate::http2::client::whole(soon(over_http2).await.unwrap().unwrap()).await.1, "web");
    let mut socket = proxy.connect().await;
    upgrade(&mut socket, "chat", "websocket").await;
    socket.line().await.unwrap();
    drop(socket);
    eventually("it is over", || async { proxy.in_flight().await == (0, 0) }).await;
    proxy.stopped().await;

    let lines = lines(&file);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
    let posted = of(&lines, "/posted");
    for (key, value) in [
        ("app", Value::from("web")),
        ("color", "blue".into()),
        ("deployment", 1.into()),
        ("client", "192.0.2.7".into()),
        ("method", "POST".into()),
        ("scheme", "http".into()),
        ("host", "web".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("body_bytes", 7.into()),
        ("by", "app".into()),
        ("cut", false.into()),
        ("agent", "tests".into()),
    ] {
        assert_eq!(posted[key], value, "{key}");
    }
    assert!(posted["upstream_us"].as_u64() <= posted["took_us"].as_u64() && posted["upstream_us"].is_u64());
    let lost = of(&lines, "/lost");
    assert_eq!(
        (&lost["status"], &lost["by"], &lost["why"]),
        (&404.into(), &"proxy".into(), &"no_route".into())
    );
    assert_eq!((&lost["app"], &lost["upstream_us"]), (&Value::Null, &Value::Null));
    let streamed = of(&lines, "/streamed");
    assert_eq!((&streamed["protocol"], &streamed["body_bytes"]), (&"HTTP/2".into(), &3.into()));
    assert_eq!(streamed["cut"], Value::from(false));
    let chat = of(&lines, "/chat");
    assert_eq!((&chat["status"], &chat["app"], &chat["by"]), (&101.into(), &"chat".into(), &"app".into()));
    assert!(chat["body_bytes"].as_u64() > Some(0), "{chat}");
}

#[tokio::test]
async fn an_answer_that_was_not_taken_to_its_end_is_cut_and_a_client_that_left_has_none() {
    let (_dir, file, proxy) = start().await;
    let web = App::start_with(|mut wire| async move {
        let Some(request) = wire.try_message().await else { return };
        if request.first_line.contains("half") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
        wire.rest().await;
    })
    .await;
    proxy.apply(vec![app("web", vec![any_host()], [&web.upstream])]).await.unwrap();
    let mut half = proxy.connect().await;
    half.request("GET", "/half", "a").await;
    half.head().await.unwrap();
    half.exactly(4).await.unwrap();
    let mut gone = proxy.connect().await;
    gone.request("GET", "/gone", "a").await;
    eventually("both are in flight", || async { proxy.in_flight().await == (2, 0) }).await;
    drop((half, gone));
    eventually("they are over", || async { proxy.in_flight().await == (0, 0) }).await;
    proxy.stopped().await;
    let lines = lines(&file);
    let half = of(&lines, "/half");
    assert_eq!((&half["cut"], &half["body_bytes"], &half["status"]), (&true.into(), &4.into(), &200.into()));
    let gone = of(&lines, "/gone");
    assert_eq!(
        (&gone["status"], &gone["by"], &gone["why"]),
        (&Value::Null, &"nobody".into(), &"client_gone".into())
    );
    assert_eq!(gone["app"], "web");
    assert!(gone["upstream_us"].is_u64());
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_a_line_and_counts() {
    let (_dir, file, proxy) = start().await;
    let mut wire = proxy.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n").await;
    assert_eq!(wire.message().await.status(), 400);
    let mut wire = proxy.connect().await;
    wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(256 * 1024))).await;
    assert_eq!(wire.message().await.status(), 431);
    drop(wire);
    eventually("both are counted", || async {
        let metrics = proxy.control.metrics().await.unwrap();
        metrics.contains(r#"unrouted_requests_total{class="4xx"} 2"#)
    })
    .await;
    proxy.stopped().await;
    let lines = lines(&file);
    // Each when its connection is over.
    let mut statuses: Vec<_> =
        lines.iter().map(|line| (line["status"].as_u64(), line["why"].as_str().unwrap())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [(Some(400), "unreadable"), (Some(431), "unreadable")]);
    assert!(lines.iter().all(|line| line.get("path").is_none() && line.get("method").is_none()));
}
