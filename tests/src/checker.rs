//! The independent checker: what the records say, what Docker shows and what traffic saw must be one
//! story.

use crate::load::{Kind, Report};
use crate::site::Site;
use crate::time::Micros;
use crate::wait::holds;
use std::time::Duration;

/// Panics if a request that began after a switch was confirmed, and ended before the next one could
/// have begun, was answered by another version than the one switched to.
///
/// Every deployment of `app` must have a version of its own.
pub fn assert_traffic_follows_switches(site: &Site, app: &str, report: &Report) {
    let database = site.database();
    let confirmed = database.switches(app);
    // A switch can take effect from the moment in which the gate was passed or traffic was sent back.
    let begins = database.starts_of_switches(app);
    let mut judged = 0_usize;
    for (at, version) in &confirmed {
        let next = begins.iter().copied().find(|begin| begin > at).unwrap_or(Micros::MAX);
        for sample in report.samples.iter().filter(|sample| sample.began > *at && sample.ended < next) {
            assert!(
                sample.version == *version,
                "{app}: the switch to {version} was confirmed at {at}, and this came after it: {sample:?}"
            );
            judged += 1;
        }
    }
    assert!(judged > 0, "{app}: no request was made between two switches: {confirmed:?}");
}

/// Panics unless the records are whole, and what they say is what Docker and traffic show. The app
/// must be settled.
pub fn assert_records_fit(site: &Site, app: &str) {
    let done = site.command(&["db", "check"]);
    assert!(done.code == 0, "dockswap db check:\n{done}");
    let database = site.database();
    let sql = "SELECT d.id, s.active_color, s.image, s.status FROM current_state s
               JOIN deployments d ON d.id = s.deployment_id WHERE s.app_name = ?1";
    let rows = database.rows(sql, &[app]);
    let state = rows.first().unwrap_or_else(|| panic!("{app} has no current_state"));
    let running = site.running(app);
    let Some(color) = state["active_color"].as_str() else {
        assert!(state["status"] != "stable", "{app} is stable without a color: {state:?}");
        return;
    };
    let answer = crate::load::once(site.http(), &site.host_of(app), Kind::OneShot);
    let answer =
        answer.unwrap_or_else(|failure| panic!("{app} serves by its records, and does not: {failure:?}"));
    let server = running.iter().find(|container| container.id.starts_with(&answer.container));
    let server = server.unwrap_or_else(|| panic!("{app}: {answer:?} came from none of {running:?}"));
    assert_eq!(server.color, color, "{app}: traffic goes to {server:?}, the record says {state:?}");
    // What was kept in a slot and gave way to a newer version may still be stopping.
    holds(&format!("{app} has at most one container a color"), Duration::from_secs(20), || {
        site.containers(app).len() <= 2
    });
}
