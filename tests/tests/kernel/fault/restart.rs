//! dockerd is restarted in the middle of a deploy.

use super::{answers, version};
use dockswap_proof::{Proof, long};
use dockswap_tests::{Dockerd, LiveRestore, Load, Mix, Site, assert_records_fit, until};
use std::time::Duration;

/// Restarts dockerd while a new version is at its gate. Whatever becomes of the deploy, the app settles. Where
/// containers stop with dockerd, the old version is the first that answers again; else nobody notices.
fn restarted_in_deploys(live_restore: LiveRestore) {
    let Some(mut dockerd) = Dockerd::start(live_restore, &["dockswap-demo:v1"]) else { return };
    let how = match live_restore {
        LiveRestore::On => "on",
        LiveRestore::Off => "off",
    };
    let mut proof =
        Proof::of("dck.restart", format!("dockerd restarted at the gate, live-restore {how}, real Docker"));
    let mut site = Site::prepare().on_dockerd(&dockerd);
    site.run();
    let app = site.name("web");
    site.deployed(&version(&app, 0));
    let mut serving = "n0".to_owned();
    for number in 1..=if long() { 10 } else { 1 } {
        let before = dockerd.docker().running(&app);
        let old = before.iter().find(|container| container.state == "running").expect("a container").clone();
        // With live-restore, containers run on, and nobody may notice anything.
        let load = (live_restore == LiveRestore::On)
            .then(|| Load::start(site.http(), &site.host_of(&app), Mix::default()));
        site.save(
            &version(&app, number).env("HEALTHY_AFTER_MS", "4000").deployment("startup_timeout", "60s"),
        );
        site.reaches(&app, "health_check");
        dockerd.end();
        if let Some(load) = &load {
            load.goes_on(100);
        }
        dockerd.run();
        // Where containers run on, the deploy may have gone on too: probes need no dockerd.
        let first = until("the app answers", Duration::from_secs(120), || answers(&site, &app));
        let stopped = live_restore == LiveRestore::Off;
        let state = site.settled(&app);
        let (id, status) = site.database().newest(&app).expect("a deployment");
        // A container that was started again gets traffic once it has passed its gate again.
        let answers = || answers(&site, &app);
        let after =
            if stopped { Some(until("it serves", Duration::from_secs(60), answers)) } else { answers() };
        let wanted = if status == "success" { format!("n{number}") } else { serving.clone() };
        let mut wrongs = Vec::new();
        if stopped && first != serving {
            wrongs.push(format!("the first answer was {first}, not the old color's {serving}"));
        }
        if state != "stable" || after.as_ref() != Some(&wanted) {
            wrongs.push(format!("{state}, and {after:?} serves, not {wanted}: deployment {id} is {status}"));
        }
        if let Some(report) = load.map(Load::stop) {
            if !report.failures.is_empty() {
                wrongs.push(report.to_string());
            }
            let same = dockerd.docker().containers(&app).into_iter().find(|now| now.id == old.id);
            if same.is_some_and(|now| now.started_at != old.started_at) {
                wrongs.push(format!("{old:?} was started again"));
            }
        }
        if wrongs.is_empty() {
            proof.kept();
        } else {
            proof.broken(format!("restart {number}: {}\n{}", wrongs.join("; "), site.events(&app)));
        }
        println!("restart {number}: deployment {id} ended as {status}");
        serving = wanted;
    }
    proof.conclude();
    assert_records_fit(&site, &app);
}

#[test]
fn dck_restart_with_live_restore() {
    restarted_in_deploys(LiveRestore::On);
}

#[test]
fn dck_restart_without_live_restore() {
    restarted_in_deploys(LiveRestore::Off);
}
