//! A timer that is set often and rings seldom: setting it to a later time costs nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Rings once its time has come.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    due: Option<Instant>,
}

impl Alarm {
    /// Rings `after` that time from now, and not before.
    pub(crate) fn set(&mut self, after: Duration) {
        let due = Instant::now() + after;
        self.due = Some(due);
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() > due => sleep.as_mut().reset(due),
            Some(_) => {}
            None => self.sleep = Some(Box::pin(sleep_until(due))),
        }
    }

    /// Ready when the time it was last set to has come; never, when it was not set.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(sleep), Some(due)) = (&mut self.sleep, self.due) else {
            return Poll::Pending;
        };
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}
