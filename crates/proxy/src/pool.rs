//! The idle connections to one upstream. They belong to one life of one container and die with it.

use crate::limits::Limits;
use crate::request_body::RequestBody;
use crate::sync::lock;
use hyper::client::conn::http1::SendRequest;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// The sending half of a connection to an upstream.
pub(crate) type Sender = SendRequest<RequestBody>;

/// Idle connections, the one used last on top: those that traffic no longer needs age and go.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    pub(crate) const fn new(limits: Arc<Limits>) -> Self {
        Self { idle: Mutex::new(Vec::new()), limits }
    }

    /// A connection that can take a request now. One whose last exchange is not wholly over yet
    /// stays for later.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        let newest_ready = idle.iter().rposition(|one| one.sender.is_ready())?;
        let one = idle.remove(newest_ready);
        (one.since.elapsed() < self.limits.upstream_idle_time).then_some(one.sender)
    }

    /// Keeps a connection whose answer has been read.
    pub(crate) fn put(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() >= self.limits.upstream_idle_connections {
            idle.retain(|one| !one.sender.is_closed());
        }
        if idle.len() < self.limits.upstream_idle_connections {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn prune(&self) {
        let longest = self.limits.upstream_idle_time;
        lock(&self.idle).retain(|one| !one.sender.is_closed() && one.since.elapsed() < longest);
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        lock(&self.idle).clear();
    }
}
