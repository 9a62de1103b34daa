//! Keeping new requests from an app, and letting them in again: a pause, and maintenance.

use super::code::Code;
use super::error::Problem;
use super::orders::{Answer, From, Order};
use super::segment::Segment;
use super::wire;
use axum::Json;
use dockswap_controller::Command;
use dockswap_core::machine::LONGEST_PAUSE;

/// Lets new requests wait.
pub(super) async fn pause(from: From, Segment(app): Segment, order: Order<wire::PauseOrder>) -> Answer {
    let Json(wire::PauseOrder { limit, queue }) = order?;
    if limit.is_zero() || limit > LONGEST_PAUSE || queue == 0 {
        let longest = LONGEST_PAUSE.as_secs() / 60;
        let detail = format!("a pause lasts up to {longest} min, and at least one request must be let wait");
        return Err(Problem::new(Code::InvalidPause, detail));
    }
    from.signature.note("limit_ms", u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    from.signature.note("queue", queue);
    from.order(&app, Command::Pause { limit, queue }).await
}

/// Lets them go on.
pub(super) async fn resume(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::Resume).await
}

/// Has new requests answered 503.
pub(super) async fn close(from: From, Segment(app): Segment, order: Order<wire::MaintenanceOrder>) -> Answer {
    let Json(wire::MaintenanceOrder { page }) = order?;
    if page.as_ref().is_some_and(|page| page.len() > wire::PAGE_LIMIT) {
        let detail = format!("a page has at most {} KiB", wire::PAGE_LIMIT / 1024);
        return Err(Problem::new(Code::PageTooLong, detail));
    }
    from.order(&app, Command::BeginMaintenance { page }).await
}

/// Lets new requests in again.
pub(super) async fn open(from: From, Segment(app): Segment) -> Answer {
    from.order(&app, Command::EndMaintenance).await
}
