//! How long somebody who should send something has been sending nothing.

use crate::alarm::Alarm;
use std::task::{Context, Poll};
use std::time::Duration;

/// A silence, and how long it may last.
#[derive(Debug)]
pub(crate) struct Silence {
    longest: Duration,
    alarm: Alarm,
    /// Whether the alarm was set for the present one.
    noticed: bool,
}

impl Silence {
    pub(crate) fn at_most(longest: Duration) -> Self {
        Self { longest, alarm: Alarm::default(), noticed: false }
    }

    /// Something came: the next silence is another one.
    pub(crate) const fn broken(&mut self) {
        self.noticed = false;
    }

    /// Nothing came: ready when it has been so for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.noticed {
            self.noticed = true;
            self.alarm.set(self.longest);
        }
        self.alarm.poll(cx)
    }
}
