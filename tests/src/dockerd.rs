//! A Docker Engine of a test's own, which may be restarted, filled up and robbed while the machine's goes on
//! undisturbed. It touches none of the machine's firewall rules: containers are reached over their bridge.
//! Its default bridge is one that the machine's Docker makes for it: with none at all, dockerd 20.10 removes
//! the machine's `docker0` when it starts.

use crate::docker::Docker;
use crate::site::send;
use crate::wait::{holds, until};
use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The longest that it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What becomes of containers while dockerd is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveRestore {
    /// They run on.
    On,
    /// They are stopped, and started again by their restart policy.
    Off,
}

/// An engine.
#[derive(Debug)]
pub struct Dockerd {
    home: TempDir,
    data: PathBuf,
    live_restore: LiveRestore,
    /// A part of 10.0.0.0/8 that nobody else has, it is hoped; with live-restore alone.
    pool: String,
    /// Its default bridge: a network of the machine's Docker, and the device of that.
    bridge: String,
    process: Option<Child>,
}

impl Dockerd {
    /// One that answers, with `images` of the machine's Docker. `None`, loudly, where this is not possible.
    #[must_use]
    pub fn start(live_restore: LiveRestore, images: &[&str]) -> Option<Self> {
        Self::start_on(None, live_restore, images)
    }

    /// The same, which keeps its images and containers in `data`.
    #[must_use]
    pub fn start_on(data: Option<&Path>, live_restore: LiveRestore, images: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: a dockerd of the test's own can be started by root alone");
            return None;
        }
        let home = tempfile::Builder::new().prefix("dswd").tempdir().expect("a directory");
        let mark = std::process::id().wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7_919));
        // The name of a network device has at most 15 characters.
        let bridge = format!("dsw{mark}");
        let device = format!("com.docker.network.bridge.name={bridge}");
        let _ = Docker::default().run(&["network", "create", "--opt", &device, &bridge]);
        let mut dockerd = Self {
            data: data.map_or_else(|| home.path().join("data"), Path::to_owned),
            live_restore,
            pool: format!("base=10.{}.{}.0/24,size=28", 192 + mark % 60, (mark / 60) % 256),
            bridge,
            process: None,
            home,
        };
        dockerd.run();
        if !images.is_empty() {
            dockerd.load(images);
        }
        Some(dockerd)
    }

    /// The client for it.
    #[must_use]
    pub fn docker(&self) -> Docker {
        Docker::at(&self.home.path().join("docker.sock"))
    }

    /// Copies `images` from the machine's Docker.
    pub fn load(&self, images: &[&str]) {
        let mut save = Docker::default().client();
        let mut save = save.arg("save").args(images).stdout(Stdio::piped()).spawn().expect("docker save");
        let mut load = self.docker().client();
        let loaded = load.arg("load").stdin(save.stdout.take().expect("its output")).output();
        let loaded = loaded.expect("docker load");
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        assert!(save.wait().expect("docker save").success());
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Starts it, and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let at = |name: &str| self.home.path().join(name);
        let log = || File::options().create(true).append(true).open(at("log")).expect("a log file");
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(&self.data).arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("pid")).arg("--host");
        command.arg(format!("unix://{}", at("docker.sock").display()));
        command.args(["--bridge", &self.bridge, "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        command.args(["--userland-proxy=false", "--log-level", "warn"]);
        if self.live_restore == LiveRestore::On {
            // Without live-restore, one that has pools of its own removes the machine's `docker0` when it starts again.
            command.args(["--live-restore", "--default-address-pool", &self.pool]);
        }
        let process = command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().expect("dockerd");
        let process = self.process.insert(process);
        let (docker, log) = (Docker::at(&self.home.path().join("docker.sock")), self.home.path().join("log"));
        until("dockerd answers", PATIENCE, || {
            if let Some(status) = process.try_wait().expect("a child of ours") {
                panic!("dockerd ended ({status}):\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            (docker.done(&["version"]).code == 0).then_some(())
        });
    }

    /// Ends it, as a restart of its service does.
    pub fn end(&mut self) {
        let mut process = self.process.take().expect("a dockerd");
        send(process.id(), Signal::TERM);
        until("dockerd has ended", PATIENCE, || process.try_wait().expect("a child of ours"));
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            eprintln!("--- the last words of dockerd\n{}", &log[from..]);
        }
        if let Some(mut process) = self.process.take() {
            let docker = self.docker();
            let all = docker.done(&["ps", "-aq"]).stdout;
            let all: Vec<&str> = all.lines().collect();
            if !all.is_empty() {
                let _ = docker.done(&[&["rm", "-f"], all.as_slice()].concat());
            }
            let _ = docker.done(&["network", "prune", "-f"]);
            send(process.id(), Signal::TERM);
            if !std::thread::panicking() {
                holds("dockerd has ended", PATIENCE, || matches!(process.try_wait(), Ok(Some(_))));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = Docker::default().done(&["network", "rm", &self.bridge]);
        // It mounts its directory upon itself, and leaves that.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours =
            |path: &&str| Path::new(path).starts_with(self.home.path()) || Path::new(path) == self.data;
        for path in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(ours) {
            let _ = Command::new("umount").args(["--lazy", path]).status();
        }
    }
}
