//! The connections to one upstream that can take a request. They belong to one life of one container and die with
//! it. HTTP/1.1: idle ones, each for one request at a time. HTTP/2: shared ones, each for many.

use crate::exchange::Outgoing;
use crate::http1;
use crate::limits::Limits;
use crate::request_body::RequestBody;
use crate::sync::lock;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;

/// Streams on one shared connection: what an upstream should bear (RFC 9113, section 6.5.2).
pub(crate) const STREAMS: u32 = 100;

/// A connection to an upstream, for one request.
#[derive(Debug)]
pub(crate) enum Sender {
    /// All of the connection: it carries one request at a time.
    Http1(Box<http1::Connection>),
    /// A share in it.
    Http2(Share),
}

/// Connections, the one used last on top: those that traffic no longer needs age and go.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    /// Who opens a connection to be shared keeps others from opening one each.
    opening: tokio::sync::Mutex<()>,
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<http1::Connection>,
    since: Instant,
}

impl Idle {
    fn is_of_use(&mut self, limits: &Limits) -> bool {
        self.since.elapsed() < limits.upstream_idle_time && self.connection.is_quiet()
    }
}

#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    /// Streams that the upstream allows.
    room: watch::Receiver<usize>,
    usage: Arc<Mutex<Usage>>,
}

/// Of a shared connection.
#[derive(Debug)]
struct Usage {
    streams: usize,
    /// When the last share was given back.
    since: Instant,
}

/// A stream of a shared connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    sender: http2::SendRequest<RequestBody>,
    usage: Arc<Mutex<Usage>>,
}

impl Share {
    /// Sends `request`, which has the form that HTTP/2 wants; what becomes of it.
    pub(crate) fn send(
        &mut self,
        request: Outgoing,
    ) -> impl Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<RequestBody>>>> + use<>
    {
        self.sender.try_send_request(request.into())
    }
}

impl Shared {
    fn share(&self) -> Option<Share> {
        let mut usage = lock(&self.usage);
        let room = (STREAMS as usize).min(*self.room.borrow());
        if self.sender.is_closed() || usage.streams >= room {
            return None;
        }
        usage.streams += 1;
        Some(Share { sender: self.sender.clone(), usage: Arc::clone(&self.usage) })
    }

    fn is_of_use(&self, limits: &Limits) -> bool {
        let usage = lock(&self.usage);
        let rests = usage.streams == 0 && usage.since.elapsed() >= limits.upstream_idle_time;
        !self.sender.is_closed() && !rests
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut usage = lock(&self.usage);
        usage.streams -= 1;
        usage.since = Instant::now();
    }
}

impl Pool {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self {
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            limits,
        }
    }

    /// A connection that can take a request now.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        while let Some(mut newest) = idle.pop() {
            if newest.is_of_use(&self.limits) {
                return Some(Sender::Http1(newest.connection));
            }
        }
        None
    }

    /// A share in a connection that has room.
    pub(crate) fn share(&self) -> Option<Sender> {
        lock(&self.shared).iter().rev().find_map(Shared::share).map(Sender::Http2)
    }

    /// Whoever holds this may open a connection to be shared.
    pub(crate) async fn opening(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Keeps a connection whose answer has been read.
    pub(crate) fn put(&self, connection: Box<http1::Connection>) {
        let one = Idle { connection, since: Instant::now() };
        let mut idle = lock(&self.idle);
        if idle.len() >= self.limits.upstream_idle_connections {
            idle.retain_mut(|one| one.is_of_use(&self.limits));
        }
        if idle.len() < self.limits.upstream_idle_connections {
            idle.push(one);
        }
    }

    /// Keeps a connection to be shared, `room` being the streams that the upstream allows at present; the first
    /// share in it.
    pub(crate) fn put_to_share(
        &self,
        sender: http2::SendRequest<RequestBody>,
        room: watch::Receiver<usize>,
    ) -> Sender {
        let usage = Arc::new(Mutex::new(Usage { streams: 1, since: Instant::now() }));
        let share = Share { sender: sender.clone(), usage: Arc::clone(&usage) };
        lock(&self.shared).push(Shared { sender, room, usage });
        Sender::Http2(share)
    }

    /// Closes what has been idle for too long.
    pub(crate) fn prune(&self) {
        lock(&self.idle).retain_mut(|one| one.is_of_use(&self.limits));
        lock(&self.shared).retain(|one| one.is_of_use(&self.limits));
    }

    /// Closes all; of those that are shared, each with its last share.
    pub(crate) fn clear(&self) {
        lock(&self.idle).clear();
        lock(&self.shared).clear();
    }
}
