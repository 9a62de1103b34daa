//! The table of arrows: by example, whole as a snapshot, and as the diagram in `docs/`.
//!
//! `UPDATE=1` writes the snapshot and the diagram anew; without it, a stale one is an error.

use crate::script::{Scripted, tell};
use crate::world::fixture::WORDS;
use dockswap_core::machine::{AlarmKind, Event, LONGEST_PAUSE, Machine, Refusal, Stage, Transition};
use dockswap_core::routes::{AppRoutes, Gate, Hold};
use dockswap_core::{Color, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// One way into every state that differs in what it answers.
pub const STATES: [(&str, &str); 56] = [
    ("pending", ""),
    ("pending, after a failed first deployment", "deploy, image_failed, rollback_complete"),
    ("pulling, first", "deploy"),
    ("pulling", "@live, deploy"),
    ("pulling, strategy: recreate", "recreate, @live, deploy"),
    ("pulling, promotion: manual beside what runs alone", "recreate, @live, manual, deploy"),
    ("starting", "@live, deploy, image_ready"),
    ("health_check", "@live, deploy, image_ready, container_started"),
    ("health_check, promotion: manual", "@live, manual, deploy, image_ready, container_started"),
    ("health_check of the standby", "@live, @live, rollback/warm"),
    ("awaiting_promotion", "@live, manual, deploy, image_ready, container_started, health_check_passed"),
    ("awaiting_promotion, beside what runs alone", "recreate, @live, manual, deploy, image_ready"),
    ("switching, first", "deploy, image_ready, container_started, health_check_passed"),
    ("switching", "@live, deploy, image_ready, container_started, health_check_passed"),
    ("draining, first", "deploy, image_ready, container_started, health_check_passed, traffic_switched"),
    ("draining", "@live, deploy, image_ready, container_started, health_check_passed, traffic_switched"),
    (
        "draining, auto_rollback: false",
        "@live, record, deploy, image_ready, container_started, health_check_passed, traffic_switched",
    ),
    (
        "watching, first",
        "deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete",
    ),
    (
        "watching",
        "@live, deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete",
    ),
    (
        "watching, auto_rollback: false, a regression recorded",
        "@live, record, deploy, image_ready, container_started, health_check_passed, traffic_switched, \
         drain_complete, target_unhealthy/healthy",
    ),
    (
        "watching, rollback_window: 0s",
        "@live, brief, deploy, image_ready, container_started, health_check_passed, traffic_switched, \
         drain_complete",
    ),
    ("stable, no standby", "@live"),
    ("stable, warm standby", "@live, @live"),
    ("stopping", "@live, @live, wait 300s, window_passed"),
    ("stable, cold standby", "@live, @live, wait 300s, window_passed, container_stopped"),
    ("rolling_back, first", "deploy, image_failed"),
    ("rolling_back, removing", "@live, deploy, image_ready, container_failed"),
    (
        "rolling_back, routing",
        "@live, deploy, image_ready, container_started, health_check_passed, switch_failed",
    ),
    (
        "rolling_back, draining",
        "@live, deploy, image_ready, container_started, health_check_passed, switch_failed, traffic_switched",
    ),
    (
        "rolling_back, routing after a regression",
        "@live, deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete, \
         target_unhealthy/healthy",
    ),
    ("failed, nothing serves", "deploy, image_ready, container_failed, rollback_failed"),
    (
        "failed, no standby",
        "deploy, image_ready, container_started, health_check_passed, traffic_switched, target_unhealthy/unfit",
    ),
    (
        "failed, warm standby",
        "@live, deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete, \
         target_unhealthy/unfit",
    ),
    ("failed, given up", "@live, given_up"),
    ("failed, given up beside a warm standby", "@live, @live, given_up"),
    ("draining, to be retired: routes are withdrawn", "@live, retire"),
    ("draining, to be retired", "@live, retire, traffic_switched"),
    ("stopping, to be retired", "@live, retire, traffic_switched, drain_complete"),
    ("retired", "@live, retire, traffic_switched, drain_complete, container_stopped"),
    ("holding, routing", "recreate, @live, deploy, image_ready"),
    ("holding, draining", "recreate, @live, deploy, image_ready, traffic_switched"),
    ("holding, stopping", "recreate, @live, deploy, image_ready, traffic_switched, drain_complete"),
    (
        "starting, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped",
    ),
    (
        "health_check, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_started",
    ),
    (
        "switching, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_started, health_check_passed",
    ),
    (
        "watching, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_started, health_check_passed, traffic_switched",
    ),
    ("stable, recreate", "recreate, @live, @again"),
    (
        "rolling_back, removing, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_failed",
    ),
    (
        "rolling_back, restarting",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_failed, rollback_complete",
    ),
    (
        "rolling_back, proving",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_failed, rollback_complete, container_started",
    ),
    (
        "rolling_back, releasing",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_failed, rollback_complete, container_started, health_check_passed",
    ),
    (
        "rolling_back, releasing without anything to release to",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_failed, rollback_complete, container_failed",
    ),
    (
        "rolling_back, routing, recreate",
        "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped, \
         container_started, health_check_passed, traffic_switched, target_unhealthy/unfit",
    ),
    ("stable, paused", "@live, paused"),
    ("switching, paused", "@live, paused, deploy, image_ready, container_started, health_check_passed"),
    ("stable, in maintenance", "@live, maintenance_began"),
];

/// What `script` leads to, in the words of [`tell`].
#[track_caller]
fn check(script: &str, expect: &str) {
    assert_eq!(tell(&Scripted::run(script).machine), expect, "{script}");
}

/// Why the last word of `script` is refused.
#[track_caller]
fn refused(script: &str, last: &str) -> Refusal {
    Scripted::run(script).follow(last).expect_err("it is refused")
}

#[test]
fn a_first_deployment_takes_blue() {
    check("@live", "stable blue app:v1");
}

#[test]
fn the_second_takes_green_and_leaves_blue_warm() {
    check("@live, @live", "stable green app:v2 + blue app:v1 warm");
}

#[test]
fn the_standby_is_stopped_when_the_window_ends() {
    check("@live, @live, wait 290s, window_passed", "stopping green app:v2 + blue app:v1 warm");
    check(
        "@live, @live, wait 290s, window_passed, container_stopped",
        "stable green app:v2 + blue app:v1 cold",
    );
}

#[test]
fn alarms_before_their_time_are_refused() {
    let early = Refusal::TooEarly { event: "window_passed" };
    assert_eq!(refused("@live, @live, wait 289s", "window_passed"), early);
    let watching = "deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete, wait 9s";
    assert_eq!(refused(watching, "watch_passed"), Refusal::TooEarly { event: "watch_passed" });
}

#[test]
fn a_failed_deployment_leaves_the_old_version_serving() {
    check("@live, deploy, image_failed", "rolling_back (removing) blue app:v1");
    check("@live, deploy, image_failed, rollback_complete", "stable blue app:v1");
    check("@live, deploy, image_ready, container_failed, rollback_complete", "stable blue app:v1");
    check(
        "@live, deploy, image_ready, container_started, health_check_failed, rollback_complete",
        "stable blue app:v1",
    );
}

#[test]
fn a_regression_takes_traffic_back_at_once() {
    let watching = "@live, deploy, image_ready, container_started, health_check_passed, traffic_switched, drain_complete";
    check(
        &format!("{watching}, target_unhealthy/healthy"),
        "rolling_back (routing) green app:v2 + blue app:v1 warm",
    );
    check(
        &format!("{watching}, target_unhealthy/healthy, traffic_switched, drain_complete, rollback_complete"),
        "stable blue app:v1",
    );
}

#[test]
fn a_promotion_is_waited_for() {
    let gated = "@live, manual, deploy, image_ready, container_started, health_check_passed";
    check(gated, "awaiting_promotion blue app:v1");
    check(&format!("{gated}, promote"), "switching blue app:v1");
}

#[test]
fn a_rollback_to_the_standby_waits_for_no_promotion() {
    let first = "manual, deploy, image_ready, container_started, health_check_passed, promote, \
                 traffic_switched, drain_complete, wait 10s, watch_passed";
    check(&format!("{first}, auto, @live, rollback/warm, health_check_passed"), "switching green app:v2");
}

#[test]
fn a_newer_version_supersedes_before_the_switch_and_waits_after_it() {
    check("@live, deploy, superseded", "rolling_back (removing) blue app:v1");
    let switching = "@live, deploy, image_ready, container_started, health_check_passed";
    assert!(matches!(refused(switching, "superseded"), Refusal::NotNow { .. }));
}

#[test]
fn a_pause_ends_by_order_by_time_or_by_retirement_and_deployments_go_on_behind_it() {
    check("@live, paused", "stable blue app:v1 held");
    check("@live, paused, unpaused", "stable blue app:v1");
    assert_eq!(refused("@live, paused, wait 29s", "pause_ended"), Refusal::TooEarly { event: "pause_ended" });
    check("@live, paused, wait 30s, pause_ended", "stable blue app:v1");
    check("@live, paused, wait 20s, paused, wait 20s", "stable blue app:v1 held");
    check("@live, paused, @live", "stable green app:v2 + blue app:v1 warm held");
    check("@live, paused, retire", "draining blue app:v1");
    assert_eq!(refused("", "paused"), Refusal::NeverDeployed);
    let retired = "@live, retire, traffic_switched, drain_complete, container_stopped";
    assert!(matches!(refused(retired, "paused"), Refusal::NotNow { .. }));
}

/// A second deployment that recreates, up to where the old version has stopped.
const STOPPED: &str =
    "recreate, @live, deploy, image_ready, traffic_switched, drain_complete, container_stopped";

#[test]
fn a_version_that_runs_alone_starts_after_the_other_has_stopped() {
    check("recreate, @live", "stable blue app:v1");
    check("recreate, @live, deploy, image_ready", "holding blue app:v1 held");
    check(STOPPED, "starting held");
    check(&format!("{STOPPED}, container_started, health_check_passed"), "switching");
    check("recreate, @live, @again", "stable green app:v2 + blue app:v1 cold");
    // One of the two is enough.
    check("@live, recreate, deploy, image_ready", "holding blue app:v1 held");
    check("recreate, @live, auto, deploy, image_ready", "holding blue app:v1 held");
}

#[test]
fn what_may_not_run_beside_the_other_is_promoted_before_that_is_stopped() {
    let pulled = "recreate, @live, manual, deploy, image_ready";
    check(pulled, "awaiting_promotion blue app:v1");
    check(&format!("{pulled}, promote"), "holding blue app:v1 held");
    let stopped = "promote, traffic_switched, drain_complete, container_stopped";
    check(&format!("{pulled}, {stopped}, container_started, health_check_passed"), "switching");
    check(&format!("{pulled}, cancel, rollback_complete"), "stable blue app:v1");
}

#[test]
fn a_version_that_runs_alone_and_fails_is_removed_before_the_old_one_is_started_again() {
    for failed in ["container_failed", "container_started, health_check_failed"] {
        let removed = format!("{STOPPED}, {failed}, rollback_complete");
        check(&removed, "rolling_back (restarting) held");
        check(&format!("{removed}, container_started, health_check_passed"), "rolling_back (routing)");
        let back = "container_started, health_check_passed, traffic_switched";
        check(&format!("{removed}, {back}"), "stable blue app:v1");
    }
    // What was not stopped yet is let in to again at once.
    check("recreate, @live, deploy, image_ready, cancel", "rolling_back (routing)");
    check("recreate, @live, deploy, image_ready, cancel, traffic_switched", "stable blue app:v1");
}

#[test]
fn an_old_version_that_does_not_come_up_again_has_the_route_and_the_app_has_failed() {
    let lost = format!("{STOPPED}, container_failed, rollback_complete, container_failed");
    check(&lost, "rolling_back (routing)");
    check(&format!("{lost}, traffic_switched"), "failed blue app:v1");
    check(&format!("{lost}, traffic_switched, manual_recovery/live"), "stable blue app:v1");
}

#[test]
fn a_regression_of_a_version_that_runs_alone_goes_back_by_stopping_it_first() {
    let sick = format!(
        "{STOPPED}, container_started, health_check_passed, traffic_switched, target_unhealthy/unfit"
    );
    check(&sick, "rolling_back (routing) green app:v2 + blue app:v1 cold held");
    check(&format!("{sick}, traffic_switched"), "rolling_back (draining) held");
    check(
        &format!("{sick}, traffic_switched, drain_complete, rollback_complete"),
        "rolling_back (restarting) held",
    );
}

#[test]
fn a_hold_lasts_there_and_back_again() {
    let state = Scripted::run("recreate, @live, deploy, image_ready");
    let Gate::Held(hold) = state.machine.gate() else { panic!("{:?}", state.machine.gate()) };
    // Drain, stop and gate of either, and what Docker takes besides.
    let least = 2 * (Duration::from_secs(30) + Duration::from_secs(15) + Duration::from_secs(60));
    assert!(hold.until.saturating_since(state.now) > least, "{hold:?}");
}

#[test]
fn maintenance_lasts_until_it_is_ended_and_wins_over_a_pause() {
    check("@live, maintenance_began, wait 999s, @live", "stable green app:v2 + blue app:v1 warm closed");
    check("@live, paused, maintenance_began, maintenance_ended", "stable blue app:v1");
    assert_eq!(refused("@live, maintenance_began", "paused"), Refusal::InMaintenance);
    assert_eq!(refused("@live", "maintenance_ended"), Refusal::Already { event: "maintenance_ended" });
}

#[test]
fn a_pause_lasts_no_longer_than_pauses_may_however_the_clock_is_set() {
    let mut paused = Scripted::run("@live, paused");
    let asked = Event::Paused { limit: Duration::from_hours(1), queue: 1 };
    let after = paused.machine.step(&asked, paused.now).expect("a longer one").committed();
    assert_eq!(after.gate(), Gate::Held(Hold::begin(LONGEST_PAUSE, 1, paused.now)));
    // The clock is set back, and a controller starts anew.
    paused.now = Timestamp::from_micros(-3_600_000_000);
    let after = paused.machine.step(&Event::Resumed, paused.now).expect("another end").committed();
    assert_eq!(after.gate(), Gate::Held(Hold::begin(Duration::from_secs(30), 1_000, paused.now)));
}

#[test]
fn neither_a_pause_nor_a_hold_is_longer_for_a_controller_that_starts_again_and_again() {
    for script in ["@live, paused", STOPPED, "recreate, @live, deploy, image_ready"] {
        let mut state = Scripted::run(script);
        let gate = state.machine.gate();
        for _ in 0..3 {
            state.now = state.now + Duration::from_secs(9);
            if let Ok(resumed) = state.machine.step(&Event::Resumed, state.now) {
                state.machine = resumed.committed();
            }
            assert_eq!(state.machine.gate(), gate, "{script}");
        }
    }
}

#[test]
fn a_hold_that_is_over_begins_anew_with_the_next_controller_and_a_pause_does_not() {
    let after = |script: &str| {
        let state = Scripted::run(script);
        let later = state.now + Duration::from_hours(2);
        let machine = match state.machine.step(&Event::Resumed, later) {
            Ok(resumed) => resumed.committed(),
            Err(_) => state.machine.clone(),
        };
        let (Gate::Held(before), Gate::Held(after)) = (state.machine.gate(), machine.gate()) else {
            panic!("{script}: {machine:?}")
        };
        (before, after, later)
    };
    let (before, after_all, later) = after(STOPPED);
    assert_eq!(after_all, Hold::begin(before.limit, before.queue, later));
    let (before, after_all, _) = after("@live, paused");
    assert_eq!(after_all, before);
}

#[test]
fn what_is_drained_stays_in_the_table_until_it_is_stopped() {
    let to = |script: &str| {
        let machine = Scripted::run(script).machine;
        (machine.route().to.map(|release| release.color), machine.gate().is_open())
    };
    let holding = "recreate, @live, deploy, image_ready";
    assert_eq!(to(holding), (Some(Color::Blue), false));
    assert_eq!(to(&format!("{holding}, traffic_switched")), (Some(Color::Blue), false));
    assert_eq!(to(&format!("{holding}, traffic_switched, drain_complete")), (None, false));
    assert_eq!(to(STOPPED), (None, false));
}

#[test]
fn a_start_in_a_switch_opens_no_gate_onto_nothing() {
    let machine = Scripted::run(&format!("{STOPPED}, container_started, health_check_passed")).machine;
    assert_eq!(machine.state(), "switching");
    // The candidate has died, and the controller with it.
    let routes = AppRoutes::at_start(&machine, &[]).expect("routes");
    assert!(matches!(routes.gate, Gate::Held(_)), "{routes:?}");
    assert_eq!(routes.target, None);
}

#[test]
fn a_machine_of_an_earlier_version_is_open() {
    let mut stored = serde_json::to_value(Scripted::run("@live").machine).expect("JSON");
    assert!(
        stored.as_object_mut().expect("an object").remove("access").is_none(),
        "nothing is written for it"
    );
    let loaded: Machine = serde_json::from_value(stored).expect("a machine");
    assert_eq!(loaded.gate(), Gate::Open);
}

/// A state by its name in [`STATES`], and what it answers to each word.
type Row = (&'static str, Machine, Vec<(&'static str, Result<Machine, Refusal>)>);

/// The machine in each of [`STATES`] with each of [`WORDS`]: where it leads, or why it is refused.
fn table() -> Vec<Row> {
    STATES
        .iter()
        .map(|(name, script)| {
            let state = Scripted::run(script);
            let answers = WORDS.iter().map(|word| {
                let event = state.event(word);
                let now = match (state.machine.owed().alarm, &event) {
                    (Some(alarm), Event::WatchPassed) if alarm.kind == AlarmKind::WatchPassed => alarm.at,
                    (Some(alarm), Event::WindowPassed) if alarm.kind == AlarmKind::WindowPassed => alarm.at,
                    (Some(alarm), Event::PauseEnded) if alarm.kind == AlarmKind::PauseEnded => alarm.at,
                    _ => state.now,
                };
                (*word, state.machine.step(&event, now).map(Transition::committed))
            });
            (*name, state.machine.clone(), answers.collect())
        })
        .collect()
}

/// Compares with the file, or writes it when `UPDATE` is set.
fn compare(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, generated).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "{} is stale: look at the difference that `UPDATE=1 cargo test -p dockswap-core` makes, and commit it",
        path.display()
    );
}

#[test]
fn the_whole_table_is_as_recorded() {
    let mut text = String::from("Every state with every event: where it leads, or why it is refused.\n");
    for (name, machine, answers) in table() {
        writeln!(text, "\n{name}: {}", tell(&machine)).expect("a string takes it");
        let mut refusals: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (word, answer) in answers {
            match answer {
                Ok(next) => writeln!(text, "  {word:<26} {}", tell(&next)).expect("a string takes it"),
                Err(refusal) => refusals.entry(kind(&refusal).to_owned()).or_default().push(word),
            }
        }
        for (kind, words) in refusals {
            writeln!(text, "  refused, {kind}: {}", words.join(", ")).expect("a string takes it");
        }
    }
    compare("tests/it/table.txt", &text);
}

const fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotNow { .. } => "not now",
        Refusal::Busy { .. } => "busy",
        Refusal::Stale { .. } | Refusal::Elsewhere { .. } => "stale",
        Refusal::TooEarly { .. } => "too early",
        Refusal::NothingToGoBackTo => "nothing to go back to",
        Refusal::NoWarmStandby => "no warm standby",
        Refusal::NothingHealthy => "nothing healthy",
        Refusal::NeverDeployed => "never deployed",
        Refusal::InMaintenance => "in maintenance",
        Refusal::Already { .. } => "already",
    }
}

#[test]
fn the_list_of_stages_is_whole() {
    let mut seen = BTreeSet::new();
    for (_, machine, answers) in table() {
        seen.insert(machine.stage());
        seen.extend(answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).map(Machine::stage));
    }
    assert_eq!(seen, BTreeSet::from(Stage::ALL));
    for stage in seen {
        assert!(Stage::ALL.iter().filter(|other| other.name() == stage.name()).count() == 1, "{stage:?}");
    }
}

#[test]
fn the_diagram_shows_the_real_machine() {
    let mut arrows: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut stays: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, machine, answers) in table() {
        for (word, answer) in answers {
            let Ok(next) = answer else { continue };
            // Rolling back by an order is a deployment like any other.
            let event = match word.split('/').next().unwrap_or(word) {
                "rollback" => "deploy (rollback)",
                "switch" => "deploy (switch)",
                event => event,
            };
            let (from, to) = (machine.state(), next.state());
            let events = if from == to {
                stays.entry(from).or_default()
            } else {
                arrows.entry((from, to)).or_default()
            };
            if !events.contains(&event) {
                events.push(event);
            }
        }
    }
    let mut text = String::from(
        "# The states of an app\n\n\
         Generated from the machine itself by `crates/core/tests/it/transitions.rs`, which also fails when this\n\
         file is stale (`UPDATE=1 cargo test -p dockswap-core` writes it anew). Every arrow is a committed\n\
         transition; an event that has no arrow in a state is refused, recorded, and changes nothing. A\n\
         retirement goes through `draining` and `stopping` as well.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> pending\n",
    );
    for ((from, to), events) in &arrows {
        writeln!(text, "    {from} --> {to}: {}", events.join(", ")).expect("a string takes it");
    }
    text.push_str("```\n\nAccepted without leaving the state:\n\n| state | events |\n|---|---|\n");
    for (state, events) in &stays {
        writeln!(text, "| `{state}` | {} |", events.join(", ")).expect("a string takes it");
    }
    compare("../../docs/states.md", &text);
}

#[test]
fn a_hold_is_read_again_as_it_was_stored_however_long() {
    for limit in [Duration::MAX, Duration::from_micros(1_500), Duration::ZERO] {
        let hold = Hold::begin(limit, 1, Timestamp::default());
        let stored = serde_json::to_string(&hold).expect("a hold is plain data");
        assert_eq!(serde_json::from_str::<Hold>(&stored).ok(), Some(hold));
    }
}
