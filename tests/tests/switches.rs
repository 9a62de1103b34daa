//! Switches by the dozen, or by the thousand where there is time, under load on real Docker: what is promised
//! of a switch is counted in requests, in switches and in open sockets.

use dockswap_proof::{Proof, long};
use dockswap_tests::{AppFile, Judge, Load, Mix, Site, WebSocket, Witness, assert_records_fit, docker, now};
use std::time::{Duration, Instant};

fn version(app: &str, number: usize) -> AppFile {
    let image = if number.is_multiple_of(2) { "v1" } else { "v2" };
    AppFile::new(app).image(image).version(&format!("n{number}")).deployment("watch", "100ms")
}

/// What is asked in the long mode: about 800 requests a second where nothing else runs.
const MUCH: Mix = Mix { keep_alive: 12, one_shot: 4, posts: 4, period: Duration::from_millis(25), path: "/" };

#[test]
fn edits_and_warm_rollbacks_in_turn_under_load_lose_no_request() {
    let (switches, requests, mix) = if long() { (1_000, 1_000_000, MUCH) } else { (30, 0, Mix::default()) };
    let site = Site::start();
    let app = site.name("web");
    let witness = Witness::of(&docker::Docker::default(), &app);
    site.deployed(&version(&app, 0));
    let load = Load::start(site.http(), &site.host_of(&app), mix);
    let began = Instant::now();
    let mut edits = 0;
    while 2 * edits < switches || load.counts().0 < requests {
        edits += 1;
        site.deployed(&version(&app, edits));
        let _ = site.command(&["rollback", &app]).exits(0);
        site.settled(&app);
        if edits.is_multiple_of(50) {
            println!("{} switches, {:?} requests after {:?}", 2 * edits, load.counts(), began.elapsed());
        }
    }
    load.goes_on(100);
    let took = began.elapsed();
    let report = load.stop();
    println!("{} switches in {took:?}: {report}", 2 * edits);
    if long() {
        assert!(report.requests() as u64 / took.as_secs() >= 200, "the load was too small to prove anything");
    }
    let judge = Judge::of(&site, &app, report, &witness);
    assert_eq!(judge.switches(), 2 * edits + 1, "{}", site.events(&app));
    assert_eq!(judge.starts(), edits + 1, "a warm rollback starts nothing");
    judge.proves("edits and warm rollbacks in turn, under load, on real Docker");
    assert_records_fit(&site, &app);
    let undone = "SELECT count(*) FROM deployments d JOIN deployments u ON u.id = d.rollback_of
                  WHERE d.app_name = ?1 AND d.status = 'success' AND u.status = 'rolled_back'";
    let count = usize::try_from(site.database().number(undone, &[&app]));
    assert_eq!(count, Ok(edits), "each rollback names what it undoes");
}

mod fault {
    use super::*;

    /// Sockets that stay open through a switch: they live on the old color until its drain ends.
    #[test]
    fn px_ws() {
        let (sockets, switches) = if long() { (100, 10) } else { (10, 2) };
        let site = Site::start();
        let app = site.name("web");
        // In turn, the clients leave by themselves, and the drain's time is over before they do. It is the
        // version they are on that says how long they may stay.
        let leave = |switch: usize| switch % 2 == 1;
        let file = |number: usize| {
            let patience = if leave(number + 1) { "300s" } else { "15s" };
            version(&app, number).deployment("rollback_window", "0s").deployment("drain_timeout", patience)
        };
        site.deployed(&file(0));
        let mut proof = Proof::of("px.ws", "open WebSockets through a switch, on real Docker");
        for number in 1..=switches {
            let open = || WebSocket::open(site.http(), &site.host_of(&app), "/ws");
            let mut open: Vec<WebSocket> = (0..sockets).map(|_| open()).collect();
            assert!(open.iter_mut().all(|socket| socket.echo("before") == "before"));
            site.save(&file(number));
            site.reaches(&app, "draining");
            let since = site.database().switches(&app).last().expect("a switch").0;
            for (at, socket) in open.iter_mut().enumerate() {
                let text = format!("socket {at} in the drain of switch {number}");
                assert_eq!(socket.echo(&text), text);
            }
            for socket in open {
                if leave(number) {
                    socket.close();
                    proof.kept();
                } else {
                    socket.end();
                    let lived = now() - since;
                    if lived >= 15_000_000 {
                        proof.kept();
                    } else {
                        proof.broken(format!("cut {lived} µs after the switch, of a drain of 15 s"));
                    }
                }
            }
            assert_eq!(site.settled(&app), "stable", "{}", site.events(&app));
            let (deployment, status) = site.database().newest(&app).expect("a deployment");
            assert_eq!(status, "success");
            let ended = if leave(number) { "drain_complete" } else { "drain_timed_out" };
            let sql = "SELECT count(*) FROM deployment_events WHERE deployment_id = CAST(?1 AS INTEGER)
                       AND event_type = ?2";
            let id = deployment.to_string();
            assert_eq!(site.database().number(sql, &[&id, ended]), 1, "{}", site.events(&app));
        }
        proof.conclude();
        assert_records_fit(&site, &app);
    }
}

#[test]
fn a_rollback_needs_no_registry() {
    let rounds = if long() { 200 } else { 5 };
    let site = Site::start();
    let setting = |which: &str| format!("{which} rollbacks with the registry gone, on real Docker");
    let mut warm = Proof::of("P11", setting("warm"));
    let mut cold = Proof::of("P11", setting("cold"));
    let app = site.name("web");
    // Nobody listens there: what is asked of this registry fails at once.
    let image = |number: usize| format!("127.0.0.1:1/{app}:v{number}");
    let bring = |number: usize, window: &str| {
        docker::docker(&["tag", "dockswap-demo:v1", &image(number)]);
        let file = version(&app, number).image(&image(number)).deployment("rollback_window", window);
        site.deployed(&file);
        // Gone from the machine too, but for what dockswap itself has kept.
        docker::docker(&["rmi", &image(number)]);
    };
    let mut number = 0;
    for round in 0..rounds {
        for (proof, window) in [(&mut warm, "5m"), (&mut cold, "0s")] {
            number += 2;
            bring(number - 1, window);
            bring(number, window);
            let done = site.command(&["rollback", &app]);
            site.settled(&app);
            let answer =
                dockswap_tests::once(site.http(), &site.host_of(&app), dockswap_tests::Kind::OneShot);
            match answer {
                Ok(answer) if done.code == 0 && answer.version == format!("n{}", number - 1) => proof.kept(),
                other => proof.broken(format!("round {round}: {other:?}\n{done}")),
            }
        }
    }
    warm.conclude();
    cold.conclude();
    assert_records_fit(&site, &app);
}
