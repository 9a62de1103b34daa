//! Telling connections to end: gently first, then at once. Cheap to ask on every wake-up.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio_util::sync::CancellationToken;

/// A signal that is given once.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    given: AtomicBool,
    token: CancellationToken,
}

impl Stop {
    pub(crate) fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Waits for the signal.
    pub(crate) async fn given(&self) {
        self.token.cancelled().await;
    }
}

/// Runs `connection` to its end. When one of `gentle` is given, `finish` is called on it, once;
/// when `hard` is given, it is dropped where it stands (`None`).
///
/// To be called in a task of its own: the signals are asked to wake it only once.
pub(crate) async fn run_until<C: Future>(
    mut connection: Pin<&mut C>,
    gentle: [&Stop; 2],
    hard: &Stop,
    finish: impl Fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut signals = [pin!(gentle[0].given()), pin!(gentle[1].given()), pin!(hard.given())];
    // A task's waker never changes, so that registering it once is enough, and each later wake-up
    // costs three loads instead of three locks.
    std::future::poll_fn(|cx: &mut Context<'_>| {
        for signal in &mut signals {
            let _registered = signal.as_mut().poll(cx);
        }
        Poll::Ready(())
    })
    .await;
    let mut finishing = false;
    std::future::poll_fn(move |cx| {
        if hard.is_given() {
            return Poll::Ready(None);
        }
        if !finishing && gentle.iter().any(|stop| stop.is_given()) {
            finishing = true;
            finish(connection.as_mut());
        }
        connection.as_mut().poll(cx).map(Some)
    })
    .await
}
