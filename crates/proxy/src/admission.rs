//! Who may connect: how many connections in all, and how many from one address.

use crate::limits::Limits;
use crate::sync::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Counts the connections of clients.
#[derive(Debug)]
pub(crate) struct Admission {
    counts: Mutex<Counts>,
    all: usize,
    per_ip: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// An admitted connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { counts: Mutex::default(), all: limits.connections, per_ip: limits.connections_per_ip }
    }

    /// Counts a connection from `ip` in, if there is room. Loopback counts only in all.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let mut counts = lock(&self.counts);
        if counts.all >= self.all {
            return None;
        }
        if !ip.is_loopback() {
            let from_ip = counts.by_ip.entry(ip).or_default();
            if *from_ip >= self.per_ip {
                return None;
            }
            *from_ip += 1;
        }
        counts.all += 1;
        Some(Admitted { admission: Arc::clone(self), ip })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.admission.counts);
        counts.all -= 1;
        if let Some(from_ip) = counts.by_ip.get_mut(&self.ip) {
            *from_ip -= 1;
            if *from_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_and_all_together_are_capped_and_loopback_only_together() {
        let admission =
            Arc::new(Admission::new(&Limits { connections: 4, connections_per_ip: 1, ..Limits::default() }));
        let (one, two, local) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [127, 0, 0, 1].into());
        let first = admission.admit(one);
        assert!(first.is_some() && admission.admit(one).is_none());
        let others = [admission.admit(two), admission.admit(local), admission.admit(local)];
        assert!(others.iter().all(Option::is_some));
        assert!(admission.admit(local).is_none());
        drop(first);
        let again = admission.admit(one);
        assert!(again.is_some() && lock(&admission.counts).by_ip.len() == 2);
        dockswap_proof::kept("T14", "caps of one address and of all together, without sockets");
    }
}
