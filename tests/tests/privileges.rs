//! What the proxy process holds: no way to Docker, none of the controller's environment, and, where it is
//! given a user of its own, nothing of root.

use dockswap_tests::{AppFile, Kind, Site, free_port, once, send};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const CANARY: &str = "canary-3f9a1c";

/// The user that nobody is on every system that has users.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What `look` sees at last.
fn awaited<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    dockswap_tests::until(what, PATIENCE, look)
}

/// The value of a line of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in the status of {pid}")).trim().to_owned()
}

/// What is wrong with what the process holds.
fn holdings(pid: u32) -> Vec<String> {
    let mut wrong = Vec::new();
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("the environment of a process of ours");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for word in [CANARY, "DOCKER_HOST", "DATABASE", "XDG", "HOME="] {
        if environment.contains(word) {
            wrong.push(format!("{word} is in its environment"));
        }
    }
    if status(pid, "NoNewPrivs") != "1" {
        wrong.push("it can gain privileges".to_owned());
    }
    // Unix sockets: those of its control socket have a path; one pair without is the runtime's, for signals.
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).expect("the table of Unix sockets");
    let mut nameless = std::collections::BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("the files of a process of ours") {
        let Ok(target) = fs::read_link(entry.expect("an entry").path()) else { continue };
        let target = target.display().to_string();
        if target.contains("docker") || target.contains(".db") {
            wrong.push(format!("it holds {target}"));
        }
        let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
            continue;
        };
        let row = table.lines().find(|row| row.split_whitespace().nth(6) == Some(inode));
        match row.map(|row| row.split_whitespace().nth(7)) {
            Some(Some(path)) if !path.contains("proxy.sock") => {
                wrong.push(format!("it holds the socket {path}"));
            }
            Some(None) => {
                nameless.insert(inode.to_owned());
            }
            _ => {}
        }
    }
    if nameless.len() > 2 {
        wrong.push(format!("{} Unix sockets lead somewhere", nameless.len()));
    }
    wrong
}

fn site() -> Site {
    Site::prepare()
        .variable("SECRET_OF_AN_APP", CANARY)
        .variable("DOCKER_HOST", "unix:///var/run/docker.sock")
        .variable("HOME", "/root")
}

#[test]
fn t_priv_the_proxy_holds_no_way_to_docker_and_no_secret() {
    let mut site = site();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let pid = site.proxy_pid().expect("a proxy");
    assert_eq!(holdings(pid), Vec::<String>::new());
    // As many files as there are to be had: each client takes two.
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let fields: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "{files}");
    dockswap_proof::kept("T-priv", "proxy process: its files, sockets, environment, limits");
}

#[test]
fn t_priv_the_proxy_becomes_its_own_user() {
    let mut site = site().variable("DOCKSWAP_PROXY__USER", &format!("{NOBODY}:{NOBODY}"));
    if !is_root() {
        let _ = site
            .command(&["proxy", "--http", "127.0.0.1:0"])
            .exits(1)
            .says("only root can become another user");
        return;
    }
    site.run();
    let app = site.name("web");
    let low = (600..1024).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let low = low.expect("a free port below 1024");
    let route = format!("routes: [{{ host: {app}.localhost }}, {{ listen_port: {low} }}]");
    site.deployed(&AppFile::new(&app).line(&route));
    let first = site.proxy_pid().expect("a proxy");
    send(first, Signal::KILL);
    let second = awaited("another proxy runs", || site.proxy_pid().filter(|pid| *pid != first));
    let user = format!("{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}");
    assert_eq!((status(second, "Uid"), status(second, "Gid")), (user.clone(), user));
    assert_eq!(status(second, "Groups"), "");
    // The right to listen below port 1024, and no other.
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(status(second, set), "0000000000000400");
    }
    assert_eq!(status(second, "CapAmb"), "0000000000000000");
    assert_eq!(holdings(second), Vec::<String>::new());
    let low = ([127, 0, 0, 1], low).into();
    for addr in [site.http(), low] {
        awaited("the app is served again", || once(addr, &site.host_of(&app), Kind::OneShot).ok());
    }
    let mode = |path: &Path| fs::metadata(path).expect("a path of ours").mode() & 0o7777;
    assert_eq!(mode(&site.data_dir()), 0o700);
    let home = fs::metadata(site.data_dir().join("proxy")).expect("the proxy's directory");
    assert_eq!((home.mode() & 0o7777, home.uid()), (0o700, NOBODY));
    assert_eq!(mode(&site.data_dir().join("proxy.sock")), 0o600);
    // The saved routes were there before any controller told it.
    assert!(site.data_dir().join("proxy/routes.json").is_file());
    // A second one keeps off.
    let port = free_port();
    let _ = site.command(&["proxy", "--http", &format!("127.0.0.1:{port}")]).exits(1).says("already running");
    dockswap_proof::kept(
        "T-priv",
        "proxy process as a user of its own: identities, capabilities, files, low ports, a restart",
    );
}
