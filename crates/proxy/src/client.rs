//! The controller's side of the control socket.

use crate::question::{Question, Reply};
use crate::sync::lock;
use crate::upstream::SPREAD;
use crate::wire;
use async_trait::async_trait;
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::{Keyholder, Router, RouterError, RouterStatus};
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the proxy may take to answer, beyond what it was asked to wait.
const DEADLINE: Duration = Duration::from_secs(5);

/// The control port of a proxy in another process (or in this one, in tests).
///
/// Calls may be made at the same time. A proxy that was restarted in between is found again by the
/// next call; nothing is remembered but one idle connection.
#[derive(Debug)]
pub struct ProxyClient {
    socket: PathBuf,
    idle: Mutex<Option<Connection>>,
}

type Connection = SendRequest<Full<Bytes>>;

async fn ask(connection: &mut Connection, question: &Question) -> hyper::Result<Reply> {
    Reply::read(connection.send_request(question.to_request()).await?).await
}

impl ProxyClient {
    /// Speaks to the proxy on `socket`; connects when it is first asked something.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::new(None) }
    }

    /// What the proxy counts, in the text format of `OpenMetrics` without its last line (`# EOF`).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String, RouterError> {
        self.ask(&Question::metrics(), DEADLINE).await?.text()
    }

    async fn ask(&self, question: &Question, deadline: Duration) -> Result<Reply, RouterError> {
        match timeout(deadline, self.ask_twice(question)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(message)) => Err(RouterError::Unavailable { message }),
            Err(_) => {
                let message = format!("{}: no answer within {deadline:?}", self.socket.display());
                Err(RouterError::Unavailable { message })
            }
        }
    }

    /// Asks on the idle connection, and when that turns out to be broken, on a new one. Every
    /// question of this protocol may be asked twice.
    async fn ask_twice(&self, question: &Question) -> Result<Reply, String> {
        let idle = lock(&self.idle).take();
        if let Some(mut connection) = idle.filter(SendRequest::is_ready)
            && let Ok(reply) = ask(&mut connection, question).await
        {
            self.keep(connection);
            return Ok(reply);
        }
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| format!("{}: {error}", self.socket.display()))?;
        let (mut connection, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move { drop(driver.await) });
        let reply = ask(&mut connection, question).await.map_err(|error| error.to_string())?;
        self.keep(connection);
        Ok(reply)
    }

    fn keep(&self, connection: Connection) {
        *lock(&self.idle) = Some(connection);
    }
}

#[async_trait]
impl Router for ProxyClient {
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError> {
        self.ask(&Question::apply(table)?, DEADLINE).await?.done()
    }

    async fn status(&self) -> Result<RouterStatus, RouterError> {
        self.ask(&Question::status(), DEADLINE).await?.json()
    }

    async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError> {
        let deadline = patience.saturating_add(DEADLINE);
        self.ask(&Question::drained(upstreams, patience)?, deadline).await?.json()
    }

    async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError> {
        self.ask(&Question::close(upstreams)?, SPREAD.saturating_add(DEADLINE)).await?.done()
    }
}

#[async_trait]
impl Keyholder for ProxyClient {
    async fn hold(&self, keyring: &Keyring) -> Result<(), RouterError> {
        self.ask(&Question::hold(keyring)?, DEADLINE).await?.done()
    }

    async fn held(&self) -> Result<String, RouterError> {
        self.ask(&Question::held(), DEADLINE).await?.json::<wire::Held>().map(|held| held.tag)
    }
}
