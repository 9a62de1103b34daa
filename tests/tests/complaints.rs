//! More of what hurt the users of the tools before us: the complaints that need traffic, an operator
//! who is interrupted, or images that somebody clears away. One test a scar, as in `scars.rs`.

use dockswap_proof::kept;
use dockswap_tests::{
    AppFile, Done, Kind, Load, Mix, Site, assert_records_fit, docker, holds, now, once, stamp,
};
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

fn version(site: &Site, app: &str) -> Option<String> {
    once(site.http(), &site.host_of(app), Kind::OneShot).ok().map(|sample| sample.version)
}

/// The names of a deployment's events, in order.
fn events(site: &Site, deployment: i64) -> Vec<String> {
    let sql =
        "SELECT event_type FROM deployment_events WHERE deployment_id = CAST(?1 AS INTEGER) ORDER BY id";
    let rows = site.database().rows(sql, &[&deployment.to_string()]);
    rows.iter().filter_map(|row| row["event_type"].as_str().map(str::to_owned)).collect()
}

#[test]
fn scar_p02_p04_p06_route_then_drain_then_stop_in_one_hand() {
    let site = Site::start();
    let app = site.name("web");
    let file = AppFile::new(&app).deployment("watch", "100ms").deployment("rollback_window", "0s");
    let (since, first) = (now(), site.deployed(&file.clone().version("n1")));
    let slow = Mix { keep_alive: 2, one_shot: 2, posts: 0, path: "/slow?ms=1000", ..Mix::default() };
    let load = Load::start(site.http(), &site.host_of(&app), slow);
    load.goes_on(8);
    site.deployed(&file.version("n2"));
    let report = load.stop();
    report.assert_unbroken();
    let mut signals = docker::signals(&app, since);
    signals.retain(|(_, deployment)| *deployment == first);
    let (signalled, _) = *signals.first().expect("the first version was told to stop");
    // The route left it first …
    let switched = site.database().switches(&app)[1].0;
    assert!(switched < signalled, "stopped before the switch:\n{}", site.events(&app));
    kept("scar-P02", "real Docker, slow requests in flight");
    // … then everything that it had begun was ended …
    let old: Vec<_> = report.samples.iter().filter(|sample| sample.version == "n1").collect();
    assert!(old.iter().any(|sample| sample.ended > switched), "nothing was in flight in the switch");
    assert!(old.iter().all(|sample| sample.ended < signalled), "stopped with a request in flight");
    kept("scar-P06", "real Docker, slow requests in flight");
    // … and all three are one history, committed in this order before the signal.
    let order = "SELECT group_concat(event_type, ' ') FROM (SELECT event_type FROM deployment_events
                 WHERE app_name = ?1 AND created_at <= ?2 AND event_type IN
                 ('traffic_switched', 'drain_complete') ORDER BY id)";
    let order = site.database().text(order, &[&app, &stamp(signalled)]);
    let expected = "traffic_switched drain_complete traffic_switched drain_complete";
    assert_eq!(order.as_deref(), Some(expected), "{}", site.events(&app));
    kept("scar-P04", "real Docker, slow requests in flight");
}

#[test]
fn scar_p15_an_interrupted_command_leaves_no_lock() {
    let site = Site::start();
    let app = site.name("web");
    let file = AppFile::new(&app).deployment("promotion", "manual");
    site.deployed(&AppFile::new(&app).version("n1"));
    site.save(&file.version("n2"));
    site.reaches(&app, "awaiting_promotion");
    for signal in [Signal::INT, Signal::KILL] {
        let mut follower = site.begin(&["events", &app, "-f"]);
        let mut waiting = site.begin(&["wait", &app, "--for", "stable", "--timeout", "60s"]);
        let mut ordering = site.begin(&["deploy", &app]);
        for child in [&mut follower, &mut waiting, &mut ordering] {
            dockswap_tests::send(child.id(), signal);
            let _ = child.wait();
        }
    }
    // Who holds it is the deployment, not a command; the message says so, and what to do.
    let refused = site.command(&["remove", &app, "--yes"]).exits(5);
    assert!(refused.all().contains("awaiting_promotion") || refused.all().contains("in flight"), "{refused}");
    let _ = site.command(&["cancel", &app]).exits(0);
    site.settled(&app);
    assert_eq!(version(&site, &app).as_deref(), Some("n1"));
    site.deployed(&AppFile::new(&app).version("n3"));
    assert_records_fit(&site, &app);
    kept("scar-P15", "real Docker, commands interrupted in a deploy");
}

/// An image of its own for each version: the demo app with another label.
fn image(mark: &str, number: usize) -> docker::Tag {
    let name = format!("dockswap-e2e/{mark}:v{number}");
    let container = docker::docker(&["create", &format!("dockswap-demo:v{number}")]);
    let label = format!("LABEL dockswap.test={mark}");
    docker::docker(&["commit", "--change", &label, &container, &name]);
    docker::docker(&["rm", &container]);
    docker::Tag(name)
}

#[test]
fn scar_p19_no_clean_up_takes_the_image_of_a_rollback() {
    let site = Site::start();
    let app = site.name("web");
    let images: Vec<docker::Tag> = (1..=3).map(|number| image(&app, number)).collect();
    let mut deployments = Vec::new();
    for image in &images {
        let file = AppFile::new(&app).image(&image.0).docker("pull_policy", "never");
        deployments.push(site.deployed(&file.deployment("watch", "0s").deployment("rollback_window", "0s")));
    }
    // The names go; what is kept for a rollback has names of its own.
    drop(images);
    let mark = format!("label=dockswap.test={app}");
    let prune =
        |all: &[&str]| docker::docker(&[&["image", "prune", "--force", "--filter", &mark], all].concat());
    prune(&[]);
    let _ = site.command(&["rollback", &app, "--to", &deployments[0].to_string()]).exits(0);
    site.settled(&app);
    assert_eq!(version(&site, &app).as_deref(), Some("v1"), "an image with a pin outlives its name");
    // `prune --all` takes whatever has no container: the standby has one, and the third version soon has none.
    holds("two are left", Duration::from_secs(30), || docker::containers(&app).len() == 2);
    prune(&["--all"]);
    let _ = site.command(&["rollback", &app, "--to", &deployments[2].to_string()]).exits(0);
    site.settled(&app);
    assert_eq!(version(&site, &app).as_deref(), Some("v3"), "the standby keeps its image");
    // What it did take is said, and what serves is left alone.
    let before = docker::running(&app);
    let done = site.command(&["rollback", &app, "--to", &deployments[1].to_string()]);
    assert!([1, 3].contains(&done.code) && done.all().contains("not on this host"), "{done}");
    site.settled(&app);
    assert_eq!(docker::running(&app), before);
    assert_eq!(version(&site, &app).as_deref(), Some("v3"));
    kept("scar-P19", "real Docker, image prune by hand");
}

#[test]
fn scar_p22_a_health_check_needs_nothing_in_the_image() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1").health_check("endpoint", "/health"));
    let container = docker::running(&app).remove(0).id;
    for tool in ["sh", "curl", "wget"] {
        let done = Done::of(Command::new("docker").args(["exec", &container, tool]));
        assert_ne!(done.code, 0, "the image was to have nothing but the app: {done}");
    }
    let passed = events(&site, site.database().newest(&app).expect("a deployment").0);
    assert!(passed.iter().any(|event| event == "health_check_passed"), "{passed:?}");
    kept("scar-P22", "real Docker, an image with nothing but the app");
}

#[test]
fn scar_p23_a_health_check_that_is_redirected_says_where_to() {
    let site = Site::start();
    let app = site.name("web");
    let file = AppFile::new(&app).env("HEALTH_STATUS", "301").health_check("expected_status", "200");
    let (_, status) = site.deploy(&file.deployment("startup_timeout", "2s"));
    assert_eq!(status, "failed");
    site.settled(&app);
    let _ = site.command(&["why", &app]).exits(0).says("301");
    kept("scar-P23", "real Docker, a health check that is redirected");
}

#[test]
fn scar_g08_a_deploy_by_command_is_on_record_like_any_other() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1").deployment("watch", "100ms"));
    let edited = site.deployed(&AppFile::new(&app).version("n2").deployment("watch", "100ms"));
    let _ = site.command(&["deploy", &app]).exits(0);
    site.settled(&app);
    let (ordered, status) = site.database().newest(&app).expect("a deployment");
    assert!(ordered > edited && status == "success");
    let steps = |deployment| -> Vec<String> {
        let mut steps = events(&site, deployment);
        // How the standby ends is another story.
        steps.retain(|step| !["window_passed", "container_stopped"].contains(&step.as_str()));
        steps
    };
    assert_eq!(steps(ordered), steps(edited));
    let _ = site.command(&["deploy", &app, "dockswap-demo:v2"]).exits(0);
    site.settled(&app);
    let (with_image, _) = site.database().newest(&app).expect("a deployment");
    assert!(with_image > ordered);
    assert_eq!(steps(with_image), steps(edited));
    holds("the file says so too", Duration::from_secs(10), || {
        std::fs::read_to_string(site.file_of(&app)).is_ok_and(|text| text.contains("dockswap-demo:v2"))
    });
    assert_records_fit(&site, &app);
    kept("scar-G08", "real Docker, deploy APP and deploy APP IMAGE");
}
