//! The `health_check` section.

use crate::fields::{Field, Fields, Shape};
use crate::problem::Report;
use crate::scalar::{host, status};
use dockswap_core::spec::{HealthCheck, HttpCheck};
use std::time::Duration;

/// Its fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "endpoint",
        Shape::Path,
        "Path that is asked over HTTP; without it a TCP connect to expose_port counts, and the image's own HEALTHCHECK where it has one.",
    ),
    Field::new("method", Shape::Choice(&["GET", "HEAD", "OPTIONS", "POST"]), "Request method; default GET."),
    Field::new("expected_status", Shape::Statuses, "Status codes that count as healthy; default 200-399."),
    Field::new(
        "interval",
        Shape::Duration { min: Duration::from_millis(100), max: Duration::from_secs(3_600) },
        "Between two probes; default 2s. Before the first success the probe begins at 10 ms and backs off up to this.",
    ),
    Field::new(
        "timeout",
        Shape::Duration { min: Duration::from_millis(10), max: Duration::from_secs(300) },
        "For one probe; default 5s.",
    ),
    Field::new(
        "retries",
        Shape::Integer { min: 1, max: 1_000 },
        "Failed probes in a row after which a container is unhealthy; default 3.",
    ),
    Field::new(
        "success_threshold",
        Shape::Integer { min: 1, max: 1_000 },
        "Good probes in a row after which a container is healthy; default 1.",
    ),
];

/// Reads the section; `None`: it is absent.
pub(crate) fn decode(section: Option<&Fields<'_>>, report: &mut Report) -> HealthCheck {
    let mut check = HealthCheck {
        http: None,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        retries: 3,
        success_threshold: 1,
    };
    let Some(fields) = section else { return check };
    check.http = http(fields, report);
    check.interval = fields.duration("interval", report).unwrap_or(check.interval);
    check.timeout = fields.duration("timeout", report).unwrap_or(check.timeout);
    check.retries = fields.integer("retries", report).unwrap_or(check.retries);
    check.success_threshold = fields.integer("success_threshold", report).unwrap_or(check.success_threshold);
    check
}

fn http(fields: &Fields<'_>, report: &mut Report) -> Option<HttpCheck> {
    let method = fields.choice("method", report).unwrap_or("GET").to_owned();
    let expected_status = statuses(fields, report).unwrap_or_else(|| vec![(200, 399)]);
    let Some(endpoint) = fields.take("endpoint") else {
        for item in ["method", "expected_status"].iter().filter_map(|key| fields.take(key)) {
            item.refuse::<()>("has no effect without `endpoint`: add `endpoint: /health`", report);
        }
        return None;
    };
    let text = endpoint.text(report)?;
    let endpoint = endpoint.parsed(host::path(text), report)?.to_owned();
    Some(HttpCheck { endpoint, method, expected_status })
}

fn statuses(fields: &Fields<'_>, report: &mut Report) -> Option<Vec<(u16, u16)>> {
    let expected = "a status code, a range such as 200-399, or a list of them";
    let item = fields.take("expected_status")?;
    let items = item.one_or_many(report, expected)?;
    if items.is_empty() {
        return item.refuse(format!("an empty list accepts no answer: write {expected}"), report);
    }
    let range = |item: crate::fields::Item<'_>| {
        let text = item.word(expected, report)?;
        item.parsed(status::parse(text), report)
    };
    Some(items.into_iter().filter_map(range).collect())
}
