//! A directory of backups: taking one, looking at it before it counts, and keeping the newest few. When one is due
//! it must not know.

use crate::backup::{BackupError, NoRoom, assert_room};
use crate::examination::{ExaminationError, Extent, examine};
use crate::history::History;
use chrono::{DateTime, NaiveDateTime};
use dockswap_core::records::StoreError;
use dockswap_core::{DeploymentId, Timestamp};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What is being copied, or was when somebody was killed. It counts for nothing.
const PARTIAL: &str = ".partial";

/// Names the database whose backups are in the directory.
const OWNER: &str = "backups-of";

/// Names begin, go on with the time, and end.
const PREFIX: &str = "dockswap-";
const TIME: &str = "%Y%m%dT%H%M%S%3fZ";
const SUFFIX: &str = ".db";

/// A directory that holds backups of one database.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
}

/// A backup that was found sound when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The file.
    pub file: PathBuf,
    /// When it was begun.
    pub at: Timestamp,
    /// How long the file is.
    pub bytes: u64,
}

/// A backup that was just taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The backup.
    pub backup: Backup,
    /// How many apps it has.
    pub apps: usize,
    /// The highest deployment in it.
    pub newest_deployment: DeploymentId,
    /// How many events of it were replayed.
    pub events: usize,
    /// How many older ones went for it.
    pub removed: usize,
}

/// Why there is no new backup. Those that were there are.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The directory, or a file in it.
    #[error("{path} cannot be used for backups")]
    Directory {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another database's backups are there: which of them may go is not ours to say.
    #[error(
        "{dir} holds backups of {database}: name a directory of its own in backup.dir, or remove {dir}/backups-of where that database was moved here"
    )]
    Foreign {
        /// The directory.
        dir: String,
        /// Whose it is.
        database: String,
    },
    /// The disk has too little room.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The copying.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The database did not answer.
    #[error(transparent)]
    Look(#[from] StoreError),
    /// The copy is not what it must be.
    #[error(transparent)]
    Examination(#[from] ExaminationError),
}

impl Archive {
    /// The one in `dir`, which need not be there yet.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every backup in it, newest first. What else is in the directory is none.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn list(&self) -> io::Result<Vec<Backup>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut backups = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(at) = entry.file_name().to_str().and_then(time_of) else { continue };
            let data = entry.metadata()?;
            if data.is_file() {
                backups.push(Backup { file: entry.path(), at, bytes: data.len() });
            }
        }
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.at));
        Ok(backups)
    }

    /// Copies the database, looks at the whole copy (its pages, the events of every app replayed, every stored file,
    /// and that it goes as far as the database did), and only then lets it count; then removes the oldest ones beyond
    /// `keep`, and never the new one. On the disk when this returns. The controller may go on writing meanwhile.
    ///
    /// # Errors
    /// When there is no new backup: nothing of it is left then, and every older one is there.
    pub async fn take(&self, history: &History, keep: usize, at: Timestamp) -> Result<Taken, ArchiveError> {
        let database = history.file().ok_or(BackupError::NotSqlite)?;
        self.prepare(&database.display().to_string())?;
        assert_room(&self.dir, history.used_bytes().await?)?;
        let name = name_of(at);
        // As it is read back from there.
        let at = time_of(&name).unwrap_or(at);
        let (file, partial) = (self.dir.join(&name), self.dir.join(format!("{name}{PARTIAL}")));
        let before = Extent::of(history).await?;
        history.backup_to(&partial).await?;
        let looked = examine(&partial, before).await.map_err(ArchiveError::from);
        let placed = looked.and_then(|looked| {
            let put = fs::rename(&partial, &file).and_then(|()| File::open(&self.dir)?.sync_all());
            put.map_err(|source| self.failed(source)).map(|()| looked)
        });
        let looked = match placed {
            Ok(looked) => looked,
            Err(error) => {
                // The first failure is the one to tell.
                let _ = fs::remove_file(&partial);
                return Err(error);
            }
        };
        let bytes = file.metadata().map_err(|source| self.failed(source))?.len();
        let removed = self.remove_oldest(&file, keep);
        let backup = Backup { file, at, bytes };
        Ok(Taken {
            backup,
            apps: looked.extent.apps,
            newest_deployment: looked.extent.deployment,
            events: looked.events,
            removed,
        })
    }

    /// Makes the directory, for its owner alone, and takes away what a copy that was cut off has left.
    fn prepare(&self, database: &str) -> Result<(), ArchiveError> {
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let owner = self.dir.join(OWNER);
            match fs::read_to_string(&owner) {
                Ok(other) if other.trim() == database => {}
                Ok(other) => return Ok(Some(other.trim().to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::write(&owner, format!("{database}\n"))?;
                }
                Err(error) => return Err(error),
            }
            for entry in fs::read_dir(&self.dir)? {
                let name = entry?.file_name();
                let partial = name.to_str().and_then(|name| name.strip_suffix(PARTIAL)).and_then(time_of);
                if partial.is_some() {
                    fs::remove_file(self.dir.join(name))?;
                }
            }
            Ok(None)
        };
        match make().map_err(|source| self.failed(source))? {
            None => Ok(()),
            Some(database) => Err(ArchiveError::Foreign { dir: self.dir.display().to_string(), database }),
        }
    }

    /// Removes what is older than the newest `keep`, and never `new`; how many.
    fn remove_oldest(&self, new: &Path, keep: usize) -> usize {
        let backups = self.list().unwrap_or_default();
        let others = backups.into_iter().filter(|backup| backup.file != new);
        let mut removed = 0;
        for old in others.skip(keep.saturating_sub(1)) {
            match fs::remove_file(&old.file) {
                Ok(()) => removed += 1,
                // It is tried again with the next one.
                Err(error) => {
                    tracing::warn!(file = %old.file.display(), %error, "an old backup cannot be removed");
                }
            }
        }
        removed
    }

    fn failed(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Directory { path: self.dir.clone(), source }
    }
}

fn name_of(at: Timestamp) -> String {
    let time = DateTime::from_timestamp_micros(at.as_micros()).unwrap_or_default();
    format!("{PREFIX}{}{SUFFIX}", time.format(TIME))
}

/// When the backup of this name was taken; `None`: it is none.
fn time_of(name: &str) -> Option<Timestamp> {
    let time = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let time = NaiveDateTime::parse_from_str(time, TIME).ok()?;
    Some(Timestamp::from_micros(time.and_utc().timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::{name_of, time_of};
    use dockswap_core::Timestamp;

    #[test]
    fn a_name_says_when_it_was_taken() {
        let at = Timestamp::from_micros(1_795_246_706_123_000);
        assert_eq!(name_of(at), "dockswap-20261121T073826123Z.db");
        assert_eq!(time_of(&name_of(at)), Some(at));
        for other in ["dockswap.db", "dockswap-monday.db", "dockswap-20261121T073826123Z.db.partial", "notes"]
        {
            assert_eq!(time_of(other), None, "{other}");
        }
    }
}
