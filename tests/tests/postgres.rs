//! The main job with its records in `PostgreSQL`.

use dockswap_tests::{AppFile, Kind, Load, Mix, Postgres, Site, holds, once};
use std::time::Duration;

/// Waits until `version` serves and nothing is in flight.
fn serves(site: &Site, app: &str, version: &str) {
    holds(&format!("{version} serves"), Duration::from_secs(60), || {
        let status = site.command(&["status", app, "--json"]);
        let answer = once(site.http(), &site.host_of(app), Kind::OneShot);
        status.code == 0
            && status.json()["state"] == "stable"
            && status.json()["in_flight"].is_null()
            && answer.is_ok_and(|sample| sample.version == version)
    });
}

#[test]
fn deploy_crash_and_rollback_on_postgresql() {
    let Some(postgres) = Postgres::start() else { return };
    let mut site = Site::prepare().variable("DOCKSWAP_DATABASE_URL", &postgres.url());
    let app = site.name("web");
    let file = |version: &str| AppFile::new(&app).version(version);
    site.run();
    site.save(&file("n1"));
    serves(&site, &app, "n1");
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let first = site.controller_pid().to_string();
    let _ = site.command(&["run", "--proxy-http", "127.0.0.1:0"]).exits(5).says(&first);

    site.save(&file("n2").env("HEALTHY_AFTER_MS", "2000"));
    holds("the deployment is in its health check", Duration::from_secs(30), || {
        site.command(&["status", &app, "--json"]).json()["state"] == "health_check"
    });
    site.kill_controller();
    site.run();
    serves(&site, &app, "n2");
    let _ = site.command(&["rollback", &app]).exits(0);
    serves(&site, &app, "n1");
    let _ = site.command(&["db", "check"]).exits(0);
    load.stop().assert_unbroken();
    assert!(!site.database().path().exists(), "nothing is kept in SQLite");
}
