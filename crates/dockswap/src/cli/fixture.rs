//! Values for the tests of rendering.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::api::wire;
use dockswap_core::Timestamp;
use serde_json::json;

/// The present, in tests: four hours after the fixtures' deployments.
pub(crate) fn now() -> Timestamp {
    serde_json::from_value::<wire::Time>(json!("2026-11-21T12:00:00.000000Z")).unwrap().0
}

/// An app of which blue serves v1 by deployment 6, and whose deployment 7 was of v2.
pub(crate) fn app(name: &str) -> wire::App {
    serde_json::from_value(json!({
        "app": name, "state": "stable", "version": 21, "active_color": "blue", "image": "app:v1",
        "serving": 6, "origin": 6, "in_flight": null, "deployment": 6, "standby": null,
        "routes": [format!("{name}.localhost/")], "upstreams": ["172.17.0.2:8080"], "progress": null,
        "file": {"status": "valid"}, "degraded": null, "failed": null, "waiting": false,
        "serving_since": "2026-11-21T08:00:00.000000Z", "state_since": "2026-11-21T08:01:00.000000Z",
        "last_deployment": {
            "id": 7, "app": name, "config": 3, "image": "app:v2", "status": "success", "color": "green",
            "started_at": "2026-11-21T07:59:58.000000Z", "ended_at": "2026-11-21T08:00:12.000000Z",
            "rollback_of": null,
        },
        "failure": null,
    }))
    .unwrap()
}
