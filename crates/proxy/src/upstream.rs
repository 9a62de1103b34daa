//! One life of one container as the proxy sees it: what is in flight on it, and its connections.
//!
//! The counts are what a drain waits for. A request is counted in *before* its route is looked at a
//! second time, so that whoever swaps the table and then reads the counts can never see zero while
//! a request that saw the old table is about to start. Knows nothing of routes.

use crate::closing::Closing;
use crate::limits::Limits;
use crate::pool::Pool;
use crate::sync::lock;
use dockswap_core::routes::{self, UpstreamId, UpstreamLoad};
use dockswap_core::spec::Protocol;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// What something in flight turned out to be: at first, everything is an ordinary request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    EventStream,
    Call,
    WebSocket,
    Tunnel,
}

/// How many kinds there are.
const KINDS: usize = Kind::Tunnel as usize + 1;

/// Closing connections takes at most this long: their clients come back one after the other and not all at once.
pub(crate) const SPREAD: Duration = Duration::from_secs(3);

/// Between two of few that are closed.
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Upstream {
    id: UpstreamId,
    addr: SocketAddr,
    protocol: Protocol,
    /// Everything in flight.
    load: AtomicU64,
    /// How much of it is of each kind.
    kinds: [AtomicU64; KINDS],
    routed: AtomicBool,
    pool: Pool,
    /// What holds its connections: ending them ends what is in flight.
    holds: Mutex<Vec<Hold>>,
    /// How often it was closed: a request that began before the last time must not start.
    closings: AtomicU64,
    refusal: Refusal,
    drains: Arc<Drains>,
}

/// Something that holds a connection.
#[derive(Debug)]
pub(crate) enum Hold {
    /// A task that can be ended anywhere.
    Task(AbortHandle),
    /// One that ends in order when it is told to.
    Tunnel(AbortHandle, CancellationToken),
    /// None of its own: whoever uses the connection is told.
    Connection(Arc<Closing>),
}

impl Hold {
    fn is_over(&self) -> bool {
        match self {
            Self::Task(task) | Self::Tunnel(task, _) => task.is_finished(),
            // The connection is gone, which had the other one.
            Self::Connection(closing) => Arc::strong_count(closing) == 1,
        }
    }

    fn end(&self) {
        match self {
            Self::Task(task) => task.abort(),
            Self::Tunnel(_, farewell) => farewell.cancel(),
            Self::Connection(closing) => closing.give(),
        }
    }
}

/// Wakes those who wait for a count to reach zero.
#[derive(Debug, Default)]
struct Drains {
    waiting: AtomicUsize,
    emptied: Notify,
}

/// When an upstream last refused a connection.
#[derive(Debug)]
struct Refusal {
    born: Instant,
    remembered_for: Duration,
    /// Milliseconds after `born` until which it is remembered; 0: never refused.
    until_millis: AtomicU64,
}

impl Upstream {
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How much is in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.load.load(Ordering::SeqCst)
    }

    /// Whether the table in force leads here, or the next one does.
    pub(crate) fn is_routed(&self) -> bool {
        self.routed.load(Ordering::SeqCst)
    }

    /// Whether it refused a connection a moment ago.
    pub(crate) fn refuses(&self) -> bool {
        let until = self.refusal.until_millis.load(Ordering::Relaxed);
        until != 0 && self.refusal.millis() < until
    }

    /// It refused a connection.
    pub(crate) fn note_refusal(&self) {
        let until = self.refusal.millis() + as_millis(self.refusal.remembered_for);
        self.refusal.until_millis.store(until, Ordering::Relaxed);
    }

    /// It accepted a connection.
    pub(crate) fn note_acceptance(&self) {
        self.refusal.until_millis.store(0, Ordering::Relaxed);
    }

    pub(crate) fn closings(&self) -> u64 {
        self.closings.load(Ordering::SeqCst)
    }

    /// Remembers what holds a connection, to be ended by [`Upstreams::close`]. `closings`: see
    /// [`Upstream::closings`]; what began before the last one ends here.
    pub(crate) fn hold(&self, hold: Hold, closings: u64) {
        let mut holds = lock(&self.holds);
        if self.closings() != closings {
            return hold.end();
        }
        if holds.len() == holds.capacity() {
            holds.retain(|hold| !hold.is_over());
        }
        holds.push(hold);
    }

    fn is_idle(&self) -> bool {
        self.load.load(Ordering::SeqCst) == 0
    }

    fn load(&self) -> UpstreamLoad {
        let [event_streams, calls, websockets, tunnels] =
            [Kind::EventStream, Kind::Call, Kind::WebSocket, Kind::Tunnel]
                .map(|kind| self.kinds[kind as usize].load(Ordering::SeqCst));
        // Read one after the other, so that they may not fit together for a moment; that nothing is left is read at
        // once.
        let requests = self.in_flight().saturating_sub(event_streams + calls + websockets + tunnels);
        let in_flight = routes::InFlight { requests, event_streams, calls, websockets, tunnels };
        UpstreamLoad { id: self.id.clone(), in_flight }
    }

    fn count_out(&self) {
        let before = self.load.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.drains.waiting.load(Ordering::SeqCst) > 0 {
            self.drains.emptied.notify_waiters();
        }
    }

    /// Lets nothing go on that has not begun; what has to be ended so that all ends.
    fn begin_close(&self) -> Vec<Hold> {
        let mut holds = lock(&self.holds);
        self.closings.fetch_add(1, Ordering::SeqCst);
        self.pool.clear();
        holds.retain(|hold| !hold.is_over());
        std::mem::take(&mut *holds)
    }
}

impl Refusal {
    fn millis(&self) -> u64 {
        as_millis(self.born.elapsed())
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request, or the tunnel that it became, that counts as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    upstream: Arc<Upstream>,
    kind: Option<Kind>,
}

impl InFlight {
    /// Counts a request in. Whoever calls this must afterwards read the table in force once more,
    /// and let go when it has changed.
    pub(crate) fn begin(upstream: &Arc<Upstream>) -> Self {
        upstream.load.fetch_add(1, Ordering::SeqCst);
        // Pairs with the fence in `Upstreams::route_only`: either the caller sees the new table, or
        // the one who swapped it sees this request.
        fence(Ordering::SeqCst);
        Self { upstream: Arc::clone(upstream), kind: None }
    }

    pub(crate) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Counts it as one of this kind from now on, whatever it was taken for before.
    pub(crate) fn counted_as(mut self, kind: Kind) -> Self {
        self.upstream.kinds[kind as usize].fetch_add(1, Ordering::SeqCst);
        if let Some(before) = self.kind.replace(kind) {
            self.upstream.kinds[before as usize].fetch_sub(1, Ordering::SeqCst);
        }
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(kind) = self.kind {
            self.upstream.kinds[kind as usize].fetch_sub(1, Ordering::SeqCst);
        }
        self.upstream.count_out();
    }
}

/// Every upstream that is routed or has something in flight.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// An address that changed within one life of a container makes another entry.
    known: Mutex<BTreeMap<routes::Upstream, Arc<Upstream>>>,
    drains: Arc<Drains>,
    limits: Arc<Limits>,
}

impl Upstreams {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self { known: Mutex::default(), drains: Arc::default(), limits }
    }

    /// The upstream that `data` names: the one already known, with its counts and connections, or a
    /// new one.
    pub(crate) fn adopt(&self, data: &routes::Upstream) -> Arc<Upstream> {
        let mut known = lock(&self.known);
        let upstream = known.entry(data.clone()).or_insert_with(|| {
            Arc::new(Upstream {
                id: data.id.clone(),
                addr: data.addr,
                protocol: data.protocol,
                load: AtomicU64::new(0),
                kinds: Default::default(),
                routed: AtomicBool::new(false),
                pool: Pool::new(Arc::clone(&self.limits)),
                holds: Mutex::default(),
                closings: AtomicU64::new(0),
                refusal: Refusal {
                    born: Instant::now(),
                    remembered_for: self.limits.refused_time,
                    until_millis: AtomicU64::new(0),
                },
                drains: Arc::clone(&self.drains),
            })
        });
        Arc::clone(upstream)
    }

    /// The table that comes into force next leads to `routed` too. To be called before the swap: whoever sees the table
    /// sees this.
    pub(crate) fn route_also<'a>(&self, routed: impl Iterator<Item = &'a routes::Upstream>) {
        let known = lock(&self.known);
        for upstream in routed.filter_map(|data| known.get(data)) {
            upstream.routed.store(true, Ordering::SeqCst);
        }
    }

    /// The table in force leads to `routed` and nowhere else. To be called after every swap, before
    /// any count is read: it makes every request that still saw the old table visible.
    pub(crate) fn route_only<'a>(&self, routed: impl Iterator<Item = &'a routes::Upstream>) {
        fence(Ordering::SeqCst);
        let routed: std::collections::BTreeSet<_> = routed.collect();
        lock(&self.known).retain(|data, upstream| {
            let is_routed = routed.contains(data);
            upstream.routed.store(is_routed, Ordering::SeqCst);
            if !is_routed {
                upstream.pool.clear();
            }
            is_routed || !upstream.is_idle()
        });
    }

    /// Forgets what is over: upstreams that are neither routed nor busy, and stale connections.
    pub(crate) fn tidy(&self) {
        lock(&self.known).retain(|_, upstream| {
            upstream.pool.prune();
            if !upstream.is_routed() {
                // A connection to be shared may have been opened after the route had left.
                upstream.pool.clear();
            }
            upstream.is_routed() || !upstream.is_idle()
        });
    }

    /// What is in flight, an entry for each upstream.
    pub(crate) fn loads(&self) -> Vec<UpstreamLoad> {
        self.sum(|_| true)
    }

    /// Waits until nothing is in flight on `ids`, at most until `patience` is over; what is left.
    pub(crate) async fn drained(&self, ids: &[UpstreamId], patience: Duration) -> Vec<UpstreamLoad> {
        let deadline = Instant::now() + patience;
        let _waiting = Waiting::begin(&self.drains);
        loop {
            let emptied = self.drains.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            let left = self.busy(ids);
            if left.is_empty() {
                return left;
            }
            if timeout_at(deadline, emptied).await.is_err() {
                return self.busy(ids);
            }
        }
    }

    /// Ends what is in flight on `ids`, by closing the connections one after the other, which takes at most
    /// [`SPREAD`]. What was counted in before and has not begun does not begin any more.
    pub(crate) async fn close(&self, ids: &[UpstreamId]) {
        let holds: Vec<Hold> = {
            let known = lock(&self.known);
            let closed = known.values().filter(|upstream| ids.contains(&upstream.id));
            closed.flat_map(|upstream| upstream.begin_close()).collect()
        };
        let gap = SPREAD.checked_div(u32::try_from(holds.len()).unwrap_or(u32::MAX));
        let gap = gap.map_or(LONGEST_GAP, |gap| gap.min(LONGEST_GAP));
        let mut next = Instant::now();
        for hold in holds {
            if hold.is_over() {
                continue;
            }
            sleep_until(next).await;
            hold.end();
            next += gap;
        }
    }

    fn busy(&self, ids: &[UpstreamId]) -> Vec<UpstreamLoad> {
        let mut loads = self.sum(|id| ids.contains(id));
        loads.retain(|load| !load.is_idle());
        loads
    }

    fn sum(&self, wanted: impl Fn(&UpstreamId) -> bool) -> Vec<UpstreamLoad> {
        let mut loads: Vec<UpstreamLoad> = Vec::new();
        for upstream in lock(&self.known).values().filter(|upstream| wanted(&upstream.id)) {
            let load = upstream.load();
            match loads.last_mut().filter(|last| last.id == load.id) {
                Some(last) => last.in_flight += load.in_flight,
                None => loads.push(load),
            }
        }
        loads
    }
}

/// Somebody waits for a drain.
struct Waiting<'a>(&'a Drains);

impl<'a> Waiting<'a> {
    fn begin(drains: &'a Drains) -> Self {
        drains.waiting.fetch_add(1, Ordering::SeqCst);
        Self(drains)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
