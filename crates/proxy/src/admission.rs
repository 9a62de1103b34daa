//! Who may connect: how many connections in all, and how many from one address; and how many requests one address may
//! have in flight over those that carry many side by side.

use crate::front::Front;
use crate::limits::Limits;
use crate::room::Room;
use crate::sync::lock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

/// Counts the connections of clients.
#[derive(Debug)]
pub(crate) struct Admission {
    counts: Mutex<Counts>,
    all: usize,
    per_ip: usize,
    front: Arc<Front>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// By [`network`].
    by_ip: HashMap<IpAddr, Of>,
}

/// What counts as one address: with IPv6 the whole network of a host, for whoever has one address there has 2⁶⁴ of them
/// (RFC 4291, section 2.5.4).
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// What there is of one address.
#[derive(Debug, Default)]
struct Of {
    connections: usize,
    /// What is in flight on HTTP/2 connections.
    streams: Arc<Room>,
}

/// An admitted connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, front: Arc<Front>) -> Self {
        let (all, per_ip) = (limits.connections, limits.connections_per_ip);
        Self { counts: Mutex::default(), all, per_ip, front }
    }

    /// Whether the connections from `ip` are counted apart: loopback and those in front stand for many.
    fn is_counted(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() && !self.front.trusts(ip)
    }

    /// Counts a connection from `ip` in, if there is room.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let mut counts = lock(&self.counts);
        if counts.all >= self.all {
            return None;
        }
        if self.is_counted(ip) && !counts.add(ip, self.per_ip) {
            return None;
        }
        counts.all += 1;
        Some(Admitted { admission: Arc::clone(self), ip })
    }
}

impl Counts {
    /// Counts one from `ip`, if there are less than `most`.
    fn add(&mut self, ip: IpAddr, most: usize) -> bool {
        let from_ip = self.by_ip.entry(network(ip)).or_default();
        let has_room = from_ip.connections < most;
        if has_room {
            from_ip.connections += 1;
        }
        has_room
    }

    fn remove(&mut self, ip: IpAddr) {
        let network = network(ip);
        if let Some(from_ip) = self.by_ip.get_mut(&network) {
            from_ip.connections -= 1;
            if from_ip.connections == 0 {
                self.by_ip.remove(&network);
            }
        }
    }
}

impl Admitted {
    /// It turned out to come from `ip`: whether there is room for that one.
    pub(crate) fn is_of(&mut self, ip: IpAddr) -> bool {
        let mut counts = lock(&self.admission.counts);
        if self.admission.is_counted(ip) && !counts.add(ip, self.admission.per_ip) {
            return false;
        }
        if self.admission.is_counted(self.ip) {
            counts.remove(self.ip);
        }
        self.ip = ip;
        true
    }

    /// What the address may have in flight on its HTTP/2 connections, all together; `None`: it stands for many.
    pub(crate) fn streams(&self) -> Option<Arc<Room>> {
        let counts = lock(&self.admission.counts);
        let of_ip = counts.by_ip.get(&network(self.ip)).filter(|_| self.admission.is_counted(self.ip));
        of_ip.map(|of| Arc::clone(&of.streams))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.admission.counts);
        counts.all -= 1;
        if self.admission.is_counted(self.ip) {
            counts.remove(self.ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn each_address_and_all_together_are_capped_and_loopback_only_together() {
        let limits = Limits { connections: 4, connections_per_ip: 1, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits, Arc::default()));
        let (one, two, local) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [127, 0, 0, 1].into());
        let first = admission.admit(one);
        assert!(first.is_some() && admission.admit(one).is_none());
        let others = [admission.admit(two), admission.admit(local), admission.admit(local)];
        assert!(others.iter().all(Option::is_some));
        assert!(admission.admit(local).is_none());
        drop(first);
        let again = admission.admit(one);
        assert!(again.is_some() && lock(&admission.counts).by_ip.len() == 2);
        let (Some(again), [Some(other), Some(local), _]) = (again, &others) else {
            panic!("they are admitted")
        };
        let streams = |admitted: &Admitted| admitted.streams().map(|room| room.take(1));
        assert!(streams(&again).is_some_and(|seat| seat.is_some()) && streams(local).is_none());
        let _taken = again.streams().map(|room| room.take(1));
        assert!(streams(&again).is_some_and(|seat| seat.is_none()));
        assert!(streams(other).is_some_and(|seat| seat.is_some()));
        dockswap_proof::kept("T14", "caps of one address and of all together, without sockets");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limits = Limits { connections: 10, connections_per_ip: 1, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits, Arc::default()));
        let ip = |last| IpAddr::from(Ipv6Addr::from([0x2001, 0xdb8, 0, last, 0, 0, 0, last]));
        let neighbor = IpAddr::from(Ipv6Addr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]));
        let first = admission.admit(ip(1));
        assert!(first.is_some() && admission.admit(neighbor).is_none() && admission.admit(ip(2)).is_some());
        drop(first);
        assert!(admission.admit(neighbor).is_some());
        // IPv4 by way of a socket for both is told apart.
        let mapped = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped());
        let one = admission.admit(mapped(1));
        assert!(one.is_some() && admission.admit(mapped(2)).is_some());
    }

    #[test]
    fn a_connection_by_way_of_the_front_counts_for_whom_it_is() {
        let limits = Limits { connections: 10, connections_per_ip: 1, ..Limits::default() };
        let (balancer, client) = (IpAddr::from([10, 0, 0, 9]), IpAddr::from([192, 0, 2, 7]));
        let front = Front { trusted: vec![balancer.into()], ..Front::default() };
        let admission = Arc::new(Admission::new(&limits, Arc::new(front)));
        let connections = [admission.admit(balancer), admission.admit(balancer), admission.admit(balancer)];
        let [Some(mut one), Some(mut two), Some(three)] = connections else { panic!("the front is many") };
        assert!(one.is_of(client) && !two.is_of(client));
        assert!(admission.admit(client).is_none());
        drop(one);
        assert!(two.is_of(client));
        drop((two, three));
        let counts = lock(&admission.counts);
        assert_eq!((counts.all, counts.by_ip.len()), (0, 0));
    }
}
