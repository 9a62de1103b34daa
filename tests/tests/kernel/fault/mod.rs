//! The rows of the catalog, each a test that is named after it.

mod memory;
mod restart;
mod space;
mod strangers;

use dockswap_tests::{AppFile, Kind, Site, once};

/// A version of an app that every answer names.
fn version(app: &str, number: usize) -> AppFile {
    AppFile::new(app).version(&format!("n{number}"))
}

/// Which version answers now; `None`: nobody does.
fn answers(site: &Site, app: &str) -> Option<String> {
    once(site.http(), &site.host_of(app), Kind::OneShot).ok().map(|sample| sample.version)
}
