//! The connections to one upstream that can take a request. They belong to one life of one container and die with
//! it. HTTP/1.1: idle ones, each for one request at a time. HTTP/2: shared ones, each for many.

use crate::alarm::Alarm;
use crate::exchange::{Incame, Outgoing};
use crate::limits::Limits;
use crate::request_body::RequestBody;
use crate::sync::lock;
use futures_util::future::Either;
use hyper::client::conn::{TrySendError, http1, http2};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::time::Instant;

/// Streams on one shared connection: what an upstream should bear (RFC 9113, section 6.5.2).
pub(crate) const STREAMS: u32 = 100;

/// The sending half of a connection to an upstream, for one request.
#[derive(Debug)]
pub(crate) enum Sender {
    /// All of the connection.
    Http1(Whole),
    /// A share in it.
    Http2(Share),
}

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct Whole {
    sender: http1::SendRequest<RequestBody>,
    /// For the answers that come over it, one after the other: setting it again costs nothing.
    alarm: Alarm,
}

impl Sender {
    /// All of a connection that was just opened.
    pub(crate) fn whole(sender: http1::SendRequest<RequestBody>) -> Self {
        Self::Http1(Whole { sender, alarm: Alarm::default() })
    }

    /// Sends `request`, which has the form that this protocol wants; what becomes of it.
    pub(crate) fn send(
        &mut self,
        request: Outgoing,
    ) -> impl Future<Output = Result<Incame, TrySendError<Outgoing>>> + use<> {
        match self {
            Self::Http1(whole) => Either::Left(whole.sender.try_send_request(request)),
            Self::Http2(share) => Either::Right(share.sender.try_send_request(request)),
        }
    }

    /// What to wait for an answer with.
    pub(crate) fn alarm(&mut self) -> &mut Alarm {
        match self {
            Self::Http1(whole) => &mut whole.alarm,
            Self::Http2(share) => &mut share.alarm,
        }
    }
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
    whole: Whole,
    since: Instant,
}

impl Idle {
    fn is_closed(&self) -> bool {
        self.whole.sender.is_closed()
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
    alarm: Alarm,
}

impl Shared {
    fn share(&self) -> Option<Share> {
        let mut usage = lock(&self.usage);
        let room = (STREAMS as usize).min(*self.room.borrow());
        if self.sender.is_closed() || usage.streams >= room {
            return None;
        }
        usage.streams += 1;
        Some(Share { sender: self.sender.clone(), usage: Arc::clone(&self.usage), alarm: Alarm::default() })
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

    /// A connection that can take a request now. One whose last exchange is not wholly over yet
    /// stays for later.
    pub(crate) fn take(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        let newest_ready = idle.iter().rposition(|one| one.whole.sender.is_ready())?;
        let one = idle.remove(newest_ready);
        (one.since.elapsed() < self.limits.upstream_idle_time).then_some(Sender::Http1(one.whole))
    }

    /// A share in a connection that has room.
    pub(crate) fn share(&self) -> Option<Sender> {
        lock(&self.shared).iter().rev().find_map(Shared::share).map(Sender::Http2)
    }

    /// Whoever holds this may open a connection to be shared.
    pub(crate) async fn opening(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Keeps a connection whose answer has been read; a share just ends.
    pub(crate) fn put(&self, sender: Sender) {
        let Sender::Http1(whole) = sender else { return };
        let one = Idle { whole, since: Instant::now() };
        if one.is_closed() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() >= self.limits.upstream_idle_connections {
            idle.retain(|one| !one.is_closed());
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
        let share = Share { sender: sender.clone(), usage: Arc::clone(&usage), alarm: Alarm::default() };
        lock(&self.shared).push(Shared { sender, room, usage });
        Sender::Http2(share)
    }

    /// Closes what has been idle for too long.
    pub(crate) fn prune(&self) {
        let longest = self.limits.upstream_idle_time;
        lock(&self.idle).retain(|one| !one.is_closed() && one.since.elapsed() < longest);
        lock(&self.shared).retain(|one| one.is_of_use(&self.limits));
    }

    /// Closes all; of those that are shared, each with its last share.
    pub(crate) fn clear(&self) {
        lock(&self.idle).clear();
        lock(&self.shared).clear();
    }
}
