//! What a service manager is told, where there is one (`sd_notify(3)`): that this process is ready, that it ends, and,
//! where it asks for that (`WatchdogSec=`), that it still runs. It must not know what the process does.

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Tells it that `state` is reached.
pub(crate) fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Tells it twice in each of its intervals that this process runs, from now on until that is dropped: a process whose tasks do
/// not come to their turn any more is started again. `None`: it does not ask.
pub(crate) fn reassure() -> Option<Reassuring> {
    let longest = sd_notify::watchdog_enabled().filter(|longest| !longest.is_zero())?;
    Some(Reassuring(tokio::spawn(async move {
        let mut ticks = interval(longest / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(NotifyState::Watchdog);
        }
    })))
}

/// Somebody tells it.
#[derive(Debug)]
pub(crate) struct Reassuring(JoinHandle<()>);

impl Drop for Reassuring {
    fn drop(&mut self) {
        self.0.abort();
    }
}
