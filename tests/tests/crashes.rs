//! Processes that die in the midst of something that takes its time: traffic goes on, and the next start
//! finishes or undoes. (Kills between two steps, and at random instants: `crash_points`.)

use dockswap_proof::{Proof, long};
use dockswap_tests::{
    AppFile, Frozen, Kind, Load, Mix, Registry, RegistryMood, Site, assert_records_fit, docker, holds, once,
    until,
};
use rustix::process::Signal;
use std::time::Duration;

/// What must have become of the deployment that was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Finished,
    Undone,
}

/// Both versions of one app whose new one dwells in `state`.
struct Crash {
    state: &'static str,
    old: fn(AppFile) -> AppFile,
    new: fn(AppFile) -> AppFile,
    mix: Mix,
    fate: Fate,
}

impl Default for Crash {
    fn default() -> Self {
        Self { state: "", old: |file| file, new: |file| file, mix: Mix::default(), fate: Fate::Finished }
    }
}

impl Crash {
    fn happens(self) {
        let registry = Registry::open(RegistryMood::Silent);
        let mut site = Site::start();
        let app = site.name("web");
        let base = AppFile::new(&app).deployment("drain_timeout", "20s").deployment("startup_timeout", "20s");
        site.deployed(&(self.old)(base.clone().version("old")));
        let load = Load::start(site.http(), &site.host_of(&app), self.mix);

        let mut new = (self.new)(base.image("v2").version("new"));
        if self.state == "pulling" {
            new = new.image(&registry.image("slow/app:v2"));
        }
        site.save(&new);
        let frozen = (self.state == "switching").then(|| {
            site.reaches(&app, "health_check");
            Frozen::freeze(&site)
        });
        site.reaches(&app, self.state);
        site.kill_controller();
        drop(frozen);
        let left = site.database().state(&app);
        assert_eq!(left.as_deref(), Some(self.state), "it was killed in another state than was wanted");
        load.goes_on(30);

        registry.turns(RegistryMood::KnowsNothing);
        site.run();
        if self.state == "awaiting_promotion" {
            site.reaches(&app, "awaiting_promotion");
            let _ = site.command(&["promote", &app]).exits(0);
        }
        let settled = site.settled(&app);
        assert_eq!(settled, "stable", "{}", site.events(&app));
        load.goes_on(30);
        load.stop().assert_unbroken();
        assert_records_fit(&site, &app);
        let (version, statuses): (&str, &[&str]) = match self.fate {
            Fate::Finished => ("new", &["success"]),
            Fate::Undone => ("old", &["failed", "rolled_back", "cancelled"]),
        };
        let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
        assert_eq!(answer.version, version, "{}", site.events(&app));
        let (_, status) = site.database().newest(&app).expect("a deployment");
        assert!(statuses.contains(&status.as_str()), "{status}\n{}", site.events(&app));
        let count = site.database().number("SELECT count(*) FROM deployments WHERE app_name = ?1", &[&app]);
        assert_eq!(count, 2, "the same deployment went on: {}", site.events(&app));
    }
}

#[test]
fn killed_while_pulling() {
    Crash { state: "pulling", fate: Fate::Undone, ..Crash::default() }.happens();
}

#[test]
fn killed_while_starting() {
    Crash { state: "starting", ..Crash::default() }.happens();
}

#[test]
fn killed_in_the_health_check() {
    let new = |file: AppFile| file.env("HEALTHY_AFTER_MS", "2500");
    Crash { state: "health_check", new, ..Crash::default() }.happens();
}

#[test]
fn killed_while_awaiting_promotion() {
    let new = |file: AppFile| file.deployment("promotion", "manual");
    Crash { state: "awaiting_promotion", new, ..Crash::default() }.happens();
}

#[test]
fn killed_while_switching() {
    let new = |file: AppFile| file.env("HEALTHY_AFTER_MS", "1000");
    Crash { state: "switching", new, ..Crash::default() }.happens();
}

#[test]
fn killed_while_draining() {
    let mix = Mix { path: "/slow?ms=2500", ..Mix::default() };
    Crash { state: "draining", mix, ..Crash::default() }.happens();
}

#[test]
fn killed_while_watching() {
    let new = |file: AppFile| file.deployment("watch", "4s");
    Crash { state: "watching", new, ..Crash::default() }.happens();
}

#[test]
fn killed_while_stopping() {
    let old = |file: AppFile| file.env("IGNORE_SIGTERM", "1");
    let new = |file: AppFile| file.deployment("rollback_window", "0s").deployment("stop_timeout", "4s");
    Crash { state: "stopping", old, new, ..Crash::default() }.happens();
}

#[test]
fn killed_while_rolling_back() {
    let new = |file: AppFile| {
        let file = file.env("HEALTH_STATUS", "503").env("IGNORE_SIGTERM", "1");
        file.deployment("startup_timeout", "1s").deployment("stop_timeout", "4s")
    };
    Crash { state: "rolling_back", new, fate: Fate::Undone, ..Crash::default() }.happens();
}

#[test]
fn restarting_the_controller_changes_no_container() {
    let mut site = Site::start();
    let (app, other) = (site.name("web"), site.name("other"));
    site.deployed(&AppFile::new(&app).version("n1"));
    site.deployed(&AppFile::new(&app).version("n2"));
    site.deployed(&AppFile::new(&other));
    let all = || [docker::containers(&app), docker::containers(&other)];
    let before = all();
    let rows = "SELECT count(*) FROM deployments";
    let deployments = site.database().number(rows, &[]);
    let mut proof = Proof::of("P8", "controller killed or ended while idle, real Docker");
    for round in 0..if long() { 100 } else { 10 } {
        if round % 2 == 0 {
            site.kill_controller();
        } else {
            let status = site.end_controller(Signal::TERM);
            assert!(status.success(), "{status}\n{}", site.log());
        }
        site.run();
        let (now, deployed) = (all(), site.database().number(rows, &[]) - deployments);
        if now == before && deployed == 0 {
            proof.kept();
        } else {
            proof.broken(format!("round {round}: {deployed} deployments, {now:?}, before {before:?}"));
        }
    }
    proof.conclude();
    assert_records_fit(&site, &app);
}

#[test]
fn a_controller_that_is_told_to_end_goes_on_with_its_deploy_at_the_next_start() {
    let mut site = Site::start();
    let app = site.name("web");
    let first = site.deployed(&AppFile::new(&app).version("old"));
    site.save(&AppFile::new(&app).version("new").env("HEALTHY_AFTER_MS", "3000"));
    site.reaches(&app, "health_check");
    let status = site.end_controller(Signal::TERM);
    assert!(status.success(), "{status}\n{}", site.log());
    assert_eq!(site.database().newest(&app), Some((first + 1, "in_progress".to_owned())));
    site.run();
    site.settled(&app);
    assert_eq!(
        site.database().newest(&app),
        Some((first + 1, "success".to_owned())),
        "{}",
        site.events(&app)
    );
    assert_records_fit(&site, &app);
}

#[test]
fn ctrl_c_ends_the_proxy_too_and_leaves_the_containers() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let before = docker::running(&app);
    let status = site.end_controller(Signal::INT);
    assert!(status.success(), "{status}\n{}", site.log());
    assert_eq!(site.proxy_pid(), None, "the proxy has ended");
    assert!(std::net::TcpStream::connect(site.http()).is_err(), "nobody listens any more");
    assert_eq!(docker::running(&app), before);
    site.run();
    assert_records_fit(&site, &app);
}

#[test]
fn a_crash_leaves_the_proxy_serving_and_the_next_run_adopts_it() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let proxy = site.proxy_pid();
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    site.kill_controller();
    load.goes_on(200);
    site.run();
    assert_eq!(site.proxy_pid(), proxy, "it is the same proxy");
    site.deployed(&AppFile::new(&app).version("new"));
    load.stop().assert_unbroken();
    let status = site.end_controller(Signal::TERM);
    assert!(status.success(), "{status}");
    holds("the adopted proxy has ended too", Duration::from_secs(20), || site.proxy_pid().is_none());
}

#[test]
fn a_proxy_that_is_killed_is_started_again_and_serves() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let (before, container) = (site.proxy_pid().expect("a proxy"), docker::running(&app));
    dockswap_tests::send(before, Signal::KILL);
    let answer = until("another proxy serves", Duration::from_secs(20), || {
        once(site.http(), &site.host_of(&app), Kind::OneShot).ok()
    });
    assert!(container[0].id.starts_with(&answer.container), "{answer:?} {container:?}");
    assert_ne!(site.proxy_pid(), Some(before));
    assert_eq!(docker::running(&app), container);
    site.deployed(&AppFile::new(&app).version("new"));
    assert_records_fit(&site, &app);
}

#[test]
fn a_second_controller_is_refused_and_told_who_is_first() {
    let site = Site::start();
    let first = site.controller_pid().to_string();
    let mut proof = Proof::of("P12", "a second controller on one data directory, real Docker");
    for _ in 0..if long() { 100 } else { 5 } {
        let _ = site.command(&["run", "--proxy-http", "127.0.0.1:0"]).exits(5).says(&first);
        proof.kept();
    }
    proof.conclude();
    let _ = site.command(&["status"]).exits(0);
}

#[test]
fn a_rollback_works_with_no_controller_running() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("old"));
    site.deployed(&AppFile::new(&app).version("new"));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    site.kill_controller();
    let _ = site.command(&["rollback", &app]).exits(0);
    let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, "old");
    site.run();
    site.settled(&app);
    let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, "old", "{}", site.events(&app));
    load.stop().assert_unbroken();
    assert_records_fit(&site, &app);
}
