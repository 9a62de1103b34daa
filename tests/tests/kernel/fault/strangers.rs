//! Somebody stops, restarts or removes what is ours.

use super::{answers, set, version};
use dockswap_proof::{Proof, long};
use dockswap_tests::docker::Docker;
use dockswap_tests::{Dockerd, LiveRestore, Site, assert_records_fit, holds, until};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn recorded(site: &Site, app: &str, event: &str) -> i64 {
    let sql = "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = ?2";
    site.database().number(sql, &[app, event])
}

fn live(docker: &Docker, site: &Site, app: &str) -> String {
    let color = site.database().text("SELECT active_color FROM current_state WHERE app_name = ?1", &[app]);
    let running = docker.running(app);
    let live = running.into_iter().find(|container| Some(&container.color) == color.as_ref());
    live.expect("a live container").id
}

#[test]
fn dck_stranger() {
    let Some(dockerd) = Dockerd::start(LiveRestore::Off, &["dockswap-demo:v1", "dockswap-demo:v2"]) else {
        return;
    };
    let (docker, site, app) = set(&dockerd);
    site.deployed(&version(&app, 0));
    let rounds = if long() { 20 } else { 1 };
    let deeds: [(&str, &[&str]); 4] = [
        ("removes what serves", &["rm", "-f"]),
        ("stops what serves", &["stop", "-t", "1"]),
        ("kills what serves", &["kill"]),
        ("restarts what serves", &["restart", "-t", "1"]),
    ];
    for (deed, command) in deeds {
        let mut proof = Proof::of("dck.stranger", format!("somebody {deed}, real Docker"));
        for _ in 0..rounds {
            let (before, told) = (live(&docker, &site, &app), recorded(&site, &app, "external_change"));
            docker.run(&[command, &[before.as_str()]].concat());
            until("the app answers again", PATIENCE, || answers(&site, &app));
            // A restart may be over before anybody looks: then nothing was to be healed.
            if command[0] != "restart" {
                holds("it is on record", PATIENCE, || recorded(&site, &app, "external_change") > told);
            }
            holds("nothing is wrong any more", PATIENCE, || {
                !site.command(&["status", &app]).all().contains("degraded")
            });
            assert_eq!(site.settled(&app), "stable", "{}", site.events(&app));
            proof.kept();
        }
        proof.conclude();
    }
    assert_records_fit(&site, &app);
}

#[test]
fn dck_stranger_takes_the_standby() {
    let Some(dockerd) = Dockerd::start(LiveRestore::Off, &["dockswap-demo:v1", "dockswap-demo:v2"]) else {
        return;
    };
    let (docker, site, app) = set(&dockerd);
    let mut proof =
        Proof::of("dck.stranger", "somebody removes the standby and prunes all images, real Docker");
    site.deployed(&version(&app, 0));
    for number in 1..=if long() { 20 } else { 2 } {
        let image = if number % 2 == 1 { "v2" } else { "v1" };
        dockerd.load(&["dockswap-demo:v1", "dockswap-demo:v2"]);
        site.deployed(&version(&app, number).image(image));
        let live = live(&docker, &site, &app);
        let standby = docker.containers(&app).into_iter().find(|container| container.id != live);
        docker.run(&["rm", "-f", &standby.expect("a standby").id]);
        docker.run(&["image", "prune", "-af"]);
        // Before anybody wants to go back.
        holds("it is on record", PATIENCE, || {
            recorded(&site, &app, "standby_lost") >= i64::try_from(number).unwrap_or(0)
        });
        let status = site.command(&["status", &app, "--json"]).exits(0).json();
        assert!(status["standby"].is_null(), "{status}");
        // Who wants to all the same is told what is missing, and what serves goes on.
        let refused = site.command(&["rollback", &app]);
        site.settled(&app);
        let serves = answers(&site, &app);
        if refused.code != 0 && serves == Some(format!("n{number}")) {
            proof.kept();
        } else {
            proof.broken(format!("{serves:?} serves after\n{refused}"));
        }
    }
    proof.conclude();
    assert_records_fit(&site, &app);
}
