//! The way back from what was written to the state, an event at a time: from the beginning, or from a
//! state that is known to have been reached.

use super::Machine;
use super::event::Event;
use super::transition::{ReplayError, Transition};
use crate::name::AppName;
use crate::time::Timestamp;

/// A state on its way through the recorded events.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    machine: Machine,
}

impl Replay {
    /// From the first event of `app` on.
    #[must_use]
    pub const fn of(app: AppName) -> Self {
        Self { machine: Machine::new(app) }
    }

    /// From the event on that came after `machine` was reached.
    #[must_use]
    pub const fn from(machine: Machine) -> Self {
        Self { machine }
    }

    /// The state so far.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The state that was reached.
    #[must_use]
    pub fn into_machine(self) -> Machine {
        self.machine
    }

    /// Goes on with the event `id`; `each` is shown the transition, unless it was refused when it was
    /// recorded: then nothing changes.
    ///
    /// # Errors
    /// When it does not fit; the state is the one before it then.
    pub fn follow(
        &mut self,
        id: i64,
        payload: &serde_json::Value,
        each: impl FnOnce(&Transition),
    ) -> Result<(), ReplayError> {
        if payload.get("refused").is_some() {
            return Ok(());
        }
        let unreadable = |message: String| ReplayError::Unreadable { event: id, message };
        let field = |name: &str| payload.get(name).cloned().ok_or_else(|| unreadable(format!("no {name}")));
        let event: Event =
            serde_json::from_value(field("event")?).map_err(|error| unreadable(error.to_string()))?;
        let at: Timestamp =
            serde_json::from_value(field("at_us")?).map_err(|error| unreadable(error.to_string()))?;
        let next =
            self.machine.step(&event, at).map_err(|refusal| ReplayError::Refused { event: id, refusal })?;
        let recorded = field("to")?.as_str().unwrap_or_default().to_owned();
        let replayed = next.after().state();
        if recorded != replayed {
            return Err(ReplayError::Differs { event: id, recorded, replayed: replayed.to_owned() });
        }
        each(&next);
        self.machine = next.committed();
        Ok(())
    }
}
