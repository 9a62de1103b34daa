//! The checkers check: machines sabotaged in one place, each of which must be found out, by the
//! invariant that stands against it.

use crate::model::{CALM, Space};
use crate::world::brain::{Brain, Clearing, StopsUnasked};
use crate::world::disk::Disk;
use crate::world::{Budget, Controller, release_id};
use dockswap_core::Timestamp;
use dockswap_core::invariants::ReleaseId;
use dockswap_core::machine::{Effect, Event, Machine, Owed, Phase, Refusal, Transition};
use dockswap_core::name::Version;
use dockswap_core::records::DeploymentWrite;

/// Two edits and nothing that goes wrong.
const EDITS: Budget = Budget { orders: 0, ..CALM };

/// The model checker finds that `brain` violates invariant `number`, where the real machine does not.
fn finds(number: usize, brain: &'static dyn Brain, budget: Budget) {
    assert!(Space { budget, brain }.violates(number), "not found out");
}

/// The candidate is routed as soon as it runs.
struct SwitchesBeforeTheGate;

impl Brain for SwitchesBeforeTheGate {
    fn route(&self, machine: &Machine) -> Option<ReleaseId> {
        match machine.owed().effect {
            Some(Effect::Probe { release, .. }) => Some(release_id(&release)),
            _ => machine.route().to.map(release_id),
        }
    }
}

#[test]
fn switching_before_the_gate_violates_1() {
    finds(1, &SwitchesBeforeTheGate, EDITS);
}

/// An answer is taken for one of today, whatever it answers.
struct AcceptsLateAnswers;

impl Brain for AcceptsLateAnswers {
    fn report(
        &self,
        machine: &Machine,
        _: Version,
        event: &Event,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        machine.step(event, now)
    }
}

#[test]
fn accepting_a_late_answer_violates_1() {
    finds(1, &AcceptsLateAnswers, EDITS);
}

/// A failed gate is as good as a passed one.
struct BelievesAnyProbe;

impl Brain for BelievesAnyProbe {
    fn report(
        &self,
        machine: &Machine,
        answers: Version,
        event: &Event,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        match event {
            Event::HealthCheckFailed(_) => machine.report(answers, &Event::HealthCheckPassed, now),
            event => machine.report(answers, event, now),
        }
    }
}

#[test]
fn taking_a_failed_gate_for_passed_violates_1() {
    finds(1, &BelievesAnyProbe, Budget { failures: 1, ..EDITS });
}

/// A rollback removes the color that serves.
struct RemovesTheLiveColor;

impl Brain for RemovesTheLiveColor {
    fn owed(&self, machine: &Machine) -> Owed {
        let mut owed = machine.owed();
        if let (Some(Effect::Undo(release)), Some(serving)) = (&mut owed.effect, machine.serving()) {
            *release = Some(serving.live.clone());
        }
        owed
    }
}

#[test]
fn removing_the_live_color_violates_2_and_3() {
    finds(3, &RemovesTheLiveColor, Budget { failures: 1, ..EDITS });
    finds(2, &RemovesTheLiveColor, Budget { failures: 1, ..EDITS });
}

/// While a new version is on its way, nothing is routed (stop first, start later).
struct StopsFirst;

impl Brain for StopsFirst {
    fn route(&self, machine: &Machine) -> Option<ReleaseId> {
        match machine.phase() {
            Phase::Starting(_) => None,
            _ => machine.route().to.map(release_id),
        }
    }
}

#[test]
fn stopping_first_violates_2() {
    finds(2, &StopsFirst, EDITS);
}

/// The old color is taken for drained as soon as it is out of the route, and stopped unasked.
struct ForgetsToDrain;

impl Brain for ForgetsToDrain {
    fn clears(&self) -> Clearing {
        Clearing::AtOnce
    }

    fn owed(&self, machine: &Machine) -> Owed {
        let mut owed = machine.owed();
        if let Some(Effect::Drain { release, .. }) = &mut owed.effect {
            *release = None;
        }
        owed
    }
}

#[test]
fn stopping_before_drained_violates_3() {
    finds(3, &ForgetsToDrain, EDITS);
}

/// A deployment is undone without waiting for what is in flight on it.
struct ForgetsToDrainWhenUndoing;

impl Brain for ForgetsToDrainWhenUndoing {
    fn owed(&self, machine: &Machine) -> Owed {
        match machine.phase() {
            Phase::RollingBack(_) => ForgetsToDrain.owed(machine),
            _ => machine.owed(),
        }
    }
}

#[test]
fn undoing_without_draining_violates_3() {
    finds(3, &ForgetsToDrainWhenUndoing, Budget { edits: 1, failures: 1, ..EDITS });
}

#[test]
fn stopping_what_may_have_traffic_violates_3() {
    // After a switch and a rollback of which nobody knows how they ended, the slot is needed again.
    finds(3, &StopsUnasked, Budget { failures: 2, ..EDITS });
    // After a rollback that moved the route and was not confirmed, a recovery, and the window's end.
    finds(3, &StopsUnasked, Budget { interventions: 1, harms: 1, failures: 1, ..EDITS });
}

/// The event is written, and the write of the state is lost (G06).
struct WritesEventsAlone;

impl Brain for WritesEventsAlone {
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        disk.write_event(transition);
        if transition.event().event_type != "watch_passed" {
            disk.write_state(transition);
        }
    }
}

#[test]
fn an_event_without_its_state_violates_4() {
    finds(4, &WritesEventsAlone, EDITS);
}

/// The state is written, and the write of the event is lost (G06, G08).
struct WritesStatesAlone;

impl Brain for WritesStatesAlone {
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        if transition.event().event_type != "drain_complete" {
            disk.write_event(transition);
        }
        disk.write_state(transition);
    }
}

#[test]
fn a_state_without_its_event_violates_4() {
    finds(4, &WritesStatesAlone, EDITS);
}

/// The row names the candidate as soon as the deployment begins (G02).
struct NamesTheNewColorAtOnce;

impl Brain for NamesTheNewColorAtOnce {
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        disk.write_event(transition);
        disk.write_state(transition);
        if let (Some(row), Some(_)) = (&mut disk.current, transition.after().in_flight()) {
            row.active_color = transition.after().color();
        }
    }
}

#[test]
fn naming_the_new_color_before_the_proxy_confirms_violates_5() {
    finds(5, &NamesTheNewColorAtOnce, EDITS);
}

/// The row names the new color only when the deployment is over (G01).
struct NamesTheNewColorAtTheEnd;

impl Brain for NamesTheNewColorAtTheEnd {
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        let before = disk.current.as_ref().and_then(|row| row.active_color);
        disk.write_event(transition);
        disk.write_state(transition);
        if let (Some(row), Some(_)) = (&mut disk.current, transition.after().in_flight()) {
            row.active_color = before;
        }
    }
}

#[test]
fn naming_the_new_color_only_at_the_end_violates_5() {
    finds(5, &NamesTheNewColorAtTheEnd, EDITS);
}

/// Effects are performed for what is decided, before it is committed.
struct ActsBeforeTheCommit;

impl Brain for ActsBeforeTheCommit {
    fn acts_for<'a>(&self, controller: &'a Controller) -> Option<&'a Machine> {
        Some(controller.decided.as_ref().map_or(&controller.machine, Transition::after))
    }
}

#[test]
fn acting_before_the_commit_violates_3() {
    // The route moves, the controller dies, and what was never decided is cleaned away.
    finds(3, &ActsBeforeTheCommit, Budget { crashes: 1, ..EDITS });
}

/// A failed start has no arrow (G03): the state was set before the effect, and stays.
struct StaysStuck;

impl Brain for StaysStuck {
    fn report(
        &self,
        machine: &Machine,
        answers: Version,
        event: &Event,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        match event {
            Event::HealthCheckFailed(_) => {
                Err(Refusal::NotNow { event: event.name(), state: machine.state() })
            }
            event => machine.report(answers, event, now),
        }
    }
}

#[test]
fn having_no_arrow_for_a_failure_violates_6() {
    finds(6, &StaysStuck, Budget { edits: 1, harms: 1, ..EDITS });
}

/// A drain lives in memory alone (G05): nothing in the state says that it is owed.
struct ForgetsADrainUnderWay;

impl Brain for ForgetsADrainUnderWay {
    fn owed(&self, machine: &Machine) -> Owed {
        match machine.phase() {
            Phase::Draining(_) => Owed::default(),
            _ => machine.owed(),
        }
    }
}

#[test]
fn owing_nothing_violates_6() {
    finds(6, &ForgetsADrainUnderWay, EDITS);
}

/// Deployments begin and never end (G07).
struct NeverEndsADeployment;

impl Brain for NeverEndsADeployment {
    fn write(&self, disk: &mut Disk, transition: &Transition) {
        disk.write_event(transition);
        disk.write_machine(transition);
        transition
            .deployments()
            .iter()
            .filter(|write| matches!(write, DeploymentWrite::Begin(_)))
            .for_each(|write| disk.write_deployment(write));
    }
}

#[test]
fn a_deployment_that_never_ends_violates_7() {
    finds(7, &NeverEndsADeployment, EDITS);
}
