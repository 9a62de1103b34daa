//! Waiting for conditions. Nothing waits for a length of time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(8);

/// What `look` finds, once it finds something; `None` after `patience`.
pub fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            None if Instant::now() < deadline => std::thread::sleep(LOOK),
            found => return found,
        }
    }
}

/// What `look` finds, once it finds something; panics with `what` after `patience`.
pub fn until<T>(what: &str, patience: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(patience, look).unwrap_or_else(|| panic!("not within {patience:?}: {what}"))
}

/// Waits until `look` says so; panics with `what` after `patience`.
pub fn holds(what: &str, patience: Duration, mut look: impl FnMut() -> bool) {
    until(what, patience, || look().then_some(()));
}
