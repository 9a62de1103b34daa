//! However a file comes to be what it is, its last content is deployed exactly once.

use dockswap_proof::{Proof, long};
use dockswap_tests::{AppFile, Kind, Load, Mix, Site, assert_records_fit, docker, holds, now, once, until};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

fn file(app: &str, version: &str) -> AppFile {
    AppFile::new(app).version(version).deployment("watch", "100ms")
}

/// Waits until the last content of the app's file has been deployed and serves; panics unless that
/// happened exactly once.
fn assert_last_content_is_deployed_once(site: &Site, app: &str, version: &str) {
    let (sha, database) = (site.sha(app), site.database());
    let ended =
        until("the last content has been deployed", Duration::from_secs(90), || database.ended(app, &sha));
    assert_eq!(ended.1, "success", "{}", site.events(app));
    // Whatever else is noticed now is no news.
    let _ = site.command(&["reload"]).exits(0);
    site.settled(app);
    let sql = "SELECT count(*) FROM deployments d JOIN app_configs c ON c.id = d.config_id
               WHERE d.app_name = ?1 AND c.config_sha = ?2";
    assert_eq!(database.number(sql, &[app, &sha]), 1, "{}", site.events(app));
    let newest = "SELECT config_sha FROM app_configs WHERE app_name = ?1 ORDER BY id DESC LIMIT 1";
    assert_eq!(database.text(newest, &[app]), Some(sha));
    let answer = once(site.http(), &site.host_of(app), Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, version);
    assert_records_fit(site, app);
}

#[test]
fn a_save_by_rename() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&file(&app, "n1"));
    // As vim does: a backup by rename, swap files, a new file.
    let path = site.file_of(&app);
    let beside = |name: &str| path.with_file_name(name);
    fs::write(beside(&format!(".{app}.yaml.swp")), "name: [").expect("a swap file");
    fs::write(beside("4913"), "").expect("a probe");
    fs::remove_file(beside("4913")).expect("a probe");
    fs::rename(&path, beside(&format!("{app}.yaml~"))).expect("a backup");
    fs::write(&path, file(&app, "n2").to_string()).expect("a file");
    fs::remove_file(beside(&format!(".{app}.yaml.swp"))).expect("a swap file");
    assert_last_content_is_deployed_once(&site, &app, "n2");
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 2);
    dockswap_proof::kept("cfg.rename", "real Docker, as vim saves");
    dockswap_proof::kept("cfg.swap", "real Docker, as vim saves");
}

#[test]
fn a_symlink_swap() {
    // As Kubernetes mounts a ConfigMap: file -> ..data/file, ..data -> ..version, swapped by rename.
    let site = Site::start();
    let app = site.name("web");
    let apps = site.config_dir().join("apps");
    let name = format!("{app}.yaml");
    let version = |dir: &str, version: &str| {
        fs::create_dir(apps.join(dir)).expect("a directory");
        fs::write(apps.join(dir).join(&name), file(&app, version).to_string()).expect("a file");
    };
    version("..first", "n1");
    symlink("..first", apps.join("..data")).expect("a link");
    symlink(format!("..data/{name}"), site.file_of(&app)).expect("a link");
    assert_last_content_is_deployed_once(&site, &app, "n1");
    version("..second", "n2");
    symlink("..second", apps.join("..data.new")).expect("a link");
    fs::rename(apps.join("..data.new"), apps.join("..data")).expect("a swap");
    fs::remove_dir_all(apps.join("..first")).expect("the old version");
    assert_last_content_is_deployed_once(&site, &app, "n2");
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 2);
    dockswap_proof::kept("cfg.symlink", "real Docker, as Kubernetes mounts");
}

#[test]
fn a_file_that_is_written_in_pieces() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&file(&app, "n1"));
    // No prefix of this is a valid app: what is required comes last.
    let text = file(&app, "n2").to_string();
    let (head, docker) = text.split_once("docker:\n").expect("a section");
    let (docker, rest) = docker.split_once("health_check:\n").expect("a section");
    let text = format!("{head}health_check:\n{rest}docker:\n{docker}");
    let cut = text.find("  expose_port").expect("the field");
    let mut open = fs::File::create(site.file_of(&app)).expect("a file");
    for piece in [&text.as_bytes()[..40], &text.as_bytes()[40..cut]] {
        open.write_all(piece).and_then(|()| open.sync_all()).expect("a write");
        // It has been seen as it is now, and refused.
        holds("the half-written file is shown as broken", Duration::from_secs(20), || {
            let broken_file = 2;
            site.command(&["reload"]).code == broken_file
                && site.command(&["status", &app, "--json"]).json().to_string().contains("invalid")
        });
    }
    open.write_all(&text.as_bytes()[cut..]).expect("a write");
    drop(open);
    assert_last_content_is_deployed_once(&site, &app, "n2");
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 2);
    dockswap_proof::kept("cfg.half", "real Docker, in three pieces");
}

#[test]
fn twenty_apps_edited_at_once_arrive_with_at_most_max_concurrent_at_a_time() {
    let site = Site::start();
    let apps: Vec<String> = (0..20).map(|number| site.name(&format!("a{number}"))).collect();
    for version in ["n1", "n2"] {
        for app in &apps {
            site.save(&file(app, version));
        }
        for app in &apps {
            assert_last_content_is_deployed_once(&site, app, version);
        }
    }
    // How many others were in flight when each began.
    let sql = "SELECT max((SELECT count(*) FROM deployments o WHERE o.started_at <= d.started_at
                           AND (o.ended_at IS NULL OR o.ended_at > d.started_at))) FROM deployments d";
    let most = site.database().number(sql, &[]);
    assert!((2..=4).contains(&most), "{most} deployments were in flight at once");
    dockswap_proof::kept("P13", "real Docker, twenty apps edited at once");
}

#[test]
fn comments_and_layout_are_stored_and_deploy_nothing() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&file(&app, "n1"));
    let before = docker::containers(&app);
    site.save(&file(&app, "n1").line("# why it is as it is"));
    let sha = site.sha(&app);
    let stored = "SELECT count(*) FROM app_configs WHERE app_name = ?1 AND config_sha = ?2";
    holds("the version is stored", Duration::from_secs(20), || {
        site.database().number(stored, &[&app, &sha]) == 1
    });
    let _ = site.command(&["reload"]).exits(0);
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 1);
    assert_eq!(docker::containers(&app), before);
}

#[test]
fn there_and_back_again_makes_three_versions() {
    let site = Site::start();
    let app = site.name("web");
    for version in ["a", "b", "a"] {
        site.save(&file(&app, version));
        let sha = site.sha(&app);
        holds("the version serves", Duration::from_secs(60), || {
            let newest = "SELECT c.config_sha FROM deployments d JOIN app_configs c ON c.id = d.config_id
                          ORDER BY d.id DESC LIMIT 1";
            site.database().text(newest, &[]).as_deref() == Some(sha.as_str())
        });
        assert_eq!(site.settled(&app), "stable");
    }
    let stored = "SELECT count(*) FROM app_configs WHERE app_name = ?1";
    assert_eq!(site.database().number(stored, &[&app]), 3);
    assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 3);
    dockswap_proof::kept("P13", "real Docker, there and back again");
}

#[test]
fn an_app_whose_file_is_gone_serves_on_until_it_is_removed() {
    let mut site = Site::start();
    let app = site.name("web");
    site.deployed(&file(&app, "n1"));
    let before = docker::containers(&app);
    fs::remove_file(site.file_of(&app)).expect("the app's file");
    let orphaned = |site: &Site| site.command(&["status", &app]).all().contains("orphaned");
    holds("status says so", Duration::from_secs(20), || orphaned(&site));
    site.kill_controller();
    site.run();
    holds("status says so after a restart", Duration::from_secs(20), || orphaned(&site));
    assert_eq!(docker::containers(&app), before);
    assert_eq!(once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer").version, "n1");
    let _ = site.command(&["remove", &app, "--yes"]).exits(0);
    site.reaches(&app, "retired");
    assert!(docker::containers(&app).is_empty());
    let kept = "SELECT count(*) FROM deployments WHERE app_name = ?1";
    assert_eq!(site.database().number(kept, &[&app]), 1, "its history stays");
    dockswap_proof::kept("cfg.delete", "real Docker, over a restart of the controller");
}

#[test]
fn a_route_that_a_failed_edit_gave_up_is_not_free_until_it_really_is() {
    let site = Site::start();
    let (app, newcomer) = (site.name("web"), site.name("newcomer"));
    let host = format!("shared-{app}.localhost");
    let route = format!("routes: [ {{ host: {host} }} ]");
    site.deployed(&file(&app, "n1").line(&route));
    let (_, status) = site.deploy(&AppFile::new(&app).image("dockswap-demo:exits"));
    assert_eq!(status, "failed");

    site.save(&file(&newcomer, "n2").line(&route));
    let refused = site.command(&["reload"]).exits(2);
    assert!(refused.stdout.contains(&host) || refused.stderr.contains(&host), "{refused:?}");
    let answer = once(site.http(), &host, Kind::OneShot).expect("an answer");
    assert_eq!(answer.version, "n1", "what serves keeps its route");

    // Nobody saves the newcomer's file again: it is looked at again by itself.
    site.deployed(&file(&app, "n3"));
    holds("the newcomer has the route", Duration::from_secs(30), || {
        once(site.http(), &host, Kind::OneShot).is_ok_and(|answer| answer.version == "n2")
    });
    dockswap_proof::kept("cfg.route", "real Docker, a newcomer waits");
}

/// Files that say nothing usable, each in another way.
fn broken_files(app: &str) -> Vec<(&'static str, Vec<u8>)> {
    let good = file(app, "n2").to_string();
    let text = |text: String| text.into_bytes();
    vec![
        ("nothing", Vec::new()),
        ("half of a file", text(good[..good.len() / 3].to_owned())),
        ("no YAML", text("name: [\n".to_owned())),
        ("bytes that are no text", b"name: \xff\xfe\0\n".to_vec()),
        ("an unknown key", text(format!("{good}imgae: x\n"))),
        ("a key twice", text(format!("{good}image: dockswap-demo:v2\n"))),
        ("a privileged container", text(good.replace("docker:\n", "docker:\n  privileged: true\n"))),
        ("an alias bomb", text(format!("{good}a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nproject: *c\n"))),
        ("too deep", text(format!("{good}project: {}\n", "[".repeat(5_000)))),
        ("too large", text(format!("{good}# {}\n", "x".repeat(1024 * 1024)))),
        ("no name", text(good.replace("name: ", "nmae: "))),
        ("a secret of the host's", text(good.replace("docker:\n", "docker:\n  env_file: /etc/shadow\n"))),
    ]
}

#[test]
fn scar_p01_a_bad_file_changes_nothing_that_runs_and_touches_no_other_app() {
    let mut proof = Proof::of("P14", "real Docker: each kind of bad file, beside an app that is edited");
    let mut site = Site::start();
    let (app, other) = (site.name("web"), site.name("other"));
    site.deployed(&file(&app, "n1"));
    site.deployed(&file(&other, "o0"));
    let before = docker::running(&app);
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let deployments = "SELECT count(*) FROM deployments WHERE app_name = ?1";
    for (at, (what, bytes)) in broken_files(&app).into_iter().enumerate() {
        fs::write(site.file_of(&app), bytes).expect("an app file");
        holds(&format!("it is shown as broken: {what}"), Duration::from_secs(20), || {
            let broken_file = 2;
            site.command(&["reload"]).code == broken_file
        });
        if at % 4 == 3 {
            // Nobody else has to wait for it, and a restart does not either.
            site.deployed(&file(&other, &format!("o{at}")));
            site.kill_controller();
            site.run();
        }
        if docker::running(&app) == before && site.database().number(deployments, &[&app]) == 1 {
            proof.kept();
        } else {
            proof.broken(format!("{what}: {}", site.events(&app)));
        }
    }
    let report = load.stop();
    report.assert_unbroken();
    assert!(report.samples.iter().all(|sample| sample.version == "n1"), "{report}");
    assert_last_content_is_deployed_once_after(&site, &app, "n9");
    proof.conclude();
    dockswap_proof::kept("scar-P01", "real Docker, twelve kinds of bad files, with restarts");
}

/// Mended, the file is deployed like any other.
fn assert_last_content_is_deployed_once_after(site: &Site, app: &str, version: &str) {
    site.save(&file(app, version));
    assert_last_content_is_deployed_once(site, app, version);
}

mod fault {
    use super::*;

    #[test]
    fn cfg_dup() {
        let site = Site::start();
        let app = site.name("web");
        site.deployed(&file(&app, "n1"));
        let before = docker::running(&app);
        let second = site.config_dir().join("apps").join(format!("a-{app}.yaml"));
        fs::write(&second, file(&app, "theirs").to_string()).expect("a second file");
        let refused = site.command(&["reload"]).exits(2);
        for name in [second.display().to_string(), site.file_of(&app).display().to_string()] {
            assert!(refused.all().contains(&name), "{refused}");
        }
        assert_eq!(docker::running(&app), before);
        assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 1);
        dockswap_proof::kept("cfg.dup", "real Docker, beside an app that runs");
    }

    #[test]
    fn cfg_eacces() {
        let mut proof = Proof::of("cfg.eacces", "real Docker, a directory that goes away and comes back");
        let mut site = Site::start();
        let app = site.name("web");
        site.deployed(&file(&app, "n1"));
        let before = docker::running(&app);
        let (apps, away) = (site.config_dir().join("apps"), site.config_dir().join("away"));
        let orphaned = |site: &Site| site.command(&["status", &app]).all().contains("orphaned");
        for restart in [false, true] {
            fs::rename(&apps, &away).expect("our own directory");
            // No file where a directory was can be listed.
            fs::write(&apps, "").expect("a file");
            holds("status says so", Duration::from_secs(30), || {
                let _ = site.command(&["reload"]);
                orphaned(&site)
            });
            fs::remove_file(&apps).expect("our own file");
            if restart {
                // An empty directory in its place is all that the next controller sees.
                site.kill_controller();
                site.run();
                let _ = site.command(&["reload"]);
                assert!(orphaned(&site), "{}", site.command(&["status", &app]));
                fs::remove_dir(&apps).expect("an empty directory");
            }
            fs::rename(&away, &apps).expect("our own directory");
            holds("status says so", Duration::from_secs(30), || {
                let _ = site.command(&["reload"]);
                !orphaned(&site)
            });
            if docker::running(&app) == before { proof.kept() } else { proof.broken(site.events(&app)) }
        }
        assert_eq!(site.database().number("SELECT count(*) FROM deployments", &[]), 1);
        proof.conclude();
    }

    #[test]
    fn cfg_1000() {
        let site = Site::start();
        let app = site.name("web");
        site.deployed(&file(&app, "n0"));
        let setting = "a thousand edits, one every 10 ms, real Docker";
        let (mut fault, mut promise) = (Proof::of("cfg.1000", setting), Proof::of("P13", setting));
        let count = "SELECT count(*) FROM deployments WHERE app_name = ?1";
        for round in 1..=if long() { 20 } else { 1 } {
            let began = now();
            for number in 1..=1_000 {
                site.save(&file(&app, &format!("n{round}-{number}")));
                // The pace of the edits is what is tested: one every 10 ms.
                let due = began + number * 10_000;
                std::thread::sleep(Duration::from_micros((due - now()).max(0).unsigned_abs()));
            }
            let before = site.database().number(count, &[&app]);
            assert_last_content_is_deployed_once(&site, &app, &format!("n{round}-1000"));
            let after = site.database().number(count, &[&app]) - before;
            fault.kept();
            match after {
                0..=2 => promise.kept(),
                more => {
                    promise.broken(format!("{more} deployments after the last edit\n{}", site.events(&app)));
                }
            }
        }
        fault.conclude();
        promise.conclude();
        let failed = "SELECT count(*) FROM deployments WHERE status NOT IN ('success', 'cancelled')";
        assert_eq!(site.database().number(failed, &[]), 0, "{}", site.events(&app));
    }
}
