//! The things that the proofs are about: one app, its configs, and a short way to say events.

use dockswap_core::limits::TrafficLimits;
use dockswap_core::machine::{
    Event, Failure, Fallback, Machine, Observation, Order, OrderReason, OrderTarget, Plan,
};
use dockswap_core::ports::Image;
use dockswap_core::spec::{
    DeploymentPolicy, HealthCheck, HostPattern, OnRegression, Promotion, Route, Strategy,
};
use dockswap_core::{AppName, ConfigId, DeploymentId, ImageId};
use std::time::Duration;

/// How a config wants to be deployed, where that leads to other states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// By itself, and back by itself.
    Auto,
    /// `promotion: manual`.
    Manual,
    /// `auto_rollback: false`.
    Record,
    /// `rollback_window: 0s`.
    Brief,
    /// `strategy: recreate`.
    Recreate,
}

/// What the deadlines of a policy are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// As an app file has them by default.
    Real,
    /// Deadlines have passed as soon as they are set, so that a model checker tries every order of
    /// a deadline and anything else; only the rollback window lasts until the clock is moved.
    Instant,
}

/// The app.
pub fn app() -> AppName {
    "web".parse().expect("a valid name")
}

/// The plan of a config: its image is `app:vN`.
pub fn plan(config: i64, manner: Manner, pace: Pace) -> Plan {
    let (startup, drain, watch, window) = match pace {
        Pace::Real => (60_000, 30_000, 10_000, 300_000),
        Pace::Instant => (0, 0, 0, 1),
    };
    Plan {
        config: ConfigId(config),
        image: format!("app:v{config}"),
        replicas: 1,
        health_check: HealthCheck {
            http: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            retries: 3,
            success_threshold: 1,
        },
        policy: DeploymentPolicy {
            startup_delay: Duration::ZERO,
            startup_timeout: Duration::from_millis(startup),
            drain_timeout: Duration::from_millis(drain),
            stop_timeout: Duration::from_secs(15),
            watch: Duration::from_millis(watch),
            on_regression: match manner {
                Manner::Auto | Manner::Manual | Manner::Brief | Manner::Recreate => OnRegression::RollBack,
                Manner::Record => OnRegression::Record,
            },
            rollback_window: match manner {
                Manner::Auto | Manner::Manual | Manner::Record | Manner::Recreate => {
                    Duration::from_millis(window)
                }
                Manner::Brief => Duration::ZERO,
            },
            promotion: match manner {
                Manner::Auto | Manner::Record | Manner::Brief | Manner::Recreate => Promotion::Auto,
                Manner::Manual => Promotion::Manual,
            },
            strategy: match manner {
                Manner::Recreate => Strategy::Recreate,
                Manner::Auto | Manner::Manual | Manner::Record | Manner::Brief => Strategy::BlueGreen,
            },
        },
        routes: vec![Route {
            host: HostPattern::Exact("web.localhost".to_owned()),
            path_prefix: "/".to_owned(),
            strip_prefix: false,
            listen_port: None,
            tls: None,
        }],
        limits: TrafficLimits::default(),
    }
}

/// The image that a plan resolves to.
pub fn image(plan: &Plan) -> Image {
    Image { id: ImageId(format!("sha256:{}", plan.config)), digest: None }
}

/// Something that went wrong.
pub fn failure(what: &str) -> Failure {
    Failure::new(what)
}

/// An order to deploy.
pub fn order(deployment: i64, target: OrderTarget, reason: OrderReason) -> Event {
    Event::Deploy(Order { deployment: DeploymentId(deployment), target, reason })
}

/// The event that a word of a line script stands for, as it would come to `machine`: `deploy` is the
/// next deployment of the next config. Each word is an event's name, some with a variant after `/`.
pub fn event(word: &str, machine: &Machine, deployment: i64, manner: Manner) -> Event {
    let newer = || plan(machine.considered().map_or(1, |config| config.0 + 1), manner, Pace::Real);
    let live = machine.serving().map(|serving| &serving.live);
    let standby =
        machine.serving().and_then(|serving| serving.standby.as_ref()).map(|standby| &standby.release);
    let seen = |release: Option<&dockswap_core::machine::Release>| {
        Event::ManualRecovery(Observation {
            healthy: release.map(|release| (release.color, release.origin)).into_iter().collect(),
        })
    };
    let watched = machine.owed().watch.map_or(DeploymentId(0), |watch| watch.release.origin);
    let unhealthy = |fallback| Event::TargetUnhealthy {
        origin: watched,
        failure: failure("GET / answered 500"),
        fallback,
    };
    match word {
        "deploy" => order(deployment, OrderTarget::Config(newer()), OrderReason::Edit),
        "rollback/warm" => order(deployment, OrderTarget::Standby, OrderReason::Rollback),
        "rollback/pinned" => {
            let plan = plan(1, Manner::Auto, Pace::Real);
            let image_id = image(&plan).id;
            order(deployment, OrderTarget::Pinned { plan, image_id }, OrderReason::Rollback)
        }
        "switch" => order(deployment, OrderTarget::Standby, OrderReason::Switch),
        "image_ready" => {
            Event::ImageReady(image(&plan(machine.considered().map_or(1, |c| c.0), manner, Pace::Real)))
        }
        "image_failed" => Event::ImageFailed(failure("no such image")),
        "container_started" => Event::ContainerStarted,
        "container_failed" => Event::ContainerFailed(failure("exited with code 1")),
        "health_check_passed" => Event::HealthCheckPassed,
        "health_check_failed" => Event::HealthCheckFailed(failure("not healthy within 60 s")),
        "promote" => Event::Promote,
        "cancel" => Event::Cancel,
        "superseded" => Event::Superseded { by: ConfigId(99) },
        "traffic_switched" => Event::TrafficSwitched { revision: 1 },
        "switch_failed" => Event::SwitchFailed(failure("the proxy does not answer")),
        "drain_complete" => Event::DrainComplete,
        "drain_timed_out" => Event::DrainTimedOut { left: 2 },
        "target_unhealthy/healthy" => unhealthy(Fallback::Healthy),
        "target_unhealthy/unfit" => unhealthy(Fallback::Unfit),
        "watch_passed" => Event::WatchPassed,
        "window_passed" => Event::WindowPassed,
        "standby_lost" => Event::StandbyLost(failure("container web-blue-1 is gone")),
        "container_stopped" => Event::ContainerStopped,
        "stop_failed" => Event::StopFailed(failure("docker does not answer")),
        "rollback_complete" => Event::RollbackComplete,
        "rollback_failed" => Event::RollbackFailed(failure("docker does not answer")),
        "resumed" => Event::Resumed,
        "manual_recovery/live" => seen(live),
        "manual_recovery/standby" => seen(standby),
        "manual_recovery/nothing" => seen(None),
        "retire" => Event::Retire { newest: None },
        "paused" => Event::Paused { limit: Duration::from_secs(30), queue: 1_000 },
        "unpaused" => Event::Unpaused,
        "pause_ended" => Event::PauseEnded,
        "maintenance_began" => Event::MaintenanceBegan { page: Some("<h1>back soon</h1>".to_owned()) },
        "maintenance_ended" => Event::MaintenanceEnded,
        "external_change" => Event::ExternalChange(failure("container web-blue-1 was removed")),
        "healed" => Event::Healed { what: "container web-blue-1 was removed".to_owned() },
        "given_up" => Event::GivenUp(failure("crash loop: died 8 times in 40s")),
        _ => panic!("{word:?} is no event"),
    }
}

/// Every word that [`event`] knows, in the order of a deployment.
pub const WORDS: [&str; 39] = [
    "deploy",
    "rollback/warm",
    "rollback/pinned",
    "switch",
    "image_ready",
    "image_failed",
    "container_started",
    "container_failed",
    "health_check_passed",
    "health_check_failed",
    "promote",
    "cancel",
    "superseded",
    "traffic_switched",
    "switch_failed",
    "drain_complete",
    "drain_timed_out",
    "target_unhealthy/healthy",
    "target_unhealthy/unfit",
    "watch_passed",
    "window_passed",
    "standby_lost",
    "container_stopped",
    "stop_failed",
    "rollback_complete",
    "rollback_failed",
    "resumed",
    "manual_recovery/live",
    "manual_recovery/standby",
    "manual_recovery/nothing",
    "retire",
    "external_change",
    "healed",
    "given_up",
    "paused",
    "unpaused",
    "pause_ended",
    "maintenance_began",
    "maintenance_ended",
];
