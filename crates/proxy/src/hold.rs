//! Where requests wait while an app's gate is held: a bounded queue, and its end. A request that waits is in
//! flight on nothing. Knows nothing of routes.

use dockswap_core::routes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The hold of one app, as one table or several in a row ask for it.
#[derive(Debug)]
pub(crate) struct Hold {
    asked: routes::Hold,
    /// When it ends by itself. Reckoned once: a clock that is set meanwhile moves nothing.
    until: Instant,
    queue: Arc<Queue>,
    ended: CancellationToken,
}

/// The requests of one app that wait, over all changes of its hold.
#[derive(Debug, Default)]
struct Queue {
    waiting: AtomicU32,
}

/// A request's place in a queue, until it is dropped.
#[derive(Debug)]
pub(crate) struct InQueue(Arc<Queue>);

impl Hold {
    /// The hold that is `asked` for, after one of the same app: that one itself if nothing changed, else a new one
    /// with the same queue.
    pub(crate) fn after(before: Option<&Arc<Self>>, asked: routes::Hold) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.asked == asked) {
            return Arc::clone(before);
        }
        let queue = before.map_or_else(Arc::default, |before| Arc::clone(&before.queue));
        Arc::new(Self { asked, until: Instant::now() + left(asked), queue, ended: CancellationToken::new() })
    }

    /// A place in the queue, if there is one left.
    pub(crate) fn queue(&self) -> Option<InQueue> {
        let room = |waiting: u32| (waiting < self.asked.queue).then(|| waiting + 1);
        let entered = self.queue.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        entered.ok().map(|_| InQueue(Arc::clone(&self.queue)))
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.waiting.load(Ordering::Relaxed)
    }

    /// Whether its time is over: requests pass.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// No table asks for it any more: who waits looks at the table in force.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits for its end, by a table or by time.
    pub(crate) async fn ended(&self) {
        // Either is the end.
        let _by_time = timeout_at(self.until, self.ended.cancelled()).await;
    }
}

impl InQueue {
    /// Whether it is a place in this hold's queue.
    pub(crate) fn is_of(&self, hold: &Hold) -> bool {
        Arc::ptr_eq(&self.0, &hold.queue)
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn left(asked: routes::Hold) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = Duration::from_micros(u64::try_from(asked.until.as_micros()).unwrap_or(0));
    // A clock that was set back makes nobody wait longer than was meant.
    until.saturating_sub(now).min(asked.limit)
}
