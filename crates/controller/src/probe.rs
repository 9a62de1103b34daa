//! Asking a container whether it can serve, and what time it is: the two small adapters that the
//! controller brings itself.

use async_trait::async_trait;
use bytes::Bytes;
use dockswap_core::Timestamp;
use dockswap_core::ports::{Clock, Probe, Prober};
use dockswap_core::routes::Upstream;
use dockswap_core::spec::{HealthCheck, HttpCheck, Protocol};
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::ErrorKind;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// Probes over the network path that the proxy uses too.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpstreamProber;

#[async_trait]
impl Prober for UpstreamProber {
    async fn probe(&self, upstream: &Upstream, check: &HealthCheck) -> Probe {
        let what = match &check.http {
            Some(http) => format!("{} {}", http.method, http.endpoint),
            None => format!("TCP connect to port {}", upstream.addr.port()),
        };
        match tokio::time::timeout(check.timeout, ask(upstream, check.http.as_ref())).await {
            Ok(Ok(())) => Probe::Healthy,
            Ok(Err(seen)) => Probe::Unhealthy(format!("{what} {seen}")),
            Err(_) => Probe::Unhealthy(format!("{what} gave no answer within {:?}", check.timeout)),
        }
    }
}

async fn ask(upstream: &Upstream, check: Option<&HttpCheck>) -> Result<(), String> {
    let port = upstream.addr.port();
    let stream = TcpStream::connect(upstream.addr).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("was refused: nothing listens on port {port} (does the app listen on 0.0.0.0:{port}?)")
        }
        _ => format!("failed: {error}"),
    })?;
    let Some(check) = check else { return Ok(()) };
    let request = Request::builder()
        .method(check.method.as_str())
        .header(header::USER_AGENT, concat!("dockswap/", env!("CARGO_PKG_VERSION"), " (health check)"));
    let stream = TokioIo::new(stream);
    let answered = match upstream.protocol {
        Protocol::Http1 => {
            let request = request
                .uri(check.endpoint.as_str())
                .header(header::HOST, upstream.addr.to_string())
                .header(header::CONNECTION, "close");
            ask_http1(stream, unsendable(request.body(Empty::new()))?).await
        }
        Protocol::H2c => {
            let request = request.uri(format!("http://{}{}", upstream.addr, check.endpoint));
            ask_http2(stream, unsendable(request.body(Empty::new()))?).await
        }
    };
    let response = answered.map_err(|error| format!("failed: {error}"))?;
    let status = response.status();
    if check.accepts(status.as_u16()) {
        return Ok(());
    }
    Err(unexpected(status, response.headers()))
}

fn unsendable<T>(request: http::Result<T>) -> Result<T, String> {
    request.map_err(|error| format!("cannot be sent: {error}"))
}

type Asking = Request<Empty<Bytes>>;

/// The connection is driven here and dropped with the answer's head: the body is of no interest. When it ends first,
/// the answer is there already, or never will be.
async fn ask_http1(stream: TokioIo<TcpStream>, request: Asking) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(stream).await?;
    let mut response = pin!(sender.send_request(request));
    tokio::select! {
        response = &mut response => response,
        _ = connection => response.await,
    }
}

/// As [`ask_http1`].
async fn ask_http2(stream: TokioIo<TcpStream>, request: Asking) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    let mut response = pin!(sender.send_request(request));
    tokio::select! {
        response = &mut response => response,
        _ = connection => response.await,
    }
}

/// An answer that is not the expected one, with what it hints at.
fn unexpected(status: StatusCode, headers: &http::HeaderMap) -> String {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    match location {
        Some(location) if status.is_redirection() => format!(
            "answered {} to {}: redirects are not followed; check the endpoint, or whether the app insists on HTTPS or a host name",
            status.as_u16(),
            without_parameters(location)
        ),
        _ => format!("answered {status}"),
    }
}

/// A location without its query and its user: apps put tokens there.
fn without_parameters(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let shown = &location[..end];
    let Some((scheme, rest)) = shown.split_once("://") else { return shown.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The system's clock, read once: from then on only monotonic time counts, so that a jump of the
/// wall clock changes no decision.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
    wall: Timestamp,
}

impl SystemClock {
    /// A clock that begins at the present wall-clock time.
    #[must_use]
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { began: Instant::now(), wall: Timestamp::default() + since }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall + self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use dockswap_core::name::ContainerId;
    use dockswap_core::routes::UpstreamId;
    use hyper::server::conn::http2 as server;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    /// What a probe over `protocol` sees of an app that answers `/ready` over HTTP/2 alone.
    async fn probed(protocol: Protocol, endpoint: &str) -> Probe {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let id = UpstreamId { container: ContainerId("c".to_owned()), started_at: Timestamp::default() };
        let upstream = Upstream { id, addr: listener.local_addr().unwrap(), protocol };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let ready = service_fn(|request: Request<Incoming>| async move {
                let status = if request.uri().path() == "/ready" { 200 } else { 503 };
                Ok::<_, Infallible>(Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap())
            });
            let serving = server::Builder::new(TokioExecutor::new());
            let _how = serving.serve_connection(TokioIo::new(stream), ready).await;
        });
        let http = HttpCheck {
            endpoint: endpoint.to_owned(),
            method: "GET".to_owned(),
            expected_status: vec![(200, 399)],
        };
        let second = Duration::from_secs(1);
        let check = HealthCheck {
            http: Some(http),
            interval: second,
            timeout: 20 * second,
            retries: 1,
            success_threshold: 1,
        };
        UpstreamProber.probe(&upstream, &check).await
    }

    #[tokio::test]
    async fn an_app_is_asked_in_what_it_speaks() {
        assert_eq!(probed(Protocol::H2c, "/ready").await, Probe::Healthy);
        let not_yet = "GET / answered 503 Service Unavailable".to_owned();
        assert_eq!(probed(Protocol::H2c, "/").await, Probe::Unhealthy(not_yet));
        assert!(matches!(probed(Protocol::Http1, "/ready").await, Probe::Unhealthy(_)));
    }
}
