//! The control socket as a file: one proxy for each path, private from its first instant.

use crate::sync::lock;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::net::UnixListener;

/// The right to be the proxy of a path, until it is dropped; the kernel takes it back from a
/// process that dies.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    /// `None`: it was let go.
    lock: Mutex<Option<File>>,
    /// Which file the socket is, by device and inode; `None`: not bound yet.
    bound: Mutex<Option<(u64, u64)>>,
}

/// Why a path cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another process has it.
    #[error("another proxy has it")]
    Taken,
    /// The lock file beside it cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Claim {
    /// Claims `path`.
    pub(crate) fn new(path: &Path) -> Result<Self, ClaimError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self::holding(path, file)),
            Err(TryLockError::WouldBlock) => Err(ClaimError::Taken),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// The claim on `path` of a proxy that handed its lock over: both hold it, until both have let go.
    pub(crate) fn inherited(path: &Path, lock: OwnedFd) -> Self {
        Self::holding(path, lock.into())
    }

    fn holding(path: &Path, lock: File) -> Self {
        Self { path: path.to_owned(), lock: Mutex::new(Some(lock)), bound: Mutex::default() }
    }

    /// What another process needs to hold the same claim; `None`: this one does not hold it any more.
    pub(crate) fn share(&self) -> io::Result<Option<OwnedFd>> {
        lock(&self.lock).as_ref().map(|file| file.try_clone().map(OwnedFd::from)).transpose()
    }

    /// Leaves the claim to the others that hold it.
    pub(crate) fn let_go(&self) {
        *lock(&self.lock) = None;
    }

    /// Whether what is on the path is the socket that this claim has bound.
    pub(crate) fn has_path(&self) -> bool {
        let there = fs::symlink_metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        there.is_some() && there == *lock(&self.bound)
    }

    /// Listens on the path, mode 0600, in place of the socket that another proxy has or a dead one left.
    pub(crate) fn bind(&self) -> io::Result<UnixListener> {
        // Bound inside a directory of our own, so that nobody else can reach it before its mode is
        // set, and moved from there.
        let private = beside(&self.path, ".d");
        match DirBuilder::new().mode(0o700).create(&private) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let temporary = private.join("s");
        remove_if_there(&temporary)?;
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
        let file = fs::symlink_metadata(&temporary)?;
        fs::rename(&temporary, &self.path)?;
        fs::remove_dir(&private)?;
        *lock(&self.bound) = Some((file.dev(), file.ino()));
        Ok(listener)
    }

    /// Removes the socket; one that somebody else has put in its place stays.
    pub(crate) fn release(&self) -> io::Result<()> {
        if self.has_path() { remove_if_there(&self.path) } else { Ok(()) }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_a_dead_ones_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.sock");
        let first = Claim::new(&path).unwrap();
        let listener = first.bind().unwrap();
        assert!(matches!(Claim::new(&path), Err(ClaimError::Taken)));
        // As a process that is killed would: nothing is removed.
        drop((first, listener));
        assert!(path.exists());

        let second = Claim::new(&path).unwrap();
        let listener = second.bind().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (connected, accepted) = tokio::join!(tokio::net::UnixStream::connect(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        second.release().unwrap();
        assert!(!path.exists());
    }
}
