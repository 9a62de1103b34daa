//! The sockets on which requests come in: the common one, and one for each `listen_port`.

use crate::connection;
use crate::inherited::Inherited;
use crate::proxy::Proxy;
use crate::stop::Stop;
use crate::table::Door;
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
    /// `None`: another process accepts now.
    common: Option<Open>,
    own: BTreeMap<u16, Open>,
    /// Sockets that somebody else has opened, for those that are still to be bound.
    inherited: Inherited,
}

#[derive(Debug)]
struct Open {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    /// Ends its connections after the request that they are at.
    stop: Arc<Stop>,
    accepting: JoinHandle<()>,
}

impl Listeners {
    /// Starts accepting on the common address. `inherited` are sockets to be used where they fit.
    pub(crate) fn new(proxy: Arc<Proxy>, common: SocketAddr, mut inherited: Inherited) -> io::Result<Self> {
        let common = Open::start(&proxy, Door::Common, inherited.bind(common)?)?;
        Ok(Self { proxy, common_addr: common.addr, common: Some(common), own: BTreeMap::new(), inherited })
    }

    /// Where the proxy listens, the common address first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.open_ones().map(|open| open.addr).collect()
    }

    pub(crate) const fn common_address(&self) -> SocketAddr {
        self.common_addr
    }

    fn open_ones(&self) -> impl Iterator<Item = &Open> {
        self.common.iter().chain(self.own.values())
    }

    pub(crate) fn is_open(&self, port: u16) -> bool {
        self.own.contains_key(&port)
    }

    /// Where an own listener for `port` listens: on the common one's address.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.common_addr.ip(), port)
    }

    /// Binds the address of `port`. Nobody is accepted before [`Listeners::open`].
    pub(crate) fn bind(&mut self, port: u16) -> io::Result<TcpListener> {
        let addr = self.address(port);
        self.inherited.bind(addr)
    }

    /// Every open socket, the common one first.
    pub(crate) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.open_ones().map(|open| open.listener.as_fd()).collect()
    }

    /// Inherited sockets that were not wanted so far.
    pub(crate) const fn inherited(&mut self) -> &mut Inherited {
        &mut self.inherited
    }

    /// Accepts nothing more, and tells no connection to end: another process has the sockets.
    pub(crate) async fn part(&mut self) {
        let own = std::mem::take(&mut self.own).into_values();
        for open in self.common.take().into_iter().chain(own) {
            // A connection is accepted and begun, or not accepted.
            open.accepting.abort();
            let _aborted = open.accepting.await;
        }
    }

    /// Starts accepting on a listener that [`Listeners::bind`] made for `port`.
    pub(crate) fn open(&mut self, port: u16, listener: TcpListener) -> io::Result<()> {
        let open = Open::start(&self.proxy, Door::Own(port), listener)?;
        tracing::info!(addr = %open.addr, "listening");
        self.own.insert(port, open);
        Ok(())
    }

    /// Closes the own listeners whose port is not `wanted`. Their connections end after the request
    /// that they are at; the ports are free when this returns.
    pub(crate) async fn retain(&mut self, wanted: impl Fn(u16) -> bool) {
        let gone: Vec<u16> = self.own.keys().copied().filter(|&port| !wanted(port)).collect();
        for port in gone {
            if let Some(mut open) = self.own.remove(&port) {
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
    fn start(proxy: &Arc<Proxy>, door: Door, listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        // Accepted sockets inherit it: answers are not held back.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        let stop = Arc::new(Stop::default());
        let listener = Arc::new(listener);
        let accepting =
            tokio::spawn(accept(Arc::clone(proxy), door, Arc::clone(&listener), Arc::clone(&stop)));
        Ok(Self { addr, listener, stop, accepting })
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
            tracing::debug!(%ip, "too many connections");
            continue;
        };
        connection::start(&proxy, door, stream, ip, admitted, Arc::clone(&stop));
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
        let proxy = Arc::new(Proxy::new(crate::limits::Limits::default()));
        let mut open = Open::start(&proxy, Door::Common, listener).unwrap();
        // Nobody else accepts from it.
        open.close().await;
        let _client = TcpStream::connect(addr).await.unwrap();
        let (accepted, _) = open.listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
