//! The controller is told to end in the middle, or is not alone.

use crate::stage::Stage;
use dockswap_proof::{Proof, kept, long};
use dockswap_tests::docker::Container;
use dockswap_tests::scripted::{Call, Fault, Pull, ScriptedDocker, environment};
use dockswap_tests::{AppFile, Kind, Load, Mix, Promises, Report, Site, once};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What a controller that is told to end may take, and a busy machine.
const FAREWELL: Duration = Duration::from_secs(25);

/// Where a deployment is when the controller is told to end.
const STATES: [&str; 7] =
    ["pulling", "starting", "health_check", "awaiting_promotion", "draining", "watching", "rolling_back"];

/// A file whose deployment dwells in `state`, on a Docker that helps.
fn dwelling(state: &str, app: &str, docker: &ScriptedDocker) -> AppFile {
    let file = AppFile::new(app).version("new").deployment("stop_timeout", "1s");
    match state {
        "pulling" => {
            let image = format!("registry.test/{app}:slow");
            let pieces = Pull::Crawls(environment(&[]), Duration::from_millis(100), 30);
            docker.registry(&image, pieces);
            file.image(&image)
        }
        "starting" => {
            let _ =
                docker.at(Call::ContainerStart).of(app).times(1).meets(Fault::Late(Duration::from_secs(2)));
            file
        }
        "health_check" => file.env("HEALTHY_AFTER_MS", "2500"),
        "awaiting_promotion" => file.deployment("promotion", "manual"),
        "watching" => file.deployment("watch", "3s"),
        "rolling_back" => {
            let _ =
                docker.at(Call::ContainerRemove).of(app).times(1).meets(Fault::Late(Duration::from_secs(2)));
            file.image("exits")
        }
        _ => file,
    }
}

#[test]
fn ctl_term() {
    let mut proof = Proof::of("ctl.term", "scripted Docker, SIGTERM in each state of a deployment");
    let mut promises = Promises::under("ctl.term");
    for _ in 0..if long() { 29 } else { 2 } {
        // Each controller is one of its own, so that all may end at the same time.
        let ended: Vec<Ended> = std::thread::scope(|scope| {
            let plays: Vec<_> = STATES.iter().map(|state| scope.spawn(move || ends_while(state))).collect();
            let join = |play: std::thread::ScopedJoinHandle<'_, Ended>| {
                play.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            plays.into_iter().map(join).collect()
        });
        for Ended { site, app, state, old, took } in ended {
            promises.ended_in(FAREWELL, &format!("an end while {state}"), took);
            promises.judge(&site, &app, &Report::default());
            if state == "rolling_back" {
                promises.untouched(&site, &app, &old);
            }
            proof.kept();
        }
    }
    proof.conclude();
    promises.conclude();
}

/// A site whose controller was told to end, and that has gone on since.
struct Ended {
    site: Site,
    app: String,
    state: &'static str,
    old: Vec<Container>,
    took: Duration,
}

fn ends_while(state: &'static str) -> Ended {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("old"));
    let old = site.running(&app);
    // Requests that hold up the drain.
    let (proxy, host) = (site.http(), site.host_of(&app));
    let slow = (state == "draining").then(|| {
        let slow = Mix { keep_alive: 0, one_shot: 2, posts: 0, path: "/slow?ms=1500", ..Mix::default() };
        Load::start(proxy, &host, slow)
    });
    site.save(&dwelling(state, &app, site.docker()));
    site.reaches(&app, state);
    let began = Instant::now();
    let status = site.end_controller(Signal::TERM);
    let took = began.elapsed();
    assert!(status.success(), "{state}: {status}\n{}", site.log());
    drop(slow);
    site.run();
    if state == "awaiting_promotion" {
        site.reaches(&app, state);
        let _ = site.command(&["promote", &app]).exits(0);
    }
    assert_eq!(site.settled(&app), "stable", "{state}: {}", site.events(&app));
    let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
    let (_, ended) = site.database().newest(&app).expect("a deployment");
    let expected = if state == "rolling_back" { ("old", "failed") } else { ("new", "success") };
    assert_eq!((answer.version.as_str(), ended.as_str()), expected, "{state}: {}", site.events(&app));
    let count = site.database().number("SELECT count(*) FROM deployments WHERE app_name = ?1", &[&app]);
    assert_eq!(count, 2, "{state}: the same deployment went on: {}", site.events(&app));
    Ended { site, app, state, old, took }
}

#[test]
fn ctl_two() {
    let mut proof = Proof::of("ctl.two", "SQLite, a second controller beside one that deploys");
    let mut stage = Stage::set("ctl.two");
    let tries = if long() { 100 } else { 10 };
    stage.play(&[()], |actor, ()| {
        for round in 1..=tries {
            actor.site.save(&actor.file().version(&format!("v{round}")));
            let second = actor.command(&["run", "--proxy-http", "127.0.0.1:0"]).exits(5);
            let _ = second.says(&format!("pid {}", actor.site.controller_pid()));
        }
        actor.site.settled(&actor.app);
        actor.leaves()
    });
    proof.kept_times(tries);
    proof.conclude();
    let mut refused = Proof::of("P12", "SQLite, a second controller beside one that deploys");
    refused.kept_times(tries);
    refused.conclude();
    stage.promises.conclude();
}

/// Two controllers with a database each share one Docker: each sees its own apps alone.
#[test]
fn ctl_two_dockers() {
    let docker = ScriptedDocker::start();
    let mut sites = [Site::prepare().on(&docker), Site::prepare().on(&docker)];
    for site in &mut sites {
        site.run();
    }
    let apps = sites.each_ref().map(|site| site.name("web"));
    for version in ["one", "two", "three"] {
        for (site, app) in sites.iter().zip(&apps) {
            site.deployed(&AppFile::new(app).version(version));
        }
    }
    for (site, app) in sites.iter_mut().zip(&apps) {
        let before = site.containers(app);
        site.kill_controller();
        site.run();
        site.deployed(&AppFile::new(app).version("four"));
        assert!(
            site.containers(app).iter().any(|found| before.contains(found)),
            "one of them stays to go back to"
        );
    }
    for (site, app) in sites.iter().zip(&apps) {
        assert_eq!(once(site.http(), &site.host_of(app), Kind::OneShot).expect("an answer").version, "four");
    }
    kept("ctl.two", "scripted Docker, two controllers with a database each");
}
