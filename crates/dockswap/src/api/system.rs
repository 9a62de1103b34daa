//! Whether the controller lives, is ready, and what it counts.

use crate::run::state::State;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dockswap_controller::{AppView, FileStatus};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    match state.controller.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, text(&state.controller.views())).into_response()
}

/// In the text format of Prometheus.
fn text(apps: &[AppView]) -> String {
    let mut out = String::new();
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for app in apps {
        *states.entry(&app.state).or_default() += 1;
    }
    let count = |wanted: fn(&AppView) -> bool| apps.iter().filter(|app| wanted(app)).count();
    let version = env!("CARGO_PKG_VERSION");
    gauge(
        &mut out,
        "dockswap_build_info",
        "The version that runs.",
        &[(format!("{{version=\"{version}\"}}"), 1)],
    );
    let states: Vec<_> =
        states.into_iter().map(|(state, count)| (format!("{{state=\"{state}\"}}"), count)).collect();
    gauge(&mut out, "dockswap_apps", "Apps, by state.", &states);
    for (name, about, count) in [
        (
            "dockswap_deployments_in_flight",
            "Deployments that have not ended.",
            count(|app| app.in_flight.is_some()),
        ),
        (
            "dockswap_apps_waiting",
            "Apps with a newer version that waits for its turn.",
            count(|app| app.waiting),
        ),
        (
            "dockswap_apps_degraded",
            "Apps whose live color is not whole.",
            count(|app| app.degraded.is_some()),
        ),
        (
            "dockswap_apps_invalid",
            "Apps whose file cannot be used.",
            count(|app| matches!(app.file, FileStatus::Invalid { .. })),
        ),
        (
            "dockswap_apps_orphaned",
            "Apps whose file is gone.",
            count(|app| matches!(app.file, FileStatus::Orphaned { .. })),
        ),
    ] {
        gauge(&mut out, name, about, &[(String::new(), count)]);
    }
    out
}

fn gauge(out: &mut String, name: &str, about: &str, samples: &[(String, usize)]) {
    // Writing into a String cannot fail.
    let _ = write!(out, "# HELP {name} {about}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn metrics_of_no_apps_are_well_formed() {
        let text = text(&[]);
        assert!(text.contains("# TYPE dockswap_apps gauge\n"));
        assert!(text.contains("\ndockswap_apps_degraded 0\n"));
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{text}");
    }
}
