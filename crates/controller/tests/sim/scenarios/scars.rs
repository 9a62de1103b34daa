//! What hurt users of earlier tools, as far as it takes a controller to see it: one test a scar, named after
//! its row.

use super::{serving, with_warm_standby};
use crate::sim::{Sim, app, secs};
use crate::world::docker::Shell;
use crate::world::faults::{Call, Fault, Side};
use crate::world::files::Version;
use dockswap_controller::Command;
use dockswap_core::DeploymentId;
use dockswap_proof::kept;

const SETTING: &str = "simulation";

#[test]
fn scar_g04_a_failed_start_leaves_no_container() {
    let mut sim = serving();
    sim.plan(Call::Run, [Fault::HalfDone]);
    sim.edit("web", &Version::of("good:2").replicas(2));
    sim.until_that("it failed", |sim| sim.events("web").contains(&"rollback_complete"));
    sim.rest();
    assert_eq!(sim.containers("web").len(), 1);
    kept("scar-G04", SETTING);
}

#[test]
fn scar_g08_a_deploy_by_command_is_on_record_like_any_other() {
    let mut sim = serving();
    let edited = sim.events("web");
    let outcome = sim.command("web", Command::Deploy);
    sim.rest();
    assert_eq!(outcome.deployment, Some(DeploymentId(2)));
    let ordered: Vec<_> = sim.events("web").into_iter().skip(edited.len()).collect();
    // The first one has nothing to stop.
    let expected: Vec<_> = edited.into_iter().chain(["window_passed", "container_stopped"]).collect();
    assert_eq!(ordered, expected);
    assert_eq!(sim.deployments("web").len(), 2);
    kept("scar-G08", SETTING);
}

#[test]
fn scar_g10_looking_at_what_is_not_there_writes_nothing() {
    let mut sim = Sim::new();
    assert!(sim.order("web", Command::Rollback { to: None }).is_some_and(|answer| answer.is_err()));
    sim.rest();
    let state = sim.world.lock();
    let database = &state.database;
    assert!(database.current.is_empty() && database.machines.is_empty() && database.events.is_empty());
    drop(state);
    sim.deploy("web", &Version::of("good:1"));
    assert_eq!(sim.routed("web"), ["web-blue-1"], "the first deployment is routed");
    kept("scar-G10", SETTING);
}

#[test]
fn scar_g12_and_g13_a_switch_that_nobody_confirms_fails_and_is_taken_back_at_the_proxy() {
    let mut sim = serving();
    // Each time the proxy does as it is told, and the answer is lost.
    sim.plan(Call::Apply, std::iter::repeat_n(Fault::LostReply, 12));
    sim.edit("web", &Version::of("good:2"));
    sim.until_that("the switch is given up", |sim| sim.events("web").contains(&"switch_failed"));
    sim.rest();
    assert_eq!(sim.routed("web"), ["web-blue-1"]);
    assert_eq!(sim.image("web").as_deref(), Some("good:1"));
    kept("scar-G12", SETTING);
    kept("scar-G13", SETTING);
}

#[test]
fn scar_p03_requests_go_to_one_version_and_then_to_the_other() {
    let mut sim = serving();
    for version in 2..=20 {
        sim.world.lock().proxy.log.clear();
        sim.deploy("web", &Version::of(&format!("good:{version}")).replicas(2));
        let log = sim.world.lock().proxy.log.clone();
        let new = DeploymentId(version);
        assert!(log.contains(&new), "requests came to the new version");
        assert!(log.is_sorted(), "and none to the old one after that: {log:?}");
    }
    kept("scar-P03", SETTING);
}

#[test]
fn scar_p04_the_route_leaves_then_requests_end_and_then_it_is_stopped() {
    let mut sim = serving();
    sim.world.lock().trace = Some(String::new());
    sim.deploy("web", &Version::of("good:2").window(0));
    let trace = sim.world.lock().trace.take().expect("a trace");
    let place = |what: &str| trace.find(what).unwrap_or_else(|| panic!("{what} happened"));
    let route = place("traffic_switched");
    let drained = place("drain_complete");
    let stopped = place("Stop web blue");
    assert!(route < drained && drained < stopped);
    // That nothing was in flight on it by then is the checker's third invariant.
    kept("scar-P04", SETTING);
}

#[test]
fn scar_p08_a_slow_stop_delays_nobody() {
    let mut sim = serving();
    sim.deploy("api", &Version::of("good:1"));
    // Docker takes a minute to stop what had served.
    sim.plan(Call::Stop, [Fault::Slow(secs(60))]);
    let next = Version::of("good:2").window(0).watch(0);
    sim.edit("web", &next);
    sim.until("web", "stopping");
    let began = sim.world.lock().now();
    sim.expect(sim.image("web").as_deref() == Some("good:2"), "the new version serves meanwhile");
    let other = Version::of("good:2").window(0).watch(0);
    sim.plan(Call::Remove, []);
    sim.edit("api", &other);
    sim.until_that("the other app has switched", |sim| sim.image("api").as_deref() == Some("good:2"));
    let took = sim.world.lock().now().saturating_since(began);
    assert!(took < secs(30), "{took:?}");
    assert_eq!(sim.state("web"), "stopping");
    sim.rest();
    kept("scar-P08", SETTING);
}

#[test]
fn scar_p16_what_is_cancelled_does_not_run() {
    let mut sim = serving();
    sim.plan(Call::Image, [Fault::Slow(secs(300))]);
    sim.edit("web", &Version::of("good:2"));
    sim.until("web", "pulling");
    sim.command("web", Command::Cancel);
    sim.until("web", "stable");
    sim.pass(secs(400));
    sim.rest();
    assert_eq!(sim.containers("web").len(), 1);
    assert_eq!(sim.world.lock().docker.created, 1, "nothing was made for it");
    kept("scar-P16", SETTING);
}

#[test]
fn scar_p24_the_record_says_what_serves_while_the_proxy_does_what_it_likes() {
    let mut sim = with_warm_standby();
    sim.away(Side::Proxy, secs(120));
    sim.order("web", Command::Rollback { to: None });
    sim.rest();
    let routed = sim.routes("web").and_then(|routes| routes.target).map(|target| target.color);
    let recorded = sim.world.lock().database.current[&app("web")].active_color;
    assert_eq!(recorded, routed);
    kept("scar-P24", SETTING);
}

#[test]
fn scar_p25_without_traffic_the_old_color_stays_warm_for_its_window() {
    let mut sim = serving();
    let next = Version::of("good:2").window(120).watch(3);
    sim.world.lock().proxy.closed = true;
    sim.edit("web", &next);
    sim.until_serving("web", &next);
    sim.pass(secs(60));
    assert!(sim.containers("web").iter().all(Shell::runs), "both run");
    sim.command("web", Command::Rollback { to: None });
    sim.until_that("it is back", |sim| sim.image("web").as_deref() == Some("good:1"));
    sim.rest();
    kept("scar-P25", SETTING);
}
