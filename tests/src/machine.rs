//! A machine of a test's own: a Debian with systemd as its first process, in a container, on the network and with the
//! Docker of the machine that it is on. For what is installed as a package.

use crate::command::Done;
use crate::docker::Docker;
use crate::wait::holds;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const IMAGE: &str = "dockswap-test-machine:bookworm";

/// The longest that systemd may take to be up.
const BOOT: Duration = Duration::from_secs(60);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A machine that runs.
#[derive(Debug)]
pub struct Machine {
    name: String,
    docker: Docker,
}

/// A script of the project's.
fn script(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace");
    Command::new(root.join("scripts").join(name))
}

/// Makes the package of the program under test, in `dir`.
#[must_use]
pub fn package(dir: &Path) -> PathBuf {
    let mut command = script("package");
    let done = Done::of(command.env("DOCKSWAP_BIN", crate::dockswap()).env("PACKAGE_DIR", dir)).exits(0);
    PathBuf::from(done.stdout.trim())
}

impl Machine {
    /// Boots one. `None`, loudly, where this is not possible.
    #[must_use]
    pub fn boot() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/etc/debian_version").exists() {
            eprintln!("SKIPPED: a machine of the test's own is made on Debian, and by root alone");
            return None;
        }
        let _ = Done::of(&mut script("build-test-machine")).exits(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let machine =
            Self { name: format!("dsw-machine-{}-{count}", std::process::id()), docker: Docker::default() };
        let control = "/sys/fs/cgroup";
        machine.docker.run(&[
            "run",
            "--detach",
            "--name",
            &machine.name,
            "--network",
            "host",
            "--cgroupns",
            "host",
            "--cap-add",
            "SYS_ADMIN",
            "--cap-add",
            "NET_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "apparmor=unconfined",
            "--tmpfs",
            "/run:exec",
            "--tmpfs",
            "/run/lock",
            "--tmpfs",
            "/tmp",
            "--volume",
            &format!("{control}:{control}"),
            "--volume",
            "/var/run/docker.sock:/run/docker.sock",
            IMAGE,
        ]);
        holds("systemd is up", BOOT, || {
            machine.shell("systemctl is-system-running").stdout.contains("running")
        });
        Some(machine)
    }

    /// Runs a line of shell there, as root.
    #[must_use]
    pub fn shell(&self, line: &str) -> Done {
        self.docker.done(&["exec", &self.name, "sh", "-c", line])
    }

    /// The same; panics unless it succeeds. What it wrote.
    pub fn run(&self, line: &str) -> String {
        self.shell(line).exits(0).stdout.trim().to_owned()
    }

    /// Puts a copy of `file` there.
    pub fn copy(&self, file: &Path, to: &str) {
        self.docker.run(&["cp", &file.display().to_string(), &format!("{}:{to}", self.name)]);
    }

    /// Removes whatever dockswap made for `app` on it.
    pub fn sweep(&self, app: &str) {
        self.docker.sweep(app);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.shell("journalctl --no-pager -n 60 -u dockswap -u dockswap-proxy").stdout);
        }
        let _ = self.docker.done(&["rm", "-f", &self.name]);
    }
}
