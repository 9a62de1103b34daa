//! Whether the controller lives, is ready, and what it counts.

use super::{wire, with_causes};
use crate::run::backups::Backups;
use crate::run::state::State;
use axum::Json;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dockswap_certs::CertificateView;
use dockswap_controller::{AppView, FileStatus};
use dockswap_core::ports::{Router, RouterStatus};
use dockswap_core::routes::InFlight;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
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

pub(super) async fn certificates(
    extract::State(state): extract::State<Arc<State>>,
) -> Json<wire::Certificates> {
    let Some(custodian) = &state.certificates else { return Json::default() };
    let certificates = custodian.views().to_vec();
    Json(wire::Certificates { certificates, fault: custodian.fault().map(ToOwned::to_owned) })
}

pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let proxy = state.proxy.status().await.ok();
    let traffic = state.proxy.metrics().await.unwrap_or_default();
    let writable = state.database.check_writable().await.is_ok();
    let mut text = gauges(&state.controller.views(), proxy.as_ref(), writable);
    text.push_str(&records(&state.backups, &state.database.slow_operations()));
    if let Some(certificates) = &state.certificates {
        text.push_str(&expiries(&certificates.views()));
    }
    text.push_str(&state.controller.metrics());
    text.push_str(&traffic);
    // Writing into a String cannot fail.
    let _ = encode_eof(&mut text);
    (kind, text).into_response()
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

/// What is so now, in the text format of `OpenMetrics` without its last line.
fn gauges(apps: &[AppView], proxy: Option<&RouterStatus>, writable: bool) -> String {
    let mut registry = Registry::with_prefix("dockswap");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The version that runs", version);
    let by_state = Family::<InState, Gauge>::default();
    for app in apps {
        by_state.get_or_create(&InState { state: app.state.clone() }).inc();
    }
    registry.register("apps", "Apps, by state", by_state);
    let mut gauge = |name: &str, about: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, about, gauge);
    };
    let count = |wanted: fn(&AppView) -> bool| apps.iter().filter(|app| wanted(app)).count() as u64;
    gauge("deployments_in_flight", "Deployments that have not ended", count(|app| app.in_flight.is_some()));
    gauge("apps_waiting", "Apps with a newer version that waits for its turn", count(|app| app.waiting));
    gauge("apps_degraded", "Apps whose live color is not whole", count(|app| app.degraded.is_some()));
    gauge(
        "apps_invalid",
        "Apps whose file cannot be used",
        count(|app| matches!(app.file, FileStatus::Invalid { .. })),
    );
    gauge(
        "apps_orphaned",
        "Apps whose file is gone",
        count(|app| matches!(app.file, FileStatus::Orphaned { .. })),
    );
    gauge("database_writable", "Whether the database takes writes", writable.into());
    gauge("proxy_up", "Whether the proxy answers", proxy.is_some().into());
    if let Some(proxy) = proxy {
        let InFlight { requests, event_streams, calls, websockets, tunnels } = proxy.load.iter().sum();
        let by_kind = Family::<OfKind, Gauge>::default();
        for (kind, count) in [
            ("request", requests),
            ("event_stream", event_streams),
            ("grpc_call", calls),
            ("websocket", websockets),
            ("tunnel", tunnels),
        ] {
            by_kind.get_or_create(&OfKind { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        registry.register("proxy_in_flight", "What is in flight in the proxy, by its kind", by_kind);
    }
    in_text(&registry)
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfHost {
    app: String,
    host: String,
    source: String,
}

/// When certificates expire. Hosts are bounded by the routes of the app files.
fn expiries(certificates: &[CertificateView]) -> String {
    let by_host = Family::<OfHost, Gauge>::default();
    for one in certificates {
        let Some(expires_at) = one.expires_at_us else { continue };
        let host = OfHost { app: one.app.to_string(), host: one.host.clone(), source: one.source.clone() };
        by_host.get_or_create(&host).set(expires_at.as_micros() / 1_000_000);
    }
    let mut registry = Registry::with_prefix("dockswap");
    let about = "When the certificate that is shown for a host expires, in seconds since 1970";
    registry.register("certificate_expiry_timestamp_seconds", about, by_host);
    in_text(&registry)
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
}

/// How the records are looked after.
fn records(backups: &Backups, slow: &[(&'static str, u64)]) -> String {
    let mut registry = Registry::with_prefix("dockswap");
    let by_operation = Family::<OfOperation, Counter>::default();
    for &(operation, count) in slow {
        by_operation.get_or_create(&OfOperation { operation }).inc_by(count);
    }
    let about = "How often the database took as long as log.slow_query, by what it was for";
    registry.register("database_slow_operations", about, by_operation);
    let failing = Gauge::<i64>::default();
    let standing = backups.standing();
    failing.set(i64::from(standing.fault.is_some()));
    registry.register("backup_failing", "Whether there is no new backup though one is due", failing);
    if let Some(newest) = standing.backups.first() {
        let taken = Gauge::<i64>::default();
        taken.set(newest.at.as_micros() / 1_000_000);
        let about = "When the newest backup was taken, in seconds since 1970";
        registry.register("backup_newest_timestamp_seconds", about, taken);
    }
    in_text(&registry)
}

fn in_text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = encode_registry(&mut text, registry);
    text
}

#[cfg(test)]
mod tests {
    use super::{Backups, expiries, gauges, records};
    use dockswap_certs::CertificateView;
    use dockswap_config::BackupSettings;
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
        let text = expiries(&[one, none]);
        let expected = "dockswap_certificate_expiry_timestamp_seconds{app=\"web\",host=\"*.a.org\",source=\"files\"} 1800000000\n";
        assert!(text.ends_with(expected) && !text.contains("b.org"), "{text}");
    }

    #[test]
    fn what_took_long_and_the_newest_backup_are_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("dockswap-20261121T070000000Z.db"), "a copy").expect("a file");
        let backups = Backups::in_directory(Some(dir.path().to_owned()), BackupSettings::default());
        backups.look(Timestamp::default());
        let text = records(&backups, &[("read the events", 3)]);
        for line in [
            "dockswap_database_slow_operations_total{operation=\"read the events\"} 3",
            "dockswap_backup_failing 0",
            "dockswap_backup_newest_timestamp_seconds 1795244400",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn metrics_of_no_apps_are_well_formed() {
        let text = gauges(&[], None, true);
        for line in [
            "# TYPE dockswap_apps_degraded gauge",
            "dockswap_apps_degraded 0",
            "dockswap_proxy_up 0",
            "dockswap_database_writable 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2), "{text}");
    }
}
