//! How long somebody who should send something has been sending nothing.

use crate::alarm::Alarm;
use std::task::{Context, Poll};
use std::time::Duration;

/// A silence, and how long it may last.
#[derive(Debug)]
pub(crate) struct Silence {
    /// `None`: for ever.
    longest: Option<Duration>,
    alarm: Alarm,
    /// Whether the alarm was set for the present one.
    noticed: bool,
}

impl Silence {
    pub(crate) fn at_most(longest: Option<Duration>) -> Self {
        Self { longest, alarm: Alarm::default(), noticed: false }
    }

    /// Something came: the next silence is another one.
    pub(crate) const fn broken(&mut self) {
        self.noticed = false;
    }

    /// Nothing came: ready when it has been so for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(longest) = self.longest else { return Poll::Pending };
        if !self.noticed {
            self.noticed = true;
            self.alarm.set(longest);
        }
        self.alarm.poll(cx)
    }
}
