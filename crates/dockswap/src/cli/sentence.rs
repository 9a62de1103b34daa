//! Events and progress in words. Pure.

use super::text::{bytes, count, duration};
use crate::api::wire;
use dockswap_controller::{GateView, Progress};
use dockswap_core::Timestamp;
use dockswap_core::machine::{Event, Order, OrderReason, OrderTarget};
use dockswap_core::ports::RouterStatus;
use dockswap_core::routes::{Hold, InFlight};
use dockswap_core::spec::HealthCheck;

/// What happened, in a sentence without its subject: `image app:v2 is on the host`.
pub(crate) fn of_event(event: &wire::Event) -> String {
    if event.refused {
        let reason = event.error.as_deref().unwrap_or("not possible now");
        return format!("{} was refused: {}", asked_by(&event.name), of_refusal(reason));
    }
    let color = event.color.map_or_else(|| "the candidate".to_owned(), |color| color.to_string());
    match event.decoded() {
        Some(decoded) => sentence(&decoded, &color, event),
        None => event.name.replace('_', " "),
    }
}

/// What is in flight: `3 requests, 2 WebSockets`.
fn of_in_flight(in_flight: &InFlight) -> String {
    let InFlight { requests, event_streams, calls, websockets, tunnels } = *in_flight;
    let kinds = [
        (requests, "request"),
        (event_streams, "event stream"),
        (calls, "gRPC call"),
        (websockets, "WebSocket"),
        (tunnels, "upgraded connection"),
    ];
    let there =
        kinds.iter().filter(|(number, noun)| *number > 0 || (*noun == "request" && in_flight.total() == 0));
    there.map(|(number, noun)| count(*number, noun)).collect::<Vec<_>>().join(", ")
}

/// Why something was refused, by the command that asked for it instead of the machine's event.
pub(crate) fn of_refusal(reason: &str) -> String {
    match reason.split_once(' ') {
        Some((event, rest)) => format!("{} {rest}", asked_by(event)),
        None => reason.to_owned(),
    }
}

/// An event as people ask for it.
fn asked_by(event: &str) -> String {
    match event {
        "manual_recovery" => "recover".to_owned(),
        "retire" => "remove".to_owned(),
        "paused" => "pause".to_owned(),
        "unpaused" => "resume".to_owned(),
        "maintenance_began" => "maintenance on".to_owned(),
        "maintenance_ended" => "maintenance off".to_owned(),
        event => event.replace('_', " "),
    }
}

fn sentence(decoded: &Event, color: &str, event: &wire::Event) -> String {
    match decoded {
        Event::Deploy(order) => of_order(order, color),
        Event::ImageReady(image) => {
            let what = image.digest.clone().unwrap_or_else(|| image.id.to_string());
            let waits = match event.to.as_deref() {
                Some("awaiting_promotion") => {
                    format!(
                        "; {color} may not run beside what serves, and waits for `dockswap promote {}`",
                        event.app
                    )
                }
                _ => String::new(),
            };
            format!("the image is here: {what}{waits}")
        }
        Event::ContainerStarted => format!("the containers of {color} run"),
        Event::HealthCheckPassed if event.to.as_deref() == Some("awaiting_promotion") => {
            format!("{color} is healthy and waits for `dockswap promote {}`", event.app)
        }
        Event::HealthCheckPassed => format!("{color} is healthy"),
        Event::Promote => format!("{color} was promoted"),
        Event::Cancel => "an operator cancelled it".to_owned(),
        Event::Superseded { by } => format!("a newer version (config {by}) takes its place"),
        Event::TrafficSwitched { revision } => switched(event, *revision),
        Event::DrainComplete => "nothing is in flight any more on the color that left the route".to_owned(),
        Event::DrainTimedOut { left } => {
            format!("the drain timed out: {} closed", count(*left, "request or connection"))
        }
        Event::WatchPassed => format!("{color} served well for the whole watch"),
        Event::WindowPassed => "the rollback window has ended".to_owned(),
        Event::ContainerStopped => "the color out of traffic has stopped".to_owned(),
        Event::RollbackComplete => "everything that the deployment brought is gone".to_owned(),
        Event::Resumed => "a controller took it up again".to_owned(),
        Event::ManualRecovery(seen) if seen.healthy.is_empty() => {
            "an operator asked to recover; nothing is healthy".to_owned()
        }
        Event::ManualRecovery(seen) => {
            let healthy: Vec<String> = seen
                .healthy
                .iter()
                .map(|(color, origin)| format!("{color} of deployment {origin}"))
                .collect();
            format!("an operator asked to recover; healthy: {}", healthy.join(", "))
        }
        Event::Retire { .. } => "an operator takes the app out of service".to_owned(),
        Event::Paused { limit, queue } => {
            format!("an operator lets new requests wait, up to {queue} of them for {}", duration(*limit))
        }
        Event::Unpaused => "an operator lets them go on".to_owned(),
        Event::PauseEnded => "the pause is over: requests go on".to_owned(),
        Event::MaintenanceBegan { page } => {
            let page = if page.is_some() { "the app's own page" } else { "a plain page" };
            format!("an operator has new requests answered 503, with {page}")
        }
        Event::MaintenanceEnded => "an operator opens the app again".to_owned(),
        Event::Healed { what } => format!("healed: {what}"),
        Event::ImageFailed(failure)
        | Event::ContainerFailed(failure)
        | Event::HealthCheckFailed(failure)
        | Event::SwitchFailed(failure)
        | Event::StandbyLost(failure)
        | Event::StopFailed(failure)
        | Event::RollbackFailed(failure)
        | Event::ExternalChange(failure)
        | Event::GivenUp(failure)
        | Event::TargetUnhealthy { failure, .. } => failure.to_string(),
    }
}

fn of_order(order: &Order, color: &str) -> String {
    let what = match &order.target {
        OrderTarget::Config(plan) => format!("image {} is to go into {color}", plan.image),
        OrderTarget::Pinned { plan, .. } => {
            format!("image {} is to go into {color}, the very one that ran before", plan.image)
        }
        OrderTarget::Standby => format!("{color}, which still runs, is to take the traffic"),
    };
    let by = match order.reason {
        OrderReason::Edit => "an edit of the file",
        OrderReason::Deploy => "`dockswap deploy`",
        OrderReason::Rollback => "`dockswap rollback`",
        OrderReason::Switch => "`dockswap switch`",
    };
    format!("{what} (by {by})")
}

fn switched(event: &wire::Event, revision: u64) -> String {
    let active = event.payload.get("active_color").and_then(|color| color.as_str());
    let image = event.payload.get("image").and_then(|image| image.as_str());
    match (active, image) {
        (Some(color), Some(image)) => {
            format!("the proxy has confirmed: traffic goes to {color} ({image}; table {revision})")
        }
        _ if ["holding", "rolling_back"].contains(&event.to.as_deref().unwrap_or_default()) => {
            format!("the proxy has confirmed: requests wait (table {revision})")
        }
        _ => format!("the proxy has confirmed: nothing is routed (table {revision})"),
    }
}

/// How an effect comes along.
pub(crate) fn of_progress(progress: &Progress) -> String {
    match progress {
        Progress::Pulling { done_bytes, total_bytes: 0 } => format!("pulling: {}", bytes(*done_bytes)),
        Progress::Pulling { done_bytes, total_bytes } => {
            let percent = (u128::from(*done_bytes) * 100 / u128::from(*total_bytes)).min(100);
            format!("pulling: {} of {} ({percent} %)", bytes(*done_bytes), bytes(*total_bytes))
        }
        Progress::Probing { probes, last: None } => {
            format!("probing: {}", count(u64::from(*probes), "probe"))
        }
        Progress::Probing { probes, last: Some(last) } => {
            format!("probing: {}, the last one: {last}", count(u64::from(*probes), "probe"))
        }
        Progress::Draining { left, closed_in } => {
            format!("draining: {} in flight, closed in {} s", of_in_flight(left), closed_in.as_secs())
        }
        Progress::Retrying { reason } => format!("trying again: {reason}"),
    }
}

/// What keeps new requests from an app: `paused, 12 s left, 40 requests wait`; `None`: nothing does.
pub(crate) fn of_gate_view(app: &wire::App, now: Timestamp) -> Option<String> {
    let waits = |how: &str, hold: &Hold| {
        let left = duration(hold.until.saturating_since(now));
        let waiting = match app.requests_waiting {
            Some(1) => ", 1 request waits".to_owned(),
            Some(waiting) => format!(", {waiting} requests wait"),
            None => String::new(),
        };
        format!("{how}, {left} left{waiting} (up to {})", hold.queue)
    };
    match &app.view.gate {
        GateView::Open => None,
        GateView::Paused(hold) => Some(waits("paused", hold)),
        GateView::Held(hold) => Some(waits("held for the deployment", hold)),
        GateView::Maintenance { page_bytes } => {
            let page = page_bytes.map_or("a plain page", |_| "its own page");
            Some(format!("in maintenance: new requests are answered 503, with {page}"))
        }
    }
}

/// What serves, in a sentence.
pub(crate) fn serving(app: &wire::App) -> String {
    let name = &app.view.app;
    match (app.view.active_color, &app.view.image) {
        (Some(color), Some(image)) if app.view.given_up => {
            format!("nothing serves {name}: {color} ({image}) ended too often, and was stopped")
        }
        (Some(color), Some(image)) => {
            let by = app.view.serving.map_or_else(String::new, |id| format!(", by deployment {id}"));
            format!("{color} ({image}) serves {name}{by}")
        }
        _ if app.view.state == "retired" => {
            format!("nothing serves {name}: it is out of service, and its routes answer 404")
        }
        _ if app.view.gate.holds() => format!("nothing serves {name} at present: its requests wait"),
        _ if app.view.routes.is_empty() => format!("nothing serves {name}, and it has no routes"),
        _ => format!("nothing serves {name}: its routes answer 503"),
    }
}

/// What the file asks for, when what serves is something else.
pub(crate) fn of_asked(app: &wire::App) -> Option<String> {
    let asked = app.asked.as_ref()?;
    let served = app.view.image.as_ref()?;
    let asks = if asked.image == *served {
        format!("another configuration (config {})", asked.config)
    } else {
        format!("{} (config {})", asked.image, asked.config)
    };
    Some(format!(
        "the file asks for {asks}; what serves is {served}: the next edit or `dockswap deploy {}` brings \
         the file's version",
        app.view.app
    ))
}

/// What the proxy serves, in a sentence.
pub(crate) fn of_proxy(status: &RouterStatus) -> String {
    let apps = status.table.apps.iter().map(|app| match &app.target {
        Some(target) if !target.upstreams.is_empty() => {
            format!("{} by {} of deployment {}", app.app, target.color, target.deployment)
        }
        _ => format!("{} by nothing", app.app),
    });
    match apps.collect::<Vec<_>>().as_slice() {
        [] => "the proxy runs, and routes nothing".to_owned(),
        apps => format!("the proxy serves {}", apps.join(", ")),
    }
}

/// What a container must show before it gets traffic.
pub(crate) fn of_gate(check: &HealthCheck) -> String {
    let times = match check.success_threshold {
        1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    match &check.http {
        Some(http) => {
            let ranges: Vec<String> = http
                .expected_status
                .iter()
                .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
                .collect();
            let timeout = duration(check.timeout);
            format!("{} {} answers {} within {timeout}{times}", http.method, http.endpoint, ranges.join(", "))
        }
        None => {
            format!("its port takes a TCP connection, and its image's HEALTHCHECK, if any, passes{times}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{of_event, of_progress};
    use crate::api::wire;
    use dockswap_controller::Progress;
    use dockswap_core::routes::InFlight;
    use serde_json::json;
    use std::time::Duration;

    fn event(name: &str, payload: &serde_json::Value) -> wire::Event {
        serde_json::from_value(json!({
            "id": 1, "deployment": 7, "app": "web", "event": name, "from": null, "to": payload.get("to"),
            "color": "green", "refused": payload.get("refused").is_some(), "error": payload.get("refused"),
            "at": "2026-11-21T07:38:26.123456Z", "payload": payload,
        }))
        .unwrap()
    }

    #[test]
    fn events_in_words() {
        for (name, payload, words) in [
            (
                "container_started",
                json!({"event": {"type": "container_started"}}),
                "the containers of green run",
            ),
            (
                "health_check_passed",
                json!({"to": "awaiting_promotion", "event": {"type": "health_check_passed"}}),
                "green is healthy and waits for `dockswap promote web`",
            ),
            (
                "traffic_switched",
                json!({"active_color": "green", "image": "app:v2", "event": {"type": "traffic_switched", "revision": 9}}),
                "the proxy has confirmed: traffic goes to green (app:v2; table 9)",
            ),
            (
                "container_failed",
                json!({"event": {"type": "container_failed", "summary": "web-green-7 exited", "evidence": ["boom"]}}),
                "web-green-7 exited\n  | boom",
            ),
            (
                "cancel",
                json!({"refused": "cancel is not possible in state stable"}),
                "cancel was refused: cancel is not possible in state stable",
            ),
            (
                "manual_recovery",
                json!({"refused": "manual_recovery is not possible in state health_check"}),
                "recover was refused: recover is not possible in state health_check",
            ),
            ("of_a_later_version", json!({"event": {"type": "of_a_later_version"}}), "of a later version"),
        ] {
            assert_eq!(of_event(&event(name, &payload)), words);
        }
    }

    #[test]
    fn progress_in_words() {
        let draining = |left| Progress::Draining { left, closed_in: Duration::from_millis(41_900) };
        for (progress, words) in [
            (
                Progress::Pulling { done_bytes: 12_300_000, total_bytes: 45_000_000 },
                "pulling: 12.3 MB of 45.0 MB (27 %)",
            ),
            (Progress::Pulling { done_bytes: 0, total_bytes: 0 }, "pulling: 0 B"),
            (
                Progress::Probing { probes: 1, last: Some("GET /health answered 500".to_owned()) },
                "probing: 1 probe, the last one: GET /health answered 500",
            ),
            (
                draining(InFlight { requests: 3, websockets: 2, ..InFlight::default() }),
                "draining: 3 requests, 2 WebSockets in flight, closed in 41 s",
            ),
            (
                draining(InFlight { event_streams: 1, calls: 2, tunnels: 1, ..InFlight::default() }),
                "draining: 1 event stream, 2 gRPC calls, 1 upgraded connection in flight, closed in 41 s",
            ),
            (draining(InFlight::default()), "draining: 0 requests in flight, closed in 41 s"),
        ] {
            assert_eq!(of_progress(&progress), words);
        }
    }
}
