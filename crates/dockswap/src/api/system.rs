//! Whether the controller lives, is ready, and what it counts.

use super::with_causes;
use crate::run::state::State;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dockswap_certs::CertificateView;
use dockswap_controller::{AppView, FileStatus};
use dockswap_core::ports::{Router, RouterStatus};
use dockswap_core::routes::InFlight;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    let ready = match state.controller.ready().await {
        Ok(()) => state.database.check_writable().await.map_err(|error| with_causes(&error)),
        Err(reason) => Err(reason),
    };
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let proxy = state.proxy.status().await.ok();
    let writable = state.database.check_writable().await.is_ok();
    let mut text = text(&state.controller.views(), proxy.as_ref(), writable);
    if let Some(certificates) = &state.certificates {
        expiries(&mut text, &certificates.views());
    }
    (kind, text).into_response()
}

/// In the text format of Prometheus.
fn text(apps: &[AppView], proxy: Option<&RouterStatus>, writable: bool) -> String {
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
        states.into_iter().map(|(state, count)| (format!("{{state=\"{state}\"}}"), as_u64(count))).collect();
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
        gauge(&mut out, name, about, &[(String::new(), as_u64(count))]);
    }
    gauge(
        &mut out,
        "dockswap_database_writable",
        "Whether the database takes writes.",
        &[(String::new(), u64::from(writable))],
    );
    gauge(
        &mut out,
        "dockswap_proxy_up",
        "Whether the proxy answers.",
        &[(String::new(), u64::from(proxy.is_some()))],
    );
    if let Some(proxy) = proxy {
        let InFlight { requests, event_streams, calls, websockets, tunnels } = proxy.load.iter().sum();
        let kinds = [
            ("request", requests),
            ("event_stream", event_streams),
            ("grpc_call", calls),
            ("websocket", websockets),
            ("tunnel", tunnels),
        ];
        let kinds = kinds.map(|(kind, count)| (format!("{{kind=\"{kind}\"}}"), count));
        gauge(&mut out, "dockswap_proxy_in_flight", "What is in flight in the proxy, by its kind.", &kinds);
    }
    out
}

/// When certificates expire. Hosts are bounded by the routes of the app files.
fn expiries(out: &mut String, certificates: &[CertificateView]) {
    let samples = certificates.iter().filter_map(|one| {
        let seconds = u64::try_from(one.expires_at_us?.as_micros() / 1_000_000).ok()?;
        Some((format!("{{app=\"{}\",host=\"{}\",source=\"{}\"}}", one.app, one.host, one.source), seconds))
    });
    let about = "When the certificate that is shown for a host expires, in seconds since 1970.";
    gauge(out, "dockswap_certificate_expiry_timestamp_seconds", about, &samples.collect::<Vec<_>>());
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn gauge(out: &mut String, name: &str, about: &str, samples: &[(String, u64)]) {
    // Writing into a String cannot fail.
    let _ = write!(out, "# HELP {name} {about}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::{expiries, text};
    use dockswap_certs::CertificateView;
    use dockswap_core::Timestamp;

    #[test]
    fn certificates_are_counted_by_host() {
        let one = CertificateView {
            app: "web".parse().expect("a name"),
            host: "*.a.org".to_owned(),
            source: "files".to_owned(),
            expires_at_us: Some(Timestamp::from_micros(1_800_000_000_000_000)),
            next_try_us: None,
            trouble: None,
        };
        let none = CertificateView { host: "b.org".to_owned(), expires_at_us: None, ..one.clone() };
        let mut text = String::new();
        expiries(&mut text, &[one, none]);
        let expected = "dockswap_certificate_expiry_timestamp_seconds{app=\"web\",host=\"*.a.org\",source=\"files\"} 1800000000\n";
        assert!(text.ends_with(expected) && text.lines().count() == 3, "{text}");
    }

    #[test]
    fn metrics_of_no_apps_are_well_formed() {
        let text = text(&[], None, true);
        assert!(text.contains("# TYPE dockswap_apps gauge\n"));
        assert!(text.contains("\ndockswap_apps_degraded 0\n"));
        assert!(text.contains("\ndockswap_proxy_up 0\n"));
        assert!(text.contains("\ndockswap_database_writable 1\n"));
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{text}");
    }
}
