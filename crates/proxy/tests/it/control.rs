//! The control socket, the snapshot, and the proxy's own end.

use crate::support::{PATIENCE, Running, Wire, any_host, app, config, eventually, free_port, host, soon};
use crate::upstreams::App;
use dockswap_core::ports::{Router, RouterError};
use dockswap_core::routes::RouteTable;
use dockswap_core::spec::Route;
use dockswap_proxy::{Limits, ProxyClient, ServeError, serve};
use std::os::unix::fs::PermissionsExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn only_a_newer_table_replaces_the_one_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start("app").await;
    let table = |revision, name: &str| RouteTable {
        revision,
        apps: vec![app(name, vec![any_host()], [&server.upstream])],
    };
    proxy.control.apply(&table(5, "a")).await.unwrap();
    proxy.control.apply(&table(5, "a")).await.expect("the same again is no error");
    for (revision, name) in [(5, "b"), (4, "a"), (0, "a")] {
        let refused = proxy.control.apply(&table(revision, name)).await;
        assert!(
            matches!(refused, Err(RouterError::Stale { current: 5, offered }) if offered == revision),
            "{refused:?}"
        );
    }
    assert_eq!(proxy.control.status().await.unwrap().table, table(5, "a"));
    proxy.control.apply(&table(6, "b")).await.unwrap();
}

#[tokio::test]
async fn the_status_says_what_is_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start("app").await;
    proxy.lead_to([&server.upstream]).await;
    let status = proxy.control.status().await.unwrap();
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.listeners, [proxy.addr]);
    assert_eq!(status.load.len(), 1);
    assert!(status.load[0].is_idle() && status.load[0].id == server.upstream.id);
    proxy.apply(vec![]).await.unwrap();
    assert_eq!(proxy.control.status().await.unwrap().load, []);
}

#[tokio::test]
async fn a_client_finds_a_restarted_proxy_again_and_says_when_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let control = ProxyClient::new(dir.path().join("proxy.sock"));
    control.status().await.unwrap();
    proxy.kill().await;
    assert!(matches!(control.status().await, Err(RouterError::Unavailable { .. })));
    let again = Running::start(&dir).await;
    control.status().await.unwrap();
    again.stopped().await;
    assert!(matches!(control.status().await, Err(RouterError::Unavailable { .. })));
    assert!(!dir.path().join("proxy.sock").exists());
}

#[tokio::test]
async fn a_second_proxy_on_the_same_socket_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let second = soon(serve(config(dir.path(), Limits::default()), CancellationToken::new())).await;
    assert!(matches!(second, Err(ServeError::AlreadyRunning { .. })), "{second:?}");
    proxy.control.status().await.expect("the first is not disturbed");
    let mode = std::fs::metadata(dir.path().join("proxy.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(dir.path(), Limits::default());
    config.http = taken.local_addr().unwrap();
    let refused = soon(serve(config, CancellationToken::new())).await;
    assert!(matches!(refused, Err(ServeError::Listen { addr, .. }) if addr == taken.local_addr().unwrap()));
}

#[tokio::test]
async fn scar_p13_a_killed_proxy_comes_back_with_the_confirmed_table_before_any_controller() {
    let dir = tempfile::tempdir().unwrap();
    let server = App::start("app").await;
    let port = free_port().await;
    let routes = vec![any_host(), Route { listen_port: Some(port), ..any_host() }];
    for _ in 0..3 {
        let proxy = Running::start(&dir).await;
        proxy.apply(vec![app("web", routes.clone(), [&server.upstream])]).await.unwrap();
        let confirmed = proxy.control.status().await.unwrap().table;
        proxy.kill().await;
        let again = Running::start(&dir).await;
        assert_eq!(again.connect().await.get("/").await.text(), "app");
        assert_eq!(Wire::connect(([127, 0, 0, 1], port).into()).await.get("/").await.text(), "app");
        assert_eq!(again.control.status().await.unwrap().table, confirmed);
        again.stopped().await;
    }
    dockswap_proof::kept("scar-P13", "proxy alone, killed and started again");
}

#[tokio::test]
async fn scar_p01_a_listener_that_cannot_open_at_start_keeps_nothing_else_down() {
    let dir = tempfile::tempdir().unwrap();
    let server = App::start("app").await;
    let port = free_port().await;
    let own = Route { listen_port: Some(port), ..any_host() };
    let apps =
        vec![app("bad", vec![own], [&server.upstream]), app("good", vec![host("good")], [&server.upstream])];
    let proxy = Running::start(&dir).await;
    proxy.apply(apps.clone()).await.unwrap();
    proxy.stopped().await;

    let taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let proxy = Running::start(&dir).await;
    assert_eq!(proxy.connect().await.get_from("good", "/").await.text(), "app");
    // A later table is not refused for what was already so.
    proxy.apply(apps).await.unwrap();
    assert_eq!(proxy.control.status().await.unwrap().listeners, [proxy.addr]);
    drop(taken);
    eventually("the listener is opened", || async {
        proxy.control.status().await.unwrap().listeners.len() == 2
    })
    .await;
    assert_eq!(Wire::connect(([127, 0, 0, 1], port).into()).await.get("/").await.text(), "app");
    dockswap_proof::kept("scar-P01", "proxy alone, a listener that cannot be opened");
}

#[tokio::test]
async fn a_broken_snapshot_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("routes.json"), "{ half a table").unwrap();
    let proxy = Running::start(&dir).await;
    assert_eq!(proxy.control.status().await.unwrap().table, RouteTable::default());
    assert_eq!(proxy.connect().await.get("/").await.status(), 404);
    let aside = std::fs::read_dir(dir.path())
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("routes.json.broken-"));
    assert!(aside);
    proxy.apply(vec![]).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_does_not_keep_a_switch_from_happening() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let server = App::start("app").await;
    // A directory in the way of the temporary file.
    let in_the_way = dir.path().join("routes.json.new");
    std::fs::create_dir(&in_the_way).unwrap();
    proxy.lead_to([&server.upstream]).await;
    assert_eq!(proxy.connect().await.get("/").await.text(), "app");
    assert!(!dir.path().join("routes.json").exists());
    std::fs::remove_dir(&in_the_way).unwrap();
    eventually("the table is saved", || async { dir.path().join("routes.json").exists() }).await;
}

#[tokio::test]
async fn a_stopping_proxy_finishes_what_is_in_flight_and_says_close() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (go, gate) = tokio::sync::watch::channel(());
    let server = App::start_with(move |mut wire| {
        let mut gate = gate.clone();
        async move {
            wire.try_message().await;
            gate.changed().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast").await;
        }
    })
    .await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    let mut idle = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    proxy.begin_stop();
    assert_eq!(idle.rest().await, b"");
    eventually("nobody listens", || async { tokio::net::TcpStream::connect(proxy.addr).await.is_err() })
        .await;
    go.send(()).unwrap();
    let answer = wire.message().await;
    assert_eq!((answer.text(), answer.field("connection")), ("last", Some("close")));
    assert_eq!(wire.rest().await, b"");
    proxy.stopped().await;
}

#[tokio::test]
async fn a_stopping_proxy_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { drain_time: std::time::Duration::from_millis(50), ..Limits::default() };
    let proxy = Running::start_with(&dir, limits).await;
    let server = App::start_with(|mut wire| async move {
        wire.rest().await;
    })
    .await;
    proxy.lead_to([&server.upstream]).await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    proxy.stopped().await;
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    for (question, status) in [("PUT /v1/table", 400), ("POST /v1/drained", 400), ("GET /v2", 400)] {
        let mut stream = tokio::net::UnixStream::connect(dir.path().join("proxy.sock")).await.unwrap();
        let text =
            format!("{question} HTTP/1.1\r\nHost: proxy\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{{");
        tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{question}: {answer}");
        assert!(answer.contains(r#"{"error":"misunderstood""#), "{answer}");
    }
    assert_eq!(proxy.control.drained(&[], PATIENCE).await.unwrap(), []);
}
