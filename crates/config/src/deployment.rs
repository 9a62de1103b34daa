//! The `deployment` section.

use crate::fields::{Field, Fields, Shape};
use crate::problem::Report;
use dockswap_core::spec::{DeploymentPolicy, OnRegression, Promotion, Strategy};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const ANY: Shape = Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(365 * 86_400) };
const UP_TO_A_DAY: Shape = Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(86_400) };

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "startup_delay",
        Shape::Duration { min: Duration::ZERO, max: HOUR },
        "Wait before the first probe; default 0s.",
    ),
    Field::new(
        "startup_timeout",
        Shape::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
        "The whole health gate; default 60s. A container that exits ends it at once.",
    ),
    Field::new(
        "drain_timeout",
        UP_TO_A_DAY,
        "How long requests in flight on the previous color may take; default 30s.",
    ),
    Field::new(
        "stop_timeout",
        Shape::Duration { min: Duration::ZERO, max: HOUR },
        "Between SIGTERM and SIGKILL; default 15s.",
    ),
    Field::new("watch", UP_TO_A_DAY, "How long after the switch the new color is watched; default 10s."),
    Field::new(
        "auto_rollback",
        Shape::Bool,
        "Whether traffic goes back when the new color turns unhealthy in its watch; default true. false: it is recorded only.",
    ),
    Field::new(
        "rollback_window",
        ANY,
        "How long the previous color stays running, out of traffic, for an instant rollback; default 5m.",
    ),
    Field::new(
        "promotion",
        Shape::Choice(&["auto", "manual"]),
        "Who lets a healthy candidate take the traffic; default auto. manual: it waits for `dockswap promote`.",
    ),
    Field::new(
        "strategy",
        Shape::Choice(&["blue_green", "recreate"]),
        "Whether old and new run side by side; default blue_green. recreate: never; requests wait while the old one is stopped and the new one started.",
    ),
];

/// Reads the section; `None`: it is absent.
pub(crate) fn decode(section: Option<&Fields<'_>>, report: &mut Report) -> DeploymentPolicy {
    let mut policy = DeploymentPolicy {
        startup_delay: Duration::ZERO,
        startup_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(30),
        stop_timeout: Duration::from_secs(15),
        watch: Duration::from_secs(10),
        on_regression: OnRegression::RollBack,
        rollback_window: Duration::from_secs(300),
        promotion: Promotion::Auto,
        strategy: Strategy::BlueGreen,
    };
    let Some(fields) = section else { return policy };
    for (key, value) in [
        ("startup_delay", &mut policy.startup_delay),
        ("startup_timeout", &mut policy.startup_timeout),
        ("drain_timeout", &mut policy.drain_timeout),
        ("stop_timeout", &mut policy.stop_timeout),
        ("watch", &mut policy.watch),
        ("rollback_window", &mut policy.rollback_window),
    ] {
        *value = fields.duration(key, report).unwrap_or(*value);
    }
    if policy.startup_delay >= policy.startup_timeout
        && let Some(item) = fields.take("startup_delay").or_else(|| fields.take("startup_timeout"))
    {
        let message = "startup_delay must be shorter than startup_timeout, which is the whole gate: raise startup_timeout";
        item.refuse::<()>(message, report);
    }
    if fields.bool("auto_rollback", report) == Some(false) {
        policy.on_regression = OnRegression::Record;
    }
    if fields.choice("promotion", report) == Some("manual") {
        policy.promotion = Promotion::Manual;
    }
    if fields.choice("strategy", report) == Some("recreate") {
        policy.strategy = Strategy::Recreate;
        if policy.promotion == Promotion::Manual
            && let Some(item) = fields.take("promotion")
        {
            let message = "promotion: manual cannot be had with strategy: recreate, for requests would wait as long \
                           as the operator: remove one of the two";
            item.refuse::<()>(message, report);
        }
    }
    policy
}
