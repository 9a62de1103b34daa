//! What is ours is nobody else's: files, sockets and memory. It must not know what is in them.

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tokio::net::UnixListener;

/// From now on whatever this process makes is private from its first instant, and its memory, which holds
/// secrets and users' requests, is neither dumped to a file nor readable by other processes of its user.
pub(crate) fn keep_to_ourselves() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "a crash may write secrets to a core file");
    }
}

/// Makes `dir` with mode 0700, and its parents; tightens it when it is there, and says so.
///
/// # Errors
/// When it cannot be made, or belongs to somebody else, who could open it again.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
    let failed = || format!("cannot make the data directory {} private", dir.display());
    let metadata = std::fs::metadata(dir).with_context(failed)?;
    let (owner, we) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != we {
        bail!(
            "the data directory {} belongs to user {owner}, and this is user {we}: chown it, or give another by --data-dir",
            dir.display()
        );
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        tracing::warn!(dir = %dir.display(), "the data directory was open to others (mode {mode:04o}); it is 0700 now");
    }
    std::fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(failed)
}

/// A socket that only this user can open, from its first instant (see [`keep_to_ourselves`]). The socket
/// of a controller that crashed is replaced: the database's lock says that there is no other.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn bind_private(path: &Path) -> Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot open the socket {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot make the socket {} private", path.display()))?;
    Ok(listener)
}
