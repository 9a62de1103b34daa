//! The controller's side of the control socket.

use crate::sync::lock;
use crate::upstream::SPREAD;
use crate::wire::{self, Failure};
use async_trait::async_trait;
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::{Keyholder, Router, RouterError, RouterStatus};
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad};
use http::header::HOST;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// A question, so that it can be asked again.
struct Question {
    method: Method,
    path: &'static str,
    body: Bytes,
}

/// An answer, read to its end.
struct Reply {
    status: StatusCode,
    body: Bytes,
}

impl ProxyClient {
    /// Speaks to the proxy on `socket`; connects when it is first asked something.
    #[must_use]
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::new(None) }
    }

    async fn ask(&self, question: Question, deadline: Duration) -> Result<Reply, RouterError> {
        match timeout(deadline, self.ask_twice(&question)).await {
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
            && let Ok(reply) = question.ask(&mut connection).await
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
        let reply = question.ask(&mut connection).await.map_err(|error| error.to_string())?;
        self.keep(connection);
        Ok(reply)
    }

    fn keep(&self, connection: Connection) {
        *lock(&self.idle) = Some(connection);
    }
}

impl Question {
    fn new<T: Serialize>(method: Method, path: &'static str, body: &T) -> Result<Self, RouterError> {
        let body =
            serde_json::to_vec(body).map_err(|error| RouterError::Refused { message: error.to_string() })?;
        Ok(Self { method, path, body: body.into() })
    }

    async fn ask(&self, connection: &mut Connection) -> Result<Reply, hyper::Error> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = http::Uri::from_static(self.path);
        request.headers_mut().insert(HOST, HeaderValue::from_static("proxy"));
        let (head, body) = connection.send_request(request).await?.into_parts();
        Ok(Reply { status: head.status, body: body.collect().await?.to_bytes() })
    }
}

impl Reply {
    fn done(&self) -> Result<(), RouterError> {
        if self.status.is_success() {
            return Ok(());
        }
        Err(match serde_json::from_slice(&self.body) {
            Ok(Failure::Stale { current, offered }) => RouterError::Stale { current, offered },
            Ok(Failure::Refused { message } | Failure::Misunderstood { message }) => {
                RouterError::Refused { message }
            }
            Err(_) => RouterError::Unavailable { message: format!("it answered {}", self.status) },
        })
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, RouterError> {
        self.done()?;
        serde_json::from_slice(&self.body).map_err(|error| RouterError::Unavailable {
            message: format!("its answer cannot be read: {error}"),
        })
    }
}

#[async_trait]
impl Router for ProxyClient {
    async fn apply(&self, table: &RouteTable) -> Result<(), RouterError> {
        self.ask(Question::new(Method::PUT, wire::TABLE, table)?, DEADLINE).await?.done()
    }

    async fn status(&self) -> Result<RouterStatus, RouterError> {
        let question = Question { method: Method::GET, path: wire::STATUS, body: Bytes::new() };
        self.ask(question, DEADLINE).await?.json()
    }

    async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError> {
        let drain = wire::Drain { upstreams: upstreams.to_vec(), patience };
        let deadline = patience.saturating_add(DEADLINE);
        self.ask(Question::new(Method::POST, wire::DRAINED, &drain)?, deadline).await?.json()
    }

    async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError> {
        let close = wire::Close { upstreams: upstreams.to_vec() };
        self.ask(Question::new(Method::POST, wire::CLOSE, &close)?, SPREAD.saturating_add(DEADLINE))
            .await?
            .done()
    }
}

#[async_trait]
impl Keyholder for ProxyClient {
    async fn hold(&self, keyring: &Keyring) -> Result<(), RouterError> {
        self.ask(Question::new(Method::PUT, wire::CERTIFICATES, keyring)?, DEADLINE).await?.done()
    }

    async fn held(&self) -> Result<String, RouterError> {
        let question = Question { method: Method::GET, path: wire::CERTIFICATES, body: Bytes::new() };
        self.ask(question, DEADLINE).await?.json::<wire::Held>().map(|held| held.tag)
    }
}
