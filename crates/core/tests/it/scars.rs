//! What hurt users of earlier tools, as far as deciding goes: one test a scar, named after its row.

use crate::script::{Scripted, tell};
use crate::transitions::STATES;
use crate::world::fixture::app;
use dockswap_core::machine::{Effect, Machine, Phase, Refusal, Transition};
use dockswap_core::records::{DeploymentStatus, DeploymentWrite};
use dockswap_core::{Color, ConfigId, DeploymentId, ImageId, Timestamp};
use dockswap_proof::kept;

/// A second deployment, up to its switch.
const SWITCHING: &str = "@live, deploy, image_ready, container_started, health_check_passed";

/// The same, with the traffic on the new color and the old one drained.
fn watching() -> String {
    format!("{SWITCHING}, traffic_switched, drain_complete")
}

fn last(script: &str) -> Transition {
    Scripted::run(script).transitions.pop().expect("a transition")
}

fn ends(transition: &Transition) -> Vec<(DeploymentId, DeploymentStatus)> {
    transition
        .deployments()
        .iter()
        .filter_map(|write| match write {
            DeploymentWrite::End { id, status, .. } => Some((*id, *status)),
            DeploymentWrite::Begin(_) => None,
        })
        .collect()
}

#[test]
fn scar_g01_a_failed_stop_leaves_the_right_color_on_record() {
    let stopped = last("@live, @live, wait 300s, window_passed, stop_failed");
    assert_eq!(stopped.current().active_color, Some(Color::Green));
    let undone =
        last(&format!("{SWITCHING}, switch_failed, traffic_switched, drain_complete, rollback_failed"));
    assert_eq!(undone.current().active_color, Some(Color::Blue));
    kept("scar-G01", "core: a failed stop leaves the right color on record");
}

#[test]
fn scar_g01_and_g02_color_and_image_change_with_the_confirmation_and_not_before() {
    let transitions = Scripted::run("@live, @live").transitions;
    let mut expected = (None, None);
    let mut number = 0;
    for transition in &transitions {
        if transition.event().event_type == "traffic_switched" {
            number += 1;
            let color = if number == 1 { Color::Blue } else { Color::Green };
            expected = (Some(color), Some(format!("app:v{number}")));
        }
        let row = transition.current();
        assert_eq!((row.active_color, row.image.clone()), expected, "{}", transition.event().event_type);
    }
    assert_eq!(number, 2);
    kept("scar-G01", "core: color and image change with the confirmation and not before");
    kept("scar-G02", "core: color and image change with the confirmation and not before");
}

#[test]
fn scar_g03_every_effect_has_an_arrow_for_its_failure() {
    for (name, script) in STATES {
        let state = Scripted::run(script);
        let failures: &[&str] = match state.machine.owed().effect {
            None => &[],
            Some(Effect::Pull { .. }) => &["image_failed"],
            Some(Effect::Run(_)) => &["container_failed"],
            Some(Effect::Probe { .. }) => &["health_check_failed"],
            Some(Effect::Route) if matches!(state.machine.phase(), Phase::RollingBack(_)) => {
                &["rollback_failed"]
            }
            Some(Effect::Route) => &["switch_failed"],
            Some(Effect::Drain { .. }) => &["drain_timed_out"],
            Some(Effect::Stop(_) | Effect::RemoveAll) => &["stop_failed"],
            Some(Effect::Undo(_)) => &["rollback_failed"],
        };
        for failure in failures {
            let next = state.machine.step(&state.event(failure), state.now);
            assert!(
                next.is_ok_and(|next| next.after().phase() != state.machine.phase()),
                "{name}: {failure}"
            );
        }
    }
    kept("scar-G03", "core: every effect has an arrow for its failure");
}

#[test]
fn scar_g04_a_failed_start_owes_the_removal_of_what_it_left() {
    let machine = Scripted::run("@live, deploy, image_ready, container_failed").machine;
    let Some(Effect::Undo(Some(release))) = machine.owed().effect else { panic!("{:?}", machine.owed()) };
    assert_eq!((release.color, release.origin), (Color::Green, DeploymentId(2)));
    kept("scar-G04", "core: a failed start owes the removal of what it left");
}

#[test]
fn scar_g05_every_state_survives_a_restart_with_all_that_it_owes() {
    for (name, script) in STATES {
        let machine = Scripted::run(script).machine;
        let stored = serde_json::to_string(&machine).expect(name);
        let loaded: Machine = serde_json::from_str(&stored).expect(name);
        assert_eq!(loaded, machine, "{name}");
        assert_eq!(loaded.owed(), machine.owed(), "{name}");
        assert_eq!(loaded.upkeep(), machine.upkeep(), "{name}");
        assert_eq!(loaded.route(), machine.route(), "{name}");
    }
    kept("scar-G05", "core: every state survives a restart with all that it owes");
}

#[test]
fn scar_g06_event_and_state_leave_the_core_together_with_everything_in_them() {
    for (name, script) in STATES {
        for transition in Scripted::run(script).transitions {
            let event = transition.event();
            assert_eq!(event.payload["to"], transition.current().status, "{name}");
            assert_eq!(event.payload["event"]["type"], event.event_type, "{name}");
            assert_ne!(event.error.as_deref(), Some(""), "{name}");
        }
    }
    let failed = last("deploy, image_failed");
    assert_eq!(failed.event().error.as_deref(), Some("no such image"));
    assert_eq!(last("deploy, image_ready").event().error, None);
    kept("scar-G06", "core: event and state leave the core together with everything in them");
}

#[test]
fn scar_g07_a_deployment_has_its_config_its_end_and_what_it_undoes() {
    let rollback = last("@live, @live, rollback/warm");
    let [DeploymentWrite::Begin(row)] = rollback.deployments() else { panic!("{rollback:?}") };
    assert_eq!(
        (row.id, row.config_id, row.rollback_of),
        (DeploymentId(3), ConfigId(1), Some(DeploymentId(2)))
    );
    let switched = last("@live, @live, rollback/warm, health_check_passed, traffic_switched");
    assert_eq!(ends(&switched), [(DeploymentId(2), DeploymentStatus::RolledBack)]);
    assert_eq!(ends(&last("@live")), [(DeploymentId(1), DeploymentStatus::Success)]);
    kept("scar-G07", "core: a deployment has its config its end and what it undoes");
}

#[test]
fn scar_g09_a_switch_is_a_deployment_of_the_color_that_it_names() {
    let switched = last("@live, @live, switch, health_check_passed, traffic_switched");
    let row = switched.current();
    assert_eq!(row.deployment_id, DeploymentId(3));
    assert_eq!((row.active_color, row.image.as_deref()), (Some(Color::Blue), Some("app:v1")));
    kept("scar-G09", "core: a switch is a deployment of the color that it names");
}

#[test]
fn scar_g10_an_unknown_app_has_no_row_and_its_first_deployment_routes() {
    assert_eq!(Machine::new(app()).current_state(Timestamp::default()), None);
    let machine = Scripted::run("deploy, image_ready, container_started, health_check_passed").machine;
    assert_eq!(machine.owed().effect, Some(Effect::Route));
    assert_eq!(machine.route().to.map(|release| release.color), Some(Color::Blue));
    kept("scar-G10", "core: an unknown app has no row and its first deployment routes");
}

#[test]
fn scar_g12_a_switch_that_the_proxy_did_not_confirm_is_none() {
    let failed = last(&format!("{SWITCHING}, switch_failed"));
    assert_eq!(failed.current().active_color, Some(Color::Blue));
    assert_eq!(failed.after().route().to.map(|release| release.color), Some(Color::Blue));
    kept("scar-G12", "core: a switch that the proxy did not confirm is none");
}

#[test]
fn scar_g13_going_back_begins_with_the_route_then_drains_then_removes() {
    let mut state = Scripted::run(&format!("{}, target_unhealthy/healthy", watching()));
    assert_eq!(state.machine.owed().effect, Some(Effect::Route));
    assert_eq!(state.machine.route().to.map(|release| release.color), Some(Color::Blue));
    state.follow("traffic_switched").expect("confirmed");
    assert!(matches!(state.machine.owed().effect, Some(Effect::Drain { release: Some(_), .. })));
    state.follow("drain_complete").expect("drained");
    let Some(Effect::Undo(Some(release))) = state.machine.owed().effect else { panic!() };
    assert_eq!(release.color, Color::Green);
    kept("scar-G13", "core: going back begins with the route then drains then removes");
}

/// After a rollback of which nobody knows how it ended the standby may have the traffic already.
#[test]
fn scar_g13_a_standby_that_fails_its_gate_is_taken_out_of_the_route_before_it_is_removed() {
    let state = Scripted::run("@live, @live, rollback/warm, health_check_failed");
    assert_eq!(tell(&state.machine), "rolling_back (routing) green app:v2");
    assert_eq!(state.machine.route().to.map(|release| release.color), Some(Color::Green));
    kept("scar-G13", "core: a standby that fails its gate is taken out of the route before it is removed");
}

#[test]
fn scar_g14_auto_rollback_gives_the_traffic_back_and_without_it_nothing_is_touched() {
    let script = watching();
    assert_eq!(Scripted::run(&script).machine.upkeep().cold, [], "the old color is not stopped");
    let back = Scripted::run(&format!("{script}, target_unhealthy/healthy")).machine;
    assert_eq!(back.route().to.map(|release| release.color), Some(Color::Blue));
    let recorded = Scripted::run(&format!("record, {script}, target_unhealthy/healthy")).machine;
    assert_eq!(tell(&recorded), "watching green app:v2 + blue app:v1 warm");
    kept("scar-G14", "core: auto rollback gives the traffic back and without it nothing is touched");
}

#[test]
fn scar_g15_the_gate_has_one_deadline() {
    let state = Scripted::run("deploy, image_ready, wait 5s, container_started");
    let Some(Effect::Probe { until, .. }) = state.machine.owed().effect else { panic!() };
    assert_eq!(until, Timestamp::from_micros(65_000_000));
    kept("scar-G15", "core: the gate has one deadline");
}

#[test]
fn scar_g16_a_recovery_settles_on_what_is_healthy_and_on_nothing_else() {
    let failed = format!("{}, target_unhealthy/unfit", watching());
    let refused = Scripted::run(&failed).follow("manual_recovery/nothing");
    assert_eq!(refused, Err(Refusal::NothingHealthy));
    let live = Scripted::run(&format!("{failed}, manual_recovery/live")).machine;
    assert_eq!(tell(&live), "stable green app:v2 + blue app:v1 warm");
    let standby = Scripted::run(&format!("{failed}, manual_recovery/standby")).machine;
    assert_eq!(tell(&standby), "rolling_back (routing) green app:v2 + blue app:v1 warm");
    assert_eq!(standby.route().to.map(|release| release.color), Some(Color::Blue));
    kept("scar-G16", "core: a recovery settles on what is healthy and on nothing else");
}

/// What a recovery takes traffic back from has ended before: it ends once more, as what it became.
#[test]
fn scar_g16_a_recovery_ends_on_record_what_it_took_traffic_from() {
    let recovered = format!("{}, target_unhealthy/unfit, manual_recovery/standby", watching());
    let settled = last(&format!("{recovered}, traffic_switched, drain_complete, rollback_complete"));
    assert_eq!(ends(&settled), [(DeploymentId(2), DeploymentStatus::RolledBack)]);
    assert_eq!(settled.current().active_color, Some(Color::Blue));
    kept("scar-G16", "core: a recovery ends on record what it took traffic from");
}

#[test]
fn scar_p15_and_p16_nothing_in_flight_waits_for_ever_or_survives_its_owner() {
    for (name, script) in STATES {
        let state = Scripted::run(script);
        if matches!(state.machine.phase(), Phase::Settled(_)) {
            continue;
        }
        let owed = state.machine.owed();
        let operators_turn = matches!(state.machine.phase(), Phase::AwaitingPromotion(_));
        assert!(
            owed.effect.is_some() || owed.alarm.is_some() || operators_turn,
            "{name}: nothing moves it on"
        );
        let resumed = state.machine.step(&state.event("resumed"), state.now);
        assert!(resumed.is_ok(), "{name}: a new owner cannot take it up");
    }
    kept("scar-P15", "core: nothing in flight waits for ever or survives its owner");
    kept("scar-P16", "core: nothing in flight waits for ever or survives its owner");
}

#[test]
fn scar_p16_cancel_is_a_transition_in_every_state_that_can_be_left() {
    for (_, script) in STATES {
        let state = Scripted::run(script);
        let can_be_left = match state.machine.phase() {
            Phase::Pulling(_)
            | Phase::Holding(_)
            | Phase::Starting(_)
            | Phase::HealthCheck(_)
            | Phase::AwaitingPromotion(_) => true,
            Phase::Draining(_) | Phase::Watching(_) => {
                state.machine.serving().is_some_and(|serving| serving.standby.is_some())
            }
            _ => false,
        };
        let cancelled = state.machine.step(&state.event("cancel"), state.now);
        assert_eq!(
            cancelled.is_ok_and(|next| next.after().state() == "rolling_back"),
            can_be_left,
            "{script}"
        );
    }
    kept("scar-P16", "core: cancel is a transition in every state that can be left");
}

#[test]
fn scar_p18_a_rollback_runs_the_very_config_and_image_of_then() {
    let state = Scripted::run("@live, @live, @live, rollback/pinned");
    let Some(Effect::Pull { plan, pinned, .. }) = state.machine.owed().effect else { panic!() };
    assert_eq!((plan.config, pinned), (ConfigId(1), Some(ImageId("sha256:1".to_owned()))));
    kept("scar-P18", "core: a rollback runs the very config and image of then");
}

#[test]
fn scar_p24_a_deployment_that_was_undone_is_no_success() {
    let undone = format!(
        "{}, target_unhealthy/healthy, traffic_switched, drain_complete, rollback_complete",
        watching()
    );
    assert_eq!(ends(&last(&undone)), [(DeploymentId(2), DeploymentStatus::RolledBack)]);
    let failed = last("@live, deploy, image_failed, rollback_complete");
    assert_eq!(ends(&failed), [(DeploymentId(2), DeploymentStatus::Failed)]);
    assert_eq!(failed.current().image.as_deref(), Some("app:v1"));
    kept("scar-P24", "core: a deployment that was undone is no success");
}

/// What was removed could not be, which does not change what serves by then.
#[test]
fn scar_p24_what_serves_again_is_a_success_however_the_cleaning_up_ended() {
    let back = "@live, @live, rollback/warm, health_check_passed, traffic_switched, target_unhealthy/healthy";
    let unconfirmed = last(&format!("{back}, rollback_failed"));
    assert_eq!(ends(&unconfirmed), [(DeploymentId(3), DeploymentStatus::Failed)]);
    for script in ["traffic_switched, rollback_failed", "traffic_switched, drain_complete, rollback_failed"] {
        let transition = last(&format!("{back}, {script}"));
        let expected =
            [(DeploymentId(3), DeploymentStatus::Failed), (DeploymentId(2), DeploymentStatus::Success)];
        assert_eq!(ends(&transition), expected, "{script}");
        assert_eq!(transition.current().image.as_deref(), Some("app:v2"), "{script}");
    }
    kept("scar-P24", "core: what serves again is a success however the cleaning up ended");
}

#[test]
fn scar_p25_the_old_color_is_kept_warm_while_the_new_one_is_watched() {
    let machine = Scripted::run(&watching()).machine;
    let fallback = machine.owed().watch.and_then(|watch| watch.fallback);
    assert_eq!(fallback.map(|release| release.color), Some(Color::Blue));
    kept("scar-P25", "core: the old color is kept warm while the new one is watched");
}
