//! Telling a connection that has no task of its own to end. Cheaper than a signal that many may wait for.

use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Given at most once; one task at a time waits for it.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    given: AtomicBool,
    waits: AtomicWaker,
}

impl Closing {
    pub(crate) fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.waits.wake();
    }

    pub(crate) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Ready when it was given. To be asked last: it wakes whoever asked last.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waits.register(cx.waker());
        if self.is_given() { Poll::Ready(()) } else { Poll::Pending }
    }
}
