//! Upstream servers that do as they are told.

use crate::support::{Message, Wire, upstream};
use dockswap_core::routes::Upstream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// An app: answers every request with its name, and the request's body.
pub(crate) struct App {
    pub(crate) upstream: Upstream,
    pub(crate) connections: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl App {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), name)
    }

    /// Where `listener` listens.
    pub(crate) fn start_on(listener: TcpListener, name: &str) -> Self {
        let name = name.to_owned();
        Self::serve(listener, move |mut wire| {
            let name = name.clone();
            async move {
                while let Some(request) = wire.try_message().await {
                    wire.send(answer(&name, &request)).await;
                }
            }
        })
    }

    /// Each connection is handed to `serve`.
    pub(crate) async fn start_with<F>(serve: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), serve)
    }

    /// Answers a request with more than anybody takes.
    pub(crate) async fn endless() -> Self {
        Self::start_with(|mut wire| async move {
            wire.try_message().await;
            wire.send_endlessly().await;
        })
        .await
    }

    fn serve<F>(listener: TcpListener, serve: impl Fn(Wire) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let upstream = upstream(listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            // Dropped with this task: every connection ends at once.
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(serve(Wire::over(stream)));
            }
        });
        Self { upstream, connections, serving }
    }

    /// Ends it at once, with all its connections.
    pub(crate) async fn kill(self) {
        self.serving.abort();
        assert!(self.serving.await.is_err());
    }
}

/// Where connections are neither accepted nor refused, for want of room to wait.
pub(crate) struct BlackHole {
    pub(crate) upstream: Upstream,
    listener: TcpListener,
    waiting: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // Until its queue is full.
        while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
            waiting.push(connected.unwrap());
        }
        Self { upstream: upstream(addr), listener, waiting }
    }

    /// From now on every connection is accepted, and answered by an app of this name.
    pub(crate) fn serve(self, name: &str) -> App {
        drop(self.waiting);
        App::start_on(self.listener, name)
    }
}

fn answer(name: &str, request: &Message) -> Vec<u8> {
    let length = name.len() + request.body.len();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}").into_bytes();
    answer.extend(&request.body);
    answer
}
