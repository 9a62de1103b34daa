//! Listening sockets that another process has opened: a service manager, or the proxy before this one. What comes in
//! on them is not its business.

use rustix::net::sockopt::{set_socket_keepalive, socket_acceptconn};
use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Sockets that are to be used where they fit, instead of opening new ones.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// From the proxy before this one, each with the address that it is on: for that address, and once.
    handed: Vec<(SocketAddr, net::TcpListener)>,
    /// From a service manager: for any address with their port, and as often as it is asked for. They stay open there,
    /// so that nobody else can open that port.
    activated: Vec<(SocketAddr, net::TcpListener)>,
}

impl Inherited {
    /// What a service manager has opened.
    ///
    /// # Errors
    /// When a socket does not listen.
    pub(crate) fn activated(sockets: Vec<net::TcpListener>) -> io::Result<Self> {
        let activated = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
        Ok(Self { handed: Vec::new(), activated })
    }

    /// What the proxy before this one has handed over; the last `activated` of it are a service manager's.
    ///
    /// # Errors
    /// When a socket does not listen.
    pub(crate) fn handed_over(files: Vec<OwnedFd>, activated: usize) -> io::Result<Self> {
        let sockets = files.into_iter().map(|file| listening(net::TcpListener::from(file)));
        let mut handed = sockets.collect::<io::Result<Vec<_>>>()?;
        let activated = handed.split_off(handed.len().saturating_sub(activated));
        Ok(Self { handed, activated })
    }

    /// A socket that listens on `addr`: an inherited one where it fits, else a new one.
    pub(crate) fn bind(&mut self, addr: SocketAddr) -> io::Result<TcpListener> {
        if let Some(at) = self.handed.iter().position(|(on, _)| covers(*on, addr)) {
            return TcpListener::from_std(self.handed.swap_remove(at).1);
        }
        match self.activated.iter().find(|(on, _)| on.port() == addr.port()) {
            Some((_, socket)) => TcpListener::from_std(socket.try_clone()?),
            None => bind(addr),
        }
    }

    /// The sockets of the service manager, to be handed on.
    pub(crate) fn activated_sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.activated.iter().map(|(_, socket)| socket.as_fd())
    }

    /// Closes what was handed over and nobody has asked for: from now on all is opened anew.
    pub(crate) fn forget_handed(&mut self) {
        self.handed.clear();
    }
}

/// Whether a socket on `socket` is what somebody wants who asks for `addr`. One on every address of IPv6 takes IPv4
/// as well.
fn covers(socket: SocketAddr, addr: SocketAddr) -> bool {
    socket == addr
        || (socket.port() == addr.port()
            && socket.is_ipv6()
            && socket.ip().is_unspecified()
            && addr.ip().is_unspecified())
}

/// A socket with its address, as ours are: it must listen.
fn listening(socket: net::TcpListener) -> io::Result<(SocketAddr, net::TcpListener)> {
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::other("an inherited socket does not listen"));
    }
    socket.set_nonblocking(true)?;
    set_socket_keepalive(&socket, true)?;
    Ok((socket.local_addr()?, socket))
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
    async fn an_inherited_socket_is_used_where_it_fits() {
        let opened = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = opened.local_addr().unwrap();
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], addr.port()));
        let on = |inherited: &mut Inherited, addr| inherited.bind(addr).map(|it| it.local_addr().unwrap());

        let file = OwnedFd::from(opened.try_clone().unwrap());
        let mut handed = Inherited::handed_over(vec![file], 0).unwrap();
        assert_eq!(on(&mut handed, elsewhere).unwrap(), elsewhere);
        assert_eq!(on(&mut handed, addr).unwrap(), addr);
        assert_eq!(on(&mut handed, addr).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it was used");

        let mut activated = Inherited::activated(vec![opened]).unwrap();
        for _ in 0..2 {
            assert_eq!(on(&mut activated, elsewhere).unwrap(), addr);
        }
        let files = activated.activated_sockets().map(|socket| socket.try_clone_to_owned().unwrap());
        let mut handed_on = Inherited::handed_over(files.collect(), 1).unwrap();
        handed_on.forget_handed();
        assert_eq!(on(&mut handed_on, elsewhere).unwrap(), addr);
    }

    #[test]
    fn a_socket_that_takes_all_of_ipv6_takes_all_of_ipv4() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(covers(addr("[::]:80"), addr("0.0.0.0:80")));
        for (socket, wanted) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "127.0.0.1:80"), ("0.0.0.0:80", "[::]:80")]
        {
            assert!(!covers(addr(socket), addr(wanted)), "{socket} {wanted}");
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let bound = net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Inherited::handed_over(vec![bound.into()], 0).is_err());
    }
}
