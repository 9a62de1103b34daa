//! A running proxy, upstream servers that do as they are told, and a client that shows every byte.

use dockswap_core::limits::TrafficLimits;
use dockswap_core::name::{AppName, Color, ContainerId, DeploymentId};
use dockswap_core::ports::{Router, RouterError};
use dockswap_core::routes::{AppRoutes, Gate, InFlight, RouteTable, Target, Upstream, UpstreamId};
use dockswap_core::spec::{HostPattern, Protocol, Route};
use dockswap_core::time::Timestamp;
use dockswap_proxy::{Front, Limits, ProxyClient, ProxyConfig, ServeError, Start, serve};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// More than any of the things that are waited for takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`, and fails when it never does.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "never happened: {what}");
}

/// `future`, which must not take for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// A proxy in this process.
pub(crate) struct Running {
    pub(crate) control: ProxyClient,
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    task: Option<JoinHandle<Result<(), ServeError>>>,
    /// Its own, so that it can be killed with all its tasks.
    runtime: Option<Runtime>,
    revision: AtomicU64,
}

pub(crate) fn config(dir: &Path, limits: Limits) -> ProxyConfig {
    ProxyConfig {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        https: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_https_port: None,
        control_socket: dir.join("proxy.sock"),
        snapshot: dir.join("routes.json"),
        keyfile: dir.join("certificates.json"),
        limits,
        front: Front::default(),
        access_log: None,
        sockets: Vec::new(),
        start: Start::Alone,
        ready: None,
    }
}

impl Running {
    /// With its files in `dir`.
    pub(crate) async fn start(dir: &TempDir) -> Self {
        Self::start_with(dir, Limits::default()).await
    }

    pub(crate) async fn start_with(dir: &TempDir, limits: Limits) -> Self {
        Self::start_on(dir, limits, 2).await
    }

    /// With TLS on `https`, once it is asked for.
    pub(crate) async fn start_at(dir: &TempDir, https: SocketAddr, limits: Limits) -> Self {
        Self::start_as(ProxyConfig { https, ..config(dir.path(), limits) }, 2).await
    }

    /// With that many threads.
    pub(crate) async fn start_on(dir: &TempDir, limits: Limits, threads: usize) -> Self {
        Self::start_as(config(dir.path(), limits), threads).await
    }

    /// In the place of the one that runs in `dir`; ready when that one accepts nothing more.
    pub(crate) async fn take_over(dir: &TempDir) -> Self {
        let config = ProxyConfig { start: Start::TakingOver, ..config(dir.path(), Limits::default()) };
        Self::start_as(config, 2).await
    }

    pub(crate) async fn start_as(config: ProxyConfig, threads: usize) -> Self {
        let (told, ready) = oneshot::channel();
        let config = ProxyConfig { ready: Some(told), ..config };
        let control = ProxyClient::new(config.control_socket.clone());
        let shutdown = CancellationToken::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let task = runtime.spawn(serve(config, shutdown.clone()));
        // By its own word: another one may answer on the same path until then.
        soon(ready).await.expect("the proxy starts");
        // One that it takes over from may have put its own socket back, and have answered for the last time.
        let status = soon(async {
            loop {
                if let Ok(status) = control.status().await {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let status = status.await;
        let revision = AtomicU64::new(status.table.revision);
        Self {
            addr: status.listeners[0],
            control,
            shutdown,
            task: Some(task),
            runtime: Some(runtime),
            revision,
        }
    }

    /// Puts `apps` in force under the next revision.
    pub(crate) async fn apply(&self, apps: Vec<AppRoutes>) -> Result<(), RouterError> {
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        self.control.apply(&RouteTable { revision, apps }).await
    }

    /// Routes every host to `upstreams`.
    pub(crate) async fn lead_to(&self, upstreams: impl IntoIterator<Item = &Upstream>) {
        self.apply(vec![app("web", vec![any_host()], upstreams)]).await.unwrap();
    }

    /// Waits until nothing is in flight on `upstream`.
    pub(crate) async fn drained(&self, upstream: &Upstream) {
        let left = self.control.drained(std::slice::from_ref(&upstream.id), PATIENCE).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.addr).await
    }

    /// Whether a new connection gets an answer.
    pub(crate) async fn has_room(&self) -> bool {
        let mut wire = self.connect().await;
        let sent = wire.stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        sent.is_ok() && wire.try_message().await.is_some()
    }

    pub(crate) async fn in_flight(&self) -> (u64, u64) {
        let load = self.control.status().await.unwrap().load;
        let in_flight: InFlight = load.iter().sum();
        let upgraded = in_flight.websockets + in_flight.tunnels;
        (in_flight.total() - upgraded, upgraded)
    }

    /// How many requests wait for the gate of app `web`.
    pub(crate) async fn waiting(&self) -> u32 {
        let waiting = self.control.status().await.unwrap().waiting;
        waiting.iter().filter(|queue| queue.app.as_str() == "web").map(|queue| queue.requests).sum()
    }

    /// Begins the graceful end.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the graceful end.
    pub(crate) async fn stopped(mut self) {
        self.shutdown.cancel();
        soon(self.task.take().unwrap()).await.unwrap().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) {
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    /// Ends it at once, with all its tasks: nothing is tidied up.
    pub(crate) async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An upstream at `addr`, another life each time.
pub(crate) fn upstream(addr: SocketAddr) -> Upstream {
    static LIFE: AtomicI64 = AtomicI64::new(0);
    let life = LIFE.fetch_add(1, Ordering::Relaxed);
    let id =
        UpstreamId { container: ContainerId(format!("c{life}")), started_at: Timestamp::from_micros(life) };
    Upstream { id, addr, protocol: Protocol::Http1 }
}

pub(crate) fn app<'a>(
    name: &str,
    routes: Vec<Route>,
    upstreams: impl IntoIterator<Item = &'a Upstream>,
) -> AppRoutes {
    let target = Target {
        color: Color::Blue,
        deployment: DeploymentId(1),
        upstreams: upstreams.into_iter().cloned().collect(),
    };
    AppRoutes {
        app: name.parse::<AppName>().unwrap(),
        routes,
        target: Some(target),
        gate: Gate::Open,
        limits: TrafficLimits::default(),
    }
}

pub(crate) fn any_host() -> Route {
    route(HostPattern::Any, "/")
}

pub(crate) fn host(name: &str) -> Route {
    route(HostPattern::Exact(name.to_owned()), "/")
}

pub(crate) fn route(host: HostPattern, path_prefix: &str) -> Route {
    Route { host, path_prefix: path_prefix.to_owned(), strip_prefix: false, listen_port: None, tls: None }
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// One end of a connection, byte by byte.
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// A message as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) first_line: String,
    fields: BTreeMap<String, Vec<String>>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<String>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The only field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields.get(name)?;
        assert_eq!(values.len(), 1, "{name} is there more than once: {values:?}");
        values.first().map(String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Wire {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn on(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends an answer with more than anybody takes, until nobody does.
    pub(crate) async fn send_endlessly(&mut self) {
        self.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await;
        let chunk = vec![b'x'; 64 * 1024];
        while self.stream.write_all(&chunk).await.is_ok() {}
    }

    /// Sends a request without a body.
    pub(crate) async fn request(&mut self, method: &str, target: &str, host: &str) {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    }

    pub(crate) async fn get(&mut self, target: &str) -> Message {
        self.get_from("example.com", target).await
    }

    pub(crate) async fn get_from(&mut self, host: &str, target: &str) -> Message {
        self.request("GET", target, host).await;
        self.message().await
    }

    /// The next message. One without a length and without chunks has no body (a request), or ends
    /// with the connection (see [`Wire::rest`]).
    pub(crate) async fn message(&mut self) -> Message {
        self.try_message().await.expect("the connection ended instead of a message")
    }

    /// The next message; `None` when the connection ends before or within it.
    pub(crate) async fn try_message(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        if message.field("transfer-encoding").is_some() {
            loop {
                let size = self.line().await?;
                let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                message.body.extend(self.exactly(size).await?);
                assert_eq!(self.line().await?, "");
            }
            loop {
                match self.line().await?.as_str() {
                    "" => break,
                    trailer => message.trailers.push(trailer.to_owned()),
                }
            }
        } else if let Some(length) = message.field("content-length") {
            message.body = self.exactly(length.parse().unwrap()).await?;
        }
        Some(message)
    }

    /// The head of the next message alone.
    pub(crate) async fn head(&mut self) -> Option<Message> {
        let first_line = self.line().await?;
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            fields.entry(name.to_ascii_lowercase()).or_default().push(value.to_owned());
        }
        Some(Message { first_line, fields, body: Vec::new(), trailers: Vec::new() })
    }

    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.buffer.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                return Some(String::from_utf8(line).unwrap());
            }
            self.fill().await?;
        }
    }

    pub(crate) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Everything until the other side ends the connection; a reset ends it as well.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.buffer)
    }

    async fn fill(&mut self) -> Option<()> {
        let read = soon(self.stream.read_buf(&mut self.buffer)).await;
        read.ok().filter(|&count| count > 0).map(|_| ())
    }
}
