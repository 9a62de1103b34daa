//! Whether the files that a SQLite database was opened as still lie where they lay. Somebody may move,
//! remove or replace them while they are open: SQLite would go on writing into files that no longer have
//! a name, and all of it would be lost with the process. It must not know what is written.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Device and inode.
type FileId = (u64, u64);

/// The database's file and its write-ahead log, as this process has them open.
#[derive(Debug)]
pub(crate) struct Presence {
    files: [PathBuf; 2],
    /// What lay there when it was last seen that this process has it open.
    known: Mutex<Option<[FileId; 2]>>,
}

/// Why nothing may be written any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is gone, or another file is in its place ({reason}): put it back, or stop dockswap and start it again"
)]
pub(crate) struct Absent {
    path: PathBuf,
    reason: String,
}

impl Presence {
    /// Of the database at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self { files: [path.to_owned(), beside(path, "-wal")], known: Mutex::new(None) }
    }

    /// Says when the database is not there any more, or another one is; of the log it says nothing.
    pub(crate) fn check_database(&self) -> Result<(), Absent> {
        let [database, _] = &self.files;
        let id = file_id(database)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|[before, _]| before == id) { Ok(()) } else { Err(replaced(database)) }
    }

    /// Says which file is not there any more. Two calls of the system where all is well.
    pub(crate) fn check(&self) -> Result<(), Absent> {
        let [database, log] = &self.files;
        let ids = [file_id(database)?, file_id(log)?];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == Some(ids) {
            return Ok(());
        }
        if known.is_some_and(|[before, _]| before != ids[0]) {
            // A connection made since may have it open: it is another database all the same.
            return Err(replaced(database));
        }
        // SQLite may have begun a new log; what lies there must be what this process has open.
        let open = open_files();
        for (path, id) in self.files.iter().zip(ids) {
            if !open.contains(&id) {
                return Err(Absent { path: path.clone(), reason: "it is not the file that is open".into() });
            }
        }
        *known = Some(ids);
        Ok(())
    }
}

fn replaced(path: &Path) -> Absent {
    Absent { path: path.to_owned(), reason: "it is not the file that was opened".into() }
}

/// `path` with `suffix` after it: where SQLite keeps what belongs to a database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn file_id(path: &Path) -> Result<FileId, Absent> {
    let absent = |error: io::Error| Absent { path: path.to_owned(), reason: error.to_string() };
    path.metadata().map(|metadata| id(&metadata)).map_err(absent)
}

fn id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Every file that this process has open.
fn open_files() -> BTreeSet<FileId> {
    let descriptors = Path::new("/dev/fd").read_dir().into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| Some(id(&descriptor.path().metadata().ok()?))).collect()
}
