//! A proxy in memory and in paused time, in front of one upstream that answers as it is told: what the
//! targets that feed it bytes have in common.

use crate::message;
use dockswap_core::Timestamp;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::name::{Color, ContainerId, DeploymentId};
use dockswap_core::routes::{AppRoutes, Gate, RouteTable, Target, Upstream, UpstreamId};
use dockswap_core::spec::{HostPattern, Protocol, Route};
use dockswap_proxy::Limits;
use dockswap_proxy::memory::MemoryProxy;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::timeout;

/// Where clients come from.
pub(crate) const CLIENT: [u8; 4] = [192, 0, 2, 7];

/// Where the upstream is.
pub(crate) const UPSTREAM: &str = "10.0.0.1:8080";

/// What a stream holds before the one who writes has to wait.
const BUFFER: usize = 64 * 1024;

/// By when any connection is over, in the time of the stage: far beyond the sum of all limits.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// For how long the upstream keeps a silent connection. Longer than the proxy does; an answer that never
/// ends is a stream to the proxy, and lasts as long as the upstream has it last.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(600);

/// What an upstream does with a connection.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// What it answers each request with.
    pub(crate) answer: Vec<u8>,
    /// What the first request of all is answered with instead.
    pub(crate) first_answer: Option<FirstAnswer>,
}

/// What is special about the first answer.
#[derive(Clone, Debug)]
pub(crate) struct FirstAnswer {
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection ends with it.
    pub(crate) then: Then,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Close,
    Listen,
}

/// The proxy, and what its upstream has seen.
pub(crate) struct Stage {
    proxy: MemoryProxy,
    /// The bytes of each connection to the upstream, in the order of their beginnings.
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Runs `play` on a runtime of its own whose time stands still while anybody is busy.
pub(crate) fn play<F: Future>(play: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(play)
}

impl Stage {
    pub(crate) fn new(manner: Manner) -> Self {
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let record = Arc::clone(&seen);
        let first = Arc::new(Mutex::new(manner.first_answer));
        let dial = move |_| {
            let (ours, theirs) = duplex(BUFFER);
            let connection = {
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.push(Vec::new());
                record.len() - 1
            };
            let upstream = Connection {
                nth: connection,
                seen: Arc::clone(&record),
                answer: manner.answer.clone(),
                first: Arc::clone(&first),
            };
            tokio::spawn(upstream.serve(theirs));
            Ok(ours)
        };
        Self { proxy: MemoryProxy::new(Limits::default(), table(), 80, dial), seen }
    }

    /// Sends `bytes`, `cut` at a time, and reads until the proxy ends the connection.
    pub(crate) async fn send(&self, bytes: &[u8], cut: usize) -> Vec<u8> {
        let (ours, theirs) = duplex(BUFFER);
        assert!(self.proxy.serve(theirs, CLIENT.into()), "one connection is too many");
        let (mut reading, mut writing) = split(ours);
        let write = async {
            for part in bytes.chunks(cut) {
                // Whoever has answered need not read on.
                if writing.write_all(part).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let mut answers = Vec::new();
        let read = async {
            let _ended = reading.read_to_end(&mut answers).await;
        };
        let both = timeout(PATIENCE, async { tokio::join!(write, read) }).await;
        assert!(both.is_ok(), "the connection never ends");
        answers
    }

    /// What the upstream has seen, a connection each. Nothing is in flight any more.
    pub(crate) async fn seen(&self) -> Vec<Vec<u8>> {
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(self.proxy.in_flight(), 0, "counted in and never out");
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection to the upstream, as the upstream sees it.
struct Connection {
    nth: usize,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    answer: Vec<u8>,
    first: Arc<Mutex<Option<FirstAnswer>>>,
}

impl Connection {
    async fn serve(self, mut stream: DuplexStream) {
        let mut buffer = vec![0; 16 * 1024];
        let mut answered = 0;
        while let Ok(Ok(length)) = timeout(UPSTREAM_PATIENCE, stream.read(&mut buffer)).await {
            if length == 0 {
                return;
            }
            let whole = {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen[self.nth].extend_from_slice(&buffer[..length]);
                message::requests(&seen[self.nth]).0
            };
            for request in &whole[answered..] {
                answered += 1;
                let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let then = first.as_ref().map_or(Then::Listen, |first| first.then);
                let answer = first.map_or_else(|| self.answer.clone(), |first| first.bytes);
                // The proxy may have gone.
                let _ =
                    stream.write_all(if request.first[0] == "HEAD" { head(&answer) } else { &answer }).await;
                if then == Then::Close {
                    return;
                }
            }
        }
    }
}

/// An answer without its body, where it has one.
fn head(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(answer, |end| &answer[..end + 4])
}

/// Everything leads to the upstream.
fn table() -> RouteTable {
    let id = UpstreamId { container: ContainerId("one".to_owned()), started_at: Timestamp::default() };
    let upstreams =
        vec![Upstream { id, addr: UPSTREAM.parse().expect("an address"), protocol: Protocol::Http1 }];
    let any = Route {
        host: HostPattern::Any,
        path_prefix: "/".to_owned(),
        strip_prefix: false,
        listen_port: None,
        tls: None,
    };
    let target = Target { color: Color::Blue, deployment: DeploymentId(1), upstreams };
    let app = "web".parse().expect("a name");
    let routes = AppRoutes {
        app,
        routes: vec![any],
        target: Some(target),
        gate: Gate::Open,
        limits: TrafficLimits::default(),
    };
    RouteTable { revision: 1, apps: vec![routes] }
}
