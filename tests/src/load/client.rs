//! One client of the load. It is as strict as a client can be: it never asks twice, so a request
//! that the proxy should have carried and did not is a failure.

use super::{Failure, Kind, Sample};
use crate::time::{Micros, now};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

pub(super) struct Client {
    kind: Kind,
    proxy: SocketAddr,
    host: String,
    path: &'static str,
    kept: Option<Sender>,
}

impl Client {
    pub(super) const fn new(kind: Kind, proxy: SocketAddr, host: String, path: &'static str) -> Self {
        Self { kind, proxy, host, path, kept: None }
    }

    /// Asks once; `size`: of the body, where there is one.
    pub(super) async fn request(&mut self, size: usize) -> Result<Sample, Failure> {
        let kept = self.connection_kept().await;
        let began = now();
        let answered = timeout(PATIENCE, self.ask(kept, size)).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let (kind, ended) = (self.kind, now());
        match answered {
            Ok((version, container)) => Ok(Sample { kind, began, ended, version, container }),
            Err(reason) => Err(self.failed(began, ended, reason)),
        }
    }

    fn failed(&mut self, began: Micros, ended: Micros, reason: String) -> Failure {
        self.kept = None;
        Failure { kind: self.kind, began, ended, reason }
    }

    /// The connection of the last request, unless the proxy has said good-bye on it, which it may
    /// between two requests.
    async fn connection_kept(&mut self) -> Option<Sender> {
        let mut sender = self.kept.take()?;
        // Lets the connection's own task see a close that has come already.
        tokio::task::yield_now().await;
        (sender.ready().await.is_ok() && !sender.is_closed()).then_some(sender)
    }

    async fn ask(&mut self, kept: Option<Sender>, size: usize) -> Result<(String, String), String> {
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(self.proxy).await?,
        };
        let body = match self.kind {
            Kind::Post => (0..=250).cycle().take(size).collect::<Bytes>(),
            Kind::KeepAlive | Kind::OneShot => Bytes::new(),
        };
        let response = sender.send_request(self.question(body.clone())?).await;
        let response = response.map_err(|error| format!("no answer: {}", whole(&error)))?;
        let closes = says_close(response.headers());
        let (version, container, answer) = read(response).await?;
        if self.kind == Kind::Post && answer != body {
            return Err(format!("{} bytes were posted, {} other ones came back", body.len(), answer.len()));
        }
        if self.kind != Kind::OneShot && !closes {
            self.kept = Some(sender);
        }
        Ok((version, container))
    }

    fn question(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let (method, path) = match self.kind {
            Kind::Post => (Method::POST, "/echo"),
            Kind::KeepAlive | Kind::OneShot => (Method::GET, self.path),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if self.kind == Kind::OneShot {
            request = request.header(CONNECTION, "close");
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }
}

async fn connect(proxy: SocketAddr) -> Result<Sender, String> {
    let stream = TcpStream::connect(proxy).await.map_err(|error| format!("no connection: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| whole(&error))?;
    // What goes wrong on it is told to the request that it went wrong for.
    tokio::spawn(connection);
    Ok(sender)
}

/// The version, the container and the body of a good answer.
async fn read(response: Response<hyper::body::Incoming>) -> Result<(String, String, Bytes), String> {
    let status = response.status();
    let named = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(ToOwned::to_owned).ok_or_else(|| format!("the answer ({status}) has no {name}"))
    };
    let (version, container) = (named("x-app-version"), named("x-container"));
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {}", whole(&error)))?.to_bytes();
    if status != StatusCode::OK {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()));
    }
    Ok((version?, container?, body))
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// An error with its causes.
fn whole(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
