//! Who decides in the world: the real machine, or one that was sabotaged in one place.

use super::disk::Disk;
use super::{Controller, release_id};
use dockswap_core::Timestamp;
use dockswap_core::invariants::ReleaseId;
use dockswap_core::machine::{Event, Machine, Owed, Refusal, Transition};
use dockswap_core::name::Version;

/// Decides. Every method is, unless sabotaged, the real one.
pub trait Brain: Sync {
    /// What an event leads to.
    fn step(&self, machine: &Machine, event: &Event, now: Timestamp) -> Result<Transition, Refusal> {
        machine.step(event, now)
    }

    /// What an effect's answer leads to.
    fn report(
        &self,
        machine: &Machine,
        answers: Version,
        event: &Event,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        machine.report(answers, event, now)
    }

    /// What is owed.
    fn owed(&self, machine: &Machine) -> Owed {
        machine.owed()
    }

    /// Where traffic is to go.
    fn route(&self, machine: &Machine) -> Option<ReleaseId> {
        machine.route().to.map(release_id)
    }

    /// How a transition is committed.
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        disk.write_event(transition);
        disk.write_state(transition);
    }

    /// What becomes of traffic that may still be on containers which are to go, after a switch or a
    /// rollback of which nobody knows how it ended.
    fn clears(&self) -> Clearing {
        Clearing::AfterTheTraffic
    }

    /// The state whose effects are performed: none while a decision is not committed.
    fn acts_for<'a>(&self, controller: &'a Controller) -> Option<&'a Machine> {
        controller.decided.is_none().then_some(&controller.machine)
    }
}

/// When containers are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearing {
    /// Once the proxy has confirmed the state's route, and what was in flight has ended or been closed.
    AfterTheTraffic,
    /// Without asking.
    AtOnce,
}

/// The machine as it is.
pub struct Real;

impl Brain for Real {}

/// The machine as it is, with a controller that stops containers without asking the proxy. As long as
/// no answer of the proxy is lost the machine's own order is enough.
pub struct StopsUnasked;

impl Brain for StopsUnasked {
    fn clears(&self) -> Clearing {
        Clearing::AtOnce
    }
}
