//! Calls to Docker that go wrong: refused, unanswered, cut, slow, done without anybody being told.

use crate::stage::{Actor, Stage};
use dockswap_proof::{Proof, long};
use dockswap_tests::scripted::{Call, Death, Fault, Given, Pull, environment};
use dockswap_tests::{AppFile, Kind, holds, once};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The deadline of a call to Docker, and of an effect that tries it again.
const CALL: Duration = Duration::from_secs(30);
const EFFECT: Duration = Duration::from_secs(60);
/// What all but the waits may take on a machine that is busy.
const SLACK: Duration = Duration::from_secs(60);

/// An image that is only in the registry, so that a deploy pulls it.
fn from_registry(actor: &Actor<'_>, version: &str) -> AppFile {
    let image = format!("registry.test/{}:{version}", actor.app);
    actor.docker.registry(&image, Pull::Gives(environment(&[("VERSION", version)])));
    actor.file().image(&image)
}

/// What is worth misbehaving at: the calls of a deployment, `repetitions` times each, with each fault.
fn cases(faults: &[Fault], repetitions: usize) -> Vec<(Call, Fault)> {
    let calls = Call::OF_A_DEPLOYMENT.iter();
    let each = calls.flat_map(|call| faults.iter().map(|fault| (*call, fault.clone())));
    let each: Vec<_> = each.collect();
    each.iter().cycle().take(each.len() * repetitions).cloned().collect()
}

/// The new version serves.
fn serves(actor: &Actor<'_>, version: &str) {
    let answer = once(actor.site.http(), &actor.site.host_of(&actor.app), Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, version, "{}", actor.site.events(&actor.app));
}

#[test]
fn dck_500() {
    let mut proof = Proof::of("dck.500", "scripted Docker, each call of a deployment fails in turn");
    let mut stage = Stage::set("dck.500");
    let refused = Fault::says(500, "the scripted daemon is out of order");
    let faults = [refused, Fault::Cut, Fault::says(503, "the scripted daemon is busy")];
    for _ in 0..if long() { 7 } else { 1 } {
        let cases = cases(&faults, 1);
        stage.play(&cases, |actor, (call, fault)| {
            let order = actor.docker.at(*call).of(&actor.app).times(1).meets(fault.clone());
            let file = from_registry(&actor, "new").version("new");
            let (status, took) = actor.deploys(&file);
            order.strikes();
            let seen = match status.as_str() {
                "success" => {
                    serves(&actor, "new");
                    actor.leaves()
                }
                _ => {
                    assert!(
                        matches!(fault, Fault::Says(500, _)),
                        "{call:?} {fault:?} is worth another try\n{}",
                        actor.site.events(&actor.app)
                    );
                    actor.is_told("the scripted daemon is out of order");
                    serves(&actor, "old");
                    actor.leaves().untouched()
                }
            };
            seen.waited(&format!("a deploy with {call:?} {fault:?}"), took, EFFECT + SLACK)
        });
        proof.kept_times(cases.len() as u64);
    }
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_hang() {
    let mut proof = Proof::of("dck.hang", "scripted Docker, each call of a deployment hangs in turn");
    let mut stage = Stage::set("dck.hang");
    for _ in 0..if long() { 7 } else { 1 } {
        let mut cases: Vec<Option<(Call, Fault)>> =
            cases(&[Fault::Hang, Fault::DoneAndHang], 1).into_iter().map(Some).collect();
        if !long() {
            // Takes a minute.
            cases.retain(|case| !matches!(case, Some((Call::ImagePull, _))));
        }
        // Nothing hangs for this one.
        cases.push(None);
        stage.play(&cases, |actor, case| {
            let order = case.as_ref().map(|(call, fault)| {
                let order = actor.docker.at(*call).of(&actor.app).times(1);
                order.meets(fault.clone())
            });
            let file = from_registry(&actor, "new").version("new");
            let (status, took) = actor.deploys(&file);
            if let Some(order) = &order {
                order.strikes();
            }
            let limit = if order.is_some() { EFFECT + SLACK } else { SLACK };
            let seen = if matches!(case, Some((Call::ImagePull, _))) {
                assert_eq!(status, "failed", "{case:?}\n{}", actor.site.events(&actor.app));
                actor.is_told("nothing came for 60 s");
                serves(&actor, "old");
                actor.leaves().untouched()
            } else {
                assert_eq!(status, "success", "{case:?}\n{}", actor.site.events(&actor.app));
                serves(&actor, "new");
                actor.leaves()
            };
            seen.waited(&format!("a deploy with {case:?}"), took, limit)
        });
        proof.kept_times(cases.len() as u64 - 1);
    }
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_hang_whole() {
    let mut stage = Stage::set("dck.hang-whole");
    stage.play(&[()], |actor, ()| {
        let order = actor.docker.always().meets(Fault::Hang);
        // Whatever it is, it makes dockswap look.
        actor.docker.dies(&actor.old[0].name, Death::Exit(0));
        let words = "docker does not answer";
        holds("status says that Docker does not answer", CALL * 2 + SLACK, || {
            actor.command(&["status", &actor.app]).exits(0).stdout.contains(words)
        });
        // Who asks is told, and does not wait for Docker.
        let _ = actor.command(&["why", &actor.app]).exits(0).says(words);
        order.ends();
        holds("the app is whole again", CALL * 2 + SLACK, || {
            !actor.command(&["status", &actor.app]).exits(0).stdout.contains(words)
        });
        actor.leaves_broken()
    });
    dockswap_proof::kept("dck.hang", "scripted Docker, every call hangs");
    stage.promises.conclude();
}

#[test]
fn dck_slow() {
    let mut proof = Proof::of("dck.slow", "scripted Docker, every call is slow");
    let mut stage = Stage::set("dck.slow");
    let delays: &[u64] =
        if long() { &[5_000, 10_000, 15_000, 20_000, 28_000] } else { &[250, 500, 1_000, 1_500] };
    for _ in 0..if long() { 20 } else { 1 } {
        stage.play(delays, |actor, delay| {
            let delay = Duration::from_millis(*delay);
            let order = actor.docker.always().of(&actor.app).meets(Fault::Late(delay));
            let file = from_registry(&actor, "new").version("new");
            let (status, took) = actor.deploys(&file);
            assert_eq!(status, "success", "{delay:?}\n{}", actor.site.events(&actor.app));
            assert!(order.followed() > 8, "{delay:?}: too few calls were late");
            serves(&actor, "new");
            order.ends();
            let limit = delay * 20 + SLACK;
            actor.leaves().waited(&format!("a deploy with calls {delay:?} late"), took, limit)
        });
        proof.kept_times(delays.len() as u64);
    }
    proof.conclude();
    stage.promises.conclude();
}

#[test]
fn dck_lostreply() {
    const CALLS: [Call; 7] = [
        Call::ImagePull,
        Call::ImageTag,
        Call::ContainerCreate,
        Call::ContainerStart,
        Call::ContainerUpdate,
        Call::ContainerStop,
        Call::ContainerRemove,
    ];
    let mut proof = Proof::of("dck.lostreply", "scripted Docker, the answer of each changing call is lost");
    let mut stage = Stage::set("dck.lostreply");
    let rounds: usize = if long() { 20 } else { 3 };
    let lost = AtomicUsize::new(0);
    stage.play(&[(); 8], |actor, ()| {
        for round in 1..=rounds {
            let orders =
                CALLS.map(|call| actor.docker.at(call).of(&actor.app).times(1).meets(Fault::LostReply));
            let file = from_registry(&actor, &format!("v{round}")).version(&format!("v{round}"));
            // No time for a rollback: what served is stopped, and then removed, while answers get lost.
            let file = file.deployment("rollback_window", "0s");
            let (status, _) = actor.deploys(&file);
            assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
            serves(&actor, &format!("v{round}"));
            let names: Vec<_> = actor.site.containers(&actor.app);
            let ours = names.iter().filter(|container| container.deployment == names[0].deployment);
            assert!(ours.count() <= 1, "a second container: {names:?}");
            let followed: usize = orders.iter().map(Given::followed).sum();
            lost.fetch_add(followed, Ordering::Relaxed);
            orders.iter().for_each(Given::ends);
        }
        actor.leaves()
    });
    proof.kept_times(lost.into_inner() as u64);
    proof.conclude();
    stage.promises.conclude();
}
