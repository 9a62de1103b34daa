//! A file of the proxy's own: written whole or not at all, private, and set aside when it makes no sense. What is in
//! it is its owner's business.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Such a file, mode 0600.
#[derive(Clone, Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
}

impl KeptFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What is in it; `None`: it is not there.
    pub(crate) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it. When this returns, `bytes` are what a start after a crash or a power loss finds; a crash before
    /// leaves the file before.
    ///
    /// # Errors
    /// When the disk fails or is full; the file before stays.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.beside(".new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Renames it to `<name>.broken-<seconds>`, which is returned.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let aside = self.beside(&format!(".broken-{now}"));
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }

    /// Another file, named after it.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }
}
