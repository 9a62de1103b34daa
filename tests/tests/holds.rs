//! Requests that wait, on real Docker and under load: for a version that may not run beside the one before, and
//! for an operator. None of them fails.

use dockswap_proof::kept;
use dockswap_tests::{AppFile, Load, Mix, Report, Site, assert_records_fit, until};
use std::time::Duration;

/// 200 requests a second, by as many clients as can wait for a boot.
const LOAD: Mix = Mix { keep_alive: 400, one_shot: 400, posts: 0, period: Duration::from_secs(4), path: "/" };

/// An app that boots for three seconds and may not run twice.
fn version(app: &str, number: usize) -> AppFile {
    AppFile::new(app)
        .image("v1")
        .version(&format!("n{number}"))
        .env("BOOT_MS", "3000")
        .deployment("strategy", "recreate")
        .deployment("watch", "100ms")
}

/// That no request failed; prints how long the longest took.
fn judge(report: &Report, what: &str) {
    report.assert_unbroken();
    println!("{what}: the longest of {} requests took {:?}", report.samples.len(), report.percentile(100));
}

fn answered(report: &Report, version: &str) -> bool {
    report.samples.iter().any(|sample| sample.version == version)
}

#[test]
fn a_recreation_a_failed_one_and_a_rollback_lose_no_request() {
    let site = Site::start();
    let app = site.name("alone");
    site.deployed(&version(&app, 1));
    let load = Load::start(site.http(), &site.host_of(&app), LOAD);
    let _ = load.take();

    site.deployed(&version(&app, 2));
    load.goes_on(1_000);
    let report = load.take();
    judge(&report, "recreated");
    assert!(answered(&report, "n1") && answered(&report, "n2"));
    assert_eq!(site.running(&app).len(), 1, "the old version stays stopped");

    let sick = version(&app, 3).env("HEALTH_STATUS", "500").deployment("startup_timeout", "4s");
    assert_eq!(site.deploy(&sick).1, "failed");
    assert_eq!(site.settled(&app), "stable");
    load.goes_on(1_000);
    let report = load.take();
    judge(&report, "the old version came back");
    assert!(report.samples.iter().all(|sample| sample.version == "n2"), "n3 never had traffic");

    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    load.goes_on(1_000);
    let report = load.stop();
    judge(&report, "rolled back");
    assert!(answered(&report, "n1"));
    assert_eq!(site.running(&app).len(), 1);
    assert_records_fit(&site, &app);
    kept("P3", "real Docker, 200 requests a second, an app that boots 3 s");
    kept("scar-P10", "real Docker, 200 requests a second, an app that boots 3 s");
}

#[test]
fn a_pause_loses_no_request_and_maintenance_shows_the_page() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).image("v1").version("n1").deployment("watch", "100ms"));
    let load = Load::start(site.http(), &site.host_of(&app), LOAD);
    let waiting = || {
        let shown = site.command(&["status", &app, "--json"]).exits(0);
        shown.json()["requests_waiting"].as_u64().unwrap_or(0)
    };
    for _ in 0..3 {
        let _ = site.command(&["pause", &app, "--for", "60s"]).exits(0);
        until("a hundred requests wait", Duration::from_secs(60), || (waiting() >= 100).then_some(()));
        let _ = site.command(&["resume", &app]).exits(0);
        load.goes_on(400);
    }
    judge(&load.stop(), "paused and resumed three times");

    let page = site.home().join("page.html");
    std::fs::write(&page, "<h1>back at noon</h1>").expect("written");
    let page = page.display().to_string();
    let _ = site.command(&["maintenance", &app, "on", "--page", &page]).exits(0);
    let failure = dockswap_tests::get(site.http(), &site.host_of(&app), "/").expect_err("it is closed");
    assert!(failure.reason.contains("503"), "{failure:?}");
    let _ = site.command(&["maintenance", &app, "off"]).exits(0);
    dockswap_tests::get(site.http(), &site.host_of(&app), "/").expect("it is open again");
    let _ = site.command(&["switch", &app, "green"]).exits(4);
    assert_records_fit(&site, &app);
    kept("P3", "pauses, real Docker, 200 requests a second");
}
