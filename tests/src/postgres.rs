//! A `PostgreSQL` cluster that is thrown away. `PostgreSQL` refuses to run as root: there it runs as
//! `nobody`.

use crate::command::Done;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// A running cluster that listens on a socket in its own directory only.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    home: TempDir,
}

impl Postgres {
    /// Starts one. `None`, loudly, where it is not installed; on CI that is a failure.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed");
            eprintln!("\n=== SKIPPED: nothing was tested on PostgreSQL: initdb is missing ===\n");
            return None;
        };
        let home = tempfile::Builder::new().prefix("pg").tempdir().expect("a directory");
        if is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("our own directory");
        }
        let cluster = Self { programs, home };
        let (data, home) = (cluster.data(), cluster.home.path().display().to_string());
        cluster
            .run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C.UTF-8"]);
        let options = format!("-c listen_addresses= -c unix_socket_directories={home} -c fsync=off");
        cluster.run("pg_ctl", &["-D", &data, "-l", &format!("{home}/log"), "-w", "-o", &options, "start"]);
        Some(cluster)
    }

    /// Its own database, as dockswap is told of it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.home.path().display())
    }

    fn data(&self) -> String {
        self.home.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        // Its server goes on with what it was given: the harness would wait for the end of a pipe.
        command.args(arguments).current_dir(self.home.path());
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(status.success() || std::thread::panicking(), "{program}: {status}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Where `initdb` and `pg_ctl` are: the newest of Debian's, else on the path.
fn programs() -> Option<PathBuf> {
    let listed = Done::of(Command::new("sh").args(["-c", "ls -d /usr/lib/postgresql/*/bin | sort -V"]));
    let mut places: Vec<PathBuf> = listed.stdout.lines().rev().map(PathBuf::from).collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().find(|place| place.join("initdb").exists() && place.join("pg_ctl").exists())
}
