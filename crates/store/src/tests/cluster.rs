//! A PostgreSQL cluster that is thrown away. PostgreSQL does not run as root: where the tests do,
//! it runs as `nobody`.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NOBODY: u32 = 65_534;

pub(super) struct Cluster {
    bin: PathBuf,
    home: tempfile::TempDir,
}

impl Cluster {
    /// Starts one that listens on a socket in its own directory only. `None`, loudly, where no
    /// PostgreSQL is installed; on CI that is a failure.
    #[allow(dead_code, reason = "the benchmark has the same file, and wants a durable one")]
    pub(super) fn start() -> Option<Self> {
        Self::with("-c fsync=off")
    }

    /// The same, one that survives a power loss.
    #[allow(dead_code, reason = "for the benchmark")]
    pub(super) fn durable() -> Option<Self> {
        Self::with("-c fsync=on")
    }

    fn with(durability: &str) -> Option<Self> {
        let Some(bin) = binaries() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL (initdb, pg_ctl) is not installed");
            eprintln!("\n=== SKIPPED: nothing was tested on PostgreSQL: initdb and pg_ctl are missing ===\n");
            return None;
        };
        // A socket's path may be 107 bytes long: a short name, in the system's own place.
        let home = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        if is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let cluster = Self { bin, home };
        let data = cluster.data();
        cluster
            .run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C.UTF-8"]);
        let home = cluster.socket_directory().display().to_string();
        let log = format!("{home}/log");
        let options = format!("-c listen_addresses= -c unix_socket_directories={home} {durability}");
        cluster.run("pg_ctl", &["-D", &data, "-l", &log, "-w", "-o", &options, "start"]);
        Some(cluster)
    }

    pub(super) fn socket_directory(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn url(&self, database: &str) -> String {
        url(self.socket_directory(), database)
    }

    /// Makes a database.
    #[allow(dead_code, reason = "for the benchmark")]
    pub(super) fn create(&self, database: &str) {
        let home = self.socket_directory().display().to_string();
        self.run("createdb", &["-h", &home, "-U", "postgres", database]);
    }

    fn data(&self) -> String {
        self.home.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir(self.home.path()).stdin(Stdio::null()).stdout(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let status = command.status().unwrap();
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }
}

/// The URL of a database behind a socket in `directory`.
pub(super) fn url(directory: &Path, database: &str) -> String {
    format!("postgres://postgres@localhost/{database}?host={}", directory.display())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn binaries() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    places.sort();
    places.reverse();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.into_iter().find(|place| place.join("initdb").exists() && place.join("pg_ctl").exists())
}
