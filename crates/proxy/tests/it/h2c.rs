//! Apps that speak HTTP/2 on their port, as gRPC servers do.

use crate::http2::client::{Client, Pieces, get, whole};
use crate::support::{Running, eventually, soon, upstream};
use bytes::Bytes;
use dockswap_core::ports::Router;
use dockswap_core::routes::Upstream;
use dockswap_core::spec::Protocol;
use dockswap_proxy::Limits;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

const SHORT: Duration = Duration::from_millis(300);

/// An app that echoes every body, piece by piece, and ends with a trailer as gRPC does. At `/held` it answers
/// when it is let, at `/large` with far more than any window holds.
struct H2c {
    upstream: Upstream,
    connections: Arc<AtomicUsize>,
    seen: mpsc::UnboundedReceiver<http::request::Parts>,
    gate: Arc<Semaphore>,
    /// Answers that have not ended.
    echoing: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for H2c {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl H2c {
    async fn start() -> Self {
        Self::start_with(200).await
    }

    /// It allows so many streams on one connection.
    async fn start_with(streams: u32) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), streams)
    }

    fn start_on(listener: TcpListener, streams: u32) -> Self {
        let upstream = Upstream { protocol: Protocol::H2c, ..upstream(listener.local_addr().unwrap()) };
        let (sender, seen) = mpsc::unbounded_channel();
        let (connections, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, let_through) = (Arc::clone(&connections), Arc::clone(&gate));
        let echoing = Arc::new(AtomicUsize::new(0));
        let echoes = Arc::clone(&echoing);
        let serving = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let (sender, gate, echoes) = (sender.clone(), Arc::clone(&let_through), Arc::clone(&echoes));
                let service = service_fn(move |request| {
                    answer(request, sender.clone(), Arc::clone(&gate), Arc::clone(&echoes))
                });
                tasks.spawn(
                    http2::Builder::new(TokioExecutor::new())
                        .max_concurrent_streams(streams)
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { upstream, connections, seen, gate, echoing, serving }
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: mpsc::UnboundedSender<http::request::Parts>,
    gate: Arc<Semaphore>,
    echoing: Arc<AtomicUsize>,
) -> Result<Response<Echo>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let _nobody_looks = seen.send(head);
    if path == "/held" {
        gate.acquire().await.unwrap().forget();
    }
    let before = if path == "/large" { 64 << 20 } else { 0 };
    echoing.fetch_add(1, Ordering::SeqCst);
    Ok(Response::new(Echo { before, body, ended: false, echoing }))
}

/// Some bytes of its own, what came, and `grpc-status: 0` behind it.
struct Echo {
    before: usize,
    body: Incoming,
    ended: bool,
    echoing: Arc<AtomicUsize>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.echoing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl hyper::body::Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.before > 0 {
            let piece = self.before.min(64 * 1024);
            self.before -= piece;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; piece])))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(Some(frame.unwrap_or_else(|| {
            self.ended = true;
            let trailers = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
            Ok(Frame::trailers(HeaderMap::from_iter(trailers)))
        })))
    }
}

async fn start(limits: Limits, streams: u32) -> (tempfile::TempDir, Running, H2c) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    let app = H2c::start_with(streams).await;
    proxy.lead_to([&app.upstream]).await;
    (dir, proxy, app)
}

#[tokio::test]
async fn a_call_streams_both_ways_and_ends_with_its_status() {
    let (_dir, proxy, mut app) = start(Limits::default(), 200).await;
    let client = Client::of(&proxy).await;
    let (pieces, body) = Pieces::some();
    let request = Request::post("http://example.com/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let mut answer = soon(client.begin(request)).await.unwrap().unwrap();
    let seen = app.seen.recv().await.unwrap();
    assert_eq!(
        (seen.version, seen.uri.to_string().as_str()),
        (Version::HTTP_2, "http://example.com/pkg.Service/Call")
    );
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert!(!seen.headers.contains_key("host") && !seen.headers.contains_key("transfer-encoding"));
    for piece in ["one", "two", "three"] {
        pieces.send(Bytes::from(piece)).unwrap();
        let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_client_of_http1_is_served_too() {
    let (_dir, proxy, mut app) = start(Limits::default(), 200).await;
    let mut wire = proxy.connect().await;
    wire.send("POST /a?b HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(wire.message().await.text(), "hello");
    assert_eq!(app.seen.recv().await.unwrap().uri, "http://example.com/a?b");
    // There is no upgrade from there: it is an ordinary request.
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let message = wire.message().await;
    assert_eq!((message.status(), message.field("upgrade")), (200, None));
}

#[tokio::test]
async fn calls_share_connections_as_far_as_the_app_allows() {
    for (streams, expected) in [(200, 1), (5, 8)] {
        let (_dir, proxy, mut app) = start(Limits::default(), streams).await;
        let client = Client::of(&proxy).await;
        let begun: Vec<_> = (0..40).map(|_| client.begin(get("/held"))).collect();
        for _ in 0..40 {
            soon(app.seen.recv()).await.unwrap();
        }
        app.gate.add_permits(40);
        for answer in begun {
            assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.0, StatusCode::OK);
        }
        assert_eq!(app.connections.load(Ordering::SeqCst), expected, "{streams} streams");
        eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
    }
}

#[tokio::test]
async fn an_app_that_went_is_a_502_and_one_that_came_back_is_served() {
    let (_dir, proxy, app) = start(Limits::default(), 200).await;
    let client = Client::of(&proxy).await;
    assert_eq!(client.get("/").await.0, StatusCode::OK);
    let addr = app.upstream.addr;
    drop(app);
    assert_eq!(client.get("/").await.0, StatusCode::BAD_GATEWAY);
    let mut listener = TcpListener::bind(addr).await;
    while listener.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        listener = TcpListener::bind(addr).await;
    }
    let _back = H2c::start_on(listener.unwrap(), 200);
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_switch_drains_streams_and_the_end_of_the_drain_cuts_them() {
    let (_dir, proxy, old) = start(Limits::default(), 200).await;
    let client = Client::of(&proxy).await;
    let kept = client.begin(get("/held"));
    let (pieces, body) = Pieces::some();
    let request = Request::post("http://example.com/stream").body(body).unwrap();
    let mut streaming = soon(client.begin(request)).await.unwrap().unwrap();
    eventually("both are in flight", || async { proxy.in_flight().await == (2, 0) }).await;
    let new = H2c::start().await;
    proxy.lead_to([&new.upstream]).await;
    assert_eq!(client.get("/").await.0, StatusCode::OK);
    assert_eq!(new.connections.load(Ordering::SeqCst), 1);
    old.gate.add_permits(1);
    assert_eq!(whole(soon(kept).await.unwrap().unwrap()).await.0, StatusCode::OK);
    pieces.send(Bytes::from("still")).unwrap();
    assert_eq!(soon(streaming.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap(), "still");

    let ids = [old.upstream.id.clone()];
    let left = proxy.control.drained(&ids, Duration::ZERO).await.unwrap();
    assert_eq!(left.iter().map(|load| load.in_flight.total()).sum::<u64>(), 1);
    proxy.control.close(&ids).await.unwrap();
    assert!(soon(streaming.body_mut().frame()).await.unwrap().is_err());
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
    assert_eq!(client.get("/").await.0, StatusCode::OK, "the client's connection is not concerned");
}

#[tokio::test]
async fn a_client_that_takes_nothing_keeps_nothing_from_the_others() {
    let (_dir, proxy, app) = start(Limits::default(), 200).await;
    let stuck = Client::of(&proxy).await;
    let _untaken = soon(stuck.begin(get("/large"))).await.unwrap().unwrap();
    let other = Client::of(&proxy).await;
    for _ in 0..20 {
        let (pieces, body) = Pieces::some();
        pieces.send(Bytes::from(vec![b'y'; 256 * 1024])).unwrap();
        drop(pieces);
        let request = Request::post("http://example.com/").body(body).unwrap();
        let (status, text) = whole(soon(other.begin(request)).await.unwrap().unwrap()).await;
        assert_eq!((status, text.len()), (StatusCode::OK, 256 * 1024));
    }
    assert_eq!(app.connections.load(Ordering::SeqCst), 1, "over the same connection");
    assert_eq!(app.echoing.load(Ordering::SeqCst), 1, "the stuck one waits");
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_at_the_app_too() {
    let (_dir, proxy, app) = start(Limits { stall_time: SHORT, ..Limits::default() }, 200).await;
    let client = Client::of(&proxy).await;
    // Its body stays open, and nothing of the answer is taken.
    let (_pieces, body) = Pieces::some();
    let request = Request::post("http://example.com/large").body(body).unwrap();
    let untaken = soon(client.begin(request)).await.unwrap().unwrap();
    assert_eq!(app.echoing.load(Ordering::SeqCst), 1);
    eventually("the app hears of it", || async { app.echoing.load(Ordering::SeqCst) == 0 }).await;
    assert_eq!(proxy.in_flight().await, (0, 0));
    drop(untaken);
}

#[tokio::test]
async fn an_app_that_says_nothing_keeps_nobody_waiting_in_line() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { connect_time: SHORT, ..Limits::default() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Upstream { protocol: Protocol::H2c, ..upstream(listener.local_addr().unwrap()) };
    let accepting = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await.unwrap());
        }
    });
    proxy.lead_to([&silent]).await;
    let client = Client::of(&proxy).await;
    // One after the other they would take longer than anybody waits here.
    let begun: Vec<_> = (0..100).map(|_| client.begin(get("/"))).collect();
    for answer in begun {
        assert_eq!(soon(answer).await.unwrap().unwrap().status(), StatusCode::BAD_GATEWAY);
    }
    accepting.abort();
}
