//! A proxy that does not answer.

use crate::site::{Site, send};
use rustix::process::Signal;

/// The proxy, stopped as a whole until this is dropped: what is asked of it waits.
#[derive(Debug)]
pub struct Frozen(u32);

impl Frozen {
    /// Stops it.
    #[must_use]
    pub fn freeze(site: &Site) -> Self {
        let pid = site.proxy_pid().expect("a proxy");
        send(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        send(self.0, Signal::CONT);
    }
}
