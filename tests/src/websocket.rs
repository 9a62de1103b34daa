//! A WebSocket that asks and is answered in turn.

use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open WebSocket, on a runtime of its own.
#[derive(Debug)]
pub struct WebSocket {
    runtime: Runtime,
    stream: WebSocketStream<TcpStream>,
}

impl WebSocket {
    /// Opens one through the proxy.
    #[must_use]
    pub fn open(proxy: SocketAddr, host: &str, path: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let request = format!("ws://{host}{path}").into_client_request().expect("a request");
        let stream = runtime.block_on(in_time(async {
            let stream = TcpStream::connect(proxy).await.expect("the proxy listens");
            client_async(request, stream).await.expect("an upgraded connection").0
        }));
        Self { runtime, stream }
    }

    /// Sends `text`; what comes back.
    pub fn echo(&mut self, text: &str) -> String {
        let stream = &mut self.stream;
        let answer = self.runtime.block_on(in_time(async {
            stream.send(Message::text(text)).await.expect("the connection is open");
            stream.next().await.expect("an answer").expect("the connection is open")
        }));
        answer.into_text().expect("text").to_string()
    }

    /// Waits for the other side to end it, in whatever way.
    pub fn end(mut self) {
        while let Some(Ok(_)) = self.runtime.block_on(in_time(self.stream.next())) {}
    }

    /// Says good-bye.
    pub fn close(mut self) {
        let _ = self.runtime.block_on(in_time(self.stream.close(None)));
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer within {PATIENCE:?}"))
}
