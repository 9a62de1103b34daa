//! Whether somebody else could have written a file that decides what runs. It must not know what the
//! file is for.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const WRITABLE_BY_OTHERS: u32 = 0o002;
const WRITABLE_BY_GROUP: u32 = 0o020;

/// Whose hand files and directories of the config directory may show (`config.trust`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Only their owner can write them.
    #[default]
    Owner,
    /// Whoever can write them is meant to.
    Any,
}

impl Trust {
    /// Whether `path` with this `metadata` may be relied on; the problem, and how to mend it, when not.
    ///
    /// A group with the number of the owner is the owner's own, as most distributions make them: what
    /// that group can write, only the owner can.
    ///
    /// # Errors
    /// When others can write it.
    pub(crate) fn check(self, path: &Path, metadata: &Metadata) -> Result<(), String> {
        self.judge(path, metadata, "config.trust: any in dockswap.yaml")
    }

    /// The same for what says whom to trust, and so cannot vouch for itself: the way out is `setting`.
    ///
    /// # Errors
    /// When others can write it.
    pub fn judge(self, path: &Path, metadata: &Metadata, setting: &str) -> Result<(), String> {
        let mode = metadata.mode() & 0o7777;
        let group = mode & WRITABLE_BY_GROUP != 0 && metadata.gid() != metadata.uid();
        let others = mode & WRITABLE_BY_OTHERS != 0;
        if self == Self::Any || !(group || others) {
            return Ok(());
        }
        let who = if others { "everybody" } else { "its group" };
        let path = path.display();
        Err(format!("{who} can write {path} (mode {mode:04o}): run chmod go-w {path}, or set {setting}"))
    }
}
