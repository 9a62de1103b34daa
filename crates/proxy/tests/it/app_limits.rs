//! Limits of one app: what they cut, and that they cut nobody else's.

use crate::http2::client::{Client, Pieces, get, held, whole};
use crate::support::{Running, Wire, any_host, app, eventually, host, soon};
use crate::upgrades::{echo, say, upgrade};
use crate::upstreams::{App, BlackHole};
use bytes::Bytes;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::routes::{AppRoutes, Upstream};
use dockswap_proxy::Limits;
use http::{Request, StatusCode};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_hours(1);

/// App `name`, on the host of its name, with these limits.
fn limited(name: &str, to: &Upstream, limits: TrafficLimits) -> AppRoutes {
    AppRoutes { limits, ..app(name, vec![host(name)], [to]) }
}

async fn start(limits: Limits) -> (TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    (dir, proxy)
}

/// A proxy with two apps, of which `web` alone has `limits`.
async fn stage(all: Limits, limits: TrafficLimits, web: &App, other: &App) -> (TempDir, Running) {
    let (dir, proxy) = start(all).await;
    let apps = vec![
        limited("other", &other.upstream, TrafficLimits::default()),
        limited("web", &web.upstream, limits),
    ];
    proxy.apply(apps).await.unwrap();
    (dir, proxy)
}

/// Answers no request.
async fn silent() -> App {
    App::start_with(|mut wire| async move { while wire.try_message().await.is_some() {} }).await
}

/// Begins an answer, of events where it is asked for them, and says no more until it is let.
async fn halting(go: &std::sync::Arc<tokio::sync::Semaphore>) -> App {
    let go = std::sync::Arc::clone(go);
    App::start_with(move |mut wire| {
        let go = std::sync::Arc::clone(&go);
        async move {
            let Some(request) = wire.try_message().await else { return };
            let kind = if request.first_line.contains("events") { "text/event-stream" } else { "text/plain" };
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 4\r\n\r\nab"))
                .await;
            go.acquire().await.unwrap().forget();
            wire.send("cd").await;
            wire.rest().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_long_reaches_nobody() {
    let (web, other) = (App::start("web").await, App::start("other").await);
    let limits = TrafficLimits { max_body_bytes: Some(4), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    let post = |host: &str, fields: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
    };
    let mut wire = proxy.connect().await;
    // A client that asks first is told before it has sent any of it.
    wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    let answer = wire.message().await;
    assert_eq!((answer.status(), answer.field("connection")), (413, Some("close")));
    let mut wire = proxy.connect().await;
    wire.send(post("web", "", "12345")).await;
    assert_eq!(wire.message().await.status(), 413);
    let client = Client::of(&proxy).await;
    let request = Request::post("http://web/").header("content-length", "5");
    let (_pieces, body) = Pieces::some();
    let answer = soon(client.begin(request.body(body).unwrap())).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(web.connections.load(Ordering::SeqCst), 0);

    let mut wire = proxy.connect().await;
    wire.send(post("web", "", "1234")).await;
    assert_eq!(wire.message().await.text(), "web1234");
    wire.send(post("other", "", "12345")).await;
    assert_eq!(wire.message().await.text(), "other12345");
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_cut_off() {
    let (web, other) = (App::start("web").await, App::start("other").await);
    let limits = TrafficLimits { max_body_bytes: Some(4), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    let chunked = |host: &str| {
        format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    };
    let mut wire = proxy.connect().await;
    wire.send(chunked("web")).await;
    eventually("it is in flight", || async { proxy.in_flight().await == (1, 0) }).await;
    wire.send("2\r\nde\r\n").await;
    assert_eq!(wire.message().await.status(), 413);
    let mut wire = proxy.connect().await;
    wire.send(chunked("other") + "2\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(wire.message().await.text(), "otherabcde");
    wire.send(chunked("web") + "1\r\nd\r\n0\r\n\r\n").await;
    assert_eq!(wire.message().await.text(), "webabcd");

    let client = Client::of(&proxy).await;
    let (pieces, body) = Pieces::some();
    let begun = client.begin(Request::post("http://web/").body(body).unwrap());
    pieces.send(Bytes::from("abcde")).unwrap();
    assert_eq!(soon(begun).await.unwrap().unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_app_has_its_own_time_to_begin_an_answer() {
    let (web, other) = (silent().await, App::start("other").await);
    let limits = TrafficLimits { response_timeout: Some(SHORT), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits { answer_time: LONG, ..Limits::default() }, limits, &web, &other).await;
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get_from("web", "/").await.status(), 504);
    assert_eq!(wire.get_from("other", "/").await.text(), "other");
}

#[tokio::test]
async fn an_app_has_its_own_time_to_accept_a_connection() {
    let hole = BlackHole::open().await;
    let (_dir, proxy) = start(Limits { connect_time: LONG, ..Limits::default() }).await;
    let limits = TrafficLimits { connect_timeout: Some(SHORT), ..TrafficLimits::default() };
    proxy.apply(vec![limited("web", &hole.upstream, limits)]).await.unwrap();
    assert_eq!(proxy.connect().await.get_from("web", "/").await.status(), 502);
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut_and_an_event_stream_is_not() {
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (web, other) = (halting(&go).await, App::start("other").await);
    let limits = TrafficLimits { idle_timeout: Some(SHORT), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits { silence_time: LONG, ..Limits::default() }, limits, &web, &other).await;
    let begin = async |path: &str| {
        let mut wire = proxy.connect().await;
        wire.request("GET", path, "web").await;
        wire.head().await.unwrap();
        wire
    };
    let mut events = begin("/events").await;
    for _ in 0..2 {
        assert_eq!(begin("/").await.rest().await, b"ab");
    }
    go.add_permits(3);
    assert_eq!(events.exactly(4).await.unwrap(), b"abcd");
}

#[tokio::test]
async fn streams_are_cut_when_they_may_not_be_silent() {
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (web, other) = (halting(&go).await, echo("other").await);
    let limits = TrafficLimits { stream_idle_timeout: Some(SHORT), ..TrafficLimits::default() };
    let (_dir, proxy) = start(Limits::default()).await;
    let apps = vec![limited("other", &other.upstream, limits.clone()), limited("web", &web.upstream, limits)];
    proxy.apply(apps).await.unwrap();
    let mut events = proxy.connect().await;
    events.request("GET", "/events", "web").await;
    events.head().await.unwrap();
    assert_eq!(events.rest().await, b"ab");

    let mut socket = proxy.connect().await;
    upgrade(&mut socket, "other", "websocket").await;
    assert_eq!(socket.line().await.unwrap(), "other");
    assert_eq!(socket.line().await.unwrap(), "other early");
    assert_eq!(socket.rest().await, b"");
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_app_has_its_own_patience_with_clients_that_stand_still() {
    let app = App::start_with(|mut wire| async move {
        let Some(request) = wire.head().await else { return };
        if request.first_line.starts_with("POST") {
            wire.rest().await;
            return;
        }
        wire.send_endlessly().await;
    })
    .await;
    let (_dir, proxy) = start(Limits { stall_time: LONG, ..Limits::default() }).await;
    let limits = TrafficLimits { idle_timeout: Some(SHORT), ..TrafficLimits::default() };
    proxy.apply(vec![limited("web", &app.upstream, limits)]).await.unwrap();
    let idle = || eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) });

    // Who sends nothing, and who takes nothing.
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc").await;
    wire.rest().await;
    idle().await;
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "web").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    idle().await;

    let client = Client::of(&proxy).await;
    let (pieces, body) = Pieces::some();
    pieces.send(Bytes::from("abc")).unwrap();
    let stalled = soon(client.begin(Request::post("http://web/").body(body).unwrap())).await.unwrap();
    assert_eq!(stalled.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    let untaken = client.begin(Request::get("http://web/").body(Pieces::none()).unwrap());
    let untaken = soon(untaken).await.unwrap().unwrap();
    idle().await;
    drop(untaken);
}

#[tokio::test]
async fn one_more_than_an_app_takes_is_sent_away_and_others_have_their_share() {
    let mut it = held(Limits::default()).await;
    let other = App::start("other").await;
    let held_up = it.app.upstream.clone();
    let limits = |most| TrafficLimits { max_requests: Some(most), ..TrafficLimits::default() };
    let web = |to: &Upstream, most| limited("web", to, limits(most));
    let free = limited("other", &other.upstream, TrafficLimits::default());
    it.proxy.apply(vec![free.clone(), web(&held_up, 2)]).await.unwrap();

    let client = Client::of(&it.proxy).await;
    let ask = || client.begin(Request::get("http://web/").body(Pieces::none()).unwrap());
    let mut begun = vec![ask()];
    let mut wire = it.proxy.connect().await;
    wire.request("GET", "/", "web").await;
    for _ in 0..2 {
        soon(it.seen.recv()).await.unwrap();
    }
    let mut more = it.proxy.connect().await;
    let refused = more.get_from("web", "/").await;
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    assert_eq!(more.get_from("other", "/").await.text(), "other");

    // The other color takes the traffic: those in flight on this one still count, and a wider limit lets one more in.
    let green = App::start("green").await;
    it.proxy.apply(vec![free.clone(), web(&green.upstream, 2)]).await.unwrap();
    assert_eq!(more.get_from("web", "/").await.status(), 503);
    it.proxy.apply(vec![free.clone(), web(&green.upstream, 3)]).await.unwrap();
    assert_eq!(more.get_from("web", "/").await.text(), "green");
    it.proxy.apply(vec![free, web(&green.upstream, 2)]).await.unwrap();
    it.gate.add_permits(2);
    let answer = soon(begun.remove(0)).await.unwrap().unwrap();
    assert_eq!(whole(answer).await.0, StatusCode::OK);
    assert_eq!(wire.message().await.status(), 200);
    eventually("there is room again", || async { has_room(&it.proxy).await }).await;
}

async fn has_room(proxy: &Running) -> bool {
    proxy.connect().await.get_from("web", "/").await.status() == 200
}

#[tokio::test]
async fn upgraded_connections_are_capped_by_themselves() {
    let (web, other) = (echo("web").await, App::start("other").await);
    let limits = TrafficLimits { max_websockets: Some(1), max_requests: Some(1), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    let open = async || {
        let mut wire = proxy.connect().await;
        upgrade(&mut wire, "web", "websocket").await;
        wire
    };
    let first = open().await;
    let mut second = proxy.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(second.message().await.status(), 503);
    drop(first);
    eventually("its place is free", || async { proxy.in_flight().await == (0, 0) }).await;
    drop(open().await);
}

#[tokio::test]
async fn to_ask_for_an_upgrade_is_no_way_round_the_cap_of_requests() {
    let (web, other) = (silent().await, App::start("other").await);
    let limits = TrafficLimits { max_requests: Some(1), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    let asks = "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let (mut first, mut second) = (proxy.connect().await, proxy.connect().await);
    first.send(asks).await;
    eventually("one waits", || async { proxy.in_flight().await == (1, 0) }).await;
    second.send(asks).await;
    assert_eq!(second.message().await.status(), 503);
}

#[tokio::test]
async fn an_app_is_not_blamed_for_a_client_that_takes_its_time() {
    let (web, other) = (App::start("web").await, App::start("other").await);
    let limits = TrafficLimits { response_timeout: Some(SHORT / 10), ..TrafficLimits::default() };
    let (_dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 6\r\n\r\nabc").await;
    tokio::time::sleep(SHORT).await;
    wire.send("def").await;
    let answer = wire.message().await;
    assert_eq!((answer.status(), answer.text()), (200, "webabcdef"));
}

#[tokio::test]
async fn a_change_of_limits_touches_no_connection() {
    let (web, other) = (echo("web").await, App::start("other").await);
    let (_dir, proxy) = stage(Limits::default(), TrafficLimits::default(), &web, &other).await;
    let mut socket = proxy.connect().await;
    upgrade(&mut socket, "web", "websocket").await;
    let mut kept: Wire = proxy.connect().await;
    assert_eq!(kept.get_from("other", "/").await.text(), "other");
    let narrow = TrafficLimits { max_requests: Some(1), max_websockets: Some(1), ..TrafficLimits::default() };
    let apps = vec![limited("other", &other.upstream, narrow.clone()), limited("web", &web.upstream, narrow)];
    proxy.apply(apps).await.unwrap();
    assert_eq!(kept.get_from("other", "/").await.text(), "other");
    assert_eq!(other.connections.load(Ordering::SeqCst), 1, "also behind the proxy it is the same one");
    assert_eq!(socket.line().await.unwrap(), "web");
    assert_eq!(socket.line().await.unwrap(), "web early");
    assert_eq!(say(&mut socket, "still here").await, "web still here");
}

#[tokio::test]
async fn limits_outlast_a_restart_of_the_proxy() {
    let (web, other) = (App::start("web").await, App::start("other").await);
    let limits = TrafficLimits { max_body_bytes: Some(4), ..TrafficLimits::default() };
    let (dir, proxy) = stage(Limits::default(), limits, &web, &other).await;
    proxy.kill().await;
    let proxy = Running::start(&dir).await;
    let mut wire = proxy.connect().await;
    wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\n12345").await;
    assert_eq!(wire.message().await.status(), 413);
}

#[tokio::test]
async fn one_address_has_so_many_requests_in_flight_over_http2_however_many_connections() {
    use dockswap_proxy::{Front, Greeting, ProxyConfig};
    let dir = tempfile::tempdir().unwrap();
    let front = Front { trusted: vec!["127.0.0.0/8".parse().unwrap()], greeting: Greeting::ProxyProtocol };
    let limits = Limits { streams_per_ip: 2, ..Limits::default() };
    let config = ProxyConfig { front, ..crate::support::config(dir.path(), limits) };
    let proxy = Running::start_as(config, 2).await;
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let app_go = std::sync::Arc::clone(&go);
    let web = App::start_with(move |mut wire| {
        let go = std::sync::Arc::clone(&app_go);
        async move {
            while wire.try_message().await.is_some() {
                go.acquire().await.unwrap().forget();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    proxy.apply(vec![app("web", vec![any_host()], [&web.upstream])]).await.unwrap();
    let from = async |ip: &str| {
        let mut wire = proxy.connect().await;
        wire.send(format!("PROXY TCP4 {ip} 10.0.0.1 12345 80\r\n")).await;
        Client::on(wire.stream).await
    };
    let (one, two) = (from("192.0.2.7").await, from("192.0.2.7").await);
    let begun = [one.begin(get("/")), two.begin(get("/"))];
    eventually("they are in flight", || async { proxy.in_flight().await == (2, 0) }).await;
    for client in [&one, &two] {
        assert_eq!(client.get("/").await.0, StatusCode::TOO_MANY_REQUESTS);
    }
    let another = from("192.0.2.8").await.begin(get("/"));
    eventually("it has its own", || async { proxy.in_flight().await == (3, 0) }).await;
    go.add_permits(4);
    for answer in begun.into_iter().chain([another]) {
        assert_eq!(soon(answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(one.get("/").await.0, StatusCode::OK);
}
