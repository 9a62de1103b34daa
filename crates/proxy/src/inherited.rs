//! Listening sockets that another process has opened: a service manager, or the proxy before this one. What comes in
//! on them is not its business.

use rustix::net::sockopt::{set_socket_keepalive, socket_acceptconn};
use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Sockets that are to be used where they fit, instead of opening new ones.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// Each with the address that it is on.
    sockets: Vec<(SocketAddr, net::TcpListener)>,
    /// Whether one that is on the port, whatever its address, fits too.
    fit: Fit,
}

/// Which address a socket fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The very one: whose address is not wanted any more is not used.
    #[default]
    Exact,
    /// Any with its port: who opened it has decided about the rest.
    Port,
}

impl Inherited {
    /// `sockets`, all of which listen.
    ///
    /// # Errors
    /// When one does not.
    pub(crate) fn new(sockets: Vec<net::TcpListener>, fit: Fit) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(|socket| {
            if !socket_acceptconn(&socket)? {
                return Err(io::Error::other("an inherited socket does not listen"));
            }
            socket.set_nonblocking(true)?;
            set_socket_keepalive(&socket, true)?;
            Ok((socket.local_addr()?, socket))
        });
        Ok(Self { sockets: sockets.collect::<io::Result<_>>()?, fit })
    }

    /// The same, of descriptors.
    pub(crate) fn of_files(files: Vec<OwnedFd>, fit: Fit) -> io::Result<Self> {
        Self::new(files.into_iter().map(net::TcpListener::from).collect(), fit)
    }

    /// A socket that listens on `addr`: an inherited one where it fits, else a new one.
    pub(crate) fn bind(&mut self, addr: SocketAddr) -> io::Result<TcpListener> {
        let fits = |on: SocketAddr| match self.fit {
            Fit::Exact => on == addr,
            Fit::Port => on.port() == addr.port(),
        };
        match self.sockets.iter().position(|(on, _)| fits(*on)) {
            Some(at) => TcpListener::from_std(self.sockets.swap_remove(at).1),
            None => bind(addr),
        }
    }

    /// Where sockets listen that nobody has asked for.
    pub(crate) fn unused(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(addr, _)| *addr).collect()
    }

    /// Closes those that nobody has asked for: from now on all is opened anew.
    pub(crate) fn forget(&mut self) {
        self.sockets.clear();
    }
}

/// Binds `addr` and listens.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    #[tokio::test]
    async fn an_inherited_socket_is_used_where_it_fits_and_once() {
        let opened = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = opened.local_addr().unwrap();
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], addr.port()));
        let sockets = || vec![opened.try_clone().unwrap()];

        let mut exact = Inherited::new(sockets(), Fit::Exact).unwrap();
        assert_eq!(exact.bind(elsewhere).unwrap().local_addr().unwrap(), elsewhere);
        assert_eq!(exact.unused(), [addr]);
        assert_eq!(exact.bind(addr).unwrap().local_addr().unwrap(), addr);
        assert_eq!(exact.bind(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        let mut by_port = Inherited::new(sockets(), Fit::Port).unwrap();
        assert_eq!(by_port.bind(elsewhere).unwrap().local_addr().unwrap(), addr);
        assert!(by_port.unused().is_empty());
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let connected = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Inherited::of_files(vec![connected.into()], Fit::Port).is_err());
    }
}
