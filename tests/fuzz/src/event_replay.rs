//! Any sequence of events, and any record of one: what was accepted is accepted again and leads to the
//! same state, and a record that was damaged is an error.

use crate::choices::Choices;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::machine::{
    Event, Failure, Fallback, Machine, Observation, Order, OrderReason, OrderTarget, Plan, Transition,
};
use dockswap_core::name::Version;
use dockswap_core::ports::Image;
use dockswap_core::spec::{
    DeploymentPolicy, HealthCheck, HostPattern, OnRegression, Promotion, Route, Strategy,
};
use dockswap_core::{AppName, Color, ConfigId, DeploymentId, ImageId, Timestamp};
use serde_json::Value;
use std::time::Duration;

/// The longest sequence that is tried.
const LONGEST: usize = 96;

/// What of an event's record its replay stands on.
const NEEDED: [&str; 3] = ["event", "at_us", "to"];

/// Takes `bytes` for JSON where they are some, else for choices of what happens.
pub fn event_replay(bytes: &[u8]) {
    match serde_json::from_slice(bytes) {
        Ok(stored) => take_up(&stored),
        Err(_) => walk(&mut Choices::new(bytes)),
    }
}

fn app() -> AppName {
    "web".parse().expect("a name")
}

/// What is stored is taken for what it may be, and used: none of it may panic.
fn take_up(stored: &Value) {
    if let Value::Array(payloads) = stored {
        let events: Vec<(i64, Value)> = (1..).zip(payloads.iter().cloned()).collect();
        if let Ok(machine) = replay(&events) {
            assert_eq!(replay(&events).as_ref(), Ok(&machine), "a replay is no function of its events");
            look_at(&machine);
        }
    }
    if let Ok(machine) = serde_json::from_value::<Machine>(stored.clone()) {
        look_at(&machine);
        for (event, now) in
            [(Event::Resumed, i64::MIN), (Event::Retire { newest: None }, 0), (Event::Cancel, i64::MAX)]
        {
            let now = Timestamp::from_micros(now);
            match machine.step(&event, now) {
                Ok(transition) => look_at(transition.after()),
                Err(refusal) => drop(machine.refused(&event, &refusal, now)),
            }
        }
    }
    if let Ok(event) = serde_json::from_value::<Event>(stored.clone()) {
        assert!(Machine::new(app()).step(&event, Timestamp::default()).is_ok() || !event.name().is_empty());
    }
}

/// A history as `choices` lead, on record as the store keeps it.
fn walk(choices: &mut Choices<'_>) {
    let mut machine = Machine::new(app());
    let mut record: Vec<(i64, Value)> = Vec::new();
    let mut now = Timestamp::from_micros(choices.number());
    for deployment in (1..).take(LONGEST) {
        if choices.is_empty() {
            break;
        }
        let event = event(choices, &machine, deployment);
        if choices.below(4) == 0 {
            // Clocks jump, in both directions.
            now = Timestamp::from_micros(choices.number());
        }
        let before = machine.clone();
        let payload = match machine.step(&event, now) {
            Ok(transition) => {
                fits(&machine, &transition);
                let payload = transition.event().payload.clone();
                machine = transition.committed();
                payload
            }
            Err(refusal) => {
                let Some(refused) = machine.refused(&event, &refusal, now) else { continue };
                refused.event.payload
            }
        };
        let stale = Version(before.version().0.wrapping_sub(1));
        assert!(before.report(stale, &event, now).is_err(), "a late report of {} counts", event.name());
        // As it comes back from a column of text.
        let text = payload.to_string();
        record.push((deployment, serde_json::from_str(&text).expect("a payload is JSON")));
        look_at(&machine);
    }
    assert_eq!(replay(&record).as_ref(), Ok(&machine), "{record:#?}");
    damage(&mut record, choices);
}

/// A record that lacks something, or says something else, is an error where it counted.
fn damage(record: &mut [(i64, Value)], choices: &mut Choices<'_>) {
    if record.is_empty() {
        return;
    }
    let nth = choices.below(record.len());
    let counts = record[nth].1.get("refused").is_none();
    let key = *choices.one_of(&NEEDED);
    let Some(payload) = record[nth].1.as_object_mut() else { return };
    match choices.below(3) {
        0 => drop(payload.remove(key)),
        1 => drop(payload.insert(key.to_owned(), Value::String("nothing of the kind".to_owned()))),
        _ => drop(payload.insert(key.to_owned(), Value::Null)),
    }
    assert_eq!(replay(record).is_err(), counts, "event {nth} without a good {key:?}: {record:#?}");
}

fn replay(record: &[(i64, Value)]) -> Result<Machine, String> {
    let events = record.iter().map(|(id, payload)| (*id, payload));
    Machine::replay(app(), events).map_err(|error| error.to_string())
}

/// Whether a transition leads on from `machine`, and says so.
fn fits(machine: &Machine, transition: &Transition) {
    let after = transition.after();
    assert_eq!(transition.expected(), machine.version());
    assert_eq!(after.version().0, machine.version().0 + 1);
    let current = transition.current();
    assert_eq!(current.status, after.state());
    assert_eq!(current.active_color, after.serving().map(|serving| serving.live.color));
    assert_eq!(current.image.as_deref(), after.serving().map(|serving| serving.live.plan.image.as_str()));
    assert_eq!(transition.event().payload["from"], machine.state());
    assert_eq!(transition.event().payload["to"], after.state());
}

/// Asks a state everything that a controller asks it, and stores and loads it.
fn look_at(machine: &Machine) {
    let owed = machine.owed();
    let upkeep = machine.upkeep();
    let route = machine.route();
    assert!(!format!("{owed:?}{upkeep:?}{route:?}").is_empty());
    let _ = (machine.color(), machine.undid(), machine.in_flight(), machine.deployment());
    let _ = (machine.readiness(), machine.considered(), machine.releases().len());
    let _ = machine.current_state(Timestamp::default());
    let stored = serde_json::to_string(machine).expect("a machine can be stored");
    let loaded: Machine = serde_json::from_str(&stored).expect("a stored machine can be loaded");
    assert_eq!(loaded, *machine, "a stored machine is another one");
}

fn event(choices: &mut Choices<'_>, machine: &Machine, deployment: i64) -> Event {
    let failure = |choices: &mut Choices<'_>| {
        let summary = *choices.one_of(&["", "exited with code 1", "\u{1b}[31m", "\"quoted\" \\ \0"]);
        Failure { summary: summary.to_owned(), evidence: vec![summary.to_owned(); choices.below(3)] }
    };
    let live = machine.serving().map(|serving| &serving.live);
    let standby = machine.serving().and_then(|serving| serving.standby.as_ref());
    match choices.below(32) {
        0 | 1 => order(deployment, OrderTarget::Config(plan(choices)), choices),
        2 => {
            let target =
                OrderTarget::Pinned { plan: plan(choices), image_id: ImageId("sha256:old".to_owned()) };
            order(deployment, target, choices)
        }
        3 => order(deployment, OrderTarget::Standby, choices),
        4 => {
            let digest = choices.flag().then(|| "app@sha256:1".to_owned());
            Event::ImageReady(Image { id: ImageId(format!("sha256:{deployment}")), digest })
        }
        5 => Event::ImageFailed(failure(choices)),
        6 => Event::ContainerStarted,
        7 => Event::ContainerFailed(failure(choices)),
        8 => Event::HealthCheckPassed,
        9 => Event::HealthCheckFailed(failure(choices)),
        10 => Event::Promote,
        11 => Event::Cancel,
        12 => Event::Superseded { by: ConfigId(choices.number()) },
        13 => Event::TrafficSwitched { revision: choices.number().unsigned_abs() },
        14 => Event::SwitchFailed(failure(choices)),
        15 => Event::DrainComplete,
        16 => Event::DrainTimedOut { left: choices.number().unsigned_abs() },
        17 => {
            let watched = machine.owed().watch.map(|watch| watch.release.origin);
            let origin = watched.filter(|_| choices.below(8) != 1).unwrap_or(DeploymentId(choices.number()));
            let fallback = *choices.one_of(&[Fallback::Healthy, Fallback::Unfit]);
            Event::TargetUnhealthy { origin, failure: failure(choices), fallback }
        }
        18 => Event::WatchPassed,
        19 => Event::WindowPassed,
        20 => Event::StandbyLost(failure(choices)),
        21 => Event::ContainerStopped,
        22 => Event::StopFailed(failure(choices)),
        23 => Event::RollbackComplete,
        24 => Event::RollbackFailed(failure(choices)),
        25 => Event::Resumed,
        26 => {
            let seen = live.into_iter().chain(standby.map(|standby| &standby.release));
            let mut healthy: Vec<_> = seen.map(|release| (release.color, release.origin)).collect();
            match choices.below(4) {
                0 => {}
                1 => healthy.reverse(),
                2 => healthy.truncate(1),
                _ => healthy = vec![(Color::Green, DeploymentId(choices.number()))],
            }
            Event::ManualRecovery(Observation { healthy })
        }
        27 => {
            let knows = choices.flag();
            Event::Retire { newest: knows.then(|| ConfigId(choices.number())) }
        }
        28 => Event::ExternalChange(failure(choices)),
        29 => Event::Healed { what: failure(choices).summary },
        30 => Event::GivenUp(failure(choices)),
        // The one that such a phase most often waits for, so that histories get somewhere.
        _ => match machine.state() {
            "pulling" => Event::ImageReady(Image { id: ImageId("sha256:1".to_owned()), digest: None }),
            "starting" => Event::ContainerStarted,
            "health_check" => Event::HealthCheckPassed,
            "switching" => Event::TrafficSwitched { revision: 1 },
            "draining" => Event::DrainComplete,
            "watching" => Event::WatchPassed,
            "rolling_back" => Event::RollbackComplete,
            _ => Event::ContainerStopped,
        },
    }
}

fn order(deployment: i64, target: OrderTarget, choices: &mut Choices<'_>) -> Event {
    let reasons = [OrderReason::Edit, OrderReason::Deploy, OrderReason::Rollback, OrderReason::Switch];
    Event::Deploy(Order { deployment: DeploymentId(deployment), target, reason: *choices.one_of(&reasons) })
}

fn plan(choices: &mut Choices<'_>) -> Plan {
    let duration = |choices: &mut Choices<'_>| match choices.below(4) {
        0 => Duration::ZERO,
        1 => Duration::from_millis(u64::MAX),
        _ => Duration::from_millis(u64::from(choices.byte()) << 8),
    };
    let config = choices.number();
    Plan {
        config: ConfigId(config),
        image: format!("app:{config}"),
        replicas: choices.byte(),
        health_check: HealthCheck {
            http: None,
            interval: duration(choices),
            timeout: duration(choices),
            retries: 3,
            success_threshold: 1,
        },
        policy: DeploymentPolicy {
            startup_delay: duration(choices),
            startup_timeout: duration(choices),
            drain_timeout: duration(choices),
            stop_timeout: duration(choices),
            watch: duration(choices),
            on_regression: *choices.one_of(&[OnRegression::RollBack, OnRegression::Record]),
            rollback_window: duration(choices),
            promotion: *choices.one_of(&[Promotion::Auto, Promotion::Manual]),
            strategy: *choices.one_of(&[Strategy::BlueGreen, Strategy::Recreate]),
        },
        routes: vec![Route {
            host: HostPattern::Any,
            path_prefix: "/".to_owned(),
            strip_prefix: false,
            listen_port: None,
            tls: None,
        }],
        limits: TrafficLimits::default(),
    }
}
