//! The proxy without sockets, for those who try it with bytes of their own: clients are streams that are
//! handed in, upstreams streams that are asked for. Everything between is what serves; admission,
//! listeners, snapshot and control socket are left out.

use crate::client_stream::ClientStream;
use crate::connection;
use crate::dialer::Dialer;
use crate::front::Front;
use crate::host;
use crate::limits::Limits;
use crate::proxy::Proxy;
use crate::stop::Stop;
use crate::table::{Door, Ports, Table};
use dockswap_core::routes::RouteTable;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::DuplexStream;

/// A proxy in memory.
#[derive(Debug)]
pub struct MemoryProxy {
    proxy: Arc<Proxy>,
    listener: Arc<Stop>,
}

/// Where a request would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The upstream that it would be sent to; `None`: the route leads nowhere at present.
    pub upstream: Option<SocketAddr>,
    /// How many bytes of its path would be cut off.
    pub strip: usize,
}

impl MemoryProxy {
    /// A proxy with `table` in force, for the common listener on `common_port`. `dial` gives a
    /// connection to an upstream's address.
    pub fn new(
        limits: Limits,
        table: RouteTable,
        common_port: u16,
        dial: impl Fn(SocketAddr) -> io::Result<DuplexStream> + Send + Sync + 'static,
    ) -> Self {
        let proxy = Arc::new(Proxy::reaching(Dialer::Memory(Box::new(dial)), limits, Front::default()));
        let (before, ports) = (proxy.table(), Ports { http: common_port, https: 443 });
        let table =
            Arc::new(Table::compile(table, ports, &proxy.upstreams, &proxy.meter, &proxy.limits, &before));
        proxy.swap(&table);
        Self { proxy, listener: Arc::default() }
    }

    /// Serves a client that comes from `ip` by the common listener, in a task of its own. `false`: it is
    /// one too many.
    #[must_use]
    pub fn serve(&self, client: DuplexStream, ip: IpAddr) -> bool {
        let Some(admitted) = self.proxy.admission.admit(ip) else { return false };
        let client = ClientStream::Memory(client);
        connection::start(&self.proxy, Door::Common, client, ip, admitted, Arc::clone(&self.listener));
        true
    }

    /// Where a request that comes in by the listener of its own `port`, or by the common one, would go.
    /// `authority` is what its `Host` says: a text that is no host counts as none.
    #[must_use]
    pub fn find(&self, port: Option<u16>, authority: Option<&str>, path: &str) -> Option<Found> {
        let table = self.proxy.table();
        let mut buffer = [0; _];
        let host = authority.and_then(|authority| host::normalize(authority, &mut buffer));
        let place = table.find(port.map_or(Door::Common, Door::Own), host, path)?;
        let upstream = place.replicas.as_ref().and_then(|replicas| replicas.pick(&[]));
        Some(Found { upstream: upstream.map(|upstream| upstream.addr()), strip: place.strip })
    }

    /// What is in flight on all upstreams, requests and tunnels.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.proxy.upstreams.loads().iter().map(|load| load.in_flight.total()).sum()
    }
}
