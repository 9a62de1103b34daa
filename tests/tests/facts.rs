//! What is known of the machine, on real Docker: it is shown with its age, and an image that does not fit is refused
//! before anything is touched.

use dockswap_tests::{AppFile, Kind, Site, docker::docker, holds, once};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_image_that_does_not_fit_is_refused_and_what_serves_goes_on() {
    // More than any disk has: nothing that would have to be fetched fits.
    let mut site = Site::prepare().variable("DOCKSWAP_DOCKER__MIN_FREE_DISK", "8000000g");
    site.run();
    let root = docker(&["info", "--format", "{{.DockerRootDir}}"]);
    holds("Docker's disk is known", PATIENCE, || {
        let facts = site.command(&["facts", "--json"]).exits(0).json();
        let known = |name: &str, subject: &str| {
            let mut facts = facts["facts"].as_array().into_iter().flatten();
            facts.any(|fact| fact["name"] == name && fact["subject"] == subject && fact["stale"] == false)
        };
        known("disk", &root) && known("docker", "engine") && known("memory", "host")
    });
    let _ = site.command(&["facts"]).exits(0).says("live restore").says("free");
    let _ = site.command(&["doctor"]).says("facts");

    let app = site.name("web");
    // What is here needs no room.
    site.deployed(&AppFile::new(&app).image("v1").version("n1").deployment("watch", "100ms"));
    let (_, status) = site.deploy(
        &AppFile::new(&app)
            .image("dockswap-demo-elsewhere:v9")
            .docker("pull_policy", "missing")
            .version("n2"),
    );
    assert_eq!(status, "failed", "{}", site.events(&app));
    let why = site.command(&["why", &app]).exits(0);
    for words in ["does not fit on the disk", &root, "docker.min_free_disk", "docker image prune"] {
        assert!(why.all().contains(words), "{words}: {why}");
    }
    let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, "n1");
}
