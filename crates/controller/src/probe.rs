//! Asking a container whether it can serve, and what time it is: the two small adapters that the
//! controller brings itself.

use async_trait::async_trait;
use bytes::Bytes;
use dockswap_core::Timestamp;
use dockswap_core::ports::{Clock, Probe, Prober};
use dockswap_core::routes::Upstream;
use dockswap_core::spec::{HealthCheck, HttpCheck};
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
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
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("failed: {error}"))?;
    let request = Request::builder()
        .method(check.method.as_str())
        .uri(check.endpoint.as_str())
        .header(header::HOST, upstream.addr.to_string())
        .header(header::USER_AGENT, concat!("dockswap/", env!("CARGO_PKG_VERSION"), " (health check)"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("cannot be sent: {error}"))?;
    // The connection is driven here and dropped with the answer's head: the body is of no interest.
    // When it ends first, the answer is there already, or never will be.
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        _ = connection => response.await,
    };
    let response = response.map_err(|error| format!("failed: {error}"))?;
    let status = response.status();
    if check.accepts(status.as_u16()) {
        return Ok(());
    }
    Err(unexpected(status, response.headers()))
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
