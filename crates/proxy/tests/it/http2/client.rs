//! A client of HTTP/2, and a proxy for it in front of an app that does as it is told.

use crate::support::{Message, Running, soon};
use crate::upstreams::App;
use bytes::Bytes;
use dockswap_proxy::Limits;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// A body that is sent piece by piece, as the test says.
pub(crate) struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Pieces {
    pub(crate) fn none() -> Self {
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
        Self::on(TcpStream::connect(proxy.addr).await.unwrap()).await
    }

    pub(crate) async fn on(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
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
    pub(crate) async fn ended(self) {
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
pub(crate) struct Held {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) proxy: Running,
    pub(crate) app: App,
    pub(crate) seen: mpsc::UnboundedReceiver<Message>,
    pub(crate) gate: Arc<Semaphore>,
}

pub(crate) async fn held(limits: Limits) -> Held {
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
    Held { dir, proxy, app, seen, gate }
}

/// The same, and the app answers at once.
pub(crate) async fn open(limits: Limits) -> Held {
    let held = held(limits).await;
    held.gate.add_permits(10_000);
    held
}
