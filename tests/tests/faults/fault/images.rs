//! Images that are not to be had, or not the ones they were.

use crate::stage::Stage;
use dockswap_proof::{Proof, long};
use dockswap_tests::scripted::{Call, Fault, Pull, environment};
use dockswap_tests::{Kind, once};
use std::time::Duration;

/// What a pull meets, by the name of the case: the words that must be told; none: it succeeds.
fn pulls() -> Vec<(&'static str, Pull, Option<&'static str>)> {
    let says = |status, words: &str| Pull::Says(status, words.to_owned());
    let breaks = |words: &str| Pull::Breaks(words.to_owned());
    let new = || environment(&[("VERSION", "new")]);
    vec![
        (
            "missing",
            says(404, "manifest for x:v9 not found: manifest unknown: manifest unknown"),
            Some("was not found"),
        ),
        (
            "denied",
            says(500, "Head \"https://registry.test/v2/x/manifests/v9\": unauthorized"),
            Some("was denied"),
        ),
        (
            "limited",
            says(500, "toomanyrequests: You have reached your pull rate limit"),
            Some("limits pulls"),
        ),
        (
            "reset",
            breaks("read tcp 10.0.0.2:4711->10.0.0.9:443: read: connection reset by peer"),
            Some("reset by peer"),
        ),
        ("truncated", breaks("unexpected EOF"), Some("unexpected EOF")),
        (
            "corrupt",
            breaks("filesystem layer verification failed for digest sha256:1"),
            Some("verification failed"),
        ),
        ("slow", Pull::Crawls(new(), Duration::from_millis(100), 20), None),
    ]
}

#[test]
fn img_missing() {
    let mut proof = Proof::of("img.missing", "scripted Docker, what a registry may say and do");
    let mut stage = Stage::set("img.missing");
    for _ in 0..if long() { 20 } else { 2 } {
        let cases = pulls();
        stage.play(&cases, |actor, (name, pull, words)| {
            let image = format!("registry.test/{}:{name}", actor.app);
            actor.docker.registry(&image, pull.clone());
            let code = if words.is_some() { 3 } else { 0 };
            let done = actor.command(&["deploy", &actor.app, &image]).exits(code);
            let Some(words) = words else {
                let answer = once(actor.site.http(), &actor.site.host_of(&actor.app), Kind::OneShot);
                assert_eq!(answer.expect("an answer").version, "old", "the file's own VERSION");
                return actor.leaves();
            };
            let _ = done.says(words).says(&image);
            actor.is_told(words);
            // What is mended in the registry is had by the next order.
            actor.docker.registry(&image, Pull::Gives(environment(&[])));
            let _ = actor.command(&["deploy", &actor.app]).exits(0);
            actor.leaves().untouched()
        });
        proof.kept_times(cases.len() as u64);
    }
    proof.conclude();
    stage.promises.conclude();
}

/// The daemon is cut off in the middle of a pull: it is asked again, and goes on.
#[test]
fn img_missing_cut() {
    let mut stage = Stage::set("img.missing-cut");
    stage.play(&[(); 4], |actor, ()| {
        let image = format!("registry.test/{}:cut", actor.app);
        actor.docker.registry(&image, Pull::Cut);
        let (docker, name) = (actor.docker.clone(), image.clone());
        // Back after the second try.
        let order = actor.docker.at(Call::ImagePull).of(&image).nth(3).meets(Fault::meanwhile(move || {
            docker.registry(&name, Pull::Gives(environment(&[])));
        }));
        let (status, _) = actor.deploys(&actor.file().image(&image).version("new"));
        assert_eq!(status, "success", "{}", actor.site.events(&actor.app));
        order.strikes();
        actor.leaves()
    });
    dockswap_proof::kept("img.missing", "scripted Docker, the connection is cut in a pull");
    stage.promises.conclude();
}

#[test]
fn img_moved() {
    let mut proof = Proof::of("img.moved", "scripted Docker, the tag moves between resolving and creating");
    let mut stage = Stage::set("img.moved");
    let cases = vec![(); if long() { 50 } else { 6 }];
    stage.play(&cases, |actor, ()| {
        let app = actor.app.clone();
        let image = format!("registry.test/{app}:latest");
        let resolved = actor.docker.has_image(&image, &[("VERSION", "resolved")]);
        let (docker, name) = (actor.docker.clone(), image.clone());
        let order =
            actor.docker.at(Call::ContainerCreate).of(&app).nth(1).meets(Fault::meanwhile(move || {
                docker.has_image(&name, &[("VERSION", "moved")]);
            }));
        let (status, _) = actor.deploys(&actor.file().image(&image));
        assert_eq!(status, "success", "{}", actor.site.events(&app));
        order.strikes();
        assert_ne!(actor.docker.image_id(&image), Some(resolved.clone()), "it moved");
        let version = || {
            let answer = once(actor.site.http(), &actor.site.host_of(&app), Kind::OneShot);
            answer.expect("an answer").version
        };
        assert_eq!(version(), "resolved");
        let (pinned, _) = actor.site.database().newest(&app).expect("a deployment");
        // What a rollback brings back is what ran then, whatever the tag means now.
        for other in ["three", "four"] {
            let (status, _) = actor.deploys(&actor.file().version(other));
            assert_eq!(status, "success", "{}", actor.site.events(&app));
        }
        let pulls = actor.docker.count(Call::ImagePull);
        let _ = actor.command(&["rollback", &app, "--to", &pinned.to_string()]).exits(0);
        assert_eq!(version(), "resolved");
        assert_eq!(actor.docker.count(Call::ImagePull), pulls, "a rollback needs no registry");
        actor.leaves()
    });
    proof.kept_times(cases.len() as u64);
    proof.conclude();
    stage.promises.conclude();
}
