//! Loopback addresses that no other scripted Docker hands out at the same time.

use std::net::{Ipv4Addr, TcpListener};
use tokio::net::TcpSocket;

/// Where the holder of a subnet shows that it has it.
const MARK: (u8, u16) = (254, 8079);

/// Where the demo app listens, unless it is told otherwise.
const APP_PORT: u16 = 8080;

/// Whether an app could listen there. One that was closed a moment ago may be held by a program that is being
/// started just now: until it runs, it has copies of all that is open here.
pub(super) fn nobody_listens(address: Ipv4Addr) -> bool {
    let tried = TcpSocket::new_v4().and_then(|socket| {
        // Only one that listens is in the way then.
        socket.set_reuseaddr(true)?;
        socket.bind((address, APP_PORT).into())
    });
    tried.is_ok()
}

/// 127.x.y.0/24, for as long as it is held.
#[derive(Debug)]
pub(super) struct Subnet {
    high: u8,
    low: u8,
    _mark: TcpListener,
}

impl Subnet {
    /// Takes one that nobody has.
    pub(super) fn take() -> Self {
        let seed = std::process::id().wrapping_mul(97);
        let numbers = (0..0xfe00_u32).map(|step| 0x100 + seed.wrapping_add(step) % 0xfe00);
        for number in numbers {
            let [.., high, low] = number.to_be_bytes();
            if let Ok(mark) = TcpListener::bind((Ipv4Addr::new(127, high, low, MARK.0), MARK.1)) {
                return Self { high, low, _mark: mark };
            }
        }
        panic!("every loopback subnet is taken");
    }

    /// Its addresses, lowest first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (high, low) = (self.high, self.low);
        (2..MARK.0).map(move |last| Ipv4Addr::new(127, high, low, last))
    }
}
