//! The sockets on which requests come in: the common one, the one for TLS, and one for each `listen_port`.

use crate::client_stream::ClientStream;
use crate::connection;
use crate::proxy::Proxy;
use crate::stop::Stop;
use crate::table::{Door, Ports};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// The open listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    proxy: Arc<Proxy>,
    common: Open,
    https: SocketAddr,
    /// Those that come and go with what asks for them.
    asked: BTreeMap<Door, Open>,
}

#[derive(Debug)]
struct Open {
    addr: SocketAddr,
    /// Ends its connections after the request that they are at.
    stop: Arc<Stop>,
    accepting: JoinHandle<()>,
}

impl Listeners {
    /// Starts accepting on `common`; TLS is for `https`, once it is asked for.
    pub(crate) fn new(proxy: Arc<Proxy>, common: TcpListener, https: SocketAddr) -> io::Result<Self> {
        let common = Open::start(&proxy, Door::Common, common)?;
        Ok(Self { proxy, common, https, asked: BTreeMap::new() })
    }

    /// Where the proxy listens, the common address first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(&self.common).chain(self.asked.values()).map(|open| open.addr).collect()
    }

    /// The ports of the common ones.
    pub(crate) const fn common_ports(&self) -> Ports {
        Ports { http: self.common.addr.port(), https: self.https.port() }
    }

    pub(crate) fn is_open(&self, door: Door) -> bool {
        self.asked.contains_key(&door)
    }

    /// Where the listener of `door` listens: one of its own, on the common one's address.
    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        match door {
            Door::Common => self.common.addr,
            Door::Secure => self.https,
            Door::Own(port) => SocketAddr::new(self.common.addr.ip(), port),
        }
    }

    /// Binds the address of `door`. Nobody is accepted before [`Listeners::open`].
    pub(crate) fn bind(&self, door: Door) -> io::Result<TcpListener> {
        bind(self.address(door))
    }

    /// Starts accepting on a listener that [`Listeners::bind`] made for `door`.
    pub(crate) fn open(&mut self, door: Door, listener: TcpListener) -> io::Result<()> {
        let open = Open::start(&self.proxy, door, listener)?;
        tracing::info!(addr = %open.addr, "listening");
        self.asked.insert(door, open);
        Ok(())
    }

    /// Closes the listeners that are not `wanted`, but for the common one. Their connections end after the
    /// request that they are at; the ports are free when this returns.
    pub(crate) async fn retain(&mut self, wanted: impl Fn(Door) -> bool) {
        let gone: Vec<Door> = self.asked.keys().copied().filter(|&door| !wanted(door)).collect();
        for door in gone {
            if let Some(mut open) = self.asked.remove(&door) {
                tracing::info!(addr = %open.addr, "no longer listening");
                open.close().await;
            }
        }
    }

    /// Closes all.
    pub(crate) async fn close(&mut self) {
        self.retain(|_| false).await;
        self.common.close().await;
    }
}

impl Open {
    fn start(proxy: &Arc<Proxy>, door: Door, listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let stop = Arc::new(Stop::default());
        let accepting = tokio::spawn(accept(Arc::clone(proxy), door, listener, Arc::clone(&stop)));
        Ok(Self { addr, stop, accepting })
    }

    async fn close(&mut self) {
        self.stop.give();
        if !self.accepting.is_finished() {
            // Only a panic or the runtime's end could make this an error; the socket is closed then
            // too.
            let _ended = (&mut self.accepting).await;
        }
    }
}

/// Binds `addr` and listens.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit this: a tunnel whose client vanished does not count for ever.
    socket.set_keepalive(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

async fn accept(proxy: Arc<Proxy>, door: Door, listener: TcpListener, stop: Arc<Stop>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.given() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let ip = peer.ip().to_canonical();
        let Some(admitted) = proxy.admission.admit(ip) else {
            tracing::debug!(%ip, "too many connections");
            continue;
        };
        if stream.set_nodelay(true).is_ok() {
            connection::start(&proxy, door, ClientStream::Tcp(stream), ip, admitted, Arc::clone(&stop));
        }
    }
}
