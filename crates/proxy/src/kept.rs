//! A file of the proxy's own: written whole or not at all, private, and set aside when it makes no sense. What is in
//! it is its owner's business.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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

    /// The same for another process, which may have more power than who has the file: no link is followed, nothing but
    /// a file of the directory's owner, or of our own, is opened, under this name alone, and no more than `most` bytes
    /// are read.
    ///
    /// # Errors
    /// When it is something else, or cannot be read.
    pub(crate) fn read_from_outside(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (found, directory) = (file.metadata()?, self.directory().metadata()?);
        let owners = [directory.uid(), rustix::process::geteuid().as_raw()];
        if !found.is_file() || found.nlink() != 1 || !owners.contains(&found.uid()) || found.len() > most {
            return Err(io::Error::other("it is no file of the proxy's"));
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
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
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        directory.unwrap_or(Path::new("."))
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
