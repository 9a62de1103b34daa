//! The database is lost, damaged, full or set back while traffic flows: the proxy serves all along, nobody
//! guesses, and what the commands say is the way out.

use dockswap_tests::{AppFile, Kind, Load, Mix, Site, assert_records_fit, holds, once, unix_get};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A version that serves, under load.
fn serving() -> (Site, String, Load) {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1").deployment("watch", "1s"));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    (site, app, load)
}

/// Waits until `version` serves and is stable on record.
fn serves(site: &Site, app: &str, version: &str) {
    holds(&format!("{version} serves"), PATIENCE, || {
        let status = site.command(&["status", app, "--json"]);
        status.code == 0
            && status.json()["state"] == "stable"
            && status.json()["degraded"].is_null()
            && once(site.http(), &site.host_of(app), Kind::OneShot)
                .is_ok_and(|answer| answer.version == version)
    });
}

fn backup(site: &Site) -> PathBuf {
    let file = site.home().join("backup.db");
    let _ = site.command(&["db", "backup", &file.display().to_string()]).exits(0);
    file
}

#[test]
fn fault_db_corrupt_a_backup_is_the_way_out_and_what_is_newer_goes_on_serving() {
    let (mut site, app, load) = serving();
    let file = backup(&site).display().to_string();
    let pid = site.controller_pid().to_string();
    let _ = site.command(&["db", "restore", &file]).exits(5).says(&pid);
    site.deployed(&AppFile::new(&app).version("n2").deployment("watch", "1s"));
    site.kill_controller();
    // What is in the log would mend the file.
    let database = site.database().path().clone();
    std::fs::remove_file(format!("{}-wal", database.display())).expect("the database's log");
    std::fs::write(database, "damaged ".repeat(10_000)).expect("the database's file");
    let refused = site.command(&["run", "--proxy-http", "127.0.0.1:0"]).exits(1);
    let _ =
        refused.says("dockswap.db").says("db restore FILE").says(&format!("the proxy serves {app} by green"));
    load.goes_on(50);
    let restored = site.command(&["db", "restore", &file]).exits(0);
    let _ = restored.says("1 deployment of 1 app").says(".before-restore-").says("dockswap run");
    site.run();
    load.goes_on(50);
    // The file says n2, and the records did not know: it is deployed once more.
    serves(&site, &app, "n2");
    assert_records_fit(&site, &app);
    let report = load.stop();
    report.assert_unbroken();
    let versions: Vec<&str> = report.samples.iter().map(|sample| sample.version.as_str()).collect();
    let first_of_two = versions.iter().position(|version| *version == "n2").expect("n2 has served");
    let back = versions[first_of_two..].iter().filter(|version| **version == "n1").count();
    // Requests that were under way in the switch may have been answered by n1.
    assert!(back < 50, "{back} requests went back to n1");
    dockswap_proof::kept("db.corrupt", "file overwritten, backup restored under load, real Docker");
}

#[test]
fn fault_db_corrupt_without_a_backup_everything_serves_and_is_deployed_once_more() {
    let (mut site, app, load) = serving();
    site.kill_controller();
    let database = site.database().path().clone();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    site.run();
    load.goes_on(50);
    serves(&site, &app, "n1");
    assert_records_fit(&site, &app);
    load.stop().assert_unbroken();
    dockswap_proof::kept("db.corrupt", "database removed, started without one under load, real Docker");
}

#[test]
fn fault_db_ro_a_data_directory_that_is_gone_stops_writing_and_nothing_else() {
    let (site, app, load) = serving();
    let (database, away) = (site.database().path().clone(), site.home().join("away.db"));
    std::fs::rename(&database, &away).expect("our own file");
    let status = || unix_get(&site.api_socket(), "/readyz");
    holds("not ready", PATIENCE, || {
        status().is_some_and(|(code, body)| code == 503 && body.contains("dockswap.db is gone"))
    });
    let _ = site.command(&["deploy", &app]).exits(1).says("dockswap.db is gone");
    load.goes_on(50);
    std::fs::rename(&away, &database).expect("our own file");
    holds("ready again by itself", PATIENCE, || status().is_some_and(|(code, _)| code == 200));
    site.deployed(&AppFile::new(&app).version("n2").deployment("watch", "1s"));
    assert_records_fit(&site, &app);
    load.stop().assert_unbroken();
    dockswap_proof::kept("db.ro", "database moved away and back under load, real Docker");
}

#[test]
fn fault_db_enospc_nothing_begins_on_a_full_disk_and_it_goes_on_when_there_is_space() {
    let mut site = Site::prepare();
    std::fs::create_dir_all(site.data_dir()).expect("a data directory");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(site.data_dir()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("\n=== SKIPPED: no full disk was tried: mounting a tmpfs takes root ===\n");
        return;
    }
    let disk = Mounted(site.data_dir());
    let app = site.name("web");
    site.run();
    site.deployed(&AppFile::new(&app).version("n1").deployment("watch", "1s"));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let filler = disk.0.join("filler");
    let _ = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", filler.display())).output();
    let status = || unix_get(&site.api_socket(), "/readyz");
    holds("not ready", PATIENCE, || {
        status().is_some_and(|(code, body)| code == 503 && body.contains("full"))
    });
    site.save(&AppFile::new(&app).version("n2").deployment("watch", "1s"));
    load.goes_on(50);
    std::fs::remove_file(&filler).expect("our own file");
    serves(&site, &app, "n2");
    holds("ready again by itself", PATIENCE, || status().is_some_and(|(code, _)| code == 200));
    assert_records_fit(&site, &app);
    load.stop().assert_unbroken();
    let _ = site.end_controller(Signal::TERM);
    drop(disk);
    dockswap_proof::kept("db.enospc", "disk filled before an edit under load, real Docker on a tmpfs");
}

#[test]
fn fault_db_enospc_a_full_disk_takes_no_backup_away_and_the_next_one_is_taken_when_there_is_space() {
    let mut site = Site::prepare();
    let backups = site.home().join("backups");
    std::fs::create_dir_all(&backups).expect("a directory for backups");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&backups).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("\n=== SKIPPED: no full disk was tried: mounting a tmpfs takes root ===\n");
        return;
    }
    let disk = Mounted(backups);
    let settings = format!("backup: {{ every: 1s, keep: 2, dir: {} }}\n", disk.0.display());
    std::fs::write(site.config_dir().join("dockswap.yaml"), settings).expect("a file");
    let app = site.name("web");
    site.run();
    site.deployed(&AppFile::new(&app).version("n1").deployment("watch", "1s"));
    let taken = || -> Vec<String> {
        let entries = std::fs::read_dir(&disk.0).expect("the backups");
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.retain(|name| name.starts_with("dockswap-"));
        names.sort();
        names
    };
    let finding = || {
        let told = site.command(&["doctor", "--json"]).json();
        let all = told["findings"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|finding| finding["check"] == "backups").expect("a finding")
    };
    holds("the newest two are kept", PATIENCE, || {
        let before = taken();
        before.len() == 2 && finding()["level"] == "ok" && taken().first() > before.first()
    });
    let filler = disk.0.join("filler");
    let _ = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", filler.display())).output();
    holds("what is wrong is told", PATIENCE, || finding()["level"] == "warn");
    let told = finding();
    assert!(told["mend"].as_str().is_some_and(|mend| mend.contains("backup.dir")), "{told}");
    let _ = site.command(&["status"]).exits(0).says("there is no new backup since");
    let left = taken();
    let is_copy = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "db");
    assert!(left.len() == 2 && left.iter().all(is_copy), "{left:?}");
    site.deployed(&AppFile::new(&app).version("n2").deployment("watch", "1s"));
    std::fs::remove_file(&filler).expect("our own file");
    holds("the next one is taken", PATIENCE, || taken().last() > left.last() && finding()["level"] == "ok");
    let newest = disk.0.join(taken().last().expect("a backup")).display().to_string();
    let kept = site.home().join("newest.db").display().to_string();
    std::fs::copy(&newest, &kept).expect("a copy");
    let _ = site.command(&["db", "vacuum"]).exits(5).says("traffic goes on without it");
    let _ = site.end_controller(Signal::TERM);
    let _ = site.command(&["db", "vacuum"]).exits(0).says(" before, ");
    let _ = site.command(&["db", "restore", &kept]).exits(0).says("2 deployments of 1 app");
    site.run();
    serves(&site, &app, "n2");
    assert_records_fit(&site, &app);
    let _ = site.end_controller(Signal::TERM);
    drop(disk);
    dockswap_proof::kept("db.enospc", "disk of the backups filled, real Docker on a tmpfs");
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
