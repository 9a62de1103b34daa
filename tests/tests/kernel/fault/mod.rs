//! The rows of the catalog, each a test that is named after it.

mod memory;
mod restart;
mod space;
mod strangers;

use dockswap_tests::docker::Docker;
use dockswap_tests::{AppFile, Dockerd, Kind, Site, once};

/// A site on a Docker of the test's own, with the name of an app.
fn set(dockerd: &Dockerd) -> (Docker, Site, String) {
    let mut site = Site::prepare().on_dockerd(dockerd);
    site.run();
    let app = site.name("web");
    (dockerd.docker(), site, app)
}

/// A version of an app that every answer names.
fn version(app: &str, number: usize) -> AppFile {
    AppFile::new(app).version(&format!("n{number}"))
}

/// Which version answers now; `None`: nobody does.
fn answers(site: &Site, app: &str) -> Option<String> {
    once(site.http(), &site.host_of(app), Kind::OneShot).ok().map(|sample| sample.version)
}
