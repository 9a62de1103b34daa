//! One look at a directory or a file, and reading it so that what was read is known to be whole.

use crate::trust::Trust;
use crate::yaml::MAX_BYTES;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// App files in one directory: far more than a host can run, few enough to remember.
const MOST_FILES: usize = 10_000;

/// What a look at a file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing there.
    Absent,
    /// Something that will not be read, and why.
    Refused(String),
    /// A file.
    File(Signature),
}

/// What changes when a file's content does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// An app file in the directory.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    pub(super) is_link: bool,
}

/// What reading a file gave.
#[derive(Debug)]
pub(super) enum Content {
    /// The bytes of the file as it was when looked at.
    Whole(Arc<[u8]>),
    /// It changed meanwhile.
    Changed,
    /// It cannot be read, and why.
    Refused(String),
}

impl Look {
    /// Whether nothing has changed after `wall`, as far as the kernel says.
    pub(super) fn is_covered(&self, wall: SystemTime) -> bool {
        match self {
            Self::File(signature) => signature.changed() <= wall,
            Self::Absent | Self::Refused(_) => false,
        }
    }
}

impl Signature {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the kernel says that the file last changed. What is before 1970 counts as 1970.
    pub(super) fn changed(&self) -> SystemTime {
        let (seconds, nanos) = self.changed;
        let since = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        SystemTime::UNIX_EPOCH + since
    }
}

/// Whether a file of this name describes an app: `.yaml` or `.yml`, not hidden, not an editor's own.
pub(super) fn is_app_file(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml")) && !name.starts_with(['.', '#'])
}

/// The app files in `dir`, and the device that it is on.
pub(super) fn list(dir: &Path, trust: Trust) -> io::Result<(Vec<Listed>, u64)> {
    let metadata = fs::metadata(dir)?;
    trust.check(dir, &metadata).map_err(io::Error::other)?;
    let device = metadata.dev();
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if files.len() >= MOST_FILES {
            return Err(io::Error::other(format!("it holds more than {MOST_FILES} app files")));
        }
        if entry.file_name().to_str().is_some_and(is_app_file) {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            files.push(Listed { path: entry.path(), is_link });
        }
    }
    Ok((files, device))
}

/// Looks at a file that the directory lists.
pub(super) fn look(path: &Path, trust: Trust) -> Look {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Look::Refused("it is a directory".to_owned()),
        Ok(metadata) if !metadata.is_file() => Look::Refused("it is not a regular file".to_owned()),
        Ok(metadata) if metadata.len() > MAX_BYTES as u64 => {
            Look::Refused(format!("it has {} bytes: at most {MAX_BYTES} (1 MiB) are read", metadata.len()))
        }
        Ok(metadata) => match trust.check(path, &metadata) {
            Ok(()) => Look::File(Signature::of(&metadata)),
            Err(why) => Look::Refused(why),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Look::Refused("it is a link to a file that does not exist".to_owned()),
            Err(_) => Look::Absent,
        },
        Err(error) => Look::Refused(error.to_string()),
    }
}

/// Reads a file that was just seen as `signature`.
pub(super) fn read(path: &Path, signature: &Signature) -> Content {
    let reading = || -> io::Result<Content> {
        let file = File::open(path)?;
        if Signature::of(&file.metadata()?) != *signature {
            return Ok(Content::Changed);
        }
        let mut bytes = Vec::new();
        (&file).take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        // By its path: the name may lead to another file now.
        let unchanged = Signature::of(&fs::metadata(path)?) == *signature;
        Ok(if unchanged { Content::Whole(bytes.into()) } else { Content::Changed })
    };
    match reading() {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Changed,
        Err(error) => Content::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_app_file;

    #[test]
    fn names_of_app_files() {
        for name in ["web.yaml", "web.yml", "a.b.yaml", "4913.yaml"] {
            assert!(is_app_file(name), "{name}");
        }
        for name in [
            "4913",
            "#web.yaml#",
            "web.yaml~",
            ".web.yaml.swp",
            ".x.yaml.tmp",
            ".web.yaml",
            "web.json",
            "#web.yaml",
            "yaml",
        ] {
            assert!(!is_app_file(name), "{name}");
        }
    }
}
