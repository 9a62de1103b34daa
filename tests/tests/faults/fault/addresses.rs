//! Addresses that lead elsewhere: a probe that is sent on, an address that changes hands.

use crate::stage::Stage;
use dockswap_proof::{Proof, long};
use dockswap_tests::scripted::{Call, Fault, Flow};
use dockswap_tests::{AppFile, Kind, holds, now, once};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// What may pass on a busy machine between two things that follow at once.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn net_dns() {
    let mut proof = Proof::of("net.dns", "scripted Docker, the probe is answered by a redirect");
    let mut stage = Stage::set("net.dns");
    // Whoever follows the redirect comes here.
    let trap = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    trap.set_nonblocking(true).expect("a listener");
    let location = format!("http://{}/health", trap.local_addr().expect("an address"));
    let cases: Vec<(&str, bool)> =
        [("301", true), ("302", true), ("307", true), ("302", false)].repeat(if long() { 13 } else { 2 });
    stage.play(&cases, |actor, (code, strict)| {
        let file = actor.file().version("new").env("HEALTH_STATUS", code).env("HEALTH_LOCATION", &location);
        let file = file.deployment("startup_timeout", "2s");
        if !strict {
            // What the file accepts is healthy: the answer counts, not where it points.
            let (status, _) = actor.deploys(&file);
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
            return actor.leaves();
        }
        let (status, _) = actor.deploys(&file.health_check("expected_status", "200"));
        assert_eq!(status, "failed", "{}", actor.site.events(&actor.app));
        actor.is_told(&format!("answered {code} to {location}: redirects are not followed"));
        actor.leaves().untouched()
    });
    assert!(trap.accept().is_err(), "somebody followed a redirect");
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn px_stale() {
    let mut proof =
        Proof::of("px.stale", "scripted Docker, a stopped container's address goes to a stranger");
    let mut stage = Stage::set("px.stale");
    stage.site.docker().hands_addresses_on();
    let rounds = if long() { 60 } else { 4 };
    let cases = vec![(); if long() { 16 } else { 4 }];
    stage.play(&cases, |actor, ()| {
        for round in 1..=rounds {
            let app = actor.app.clone();
            let live = actor.site.running(&app).remove(0);
            let address = actor.docker.address(&live.id).expect("an address");
            // Nothing is kept: what served is stopped as soon as it is idle.
            let file = actor.file().version(&format!("v{round}")).deployment("rollback_window", "0s");
            let (status, _) = actor.deploys(&file);
            assert_eq!(status, "success", "{}", actor.site.events(&app));
            holds("what served has stopped", SOON, || actor.docker.address(&live.id).is_none());
            // Docker hands its address to one of the next containers.
            let mut squatters = Vec::new();
            while actor.docker.who_has(address).is_none() {
                let name = format!("squatter-{app}-{round}-{}", squatters.len());
                squatters.push(actor.docker.stranger(&name, &[], &json!({})));
            }
            assert_ne!(actor.docker.who_has(address), Some(live.name));
            actor.load.goes_on(8);
            for squatter in squatters {
                actor.docker.vanishes(&squatter);
            }
        }
        // The judge looks for answers of strangers.
        actor.leaves()
    });
    proof.kept_times(cases.len() as u64 * rounds);
    proof.conclude();
    stage.promises.conclude();
}

/// Somebody removes what serves, nobody is told, and its address goes to another app of dockswap's: once
/// that one is started, nobody gets its answers who did not ask for it.
#[test]
fn px_stale_among_ours() {
    let mut proof =
        Proof::of("px.stale", "scripted Docker, a removed container's address goes to another app");
    let mut stage = Stage::set("px.stale-among-ours");
    stage.site.docker().hands_addresses_on();
    for _ in 0..if long() { 50 } else { 4 } {
        stage.play(&[()], |actor, ()| {
            let (docker, live) = (actor.docker, &actor.old[0]);
            docker.tells(Flow::Silent);
            let address = docker.address(&live.id).expect("an address");
            docker.vanishes(&live.id);
            // It listens only when dockswap has seen it start.
            let mut newcomers = Vec::new();
            while docker.who_has(address).is_none() {
                let name = actor.site.name(&format!("{}x{}", actor.app, newcomers.len()));
                let boots = AppFile::new(&name).version("newcomer").env("BOOT_MS", "1000");
                actor.site.deployed(&boots);
                newcomers.push(name);
            }
            actor.load.goes_on(20);
            docker.tells(Flow::Whole);
            docker.cuts_events();
            holds("it is made to run again", SOON, || !docker.running(&actor.app).is_empty());
            // The judge looks for answers of others.
            actor.leaves_broken()
        });
        proof.kept();
    }
    proof.conclude();
    stage.promises.conclude();
}

/// Somebody removes what serves, and its address goes to a stranger at once: from when dockswap has
/// noticed, the stranger is asked nothing.
#[test]
fn px_stale_from_outside() {
    let mut stage = Stage::set("px.stale-from-outside");
    stage.site.docker().hands_addresses_on();
    stage.play(&[(); 3], |actor, ()| {
        let app = actor.app.clone();
        let live = actor.old[0].clone();
        let address = actor.docker.address(&live.id).expect("an address");
        // The app's own next container must not come before the stranger.
        let order = actor.docker.at(Call::ContainerCreate).of(&app).meets(Fault::says(500, "not yet"));
        actor.docker.vanishes(&live.id);
        actor.docker.stranger(&format!("squatter-{app}"), &[], &json!({}));
        // Of several that are free, another app's stranger may have had this one.
        holds("somebody has the address", SOON, || actor.docker.who_has(address).is_some());
        let noticed =
            "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = 'external_change'";
        holds("it is noticed", SOON, || actor.site.database().number(noticed, &[&app]) > 0);
        holds("the route leads nowhere", SOON, || {
            let asked = once(actor.site.http(), &actor.site.host_of(&app), Kind::OneShot);
            asked.is_err_and(|failure| failure.reason.starts_with("503"))
        });
        let from = now();
        actor.load.goes_on(10);
        order.ends();
        holds("it serves again", SOON, || {
            once(actor.site.http(), &actor.site.host_of(&app), Kind::OneShot).is_ok()
        });
        actor.load.goes_on(10);
        let mut seen = actor.leaves_broken();
        let strange = |version: &str| version == "stranger";
        let late = seen.report.samples.iter().find(|sample| strange(&sample.version) && sample.began > from);
        assert!(late.is_none(), "a stranger was asked: {late:?}");
        // Until it was noticed nobody could know.
        seen.report.samples.retain(|sample| !strange(&sample.version));
        seen
    });
    dockswap_proof::kept("px.stale", "scripted Docker, a removed container's address goes to a stranger");
    stage.promises.conclude();
}
