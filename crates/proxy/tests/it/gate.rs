//! Gates: requests that wait, for how long and how many, and what they are answered when nobody lets them in.

use crate::http2::client::{Client, get, whole};
use crate::support::{Message, PATIENCE, Running, Wire, any_host, app, eventually, host, soon};
use crate::upstreams::App;
use dockswap_core::Timestamp;
use dockswap_core::ports::Router;
use dockswap_core::routes::{AppRoutes, Gate, Hold};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

fn hold(lasts: Duration, queue: u32) -> Gate {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Gate::Held(Hold::begin(lasts, queue, Timestamp::from_micros(now.as_micros().try_into().unwrap())))
}

/// App `web`, at its gate.
fn gated(gate: Gate, to: &App) -> AppRoutes {
    AppRoutes { gate, ..app("web", vec![any_host()], [&to.upstream]) }
}

/// App `web` with nothing behind its gate.
fn gated_off(gate: Gate) -> AppRoutes {
    AppRoutes { gate, target: None, ..app("web", vec![any_host()], []) }
}

/// A request that is under way.
async fn ask(proxy: &Running) -> JoinHandle<Message> {
    let mut wire = proxy.connect().await;
    wire.request("GET", "/", "a").await;
    tokio::spawn(async move { wire.message().await })
}

async fn waits(proxy: &Running, requests: u32) {
    eventually("they wait", || async { proxy.waiting().await == requests }).await;
}

#[tokio::test]
async fn requests_wait_beside_a_drain_and_go_where_the_next_table_leads() {
    const AT_ONCE: u32 = 50;
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (old, new) = (App::start("old").await, App::start("new").await);
    proxy.apply(vec![gated(hold(PATIENCE, 1_000), &old)]).await.unwrap();
    let mut asked = Vec::new();
    for _ in 0..AT_ONCE {
        asked.push(ask(&proxy).await);
    }
    let client = Client::of(&proxy).await;
    let streams: Vec<_> = (0..AT_ONCE).map(|_| client.begin(get("/"))).collect();
    let mut post = proxy.connect().await;
    post.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbod").await;
    waits(&proxy, 2 * AT_ONCE + 1).await;
    // None of them is in flight: what is to be stopped is idle.
    assert_eq!(proxy.in_flight().await, (0, 0));
    let ids = [old.upstream.id.clone()];
    assert_eq!(proxy.control.drained(&ids, Duration::ZERO).await.unwrap(), []);
    proxy.apply(vec![gated_off(hold(PATIENCE, 1_000))]).await.unwrap();
    old.kill().await;
    waits(&proxy, 2 * AT_ONCE + 1).await;

    proxy.lead_to([&new.upstream]).await;
    for answer in asked {
        assert_eq!(soon(answer).await.unwrap().text(), "new");
    }
    for answer in streams {
        assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.1, "new");
    }
    post.send("y--").await;
    assert_eq!(post.message().await.text(), "newbody--");
    assert_eq!(proxy.waiting().await, 0);
    assert_eq!(proxy.connect().await.get("/").await.text(), "new");
}

#[tokio::test]
async fn the_queue_is_bounded_and_who_goes_away_leaves_room() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    proxy.apply(vec![gated(hold(PATIENCE, 2), &it)]).await.unwrap();
    let first = ask(&proxy).await;
    let mut second = proxy.connect().await;
    second.request("GET", "/", "a").await;
    waits(&proxy, 2).await;

    let mut third = proxy.connect().await;
    let refused = third.get("/").await;
    assert_eq!((refused.status(), refused.field("retry-after")), (503, Some("1")));
    drop(second);
    waits(&proxy, 1).await;
    // Its connection is as good as before.
    third.request("GET", "/", "a").await;
    waits(&proxy, 2).await;

    proxy.lead_to([&it.upstream]).await;
    assert_eq!(soon(first).await.unwrap().text(), "it");
    assert_eq!(third.message().await.text(), "it");
}

#[tokio::test]
async fn who_goes_away_in_the_middle_of_a_body_leaves_room_too() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    proxy.apply(vec![gated(hold(PATIENCE, 1), &it)]).await.unwrap();
    let mut post = proxy.connect().await;
    post.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbod").await;
    waits(&proxy, 1).await;
    // More than the proxy has read.
    post.send("y").await;
    drop(post);
    waits(&proxy, 0).await;
    let next = ask(&proxy).await;
    waits(&proxy, 1).await;
    proxy.lead_to([&it.upstream]).await;
    assert_eq!(soon(next).await.unwrap().text(), "it");
}

#[tokio::test]
async fn who_waits_in_the_proxy_before_counts_and_is_let_go_too() {
    let dir = tempfile::tempdir().unwrap();
    let old = Running::start(&dir).await;
    let it = App::start("it").await;
    old.apply(vec![gated(hold(PATIENCE, 1_000), &it)]).await.unwrap();
    let there = ask(&old).await;
    waits(&old, 1).await;
    let new = Running::take_over(&dir).await;
    waits(&new, 1).await;
    let here = ask(&new).await;
    waits(&new, 2).await;
    new.lead_to([&it.upstream]).await;
    assert_eq!(soon(there).await.unwrap().text(), "it");
    assert_eq!(soon(here).await.unwrap().text(), "it");
    assert_eq!(new.waiting().await, 0);
}

#[tokio::test]
async fn a_hold_whose_terms_change_keeps_who_waits_and_other_apps_do_not_touch_it() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    let other = || app("other", vec![host("other")], [&it.upstream]);
    let first = hold(PATIENCE, 1);
    proxy.apply(vec![gated(first.clone(), &it)]).await.unwrap();
    let asked = ask(&proxy).await;
    waits(&proxy, 1).await;
    let tables = [
        vec![other(), gated(first.clone(), &it)],
        vec![gated(first, &it)],
        vec![gated(hold(PATIENCE, 1), &it)],
    ];
    for table in tables {
        proxy.apply(table).await.unwrap();
        assert_eq!(proxy.connect().await.get("/").await.status(), 503, "the only place is taken");
        waits(&proxy, 1).await;
    }
    proxy.lead_to([&it.upstream]).await;
    assert_eq!(soon(asked).await.unwrap().text(), "it");
}

#[tokio::test]
async fn when_its_time_is_over_requests_pass_whether_or_not_a_controller_lives() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    let brief = || hold(Duration::from_millis(200), 1_000);
    proxy.apply(vec![gated(brief(), &it)]).await.unwrap();
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get("/").await.text(), "it");
    // The same table says nothing new.
    assert_eq!(wire.get("/").await.text(), "it");
    proxy.apply(vec![gated_off(brief())]).await.unwrap();
    let answer = wire.get("/").await;
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nobody_wait_longer() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    let Gate::Held(tomorrow) = hold(Duration::from_hours(24), 1_000) else { unreachable!() };
    let brief = Hold { limit: Duration::from_millis(200), ..tomorrow };
    proxy.apply(vec![gated(Gate::Held(brief), &it)]).await.unwrap();
    assert_eq!(proxy.connect().await.get("/").await.text(), "it");
}

#[tokio::test]
async fn a_hold_outlasts_a_crash_of_the_proxy_and_its_end_answers_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let it = App::start("it").await;
    proxy.apply(vec![gated(hold(PATIENCE, 1_000), &it)]).await.unwrap();
    proxy.kill().await;

    let proxy = Running::start(&dir).await;
    let asked = ask(&proxy).await;
    waits(&proxy, 1).await;
    proxy.begin_stop();
    assert_eq!(soon(asked).await.unwrap().status(), 503);
    proxy.stopped().await;
}

#[tokio::test]
async fn a_closed_app_answers_with_its_own_page_and_leaves_what_is_open_alone() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let chat = App::start_with(|mut wire| async move {
        wire.try_message().await.unwrap();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat/1\r\nConnection: Upgrade\r\n\r\n").await;
        while let Some(line) = wire.line().await {
            wire.send(format!("heard {line}\r\n")).await;
        }
    })
    .await;
    proxy.lead_to([&chat.upstream]).await;
    let mut open = proxy.connect().await;
    open.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n").await;
    assert_eq!(open.head().await.unwrap().status(), 101);

    let page = "<h1>Back at noon</h1>";
    proxy.apply(vec![gated(Gate::Closed { page: Some(page.to_owned()) }, &chat)]).await.unwrap();
    let mut wire = proxy.connect().await;
    let answer = wire.get("/").await;
    assert_eq!((answer.status(), answer.text()), (503, page));
    assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("retry-after"), Some("60"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    wire.request("HEAD", "/", "a").await;
    let head = wire.head().await.unwrap();
    assert_eq!((head.status(), head.field("content-length")), (503, Some("21")));
    assert_eq!(whole(soon(Client::of(&proxy).await.begin(get("/"))).await.unwrap().unwrap()).await.1, page);
    open.send("hello\r\n").await;
    assert_eq!(open.line().await.unwrap(), "heard hello");

    proxy.apply(vec![gated(Gate::Closed { page: None }, &chat)]).await.unwrap();
    let plain = wire.get("/").await;
    assert_eq!((plain.status(), plain.field("content-type")), (503, Some("text/plain; charset=utf-8")));
    assert!(plain.text().contains("maintenance"), "{plain:?}");
    // What waited when it was closed is told so.
    proxy.apply(vec![gated(hold(PATIENCE, 1_000), &chat)]).await.unwrap();
    let asked = ask(&proxy).await;
    waits(&proxy, 1).await;
    proxy.apply(vec![gated(Gate::Closed { page: Some(page.to_owned()) }, &chat)]).await.unwrap();
    assert_eq!(soon(asked).await.unwrap().text(), page);
}

#[tokio::test]
async fn an_upgrade_waits_like_any_request() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let chat = App::start_with(|mut wire: Wire| async move {
        assert_eq!(wire.try_message().await.unwrap().field("upgrade"), Some("chat/1"));
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat/1\r\nConnection: Upgrade\r\n\r\nhi\r\n")
            .await;
        wire.rest().await;
    })
    .await;
    proxy.apply(vec![gated(hold(PATIENCE, 1), &chat)]).await.unwrap();
    let mut wire = proxy.connect().await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n").await;
    waits(&proxy, 1).await;
    proxy.lead_to([&chat.upstream]).await;
    assert_eq!(wire.head().await.unwrap().status(), 101);
    assert_eq!(wire.line().await.unwrap(), "hi");
}
