//! Docker's disk is full.

use super::{answers, set, version};
use dockswap_proof::{Proof, long};
use dockswap_tests::{Dockerd, Done, ImageStore, LiveRestore, assert_records_fit};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// A file system of a few MiB, in memory.
struct SmallDisk {
    home: tempfile::TempDir,
}

impl SmallDisk {
    fn mounted() -> Self {
        let home = tempfile::Builder::new().prefix("dsws").tempdir().expect("a directory");
        let mount = ["-t", "tmpfs", "-o", "size=64m,mode=0700", "dockswap-test"];
        let _ = Done::of(Command::new("mount").args(mount).arg(home.path())).exits(0);
        Self { home }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Done::of(Command::new("umount").arg("--lazy").arg(self.home.path()));
    }
}

#[test]
fn img_nospace() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a small disk can be mounted by root alone");
        return;
    }
    let disk = SmallDisk::mounted();
    let store = ImageStore::of_mebibytes(200);
    let Some(dockerd) =
        Dockerd::start_on(Some(&disk.path()), LiveRestore::Off, &["dockswap-demo:v1", "dockswap-demo:v2"])
    else {
        return;
    };
    let (docker, site, app) = set(&dockerd);
    site.deployed(&version(&app, 0));
    site.deployed(&version(&app, 1).image("v2"));
    let kept = docker.containers(&app);
    let images = || {
        let ids = docker.run(&["images", "-aq", "--no-trunc"]);
        ids.lines().map(ToOwned::to_owned).collect::<BTreeSet<_>>()
    };
    let before = images();
    let mut proof = Proof::of("img.nospace", "Docker's disk full in a pull, real Docker");
    for round in 1..=if long() { 20 } else { 2 } {
        let done = site.command(&["deploy", &app, &store.image()]);
        let why = site.command(&["why", &app]).exits(0).stdout;
        site.settled(&app);
        let told = [&done.all(), &why].iter().all(|text| text.contains("no space left on device"));
        let serves = answers(&site, &app).as_deref() == Some("n1") && docker.containers(&app) == kept;
        if done.code == 3 && told && serves && images() == before {
            proof.kept();
        } else {
            proof.broken(format!("round {round}: told {told}, serves {serves}\n{done}\n{why}"));
        }
    }
    proof.conclude();
    // Nothing was thrown away to make room: the rollback is still there.
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    assert_eq!(answers(&site, &app).as_deref(), Some("n0"));
    assert_records_fit(&site, &app);
}
