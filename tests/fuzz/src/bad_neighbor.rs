//! Any bytes as the file beside an app's own: the app notices nothing.

use crate::controller::Controller;
use serde_json::Value;
use std::sync::OnceLock;

/// What the app is told by, that no other file may change.
const ITS_OWN: [&str; 6] = ["state", "active_color", "image", "serving", "in_flight", "routes"];

/// Puts `bytes` into a directory in which `web` has a file, and serves.
pub fn bad_neighbor(bytes: &[u8]) {
    static CONTROLLER: OnceLock<Controller> = OnceLock::new();
    let controller = CONTROLLER.get_or_init(Controller::start);
    let before = its_own(controller);
    std::fs::write(controller.file("neighbor.yaml"), bytes).expect("a file");
    controller.reload();
    assert_eq!(its_own(controller), before, "{}", controller.get("/v1/files"));
}

fn its_own(controller: &Controller) -> Vec<Value> {
    let app = controller.get("/v1/apps/web");
    assert_eq!(app["state"], "stable", "{app}");
    ITS_OWN.iter().map(|field| app[field].clone()).collect()
}
