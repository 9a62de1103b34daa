//! Removing what is old, on real Docker: every version that is kept can be gone back to, what is not ours stays.

use dockswap_tests::{AppFile, Kind, Site, assert_records_fit, docker, holds, once, until};
use std::fs;
use std::time::Duration;

/// How many versions can be gone back to.
const KEPT: usize = 4;

const VERSIONS: usize = 12;

/// Makes an image that no other is, under the name that the app's file has always had; its id.
fn image(name: &str, number: usize) -> String {
    let base = docker::docker(&["create", "dockswap-demo:v1"]);
    let label = format!("LABEL number={name}-{number}");
    let id = docker::docker(&["commit", "--change", &label, &base, name]);
    docker::docker(&["rm", "-f", &base]);
    id
}

fn is_there(image: &str) -> bool {
    docker::Docker::default().done(&["image", "inspect", image]).code == 0
}

fn answers(site: &Site, app: &str) -> String {
    until("the app answers", Duration::from_secs(30), || {
        once(site.http(), &site.host_of(app), Kind::OneShot).ok().map(|sample| sample.version)
    })
}

#[test]
fn every_retained_rollback_works_and_nothing_else_is_kept_or_touched() {
    let mut site = Site::prepare();
    let settings = format!("retention: {{ deployments: {KEPT}, history: 0s }}\n");
    fs::write(site.config_dir().join("dockswap.yaml"), settings).expect("a file");
    site.run();
    let app = site.name("web");
    let name = format!("{app}:current");
    let (theirs, container) = (format!("{app}-theirs:x"), format!("{app}-theirs"));
    let mut images = Vec::new();
    let mut deployments = Vec::new();
    for number in 0..VERSIONS {
        images.push(image(&name, number));
        let file = AppFile::new(&app).image(&name).version(&format!("n{number}"));
        deployments.push(site.deployed(&file.deployment("rollback_window", "0s")));
        if number == 1 {
            docker::docker(&["tag", &images[1], &theirs]);
            docker::docker(&["create", "--name", &container, "--label", "team=theirs", &theirs]);
        }
    }
    let gone = VERSIONS - KEPT - 1;
    // Nobody asks for it: images are given up as soon as a deployment has ended.
    holds("what cannot be gone back to is given up", Duration::from_secs(30), || {
        let stays = |number: usize| number >= gone || number == 1;
        images.iter().enumerate().all(|(number, image)| is_there(image) == stays(number))
    });
    let pruned = site.command(&["prune", "--json"]).exits(0).json();
    assert_eq!(pruned["apps"].as_array().map(Vec::len), Some(0), "{pruned}");
    let audit = site.command(&["audit", "--json"]).exits(0).json();
    let orders = audit["audit"].as_array().into_iter().flatten().filter(|row| row["verb"] == "prune");
    assert_eq!(orders.count(), 1, "{audit}");
    assert!(is_there(&theirs), "an image that somebody else has named stays");
    let status = docker::docker(&["inspect", "--format", "{{.State.Status}}", &container]);
    assert_eq!(status, "created", "a container of somebody else's stays");

    // The history still has it; it is refused before anything begins.
    let first = deployments[0].to_string();
    let refused = site.command(&["rollback", &app, "--to", &first]);
    assert_eq!(refused.code, 4, "{refused}");
    assert!(refused.stderr.contains("pruned"), "{refused}");
    assert_eq!(answers(&site, &app), format!("n{}", VERSIONS - 1));

    for number in (gone..VERSIONS - 1).rev() {
        let _ = site.command(&["rollback", &app]).exits(0);
        site.settled(&app);
        assert_eq!(answers(&site, &app), format!("n{number}"));
        let _ = site.command(&["prune"]).exits(0);
    }
    let exhausted = site.command(&["rollback", &app]);
    assert_eq!(exhausted.code, 4, "{exhausted}");
    assert_records_fit(&site, &app);
    let _ = site.command(&["db", "check"]).exits(0);
    docker::docker(&["rm", "-f", &container]);
    docker::docker(&["rmi", "-f", &theirs, &name]);
}
