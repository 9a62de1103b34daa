//! How upstreams are reached. Knows nothing of what is sent.

use std::fmt;
#[cfg(feature = "in-memory")]
use {std::io, std::net::SocketAddr, tokio::io::DuplexStream};

/// A way to reach upstreams.
pub(crate) enum Dialer {
    /// As everybody does.
    Tcp,
    /// Without a network: clients come over the same kind of stream.
    #[cfg(feature = "in-memory")]
    Memory(Box<dyn Fn(SocketAddr) -> io::Result<DuplexStream> + Send + Sync>),
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "Tcp",
            #[cfg(feature = "in-memory")]
            Self::Memory(_) => "Memory",
        })
    }
}
