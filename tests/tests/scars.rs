//! What hurt the users of the tools before us, one test a scar; those that belong to a larger story
//! are told there, under their own names (see docs and the other files of this directory).

use dockswap_proof::kept;
use dockswap_tests::{
    AppFile, Frozen, Kind, Load, Mix, Site, assert_records_fit, docker, holds, once, until,
};
use std::time::Duration;

fn version(site: &Site, app: &str) -> Option<String> {
    once(site.http(), &site.host_of(app), Kind::OneShot).ok().map(|sample| sample.version)
}

#[test]
fn scar_p01_one_unreadable_file_takes_nobody_down_not_even_at_start() {
    let mut site = Site::start();
    let (good, bad) = (site.name("good"), site.name("bad"));
    site.deployed(&AppFile::new(&good).version("n1"));
    site.deployed(&AppFile::new(&bad).version("n1"));
    site.save_text(&bad, "name: [\u{0}");
    let load = Load::start(site.http(), &site.host_of(&good), Mix::default());
    site.kill_controller();
    site.run();
    load.goes_on(50);
    load.stop().assert_unbroken();
    assert_eq!(version(&site, &bad).as_deref(), Some("n1"), "what runs is untouched");
    site.deployed(&AppFile::new(&good).version("n2"));
    site.deployed(&AppFile::new(&bad).version("n2"));
    kept("scar-P01", "real Docker, over a restart, under load");
}

#[test]
fn scar_p12_a_container_with_another_address_is_found_again() {
    let mut site = Site::start();
    let (app, thief) = (site.name("web"), site.name("thief"));
    site.deployed(&AppFile::new(&app).version("n1"));
    let container = docker::running(&app).remove(0).id;
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let before = docker::docker(&["inspect", "--format", address, &container]);
    // As after a reboot: nobody looks, and Docker hands the freed address to another container.
    site.kill_controller();
    docker::docker(&["stop", "-t", "1", &container]);
    let label = format!("dockswap.app={thief}");
    let run =
        ["run", "-d", "--network", "dockswap", "--label", &label, "-e", "VERSION=thief", "dockswap-demo:v1"];
    holds("the address is somebody else's", Duration::from_secs(60), || {
        let taken = docker::docker(&run);
        docker::docker(&["inspect", "--format", address, &taken]) == before
    });
    docker::docker(&["start", &container]);
    let after = docker::docker(&["inspect", "--format", address, &container]);
    assert_ne!(after, before, "the address was to be another one");
    site.run();
    let answer = until("the app answers again", Duration::from_secs(60), || version(&site, &app));
    assert_eq!(answer, "n1", "never the container that got its address");
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    load.goes_on(100);
    let report = load.stop();
    report.assert_unbroken();
    assert!(report.samples.iter().all(|sample| sample.version == "n1"));
    kept("scar-P12", "an address that went to another container, real Docker");
}

#[test]
fn scar_p17_a_rollback_without_an_argument_goes_to_the_previous_good_version() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("good"));
    let (_, status) = site.deploy(&AppFile::new(&app).image("exits"));
    assert_eq!(status, "failed");
    site.settled(&app);
    site.deployed(&AppFile::new(&app).version("better"));
    let _ = site.command(&["rollback", "--help"]).exits(0);
    assert_eq!(version(&site, &app).as_deref(), Some("better"));
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    assert_eq!(version(&site, &app).as_deref(), Some("good"));
    assert_records_fit(&site, &app);
    kept("scar-P17", "real Docker, without an argument");
}

#[test]
fn scar_p23_a_health_check_that_fails_says_why() {
    let site = Site::start();
    let app = site.name("web");
    let gate = |file: AppFile| file.deployment("startup_timeout", "2s").health_check("timeout", "500ms");
    let fails = |file: AppFile, words: &[&str]| {
        let (_, status) = site.deploy(&gate(file));
        assert_eq!(status, "failed");
        site.settled(&app);
        let done = site.command(&["why", &app]).exits(0);
        assert!(
            words.iter().any(|words| done.stdout.to_lowercase().contains(words)),
            "expected {words:?}:\n{done}"
        );
    };
    fails(AppFile::new(&app).docker("expose_port", "9999"), &["refused"]);
    fails(AppFile::new(&app).health_check("endpoint", "/nothing-here"), &["404"]);
    fails(
        AppFile::new(&app).health_check("endpoint", "/slow?ms=5000"),
        &["timed out", "no answer", "within", "500ms"],
    );
    kept("scar-P23", "real Docker, wrong port, wrong path, too slow");
}

#[test]
fn scar_g10_reading_writes_nothing() {
    let site = Site::start();
    for command in ["status", "why", "history", "events", "configs", "health"] {
        let _ = site.command(&[command, "nobody"]).exits(4);
    }
    for table in ["current_state", "deployments", "deployment_events", "app_configs"] {
        assert_eq!(site.database().number(&format!("SELECT count(*) FROM {table}"), &[]), 0, "{table}");
    }
    // So the first deployment is the first, and routes traffic.
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 1);
    assert_eq!(version(&site, &app).as_deref(), Some("n1"));
    kept("scar-G10", "real Docker, every question about nobody");
}

#[test]
fn scar_g12_no_switch_is_on_record_that_the_proxy_has_not_confirmed() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    site.save(&AppFile::new(&app).version("n2").env("HEALTHY_AFTER_MS", "1000"));
    site.reaches(&app, "health_check");
    let frozen = Frozen::freeze(&site);
    site.reaches(&app, "switching");
    let color = "SELECT active_color FROM current_state WHERE app_name = ?1";
    assert_eq!(site.database().text(color, &[&app]).as_deref(), Some("blue"));
    drop(frozen);
    site.settled(&app);
    assert_eq!(site.database().text(color, &[&app]).as_deref(), Some("green"), "{}", site.events(&app));
    assert_eq!(version(&site, &app).as_deref(), Some("n2"));
    assert_records_fit(&site, &app);
    kept("scar-G12", "real Docker, the proxy frozen in a switch");
}

#[test]
fn scar_g14_auto_rollback_takes_traffic_back_and_its_absence_does_not() {
    let site = Site::start();
    for (policy, expected) in [("true", "n1"), ("false", "n2")] {
        let app = site.name(&format!("auto-{policy}"));
        let file = AppFile::new(&app).deployment("auto_rollback", policy);
        site.deployed(&file.clone().version("n1"));
        let bad = file.version("n2").env("UNHEALTHY_AFTER_MS", "2000").deployment("watch", "5s");
        site.deploy(&bad);
        assert_eq!(site.settled(&app), "stable", "{}", site.events(&app));
        assert_eq!(version(&site, &app).as_deref(), Some(expected), "auto_rollback: {policy}");
        let seen =
            "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = 'target_unhealthy'";
        assert!(site.database().number(seen, &[&app]) > 0, "it is on record: {}", site.events(&app));
    }
    kept("scar-G14", "real Docker, unhealthy after the switch");
}

#[test]
fn scar_g16_recover_looks_before_it_says_stable() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    // What serves is well: there is nothing to recover from, and nothing changes.
    let before = docker::containers(&app);
    let done = site.command(&["recover", &app]);
    assert!([0, 5].contains(&done.code), "{done}");
    assert_eq!(docker::containers(&app), before);
    // A first version that fails leaves nothing that could be declared stable.
    let other = site.name("other");
    let _ = site.deploy(&AppFile::new(&other).image("exits"));
    site.settled(&other);
    let done = site.command(&["recover", &other]);
    assert_ne!(done.code, 0, "{done}");
    assert_ne!(site.database().state(&other).as_deref(), Some("stable"));
    kept("scar-G16", "real Docker, recover with nothing to recover");
}

#[test]
fn a_proxy_that_starts_alone_serves_what_it_last_knew() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    let proxy = site.proxy_pid().expect("a proxy");
    site.kill_controller();
    dockswap_tests::send(proxy, rustix::process::Signal::KILL);
    holds("the proxy is gone", Duration::from_secs(10), || site.proxy_pid().is_none());
    let http = site.http().to_string();
    let mut alone = site.begin(&["proxy", "--http", &http]);
    let answer = until("the app answers", Duration::from_secs(20), || version(&site, &app));
    assert_eq!(answer, "n1");
    site.run();
    site.deployed(&AppFile::new(&app).version("n2"));
    let _ = alone.kill();
    let _ = alone.wait();
}
