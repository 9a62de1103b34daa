//! Apps that misbehave.

use crate::stage::{Actor, Seen, Stage};
use dockswap_proof::{Proof, long};
use dockswap_tests::scripted::{Call, Death};
use dockswap_tests::{Kind, holds, micros, now, once, until};
use std::time::Duration;

/// What an app that exits says before it gives up.
const LAST_WORDS: &str = "cannot reach the database at db.internal:5432: connection refused";
/// What may pass on a busy machine between two things that follow at once.
const SOON: Duration = Duration::from_secs(60);

/// How often a case is played.
fn repetitions(long_mode: usize) -> usize {
    if long() { long_mode } else { 6 }
}

/// The deployment failed with these words, and nothing that served has noticed.
fn failed(actor: Actor<'_>, words: &[&str]) -> Seen {
    let (_, status) = actor.site.database().newest(&actor.app).expect("a deployment");
    assert_eq!(status, "failed", "{}", actor.site.events(&actor.app));
    for words in words {
        actor.is_told(words);
    }
    actor.leaves().untouched()
}

#[test]
fn app_exit() {
    let mut proof = Proof::of("app.exit", "scripted Docker, exit codes 0 and 3");
    let mut stage = Stage::set("app.exit");
    let cases: Vec<(&str, &str)> = [("exits", "code 3"), ("exits-well", "code 0")].repeat(repetitions(25));
    stage.play(&cases, |actor, (image, words)| {
        actor.deploys(&actor.file().image(image));
        let app = &actor.app;
        // On record soon after the exit, whatever the gate's deadline is.
        let sql = "SELECT created_at FROM deployment_events WHERE app_name = ?1
                   AND event_type = 'health_check_failed' ORDER BY id DESC LIMIT 1";
        let told = actor.site.database().text(sql, &[app]).expect("an event that says why");
        let started = "SELECT created_at FROM deployment_events WHERE app_name = ?1
                       AND event_type = 'container_started' ORDER BY id DESC LIMIT 1";
        let started = actor.site.database().text(started, &[app]).expect("a container");
        let took = Duration::from_micros((micros(&told) - micros(&started)).max(0).unsigned_abs());
        failed(actor, &[LAST_WORDS, words]).waited("an exit", took, SOON)
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn app_never() {
    let mut proof = Proof::of("app.never", "scripted Docker, 503 and a port that nobody opens");
    let mut stage = Stage::set("app.never");
    let cases: Vec<(&str, &str)> =
        [("never-healthy", "503"), ("slow-boot", "nothing listens")].repeat(repetitions(25));
    stage.play(&cases, |actor, (image, words)| {
        let file = actor.file().image(image).env("BOOT_MS", boot(image));
        let (_, took) = actor.deploys(&file.deployment("startup_timeout", "2s"));
        failed(actor, &[words, "not healthy within 2s"]).waited("a gate of 2 s", took, SOON)
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

/// One that boots longer than its gate waits.
fn boot(image: &str) -> &'static str {
    if image == "slow-boot" { "60000" } else { "0" }
}

#[test]
fn app_flap() {
    let mut proof =
        Proof::of("app.flap", "scripted Docker, every second probe fails, two in a row are wanted");
    let mut stage = Stage::set("app.flap");
    let cases = vec![(); repetitions(50)];
    stage.play(&cases, |actor, ()| {
        let file = actor.file().image("flaps").health_check("success_threshold", "2");
        let (_, took) = actor.deploys(&file.deployment("startup_timeout", "3s"));
        let answers = &actor.load.so_far().samples;
        assert!(answers.iter().all(|answer| answer.version == "old"), "it was switched to");
        failed(actor, &["503"]).waited("a gate of 3 s", took, SOON)
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn app_postcrash() {
    let mut proof = Proof::of("app.postcrash", "scripted Docker, the new version ends after the switch");
    let mut stage = Stage::set("app.postcrash");
    let cases: Vec<Death> = [Death::Exit(9), Death::Killed, Death::OutOfMemory].repeat(repetitions(34) / 2);
    stage.play(&cases, |actor, death| {
        let app = actor.app.clone();
        actor.site.save(&actor.file().version("new").deployment("watch", "60s"));
        actor.site.reaches(&app, "watching");
        let _ = actor.load.first_answer("new", 0);
        let new = actor.site.running(&app).into_iter().find(|container| !actor.old.contains(container));
        let died = now();
        actor.docker.dies(&new.expect("the new container").id, *death);
        let back = actor.load.first_answer("old", died);
        let took = Duration::from_micros((back - died).max(0).unsigned_abs());
        actor.site.settled(&app);
        let (_, status) = actor.site.database().newest(&app).expect("a deployment");
        assert_eq!(status, "rolled_back", "{}", actor.site.events(&app));
        actor.is_told(if *death == Death::OutOfMemory { "out of memory" } else { "exited with code" });
        // Requests that were in flight died with it; none that came after traffic went back.
        let seen = actor.leaves_broken().untouched().waited("traffic going back", took, SOON);
        let late = seen.report.failures.iter().find(|failure| failure.began > back);
        assert!(late.is_none(), "{late:?}");
        seen
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn app_sigterm() {
    let mut proof = Proof::of("app.sigterm", "scripted Docker, the old version ignores SIGTERM");
    let mut stage = Stage::set("app.sigterm");
    let cases = vec![(); repetitions(50)];
    stage.play(&cases, |actor, ()| {
        let app = actor.app.clone();
        let deaf = actor.file().image("ignores-sigterm").version("deaf").deployment("rollback_window", "0s");
        actor.site.deployed(&deaf);
        let deaf = actor.site.running(&app).into_iter().find(|container| !actor.old.contains(container));
        let deaf = deaf.expect("the deaf container");
        let (status, took) = actor.deploys(&actor.file().version("new").deployment("rollback_window", "0s"));
        assert_eq!(status, "success", "{}", actor.site.events(&app));
        holds("the deaf container has ended", SOON, || {
            actor.site.containers(&app).iter().all(|found| found.id != deaf.id || found.state == "exited")
        });
        let told = ["status", "why", "events"].map(|verb| actor.command(&[verb, &app]).exits(0).stdout);
        assert!(told.iter().all(|text| !text.contains("memory")), "{told:?}");
        let asked = actor.docker.asked();
        let stops = asked.iter().filter(|asked| {
            asked.id.as_deref() == Some(&deaf.id) && asked.call == Call::ContainerStop && asked.done()
        });
        assert_eq!(stops.count(), 1, "it was told to stop once");
        actor.leaves().waited("a stop of 1 s", took, SOON)
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn app_bothdown() {
    let mut proof =
        Proof::of("app.bothdown", "scripted Docker, the old version removed, then the new one ends");
    let mut stage = Stage::set("app.bothdown");
    let cases = vec![(); repetitions(20)];
    stage.play(&cases, |actor, ()| {
        let app = actor.app.clone();
        actor.site.save(&actor.file().version("new").deployment("watch", "60s").env("BOOT_MS", "200"));
        actor.site.reaches(&app, "watching");
        let _ = actor.load.first_answer("new", 0);
        let new = actor.site.running(&app).into_iter().find(|container| !actor.old.contains(container));
        let new = new.expect("the new container");
        actor.docker.vanishes(&actor.old[0].id);
        actor.docker.dies(&new.id, Death::Exit(9));
        // Said, and what served last is made to run again.
        assert_eq!(actor.site.settled(&app), "failed", "{}", actor.site.events(&app));
        actor.is_told("exited with code 9");
        let answer = until("something answers again", SOON, || {
            once(actor.site.http(), &actor.site.host_of(&app), Kind::OneShot).ok()
        });
        assert_eq!(answer.version, "new");
        // And a deploy is all that it takes.
        let (status, _) = actor.deploys(&actor.file().version("mended"));
        assert_eq!(status, "success", "{}", actor.site.events(&app));
        assert_eq!(actor.site.database().state(&app).as_deref(), Some("stable"));
        actor.leaves_broken()
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}
