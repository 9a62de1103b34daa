//! What is done about a live release whose containers end again and again.

use super::{Upkeeper, settled};
use crate::app::Message;
use crate::containers::belongs;
use dockswap_core::machine::{Event, Failure, Machine, Release};
use dockswap_core::ports::Container;
use tokio::time::Instant;

/// So many of the last lines tell enough in one sentence.
const LINES: usize = 3;

impl Upkeeper {
    /// Counts the deaths of the live release. Returns whether it was given up.
    pub(super) async fn mourn(&mut self, machine: &Machine, live: &Release, seen: &[Container]) -> bool {
        if self.mourned.as_ref().is_none_or(|mourned| *mourned != live.origin) {
            self.mourned = Some(live.origin);
            self.crash_loop.forget();
        }
        let mine: Vec<&Container> = seen.iter().filter(|container| belongs(container, live)).collect();
        let Some(died) = self.crash_loop.look(&mine, Instant::now()) else { return false };
        self.record(machine, &format!("container {} ended by itself", died.name)).await;
        if self.crash_loop.in_words().is_none() {
            return false;
        }
        let mut evidence = self.shared.evidence(machine.app(), live, died).await;
        let told = evidence.len().saturating_sub(LINES);
        self.crash_loop.lines = evidence.get(told..).unwrap_or_default().to_vec();
        // While another replica serves, the app does not fail for this one: it is started again, ever more rarely.
        if !self.crash_loop.is_hopeless() || self.containers.admits_any() || !settled(machine) {
            return false;
        }
        self.crash_loop.lines.clear();
        let what = self.crash_loop.in_words().unwrap_or_default();
        let app = machine.app();
        let standby = match &machine.upkeep().warm.first() {
            Some(standby) => format!("{} (deployment {}) still runs: ", standby.color, standby.origin),
            None => String::new(),
        };
        let summary = format!(
            "{what}: it is stopped, and not started again by itself. {standby}`dockswap rollback {app}` goes back to the \
             version before, `dockswap deploy {app}` tries the file again, `dockswap recover {app}` starts this one again"
        );
        evidence.drain(..evidence.len().saturating_sub(20));
        self.recorded = None;
        self.tell(Message::Noticed(Event::GivenUp(Failure { summary, evidence }))).await;
        true
    }
}
