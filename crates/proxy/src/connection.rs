//! One client connection: HTTP/1.1 on a socket, each request answered by [`crate::forward`].

use crate::admission::Admitted;
use crate::client_io::{ClientIo, Shared};
use crate::forward;
use crate::proxy::Proxy;
use crate::stop::{Stop, run_until};
use crate::table::Door;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The one at the other end, as far as its requests are concerned.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) door: Door,
    /// Its address, as `X-Forwarded-For` says it.
    pub(crate) peer: HeaderValue,
    shared: Arc<Shared>,
}

/// Serves `stream` in a task of its own, until it ends or is told to.
pub(crate) fn start(
    proxy: &Arc<Proxy>,
    door: Door,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ip: IpAddr,
    admitted: Admitted,
    listener: Arc<Stop>,
) {
    let Ok(peer) = HeaderValue::from_str(&ip.to_string()) else { return };
    let shared = Arc::new(Shared::new());
    let client = Arc::new(Client { proxy: Arc::clone(proxy), door, peer, shared: Arc::clone(&shared) });
    let io = TokioIo::new(ClientIo::new(stream, shared, Arc::clone(&proxy.limits)));
    let served = Arc::clone(proxy);
    proxy.connections.spawn(async move {
        let service = service_fn(move |request| {
            let client = Arc::clone(&client);
            async move {
                let (busy, trust) = client.shared.begin();
                Ok::<_, Infallible>(forward::answer(&client, request, busy, trust).await)
            }
        });
        let limits = &served.limits;
        let connection = http1::Builder::new()
            // Our own socket keeps the time: hyper's limit would hold between requests as well.
            .header_read_timeout(None)
            .max_header_size(limits.head_bytes)
            .max_buf_size(limits.head_bytes.max(8 * 1024))
            .serve_connection(io, service)
            .with_upgrades();
        let finish =
            |connection: std::pin::Pin<&mut _>| http1::UpgradeableConnection::graceful_shutdown(connection);
        let ended = run_until(connection, [&listener, &served.draining], &served.ending, finish).await;
        if let Some(Err(error)) = ended {
            tracing::debug!(%ip, %error, "a client connection broke");
        }
        drop(admitted);
    });
}
