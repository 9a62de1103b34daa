//! What is secret stays so (P15), and what is dockswap's own is nobody else's.

use dockswap_tests::{AppFile, Done, Site, docker, unix_get};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const REFERRED: [&str; 3] = ["canary-env-file-5f1c", "canary-of-a-file-77ab", "canary-environment-b0d2"];
const LITERAL: &str = "canary-literal-93e4";

/// A site with an app that is handed every kind of secret, and one of whose versions has failed
/// after it wrote one of them to its log.
fn site() -> (Site, String) {
    let mut site = Site::prepare().variable("CANARY", REFERRED[2]);
    let app = site.name("web");
    let home = site.home().to_owned();
    fs::write(home.join("secrets.env"), format!("FROM_ENV_FILE={}\n", REFERRED[0])).expect("a file");
    fs::write(home.join("secret"), REFERRED[1]).expect("a file");
    for file in ["secrets.env", "secret"] {
        fs::set_permissions(home.join(file), fs::Permissions::from_mode(0o600)).expect("our own file");
    }
    let referred = format!("${{file:{}}}", home.join("secret").display());
    let file = AppFile::new(&app)
        .env("LITERAL", LITERAL)
        .env("FROM_FILE", &referred)
        .env("FROM_ENV", "${env:CANARY}")
        .docker("env_file", &home.join("secrets.env").display().to_string());
    site.run();
    site.deployed(&file);
    let blurts = file.image("exits").env("PRINT", &format!("my secret is {referred}"));
    let (_, status) = site.deploy(&blurts);
    assert_eq!(status, "failed");
    site.settled(&app);
    (site, app)
}

fn assert_silent(place: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        let at = text.find(secret);
        let around = at.map(|at| text[..at + secret.len()].chars().rev().take(300).collect::<String>());
        let around: Option<String> = around.map(|text| text.chars().rev().collect());
        assert!(at.is_none(), "{place} shows {secret}: …{}", around.unwrap_or_default());
    }
}

#[test]
fn scar_p21_no_secret_is_in_any_record_log_answer_or_label() {
    let (site, app) = site();
    let all = [REFERRED[0], REFERRED[1], REFERRED[2], LITERAL];
    // The app got them.
    for (name, secret) in ["FROM_ENV_FILE", "FROM_FILE", "FROM_ENV", "LITERAL"].iter().zip(all) {
        let container = docker::running(&app).remove(0);
        let shown = docker::docker(&["inspect", "--format", "{{json .Config.Env}}", &container.id]);
        assert!(shown.contains(&format!("{name}={secret}")), "{name} did not arrive");
    }

    let dump = Done::of(Command::new("sqlite3").arg(site.database().path()).arg(".dump")).exits(0).stdout;
    // A file is stored byte for byte, as it is: what stands in it stands there, and nowhere else.
    let configs = |line: &&str| line.starts_with("INSERT INTO app_configs");
    let rows: String = dump.lines().filter(|line| !configs(line)).collect();
    assert_silent("the database", &rows, &all);
    assert_silent("app_configs", &dump, &REFERRED);
    // Bytes are dumped in hexadecimal.
    let hex = |text: &str| {
        let digits = text.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect::<String>()
    };
    assert_silent("app_configs", &dump.to_lowercase(), &REFERRED.map(hex).each_ref().map(String::as_str));

    assert_silent("the log", &site.log(), &all);
    for path in ["/v1/apps", &format!("/v1/apps/{app}"), &format!("/v1/apps/{app}/deployments")] {
        let (_, body) = unix_get(&site.api_socket(), path).expect("an answer");
        assert_silent(path, &body, &all);
    }
    for arguments in [
        &["status"][..],
        &["status", &app, "--json"],
        &["why", &app],
        &["events", &app, "--json"],
        &["history", &app, "--json"],
        &["health", &app],
        &["docker-run", &app],
        &["doctor"],
    ] {
        assert_silent(&arguments.join(" "), &site.command(arguments).all(), &all);
    }
    // A person's own file, as it was and as it is: what is referred to stays unresolved.
    assert_silent("plan", &site.command(&["plan", &app]).all(), &REFERRED);
    let labels = "{{json .Config.Labels}} {{.Name}} {{json .Args}}";
    for container in docker::containers(&app) {
        assert_silent("labels", &docker::docker(&["inspect", "--format", labels, &container.id]), &all);
    }
    assert_silent("the proxy's table", &format!("{:?}", site.proxy_status()), &all);
    for entry in fs::read_dir(site.data_dir()).expect("the data directory").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let bytes = fs::read(entry.path()).expect("a file of ours");
            let place = entry.path().display().to_string();
            assert_silent(&place, &String::from_utf8_lossy(&bytes), &REFERRED);
        }
    }
    let pids = [site.controller_pid(), site.proxy_pid().expect("a proxy")];
    for pid in pids {
        let line = fs::read(format!("/proc/{pid}/cmdline")).expect("a process of ours");
        assert_silent("the command line", &String::from_utf8_lossy(&line), &all);
    }
}

#[test]
fn sockets_and_files_are_the_users_own() {
    let mut site = Site::prepare();
    fs::create_dir_all(site.data_dir()).expect("a directory");
    fs::set_permissions(site.data_dir(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    site.run();
    let mode = |path: &Path| fs::metadata(path).expect("a file of ours").permissions().mode() & 0o777;
    assert_eq!(mode(&site.data_dir()), 0o700);
    for name in ["api.sock", "proxy.sock", "dockswap.db"] {
        assert_eq!(mode(&site.data_dir().join(name)), 0o600, "{name}");
    }
    for entry in fs::read_dir(site.data_dir()).expect("the data directory").flatten() {
        let mode = mode(&entry.path());
        assert!(mode & 0o022 == 0, "{} can be written by others: {mode:o}", entry.path().display());
    }
}
