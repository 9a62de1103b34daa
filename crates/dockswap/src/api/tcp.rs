//! The API over TCP: connections are bounded in number and in time, and their requests go through the front to the same
//! router as those of the socket. What is asked it must not know.

use super::access::Peer;
use super::front::{self, Front, Remote, network};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::middleware;
use dockswap_certs::Presented;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// Connections at a time, in all and of one address.
const CONNECTIONS: usize = 512;
const CONNECTIONS_OF_ONE: usize = 64;

/// For a handshake, and for the head of a request, also the next one.
const HEAD: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what it is sent.
const STALL: Duration = Duration::from_secs(60);

/// The most bytes and fields of a head.
const HEAD_BYTES: usize = 32 * 1024;
const HEAD_FIELDS: usize = 64;

/// How long is waited for what is being answered at the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often certificate files are read again.
const LOOK: Duration = Duration::from_secs(5);

/// Where the API listens over TCP.
pub(crate) struct Doorway {
    pub(crate) listener: TcpListener,
    /// `None`: plain HTTP.
    pub(crate) certificate: Option<Arc<Presented>>,
    pub(crate) hosts: Vec<String>,
}

/// The connections that there are.
#[derive(Default)]
struct Connections(Mutex<HashMap<IpAddr, usize>>);

/// One of them, until it is dropped.
struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let address = network(ip);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = all.values().sum();
        let own = all.get(&address).copied().unwrap_or(0);
        if total >= CONNECTIONS || own >= CONNECTIONS_OF_ONE {
            return None;
        }
        all.insert(address, own + 1);
        Some(Place { connections: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// Serves the API at `doorway` until `stop`; then lets what was asked be answered, and ends.
pub(crate) async fn serve(stop: CancellationToken, router: Router, doorway: Doorway) {
    let Doorway { listener, certificate, hosts } = doorway;
    let Ok(listen) = listener.local_addr() else { return };
    let front = Front::new(listen, &hosts);
    let router = router.layer(middleware::from_fn_with_state(front, front::admit));
    let tls = certificate.as_ref().map(|certificate| TlsAcceptor::from(certificate.config()));
    let tracker = TaskTracker::new();
    if let Some(certificate) = certificate {
        tracker.spawn(look_after(certificate, stop.clone()));
    }
    let connections = Arc::new(Connections::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the API takes no connection over TCP for a moment");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Whom there is no place for is sent away at once.
        let Some(place) = connections.take(peer.ip()) else { continue };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tracker.spawn(async move {
            let _place = place;
            if let Err(error) = meet(stream, peer, tls, router, stop).await {
                tracing::debug!(%peer, error = &*error, "a connection to the API broke off");
            }
        });
    }
    drop(listener);
    tracker.close();
    // What takes longer is ended with the process.
    let _ = timeout(FAREWELL, tracker.wait()).await;
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn meet(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Broken> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(&stream, u32::try_from(STALL.as_millis()).unwrap_or(u32::MAX))?;
    match tls {
        None => answer(stream, peer, router, stop).await,
        Some(tls) => {
            let stream = timeout(HEAD, tls.accept(stream)).await??;
            answer(stream, peer, router, stop).await
        }
    }
}

/// Answers requests until one side has enough.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Broken> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Remote(peer));
        request.extensions_mut().insert(ConnectInfo(Peer::Remote(peer)));
        router.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEAD_FIELDS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(timeout(FAREWELL, connection).await??)
}

/// Shows clients what the files hold, also after they have changed.
async fn look_after(certificate: Arc<Presented>, stop: CancellationToken) {
    let mut told = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
        match certificate.look_again().await {
            Ok(changed) => {
                if changed || told.take().is_some() {
                    tracing::info!("the API shows the certificate that is in its files");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tracing::error!(error, "the API shows the last good certificate");
                    told = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CONNECTIONS, CONNECTIONS_OF_ONE, Connections};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    #[test]
    fn one_address_does_not_take_every_place() {
        let connections = Arc::new(Connections::default());
        let address = |last: u8| IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
        let mut places: Vec<_> = (0..CONNECTIONS_OF_ONE).map(|_| connections.take(address(1))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(connections.take(address(1)).is_none());
        assert!(connections.take(address(2)).is_some(), "others have room");
        places.pop();
        assert!(connections.take(address(1)).is_some(), "a place that was left is free");
        for last in 2..u8::MAX {
            places.extend((0..CONNECTIONS_OF_ONE).map(|_| connections.take(address(last))));
        }
        assert_eq!(places.iter().flatten().count(), CONNECTIONS);
        drop(places);
        assert!(connections.0.lock().expect("no panic").is_empty());
    }
}
