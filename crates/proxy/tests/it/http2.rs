//! HTTP/2 from clients, with prior knowledge: what is the same as over HTTP/1.1, and what only HTTP/2 has.

use crate::support::{Message, PATIENCE, Running, Wire, eventually, soon};
use crate::upstreams::App;
use bytes::Bytes;
use dockswap_proxy::Limits;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

const SHORT: Duration = Duration::from_millis(300);

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A body that is sent piece by piece, as the test says.
pub(crate) struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Pieces {
    fn none() -> Self {
        Self(mpsc::unbounded_channel().1)
    }

    pub(crate) fn some() -> (mpsc::UnboundedSender<Bytes>, Self) {
        let (sender, pieces) = mpsc::unbounded_channel();
        (sender, Self(pieces))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// One client's connection.
pub(crate) struct Client {
    sender: SendRequest<Pieces>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn of(proxy: &Running) -> Self {
        let stream = TcpStream::connect(proxy.addr).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Begins a request, beside those that are under way.
    pub(crate) fn begin(
        &self,
        request: Request<Pieces>,
    ) -> JoinHandle<hyper::Result<http::Response<Incoming>>> {
        let mut sender = self.sender.clone();
        tokio::spawn(async move {
            sender.ready().await?;
            sender.send_request(request).await
        })
    }

    pub(crate) async fn get(&self, target: &str) -> (StatusCode, String) {
        whole(soon(self.begin(get(target))).await.unwrap().unwrap()).await
    }

    /// Waits until the connection has ended, however.
    async fn ended(self) {
        drop(self.sender);
        let _how = soon(self.connection).await.unwrap();
    }
}

pub(crate) fn get(target: &str) -> Request<Pieces> {
    Request::get(format!("http://example.com{target}")).body(Pieces::none()).unwrap()
}

pub(crate) async fn whole(answer: http::Response<Incoming>) -> (StatusCode, String) {
    let (head, body) = answer.into_parts();
    let bytes = soon(body.collect()).await.unwrap().to_bytes();
    (head.status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// A proxy in front of an app that shows what it is asked, and answers when it is let.
struct Held {
    _dir: tempfile::TempDir,
    proxy: Running,
    _app: App,
    seen: mpsc::UnboundedReceiver<Message>,
    gate: Arc<Semaphore>,
}

async fn held(limits: Limits) -> Held {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, limits).await;
    let (sender, seen) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let let_through = Arc::clone(&gate);
    let app = App::start_with(move |mut wire| {
        let (sender, gate) = (sender.clone(), Arc::clone(&let_through));
        async move {
            while let Some(request) = wire.try_message().await {
                let text = request.first_line.clone();
                sender.send(request).unwrap();
                gate.acquire().await.unwrap().forget();
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
            }
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    Held { _dir: dir, proxy, _app: app, seen, gate }
}

/// The same, and the app answers at once.
async fn open(limits: Limits) -> Held {
    let held = held(limits).await;
    held.gate.add_permits(10_000);
    held
}

#[tokio::test]
async fn an_upstream_gets_an_ordinary_request() {
    let mut it = open(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let request = Request::get("http://Example.com:8080/a%20b?c=d")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .header("accept", "*/*");
    let answer = soon(client.begin(request.body(Pieces::none()).unwrap())).await.unwrap().unwrap();
    assert_eq!(whole(answer).await, (StatusCode::OK, "GET /a%20b?c=d HTTP/1.1".to_owned()));
    let seen = it.seen.recv().await.unwrap();
    for (name, value) in [
        ("host", "Example.com:8080"),
        ("cookie", "a=1; b=2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "Example.com:8080"),
        ("x-forwarded-proto", "http"),
        ("te", "trailers"),
        ("accept", "*/*"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}");
    }
    for none in ["content-length", "transfer-encoding"] {
        assert_eq!(seen.field(none), None, "{none}");
    }
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    const AT_ONCE: usize = 50;
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun: Vec<_> = (0..AT_ONCE).map(|number| client.begin(get(&format!("/{number}")))).collect();
    for _ in 0..AT_ONCE {
        soon(it.seen.recv()).await.unwrap();
    }
    assert_eq!(it.proxy.in_flight().await, (AT_ONCE as u64, 0));
    it.gate.add_permits(AT_ONCE);
    for (number, answer) in begun.into_iter().enumerate() {
        let (status, text) = whole(soon(answer).await.unwrap().unwrap()).await;
        assert_eq!((status, text), (StatusCode::OK, format!("GET /{number} HTTP/1.1")));
    }
    eventually("nothing is in flight", || async { it.proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn bodies_are_streamed_both_ways_and_trailers_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    // Echoes each chunk as it comes.
    let app = App::start_with(|mut wire| async move {
        let head = wire.head().await.unwrap();
        assert_eq!((head.field("transfer-encoding"), head.field("content-length")), (Some("chunked"), None));
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n").await;
        loop {
            let size = usize::from_str_radix(&wire.line().await.unwrap(), 16).unwrap();
            let chunk = String::from_utf8(wire.exactly(size + 2).await.unwrap()).unwrap();
            if size == 0 {
                break;
            }
            wire.send(format!("{size:x}\r\n{chunk}")).await;
        }
        wire.send("0\r\nx-sum: 7\r\n\r\n").await;
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let client = Client::of(&proxy).await;
    let (pieces, body) = Pieces::some();
    let request = Request::post("http://example.com/").header("te", "trailers").body(body).unwrap();
    let mut answer = soon(client.begin(request)).await.unwrap().unwrap();
    for piece in ["one", "two"] {
        pieces.send(Bytes::from(piece)).unwrap();
        let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    let frame = soon(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-sum"], HeaderValue::from_static("7"));
    assert!(answer.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn what_a_stream_asked_for_is_given_up_with_it() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun = client.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();
    begun.abort();
    eventually("nothing is in flight", || async { it.proxy.in_flight().await == (0, 0) }).await;
    // One for the app that has not noticed.
    it.gate.add_permits(2);
    assert_eq!(client.get("/next").await.0, StatusCode::OK, "the connection lives on");
}

#[tokio::test]
async fn a_switch_loses_no_stream() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun: Vec<_> = (0..20).map(|_| client.begin(get("/old"))).collect();
    for _ in 0..20 {
        soon(it.seen.recv()).await.unwrap();
    }
    let new = App::start("new").await;
    it.proxy.lead_to([&new.upstream]).await;
    assert_eq!(client.get("/").await, (StatusCode::OK, "new".to_owned()));
    assert_eq!(it.proxy.in_flight().await, (20, 0), "the old one drains");
    it.gate.add_permits(20);
    for answer in begun {
        assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.1, "GET /old HTTP/1.1");
    }
    eventually("the old one is drained", || async { it.proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_ending_proxy_says_go_away_and_finishes_what_was_begun() {
    let mut it = held(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let begun = client.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();
    it.proxy.begin_stop();
    eventually("it takes nothing more", || async {
        // What came before it was told to end is held like the first.
        let late = client.begin(get("/late"));
        let abort = late.abort_handle();
        let refused = matches!(tokio::time::timeout(SHORT, late).await, Ok(Ok(Err(_))));
        abort.abort();
        refused
    })
    .await;
    it.gate.add_permits(100);
    assert_eq!(whole(soon(begun).await.unwrap().unwrap()).await.0, StatusCode::OK);
    it.proxy.stopped().await;
    client.ended().await;
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_told_to_go_whatever_else_it_sends() {
    let mut it = held(Limits { idle_time: SHORT, ..Limits::default() }).await;
    let busy = Client::of(&it.proxy).await;
    let begun = busy.begin(get("/"));
    soon(it.seen.recv()).await.unwrap();

    let mut wire = it.proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, b"")).await;
    let mut seen = Vec::new();
    let mut trickle = tokio::time::interval(Duration::from_millis(20));
    let gone = tokio::time::timeout(PATIENCE, async {
        loop {
            tokio::select! {
                frame = next_frame(&mut wire) => match frame {
                    Some((kind, ..)) => seen.push(kind),
                    None => break,
                },
                _ = trickle.tick() => {
                    let _gone = wire.stream.try_write(&frame(PING, 0, 0, &[0; 8]));
                }
            }
        }
    });
    assert!(gone.await.is_ok(), "pings keep it open: {seen:?}");
    assert!(seen.contains(&GOAWAY), "{seen:?}");

    // One that waits for its answer is not idle, however long that takes.
    it.gate.add_permits(1);
    assert_eq!(whole(soon(begun).await.unwrap().unwrap()).await.0, StatusCode::OK);
    busy.ended().await;
}

#[tokio::test]
async fn px_slow_a_stream_whose_client_takes_nothing_is_given_up_and_its_neighbor_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_with(&dir, Limits { stall_time: SHORT, ..Limits::default() }).await;
    let app = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            if request.first_line.contains("small") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall").await;
                continue;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            let chunk = vec![b'x'; 64 * 1024];
            while tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &chunk).await.is_ok() {}
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let client = Client::of(&proxy).await;
    let untaken = soon(client.begin(get("/large"))).await.unwrap().unwrap();
    eventually("it is given up", || async {
        assert_eq!(client.get("/small").await, (StatusCode::OK, "small".to_owned()));
        proxy.in_flight().await == (0, 0)
    })
    .await;
    assert!(untaken.into_body().collect().await.is_err());
}

#[tokio::test]
async fn px_slow_a_body_that_stalls_is_given_up_and_its_neighbor_goes_on() {
    let it = open(Limits { stall_time: SHORT, ..Limits::default() }).await;
    let client = Client::of(&it.proxy).await;
    let (pieces, body) = Pieces::some();
    pieces.send(Bytes::from("begun")).unwrap();
    let stalled = client.begin(Request::post("http://example.com/").body(body).unwrap());
    while !stalled.is_finished() {
        assert_eq!(client.get("/").await.0, StatusCode::OK);
    }
    assert_eq!(stalled.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    drop(pieces);
}

#[tokio::test]
async fn px_huge_heads_and_targets_are_refused() {
    let it = open(Limits::default()).await;
    let client = Client::of(&it.proxy).await;
    let long_field = get("/");
    let (mut head, body) = long_field.into_parts();
    head.headers.insert("x", HeaderValue::from_str(&"x".repeat(40 * 1024)).unwrap());
    let answer = soon(client.begin(Request::from_parts(head, body))).await.unwrap();
    assert!(answer.is_err() || answer.unwrap().status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let client = Client::of(&it.proxy).await;
    assert_eq!(client.get(&format!("/{}", "x".repeat(17 * 1024))).await.0, StatusCode::URI_TOO_LONG);
    assert_eq!(client.get("/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn px_smuggle_requests_of_two_meanings_are_refused() {
    let it = open(Limits::default()).await;
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [&pseudo[..], more].concat();
    let cases = [
        // Two hosts; none; a host that is none.
        with(&[(":authority", "a"), ("host", "b")]),
        with(&[]),
        with(&[(":authority", "a b")]),
        // What only HTTP/1.1 may say (RFC 9113, section 8.2.2).
        with(&[(":authority", "a"), ("connection", "close")]),
        with(&[(":authority", "a"), ("transfer-encoding", "chunked")]),
        with(&[(":authority", "a"), ("upgrade", "websocket")]),
        with(&[(":authority", "a"), ("te", "gzip")]),
        // Names and values that would end a line.
        with(&[(":authority", "a"), ("x", "1\r\nhost: b")]),
        with(&[(":authority", "a"), ("x\r\nhost", "b")]),
        with(&[(":authority", "a"), ("X-Upper", "1")]),
        // A body that is not as long as was said.
        with(&[(":authority", "a"), ("content-length", "3")]),
        with(&[(":authority", "a"), ("content-length", "0"), ("content-length", "3")]),
        // Pseudo fields twice, or where they may not be.
        with(&[(":authority", "a"), (":path", "/b")]),
        with(&[(":authority", "a"), ("x", "1"), (":method", "POST")]),
        // Targets that are none.
        vec![(":method", "GET"), (":scheme", "http"), (":path", "nowhere"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")],
        vec![(":method", "CONNECT"), (":authority", "a:80")],
    ];
    let mut proof = dockswap_proof::Proof::of(
        "px.smuggle",
        "HTTP/2: two hosts, two lengths, forbidden fields, line ends",
    );
    for fields in cases {
        let mut wire = it.proxy.connect().await;
        wire.send(PREFACE).await;
        wire.send(frame(SETTINGS, 0, 0, b"")).await;
        wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
        let refusal = soon(async {
            loop {
                match next_frame(&mut wire).await {
                    // Its status is the first field of the answer's head, in one byte when it is a usual one.
                    Some((HEADERS, head)) => break Some(head),
                    Some((RST_STREAM | GOAWAY, _)) | None => break None,
                    Some(_) => {}
                }
            }
        })
        .await;
        // 200 is 0x88 in the static table (RFC 7541, appendix A).
        if refusal.is_none_or(|head| head.first() != Some(&0x88)) {
            proof.kept();
        } else {
            proof.broken(format!("{fields:?} was answered 200"));
        }
    }
    proof.conclude();
    let mut seen = it.seen;
    assert!(seen.try_recv().is_err(), "no upstream has seen any");
}

#[tokio::test]
async fn more_streams_than_may_be_wait_and_resets_in_numbers_end_the_connection() {
    let mut it = held(Limits { streams: 5, ..Limits::default() }).await;
    let client = Client::of(&it.proxy).await;
    it.gate.add_permits(1);
    assert_eq!(client.get("/").await.0, StatusCode::OK, "the limit is known now");
    soon(it.seen.recv()).await.unwrap();
    let begun: Vec<_> = (0..20).map(|_| client.begin(get("/"))).collect();
    for _ in 0..5 {
        soon(it.seen.recv()).await.unwrap();
    }
    assert_eq!(it.proxy.in_flight().await, (5, 0));
    it.gate.add_permits(20);
    for answer in begun {
        assert_eq!(whole(soon(answer).await.unwrap().unwrap()).await.0, StatusCode::OK);
    }

    // Opened and reset at once, over and over (CVE-2023-44487).
    let mut wire = it.proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, b"")).await;
    let fields = block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let mut flood = Vec::new();
    for stream in (1..4_001).step_by(2) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // The other side may be gone before all is sent.
    let _sent = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &flood).await;
    soon(async { while next_frame(&mut wire).await.is_some() {} }).await;
    it.gate.add_permits(10_000);
    eventually("nothing is left of it", || async { it.proxy.in_flight().await == (0, 0) }).await;
    assert_eq!(Client::of(&it.proxy).await.get("/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_preface_may_come_in_pieces_and_http1_goes_on_as_before() {
    let it = open(Limits::default()).await;
    for cut in 1..PREFACE.len() {
        let mut wire = it.proxy.connect().await;
        let (first, second) = PREFACE.split_at(cut);
        wire.send(first).await;
        tokio::task::yield_now().await;
        wire.send(second).await;
        wire.send(frame(SETTINGS, 0, 0, b"")).await;
        assert_eq!(soon(next_frame(&mut wire)).await.map(|(kind, _)| kind), Some(SETTINGS), "cut at {cut}");
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::GET] {
        let mut wire = it.proxy.connect().await;
        for byte in format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").into_bytes() {
            wire.send([byte]).await;
        }
        assert_eq!(wire.message().await.text(), format!("{method} / HTTP/1.1"));
    }
}

// -------------------------------------------------------------------- frames, as RFC 9113 has them

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that enter no table (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Kind and payload of the next frame; `None`: the connection has ended.
async fn next_frame(wire: &mut Wire) -> Option<(u8, Vec<u8>)> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    Some((head[3], wire.exactly(length as usize).await?))
}
