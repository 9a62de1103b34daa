//! The sockets on which requests come in: the common one, the one for TLS, and one for each `listen_port`.

use crate::client_stream::ClientStream;
use crate::connection;
use crate::inherited::Inherited;
use crate::proxy::Proxy;
use crate::stop::Stop;
use crate::table::{Door, Ports};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// The open listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    proxy: Arc<Proxy>,
    common_addr: SocketAddr,
    https: SocketAddr,
    /// By which port clients reach it.
    public_https_port: u16,
    /// `None`: another process has it.
    common: Option<Open>,
    /// Those that come and go with what asks for them.
    asked: BTreeMap<Door, Open>,
    /// Sockets that somebody else has opened, for those that are still to be bound.
    inherited: Inherited,
    /// Whether connections are accepted; else they wait in the sockets.
    doors: Doors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doors {
    Closed,
    Open,
}

#[derive(Debug)]
struct Open {
    addr: SocketAddr,
    door: Door,
    listener: Arc<TcpListener>,
    /// Ends its connections after the request that they are at.
    stop: Arc<Stop>,
    accepting: Option<JoinHandle<()>>,
}

impl Listeners {
    /// Listens on the common address; nobody is accepted before [`Listeners::accept`]. `inherited` are sockets to be
    /// used where they fit; TLS is for `https`, once it is asked for.
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        common: SocketAddr,
        https: SocketAddr,
        mut inherited: Inherited,
    ) -> io::Result<Self> {
        let common = Open::new(Door::Common, inherited.bind(common)?)?;
        Ok(Self {
            proxy,
            common_addr: common.addr,
            common: Some(common),
            https,
            public_https_port: https.port(),
            asked: BTreeMap::new(),
            inherited,
            doors: Doors::Closed,
        })
    }

    /// Has clients come to the one for TLS by another port, if one is given.
    pub(crate) fn reached_by(self, https: Option<u16>) -> Self {
        Self { public_https_port: https.unwrap_or(self.public_https_port), ..self }
    }

    /// Accepts, from now on, on what is open and what will be.
    pub(crate) fn accept(&mut self) {
        self.doors = Doors::Open;
        for open in self.common.iter_mut().chain(self.asked.values_mut()) {
            open.accept(&self.proxy);
        }
    }

    /// Accepts nothing more until [`Listeners::accept`]; no connection is told to end.
    pub(crate) async fn pause(&mut self) {
        self.doors = Doors::Closed;
        for open in self.common.iter_mut().chain(self.asked.values_mut()) {
            open.pause().await;
        }
    }

    /// Lets the sockets go: another process has them. No connection is told to end.
    pub(crate) async fn part(&mut self) {
        self.pause().await;
        self.common = None;
        self.asked.clear();
        self.inherited = Inherited::default();
    }

    /// Where the proxy listens, the common address first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.open_ones().map(|open| open.addr).collect()
    }

    pub(crate) const fn common_address(&self) -> SocketAddr {
        self.common_addr
    }

    /// The ports of the common ones: of the one for TLS that by which it is reached.
    pub(crate) const fn common_ports(&self) -> Ports {
        Ports { http: self.common_addr.port(), https: self.public_https_port }
    }

    fn open_ones(&self) -> impl Iterator<Item = &Open> {
        self.common.iter().chain(self.asked.values())
    }

    pub(crate) fn is_open(&self, door: Door) -> bool {
        self.asked.contains_key(&door)
    }

    /// Where the listener of `door` listens: one of its own, on the common one's address.
    pub(crate) const fn address(&self, door: Door) -> SocketAddr {
        match door {
            Door::Common => self.common_addr,
            Door::Secure => self.https,
            Door::Own(port) => SocketAddr::new(self.common_addr.ip(), port),
        }
    }

    /// Binds the address of `door`. Nobody is accepted before [`Listeners::open`].
    pub(crate) fn bind(&mut self, door: Door) -> io::Result<TcpListener> {
        let addr = self.address(door);
        self.inherited.bind(addr)
    }

    /// Every open socket, the common one first; then those of a service manager, and how many these are.
    pub(crate) fn sockets(&self) -> (Vec<BorrowedFd<'_>>, usize) {
        let mut sockets: Vec<_> = self.open_ones().map(|open| open.listener.as_fd()).collect();
        let ours = sockets.len();
        sockets.extend(self.inherited.activated_sockets());
        let activated = sockets.len() - ours;
        (sockets, activated)
    }

    /// Closes what was handed over and is not wanted.
    pub(crate) fn forget_handed(&mut self) {
        self.inherited.forget_handed();
    }

    /// Opens a listener that [`Listeners::bind`] made for `door`.
    pub(crate) fn open(&mut self, door: Door, listener: TcpListener) -> io::Result<()> {
        let mut open = Open::new(door, listener)?;
        tracing::info!(addr = %open.addr, "listening");
        if self.doors == Doors::Open {
            open.accept(&self.proxy);
        }
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
        if let Some(mut common) = self.common.take() {
            common.close().await;
        }
    }
}

impl Open {
    fn new(door: Door, listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        // Accepted sockets inherit it: answers are not held back.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        Ok(Self { addr, door, listener: Arc::new(listener), stop: Arc::default(), accepting: None })
    }

    fn accept(&mut self, proxy: &Arc<Proxy>) {
        let (proxy, listener, stop) = (Arc::clone(proxy), Arc::clone(&self.listener), Arc::clone(&self.stop));
        let door = self.door;
        self.accepting.get_or_insert_with(|| tokio::spawn(accept(proxy, door, listener, stop)));
    }

    async fn pause(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            // A connection is accepted and begun, or it is not accepted.
            accepting.abort();
            let _aborted = accepting.await;
        }
    }

    async fn close(&mut self) {
        self.stop.give();
        self.pause().await;
    }
}

async fn accept(proxy: Arc<Proxy>, door: Door, listener: Arc<TcpListener>, stop: Arc<Stop>) {
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
            proxy.meter.refused();
            tracing::debug!(%ip, "too many connections");
            continue;
        };
        connection::start(&proxy, door, ClientStream::Tcp(stream), ip, admitted, Arc::clone(&stop));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn accepted_sockets_inherit_that_nothing_is_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let open = Open::new(Door::Common, listener).unwrap();
        let _client = TcpStream::connect(addr).await.unwrap();
        let (accepted, _) = open.listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
