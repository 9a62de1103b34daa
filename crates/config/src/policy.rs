//! What app files may ask of Docker. Restrictions come from the server's settings, never from an
//! app file. It must not know how an option is spelled beyond its key.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Host paths that no container may have, nor anything below them.
const TREES: [&str; 6] =
    ["/etc", "/proc", "/sys", "/var/lib/containerd", "/var/lib/docker", "/run/containerd"];
/// What containers commonly read of `/etc`, and may.
const HARMLESS: [&str; 4] = ["/etc/ca-certificates", "/etc/localtime", "/etc/ssl/certs", "/etc/timezone"];
const DOCKER_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];
/// Where Docker, Kubernetes and systemd put secrets for a process.
const SECRETS: [&str; 2] = ["/run/secrets", "/run/credentials"];

/// Where certificates and their keys commonly are. What is read from there stays in the proxy.
const CERTIFICATES: [&str; 3] = ["/etc/letsencrypt", "/etc/ssl", "/etc/pki"];

const NO_SETTING: &str = "no server setting allows it";

/// What app files may ask of Docker (`policy` in `dockswap.yaml`). The default allows everything
/// that is not always refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Host directories below which bind mounts are allowed; `None`: anywhere.
    pub bind_mounts: Option<Vec<PathBuf>>,
    /// Whether app files may publish host ports.
    pub host_ports: HostPortRule,
    /// Paths of our own that no container may have: the data directory, a Docker socket elsewhere.
    pub protected: Vec<PathBuf>,
    /// Directories, besides the app files' own, below which `${file:…}` and `env_file` may read. The
    /// places where secrets are commonly put are always among them.
    pub files: Vec<PathBuf>,
}

/// Whether app files may publish host ports (`policy.host_ports`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostPortRule {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Refused,
}

impl Policy {
    /// Whether a container may have the host path `source` mounted; the problem when not.
    ///
    /// `source` is absolute. Symlinks are followed as they are now: Docker follows them again when
    /// it creates the container.
    pub(crate) fn check_bind_mount(&self, source: &Path, read_only: bool) -> Result<(), String> {
        let shown = source.display();
        for path in spellings(source) {
            if let Some(secret) = self.exposed_by(&path, Access::from_mount(read_only)) {
                return Err(format!(
                    "{shown} may not be mounted: it gives the container {secret}; {NO_SETTING}"
                ));
            }
        }
        let Some(allowed) = &self.bind_mounts else { return Ok(()) };
        let below =
            |path: &PathBuf| allowed.iter().any(|prefix| spellings(prefix).any(|p| path.starts_with(p)));
        if spellings(source).all(|path| below(&path)) {
            return Ok(());
        }
        Err(format!(
            "{shown} may not be mounted: it is not below a directory of policy.bind_mounts in dockswap.yaml; add it there"
        ))
    }

    /// Whether `${file:…}` and `env_file` of an app file in `base` may read `path`; the problem when not.
    /// What they read ends up in a container. Symlinks are followed as they are now.
    pub(crate) fn check_read(&self, path: &Path, base: &Path) -> Result<(), String> {
        self.check_below(path, base, &[])
    }

    /// Whether `tls` of an app file in `base` may name `path` as a certificate or a key; the problem when not.
    pub(crate) fn check_certificate(&self, path: &Path, base: &Path) -> Result<(), String> {
        self.check_below(path, base, &CERTIFICATES)
    }

    /// `more` are trees that are allowed besides.
    fn check_below(&self, path: &Path, base: &Path, more: &[&str]) -> Result<(), String> {
        let kernel = ["/proc", "/sys"].map(PathBuf::from);
        let secret = |path: &PathBuf| {
            let own = self.protected.iter().flat_map(|tree| spellings(tree));
            kernel.iter().cloned().chain(own).any(|tree| path.starts_with(tree))
        };
        if spellings(path).any(|path| secret(&path)) {
            return Err(format!("{} may not be read for an app; {NO_SETTING}", path.display()));
        }
        let common = SECRETS.iter().chain(more).map(Path::new);
        let allowed: Vec<&Path> =
            common.chain(self.files.iter().map(PathBuf::as_path)).chain([base]).collect();
        let below =
            |path: PathBuf| allowed.iter().any(|tree| spellings(tree).any(|tree| path.starts_with(tree)));
        if spellings(path).all(below) {
            return Ok(());
        }
        Err(format!(
            "{} may not be read: it leads out of the config directory; move it there, or add its directory to policy.files in dockswap.yaml",
            path.display()
        ))
    }

    /// What of the host a mount of `path` would hand over.
    fn exposed_by(&self, path: &Path, access: Access) -> Option<String> {
        if path == Path::new("/") || is_same_file(path, Path::new("/")) {
            return Some("the whole host".to_owned());
        }
        let below =
            |tree: &Path| spellings(tree).any(|tree| path.starts_with(&tree)) || is_same_file(path, tree);
        let above = |inner: &Path| spellings(inner).any(|inner| inner.starts_with(path));
        if access == Access::Read && HARMLESS.iter().any(|tree| path.starts_with(tree)) {
            return None;
        }
        let is_socket = |socket: &Path| above(socket) || is_same_file(path, socket);
        if DOCKER_SOCKETS.iter().any(|socket| is_socket(Path::new(socket))) {
            return Some("the Docker socket, which is root on the host".to_owned());
        }
        if let Some(tree) = TREES.iter().map(Path::new).find(|tree| below(tree) || above(tree)) {
            let tree = tree.display();
            return Some(format!("{tree}, which rules the host"));
        }
        let own = self.protected.iter().find(|own| below(own) || above(own))?;
        Some(format!("{}, which is dockswap's own", own.display()))
    }
}

/// What a container may do with a mount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Access {
    const fn from_mount(read_only: bool) -> Self {
        if read_only { Self::Read } else { Self::Write }
    }
}

/// `path` without `.` and `..`, and where its symlinks lead now, as far as it exists.
fn spellings(path: &Path) -> impl Iterator<Item = PathBuf> {
    let plain = normal(path);
    let real = resolved(&plain);
    [plain, real].into_iter()
}

/// Whether both are one file or directory: a hard link, or a bind mount of the host's own.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            // Joining an empty rest would add a slash at the end, which components ignore.
            return real.join(rest);
        }
    }
    path.to_owned()
}

/// `path` without `.` and `..`, as text alone tells.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Why the option `key` is refused in an app file, and what would allow it.
pub(crate) fn refusal(key: &str) -> Option<String> {
    let reason = match key {
        "privileged" => "it gives the container the whole host",
        "pid" | "ipc" | "uts" | "userns" | "userns_mode" | "cgroup" => {
            "it takes down a wall between the container and the host"
        }
        "network_mode" | "net" => "it bypasses the proxy's network; `docker.network` names a bridge",
        "cap_add" => "it gives the container powers over the host",
        "cap_drop" => "dockswap itself decides about capabilities",
        "device_cgroup_rules" | "devices" | "gpus" => "it gives the container devices of the host",
        "security_opt" => "it weakens the confinement of the container",
        "cgroup_parent" => "it moves the container out of its limits",
        "runtime" => "it replaces what confines the container",
        "sysctls" => "it changes the kernel's settings",
        "volumes_from" | "links" => "it reaches into other containers",
        _ => return None,
    };
    Some(format!("{reason}; {NO_SETTING}"))
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    #[test]
    fn host_paths_that_hand_over_the_host() {
        let policy = Policy { protected: vec![PathBuf::from("/srv/dockswap")], ..Policy::default() };
        for path in [
            "/",
            "/etc",
            "/etc/cron.d",
            "/srv/../etc",
            "/proc/sys",
            "/sys",
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run",
            "/var",
            "/var/lib/docker/volumes",
            "/srv/dockswap",
            "/srv/dockswap/dockswap.db",
            "/srv",
        ] {
            assert!(policy.check_bind_mount(Path::new(path), true).is_err(), "{path}");
        }
        for path in ["/srv/files", "/data", "/etc/localtime", "/etc/ssl/certs"] {
            assert_eq!(policy.check_bind_mount(Path::new(path), true), Ok(()), "{path}");
        }
        assert!(policy.check_bind_mount(Path::new("/etc/localtime"), false).is_err());
    }

    #[test]
    fn a_link_to_a_refused_path_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        let link = dir.path().join("link");
        symlink("/etc", &link).expect("link");
        let inside = link.join("not-there-yet");
        for path in [&link, &inside] {
            assert!(Policy::default().check_bind_mount(path, false).is_err());
        }
    }

    #[test]
    fn bind_mounts_stay_below_the_listed_directories() {
        let dir = tempfile::tempdir().expect("temp dir");
        let allowed = dir.path().join("allowed");
        let other = dir.path().join("other");
        std::fs::create_dir_all(allowed.join("data")).expect("dir");
        std::fs::create_dir_all(&other).expect("dir");
        symlink(&other, allowed.join("escape")).expect("link");
        let policy = Policy { bind_mounts: Some(vec![allowed.clone()]), ..Policy::default() };
        assert_eq!(policy.check_bind_mount(&allowed.join("data"), false), Ok(()));
        for path in
            [other.clone(), allowed.join("escape"), allowed.join("../other"), dir.path().join("allowed2")]
        {
            assert!(policy.check_bind_mount(&path, false).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn references_read_neither_the_kernel_nor_our_own_files() {
        let policy = Policy { protected: vec![PathBuf::from("/srv/dockswap")], ..Policy::default() };
        for path in ["/proc/self/environ", "/srv/dockswap/dockswap.db", "/srv/x/../dockswap/y"] {
            assert!(policy.check_read(Path::new(path), Path::new("/srv")).is_err(), "{path}");
        }
        assert_eq!(policy.check_read(Path::new("/run/secrets/key"), Path::new("/srv")), Ok(()));
    }
}
