//! Many versions on a small disk: what was pulled goes with the versions that cannot be gone back to any more, and
//! nothing else does.

use dockswap_proof::long;
use dockswap_tests::docker::Docker;
use dockswap_tests::{
    AppFile, Dockerd, Done, ImageStore, Kind, LiveRestore, Site, assert_records_fit, holds, once,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How many versions can be gone back to.
const KEPT: usize = 3;

/// What each version alone takes.
const MEBIBYTES: u64 = 12;

const PATIENCE: Duration = Duration::from_secs(60);

/// A file system in memory.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn of_mebibytes(count: u64) -> Self {
        let home = tempfile::Builder::new().prefix("dsws").tempdir().expect("a directory");
        let size = format!("size={count}m,mode=0700");
        let mut mount = Command::new("mount");
        let _ = Done::of(mount.args(["-t", "tmpfs", "-o", &size, "dockswap-test"]).arg(home.path())).exits(0);
        Self(home)
    }

    /// How much of it is taken, in MiB.
    fn taken(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.0.path()).expect("a disk");
        ((disk.f_blocks - disk.f_bfree) * disk.f_frsize) >> 20
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Done::of(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

fn is_there(docker: &Docker, image: &str) -> bool {
    docker.done(&["image", "inspect", image]).code == 0
}

fn answers(site: &Site, app: &str, version: &str) {
    holds(&format!("{version} answers"), PATIENCE, || {
        once(site.http(), &site.host_of(app), Kind::OneShot).is_ok_and(|sample| sample.version == version)
    });
}

fn write_settings(dir: &Path) {
    fs::write(dir.join("dockswap.yaml"), format!("retention: {{ deployments: {KEPT} }}\n")).expect("a file");
}

#[test]
fn deploys_without_end_fit_on_a_small_disk_and_every_retained_rollback_works() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a small disk can be mounted by root alone");
        return;
    }
    let (rounds, room) = if long() { (500, 2_048) } else { (24, 224) };
    let disk = SmallDisk::of_mebibytes(room);
    let data = disk.0.path().join("data");
    let Some(dockerd) = Dockerd::start_on(Some(&data), LiveRestore::Off, &["dockswap-demo:v1"]) else {
        return;
    };
    let docker = dockerd.docker();
    let store = ImageStore::of_versions("dockswap-demo:v1", MEBIBYTES);
    let mut site = Site::prepare().on_dockerd(&dockerd);
    write_settings(&site.config_dir());
    site.run();
    let (app, other) = (site.name("web"), site.name("other"));
    let version = |app: &str, number: usize| {
        let file =
            AppFile::new(app).image(&store.tagged(&format!("r{number}"))).version(&format!("n{number}"));
        file.deployment("rollback_window", "0s").deployment("watch", "0s")
    };
    let before = disk.taken();
    // What one more of everything takes: the versions that stay, what is in flight, three that others want, and room
    // for one to come in.
    let most = before + MEBIBYTES * (KEPT as u64 + 9);
    assert!(most < room * 3 / 4, "{most} MiB of {room} would prove nothing");
    let mut watermark = 0;
    for number in 0..rounds {
        store.turn_over(MEBIBYTES);
        let name = store.tagged(&format!("r{number}"));
        if number == 1 {
            // Somebody has it already.
            docker.run(&["pull", "--quiet", &name]);
        }
        site.deployed(&version(&app, number));
        match number {
            2 => drop(site.deployed(&version(&other, number))),
            3 => drop(docker.run(&["create", "--name", "theirs", &name])),
            _ => {}
        }
        watermark = watermark.max(disk.taken());
        assert!(
            disk.taken() <= most,
            "{} MiB are taken after {number} deploys, at most {most}",
            disk.taken()
        );
    }
    println!("{rounds} deploys of {MEBIBYTES} MiB each: {before} MiB before, {watermark} at most, of {room}");
    let gone = rounds - KEPT - 1;
    let there = |number: usize| is_there(&docker, &store.tagged(&format!("r{number}")));
    holds("what nobody needs is gone", PATIENCE, || !there(gone - 1));
    for number in 0..rounds {
        let stays = number >= gone || [1, 2, 3].contains(&number);
        assert_eq!(there(number), stays, "the image of n{number}");
    }
    // No registry is asked for what can be gone back to.
    store.turn_over(1);
    for number in (gone..rounds - 1).rev() {
        let _ = site.command(&["rollback", &app]).exits(0);
        site.settled(&app);
        answers(&site, &app, &format!("n{number}"));
    }
    answers(&site, &other, "n2");
    assert_records_fit(&site, &app);
    docker.run(&["rm", "-f", "theirs"]);
    // What a container has held goes with the next deploy after it.
    site.deployed(&version(&app, rounds));
    holds("what a container held is gone", PATIENCE, || !there(3));
    assert!(there(1) && there(2), "what others have or need stays");
}
