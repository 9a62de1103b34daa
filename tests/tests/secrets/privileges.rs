//! What is dockswap's own is nobody else's: files, sockets, memory, ports, and who decides what runs.

use dockswap_proof::Proof;
use dockswap_tests::{
    AppFile, Done, Kind, Site, docker, dockswap, free_port, holds, once, send, unix_get, until,
};
use rustix::process::{Gid, Signal, Uid};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The user `nobody`, who owns nothing.
const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> Option<u32> {
    Some(fs::symlink_metadata(path).ok()?.permissions().mode() & 0o7777)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
}

/// Nobody but the owner may do anything.
fn is_private(mode: u32) -> bool {
    mode.trailing_zeros() >= 6
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends a process of ours however the test ends.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stands in the data directory, with modes; what is there for an instant may be missed.
fn look(dir: &Path, seen: &mut BTreeMap<PathBuf, u32>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if let Some(mode) = mode(&entry.path()) {
            // Once open to others is open to others.
            *seen.entry(entry.path()).or_default() |= mode;
        }
    }
}

#[test]
fn everything_is_private_from_its_first_instant() {
    let mut proof = Proof::of("T2", "modes of files and sockets, with no umask, looked at all along");
    let mut site = Site::prepare();
    let data = site.data_dir();
    let mut seen = BTreeMap::new();
    let line = "umask 0; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, "sh"]).arg(dockswap()).arg("--config-dir").arg(site.config_dir());
    command.arg("--data-dir").arg(&data).args(["run", "--proxy-http", &format!("127.0.0.1:{}", free_port())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    {
        let running = Ending(command.spawn().expect("a controller"));
        until("the controller is ready", PATIENCE, || {
            seen.entry(data.clone()).and_modify(|seen| *seen |= mode(&data).unwrap_or(0)).or_insert(0);
            look(&data, &mut seen);
            unix_get(&site.api_socket(), "/readyz").filter(|(status, _)| *status == 200)
        });
        let _ = site.command(&["db", "backup", &site.home().join("copy.db").display().to_string()]).exits(0);
        look(site.home(), &mut seen);
        seen.retain(|path, _| path.starts_with(&data) || path.ends_with("copy.db"));
        send(running.0.id(), Signal::TERM);
        let mut running = running;
        until("the controller has ended", PATIENCE, || running.0.try_wait().expect("a child of ours"));
    }
    for name in ["dockswap.db", "dockswap.db-wal", "api.sock", "proxy.sock", "routes.json", "proxy.pid"] {
        assert!(
            seen.contains_key(&data.join(name)) || name == "routes.json",
            "{name} was not seen: {seen:?}"
        );
    }
    for (path, mode) in &seen {
        if is_private(*mode) { proof.kept() } else { proof.broken(format!("{}: {mode:o}", path.display())) }
    }

    // What an earlier version, or somebody, left open is closed, and said so.
    chmod(&data, 0o777);
    chmod(&site.database().path().clone(), 0o666);
    site.run();
    for path in [data.clone(), data.join("dockswap.db"), data.join("api.sock"), data.join("proxy.sock")] {
        let now = mode(&path).expect("it is there");
        if is_private(now) { proof.kept() } else { proof.broken(format!("{}: {now:o}", path.display())) }
    }
    let log = site.log();
    assert!(log.contains("the data directory was open to others (mode 0777)"), "{log}");
    assert!(log.contains("the database was open to others (mode 0666)"), "{log}");
    proof.conclude();
}

/// Does `what` a hundred times as another user, and counts how often that was refused.
fn as_nobody(proof: &mut Proof, place: &str, what: impl Fn() -> std::io::Result<()> + Send + 'static) {
    // Credentials belong to a thread: this one alone gives its up, for good.
    let trying = std::thread::spawn(move || {
        let (gid, uid) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
        rustix::thread::set_thread_groups(&[]).expect("root");
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root");
        (0..100).map(|_| what()).collect::<Vec<_>>()
    });
    for outcome in trying.join().expect("a thread") {
        match outcome {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => proof.kept(),
            other => proof.broken(format!("{place}: {other:?}")),
        }
    }
}

#[test]
fn another_user_is_refused() {
    if !is_root() {
        eprintln!("not root: nobody else can be played");
        return;
    }
    let mut proof = Proof::of("T2", "another user, behind the directory and before each file of its own");
    let site = Site::start();
    let copy = site.home().join("copy.db");
    let _ = site.command(&["db", "backup", &copy.display().to_string()]).exits(0);
    chmod(site.home(), 0o755);
    for data_mode in [0o700, 0o755] {
        // First what the directory keeps away, then what each file does by itself.
        chmod(&site.data_dir(), data_mode);
        for socket in ["api.sock", "proxy.sock"] {
            let path = site.data_dir().join(socket);
            as_nobody(&mut proof, socket, move || UnixStream::connect(&path).map(drop));
        }
        for file in ["dockswap.db", "dockswap.db-wal", "dockswap.db-shm", "proxy.pid"] {
            let path = site.data_dir().join(file);
            let name = format!("{file} below {data_mode:o}");
            as_nobody(&mut proof, &name, move || File::open(&path).map(drop));
        }
    }
    as_nobody(&mut proof, "a backup", move || File::open(&copy).map(drop));
    proof.conclude();

    // A directory of somebody else's could be opened again by them.
    let mut site = site;
    let _ = site.end_controller(Signal::TERM);
    chown(site.data_dir(), Some(NOBODY), None).expect("root");
    let refused = site.command(&["run", "--proxy-http", "127.0.0.1:0"]);
    assert_ne!(refused.code, 0, "{refused}");
    let _ = refused.says("belongs to user 65534");
}

/// The TCP ports on which a process listens.
fn listening(pid: u32) -> Vec<u16> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("root, or a process of ours");
    let sockets: Vec<String> = links
        .flatten()
        .filter_map(|link| fs::read_link(link.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, "0A", .., inode] = fields[..10] else { continue };
            if sockets.iter().any(|socket| socket == inode) {
                let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
                ports.extend(port);
            }
        }
    }
    ports
}

#[test]
fn no_port_for_orders_is_open() {
    if !is_root() {
        eprintln!("not root: the sockets of a process that keeps to itself cannot be listed");
        return;
    }
    let mut proof = Proof::of("T1", "the listening sockets of both processes");
    let site = Site::start();
    let app = site.name("web");
    let own = free_port();
    site.deployed(
        &AppFile::new(&app)
            .line(&format!("routes: [ {{ host: {app}.localhost }}, {{ listen_port: {own} }} ]")),
    );
    let controller = listening(site.controller_pid());
    if controller.is_empty() {
        proof.kept();
    } else {
        proof.broken(format!("the controller: {controller:?}"));
    }
    let mut proxy = listening(site.proxy_pid().expect("a proxy"));
    proxy.sort_unstable();
    let mut routes = vec![site.http().port(), own];
    routes.sort_unstable();
    // The same look finds what is there, so that finding nothing means something.
    if proxy == routes {
        proof.kept();
    } else {
        proof.broken(format!("the proxy: {proxy:?}, not {routes:?}"));
    }
    proof.conclude();
}

#[test]
fn memory_is_neither_dumped_nor_read_by_the_users_other_processes() {
    let mut proof = Proof::of("P15", "memory and environment of a process, seen by its own user");
    let site = Site::prepare();
    let mut command = Command::new(dockswap());
    command.arg("--config-dir").arg(site.config_dir()).arg("--data-dir").arg(site.data_dir());
    command.args(["proxy", "--http", &format!("127.0.0.1:{}", free_port())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        // Root reads everything: a process of nobody's, and nobody looks.
        chmod(site.home(), 0o755);
        fs::create_dir(site.data_dir()).expect("a directory");
        chown(site.data_dir(), Some(NOBODY), Some(NOBODY)).expect("root");
        command.uid(NOBODY).gid(NOBODY);
    }
    let running = Ending(command.spawn().expect("a proxy"));
    let pid = running.0.id();
    holds("the proxy answers", PATIENCE, || site.proxy_pid() == Some(pid));
    for file in ["environ", "mem", "maps", "fd", "cwd", "exe"] {
        let path = PathBuf::from(format!("/proc/{pid}/{file}"));
        let look = move || match path.file_name().and_then(|name| name.to_str()) {
            Some("fd") => fs::read_dir(&path).map(drop),
            Some("cwd" | "exe") => fs::read_link(&path).map(drop),
            _ => File::open(&path).map(drop),
        };
        if is_root() {
            as_nobody(&mut proof, file, look);
        } else {
            let seen = look();
            let refused = seen.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
            if refused { proof.kept() } else { proof.broken(format!("{file}: {seen:?}")) }
        }
    }
    proof.conclude();
}

#[test]
fn what_others_can_write_deploys_nothing_and_stops_nothing() {
    let mut proof = Proof::of("T10", "real Docker: file, directory and settings opened to others");
    let mut site = Site::start();
    let app = site.name("web");
    let file = |version: &str| AppFile::new(&app).version(version).deployment("watch", "100ms");
    site.deployed(&file("n1"));
    let before = docker::running(&app);
    let deployments = |site: &Site| site.database().number("SELECT count(*) FROM deployments", &[]);

    let (path, apps) = (site.file_of(&app), site.config_dir().join("apps"));
    for (place, open, closed) in [(&path, 0o646, 0o644), (&apps, 0o757, 0o755)] {
        chmod(place, open);
        fs::write(&path, file("theirs").to_string()).expect("an app file");
        holds("status says so", PATIENCE, || {
            let _ = site.command(&["reload"]);
            site.command(&["status", &app]).all().contains("chmod go-w")
        });
        let answer = once(site.http(), &site.host_of(&app), Kind::OneShot).expect("an answer");
        if deployments(&site) == 1 && docker::running(&app) == before && answer.version == "n1" {
            proof.kept();
        } else {
            proof.broken(format!("{}: {}", place.display(), site.events(&app)));
        }
        site.save(&file("n1"));
        chmod(&path, 0o644);
        chmod(place, closed);
        holds("it is used again", PATIENCE, || {
            let _ = site.command(&["reload"]);
            !site.command(&["status", &app]).all().contains("chmod go-w")
        });
    }
    let _ = site.end_controller(Signal::TERM);

    let settings = site.config_dir().join("dockswap.yaml");
    fs::write(&settings, "config: { trust: any }\n").expect("settings");
    for (place, open, closed) in [(site.config_dir(), 0o777, 0o755), (settings, 0o666, 0o644)] {
        chmod(&place, open);
        // Neither can vouch for itself.
        let refused: Done = site.command(&["run", "--proxy-http", "127.0.0.1:0"]);
        if refused.code == 2 && refused.all().contains("DOCKSWAP_CONFIG__TRUST=any") {
            proof.kept();
        } else {
            proof.broken(refused);
        }
        chmod(&place, closed);
    }
    let mut site = site.variable("DOCKSWAP_CONFIG__TRUST", "any");
    chmod(&site.config_dir(), 0o777);
    chmod(&apps, 0o777);
    site.run();
    site.deployed(&file("n2"));
    proof.conclude();
}
