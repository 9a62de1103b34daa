//! The kernel ends an app that takes more memory than it may.

use super::version;
use dockswap_proof::{Proof, long};
use dockswap_tests::{AppFile, Kind, Site, assert_records_fit, docker, get, once};
use std::time::Duration;

const SAID: &str = "out of memory (limit 256 MiB)";

fn limited(app: &str, number: usize) -> AppFile {
    // It is Docker that knows of the end: the probes are not to be faster.
    let file = version(app, number).health_check("interval", "1s").health_check("retries", "30");
    file.docker("memory_limit", "256m").deployment("watch", "120s")
}

/// Whether people are told so, and the old version serves, in the container in which it did.
fn judge(site: &Site, app: &str, old: &docker::Container, is_told: bool) -> Result<(), String> {
    let why = site.command(&["why", app]).exits(0).stdout;
    if why.contains("out of memory") != is_told || (is_told && !why.contains(SAID)) {
        return Err(format!("it is said otherwise:\n{why}"));
    }
    let answer = once(site.http(), &site.host_of(app), Kind::OneShot);
    let answer = answer.map_err(|failure| format!("nobody serves: {failure:?}"))?;
    if !old.id.starts_with(&answer.container) || !docker::running(app).contains(old) {
        return Err(format!("{answer:?} is not from {old:?}, as it was"));
    }
    Ok(())
}

#[test]
fn app_oom() {
    let rounds = if long() { 10 } else { 1 };
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, 0));
    let old = docker::running(&app).remove(0);
    let mut gate = Proof::of("app.oom", "killed by the kernel at the gate, real Docker");
    let mut watch = Proof::of("app.oom", "killed by the kernel after the switch, real Docker");
    let mut signal = Proof::of("app.oom", "killed by a signal, and not called out of memory, real Docker");
    let mut untouched = Proof::of("P9", "deploys that end out of memory or killed, real Docker");
    let mut number = 0;
    for _ in 0..rounds {
        // What the probe asks for is more than there is.
        number += 1;
        let (_, status) = site.deploy(
            &limited(&app, number)
                .health_check("endpoint", "/allocate?mb=400")
                .health_check("timeout", "20s"),
        );
        assert_eq!((site.settled(&app).as_str(), status.as_str()), ("stable", "failed"));
        let judged = judge(&site, &app, &old, true);
        count(&mut gate, &mut untouched, judged);
        for (proof, by_kernel) in [(&mut watch, true), (&mut signal, false)] {
            number += 1;
            site.save(&limited(&app, number));
            site.reaches(&app, "watching");
            if by_kernel {
                // It is killed before it can answer.
                get(site.http(), &site.host_of(&app), "/allocate?mb=400").expect_err("no answer");
            } else {
                let version = docker::running(&app).into_iter().find(|container| container.id != old.id);
                docker::docker(&["kill", &version.expect("the new version").id]);
            }
            assert_eq!(site.settled(&app), "stable", "{}", site.events(&app));
            let status = site.database().newest(&app).map(|(_, status)| status);
            assert_eq!(status.as_deref(), Some("rolled_back"), "{}", site.events(&app));
            let judged = judge(&site, &app, &old, by_kernel);
            count(proof, &mut untouched, judged);
        }
    }
    for proof in [gate, watch, signal, untouched] {
        proof.conclude();
    }
    dockswap_tests::holds("only the old container is left", Duration::from_secs(60), || {
        docker::containers(&app) == std::slice::from_ref(&old)
    });
    assert_records_fit(&site, &app);
}

fn count(proof: &mut Proof, untouched: &mut Proof, judged: Result<(), String>) {
    match judged {
        Ok(()) => {
            proof.kept();
            untouched.kept();
        }
        Err(why) => proof.broken(why),
    }
}
