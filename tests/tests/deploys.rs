//! The main job, on real Docker and under load: an edit takes over with no failed request, and a
//! rollback takes it back.

use dockswap_proof::{Proof, kept};
use dockswap_tests::{
    AppFile, Load, Mix, Report, Site, assert_records_fit, docker, free_port, holds, once, until,
};
use dockswap_tests::{Kind, Sample, WebSocket};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn version(app: &str, number: usize) -> AppFile {
    let image = if number.is_multiple_of(2) { "v1" } else { "v2" };
    AppFile::new(app).image(image).version(&format!("n{number}")).deployment("watch", "100ms")
}

#[test]
fn a_file_that_was_rolled_back_is_not_deployed_again_until_it_is_edited() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1));
    let second = version(&app, 2);
    site.deployed(&second);
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    let count = "SELECT count(*) FROM deployments WHERE app_name = ?1";
    site.kill_controller();
    site.run();
    let _ = site.command(&["reload"]).exits(0);
    site.settled(&app);
    assert_eq!(site.database().number(count, &[&app]), 3, "{}", site.events(&app));
    assert_eq!(answer(&site, &app).version, "n1");
    site.deployed(&second.env("EDITED", "yes"));
    assert_version(&site, &app, "n2");
}

fn answer(site: &Site, app: &str) -> Sample {
    once(site.http(), &site.host_of(app), Kind::OneShot)
        .unwrap_or_else(|failure| panic!("{app}: {failure:?}"))
}

fn assert_version(site: &Site, app: &str, version: &str) {
    assert_eq!(answer(site, app).version, version);
}

#[test]
fn scar_p18_a_cold_rollback_brings_back_the_image_that_ran_not_the_tag_of_today() {
    // A "rollback" that deploys the newest code and reports success.
    let site = Site::start();
    let app = site.name("web");
    let tag = format!("dockswap-e2e/{app}:latest");
    docker::docker(&["tag", "dockswap-demo:v1", &tag]);
    let _untag = docker::Tag(tag.clone());
    let file =
        AppFile::new(&app).image(&tag).docker("pull_policy", "never").deployment("rollback_window", "0s");
    let first = site.deployed(&file);
    docker::docker(&["tag", "dockswap-demo:v2", &tag]);
    site.deployed(&file.clone().env("EDIT", "2"));
    assert_version(&site, &app, "v2");
    docker::docker(&["tag", "dockswap-demo:v3", &tag]);
    site.deployed(&file.env("EDIT", "3"));
    assert_version(&site, &app, "v3");
    let _ = site.command(&["rollback", &app, "--to", &first.to_string()]).exits(0);
    site.settled(&app);
    assert_version(&site, &app, "v1");
    assert_records_fit(&site, &app);
    kept("scar-P18", "a tag that moved between deploy and rollback, real Docker");
}

#[test]
fn a_request_that_is_in_flight_is_finished_by_the_version_that_took_it() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1));
    let slow = Mix { keep_alive: 2, one_shot: 2, posts: 0, path: "/slow?ms=1500", ..Mix::default() };
    let load = Load::start(site.http(), &site.host_of(&app), slow);
    site.deployed(&version(&app, 2));
    let saw = |report: &Report, version: &str| report.samples.iter().any(|sample| sample.version == version);
    holds("an answer of the new version", Duration::from_secs(30), || saw(&load.so_far(), "n2"));
    let report = load.stop();
    report.assert_unbroken();
    let switched = site.database().switches(&app)[1].0;
    let crossed = report.samples.iter().filter(|sample| sample.began < switched && sample.ended > switched);
    let crossed: Vec<_> = crossed.collect();
    assert!(!crossed.is_empty(), "no request was in flight during the switch");
    assert!(report.samples.iter().all(|sample| sample.began < switched || sample.version == "n2"));
}

#[test]
fn scar_p07_a_websocket_survives_a_switch() {
    // Every reload drops all WebSockets.
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1));
    let mut old = WebSocket::open(site.http(), &site.host_of(&app), "/ws");
    assert_eq!(old.echo("before"), "before");
    site.save(&version(&app, 2).deployment("drain_timeout", "60s"));
    site.reaches(&app, "draining");
    assert_eq!(old.echo("during the drain"), "during the drain");
    assert_version(&site, &app, "n2");
    let mut new = WebSocket::open(site.http(), &site.host_of(&app), "/ws");
    assert_eq!(new.echo("of the new version"), "of the new version");
    old.close();
    site.settled(&app);
    assert_eq!(site.database().newest(&app).map(|(_, status)| status).as_deref(), Some("success"));
    let timed_out =
        "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = 'drain_timed_out'";
    assert_eq!(site.database().number(timed_out, &[&app]), 0, "{}", site.events(&app));
    assert_eq!(new.echo("after it"), "after it");
    new.close();
    kept("scar-P07", "real Docker, a WebSocket through a switch");
}

#[test]
fn a_listener_of_an_apps_own_opens_and_closes_with_its_file() {
    let site = Site::start();
    let app = site.name("web");
    let port = free_port();
    let own = SocketAddr::from(([127, 0, 0, 1], port));
    site.deployed(&version(&app, 1).line(&format!("routes: [{{ listen_port: {port} }}]")));
    let seen = once(own, "whatever.example", Kind::OneShot).expect("an answer on the app's own port");
    assert_eq!(seen.version, "n1");
    site.deployed(&version(&app, 2));
    holds("the listener is closed", Duration::from_secs(20), || TcpStream::connect(own).is_err());
    assert_version(&site, &app, "n2");
}

#[test]
fn scar_p14_other_apps_notice_nothing() {
    let site = Site::start();
    let (bystander, busy) = (site.name("bystander"), site.name("busy"));
    site.deployed(&version(&bystander, 1));
    let container = docker::running(&bystander);
    let load = Load::start(site.http(), &site.host_of(&bystander), Mix::default());
    site.deployed(&version(&busy, 1));
    site.deployed(&version(&busy, 2));
    site.save_text(&busy, "name: [");
    let (_, status) = site.deploy(&AppFile::new(&busy).image("exits"));
    assert_eq!(status, "failed");
    let _ = site.command(&["remove", &busy, "--yes"]).exits(0);
    holds("the other app is gone", Duration::from_secs(60), || docker::containers(&busy).is_empty());
    let report = load.stop();
    report.assert_unbroken();
    report.assert_only_from(&[&container[0].id]);
    assert_eq!(docker::running(&bystander), container);
    let mut proof = Proof::of(
        "scar-P14",
        "requests to an app while another is deployed, broken and removed, real Docker",
    );
    proof.kept_times(report.samples.len() as u64);
    proof.conclude();
}

#[test]
fn a_version_that_waits_for_promotion_gets_the_traffic_when_it_is_told_to() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    site.save(&version(&app, 2).deployment("promotion", "manual"));
    site.reaches(&app, "awaiting_promotion");
    load.goes_on(50);
    assert_version(&site, &app, "n1");
    let _ = site.command(&["promote", &app]).exits(0);
    site.settled(&app);
    assert_version(&site, &app, "n2");
    // And another one is sent back.
    site.save(&version(&app, 3).deployment("promotion", "manual"));
    site.reaches(&app, "awaiting_promotion");
    let _ = site.command(&["cancel", &app]).exits(0);
    site.settled(&app);
    assert_version(&site, &app, "n2");
    assert_eq!(site.database().newest(&app).map(|(_, status)| status).as_deref(), Some("cancelled"));
    load.stop().assert_unbroken();
    assert_records_fit(&site, &app);
}

#[test]
fn a_live_container_that_is_removed_by_hand_comes_back() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1));
    let before = docker::running(&app);
    docker::docker(&["rm", "-f", &before[0].id]);
    let healed = until("another container answers", Duration::from_secs(60), || {
        once(site.http(), &site.host_of(&app), Kind::OneShot).ok()
    });
    assert!(!before[0].id.starts_with(&healed.container), "{healed:?} {before:?}");
    assert_eq!(healed.version, "n1");
    let told =
        "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = 'external_change'";
    holds("it is on record", Duration::from_secs(30), || site.database().number(told, &[&app]) > 0);
    assert_records_fit(&site, &app);
}

#[test]
fn replicas_share_the_traffic_and_are_replaced_together() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 1).line("replicas: 2"));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    site.deployed(&version(&app, 2).line("replicas: 2"));
    load.goes_on(200);
    let report = load.stop();
    report.assert_unbroken();
    let servers = |version: &str| {
        let mut ids: Vec<&str> = report
            .samples
            .iter()
            .filter(|sample| sample.version == version)
            .map(|sample| sample.container.as_str())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    assert_eq!((servers("n1"), servers("n2")), (2, 2), "every replica serves");
}
