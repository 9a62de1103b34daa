//! Backups that are taken by themselves: one whenever the newest is older than the settings ask for, whoever ran
//! before. A directory may be on a mount that hangs: whoever looks there has a thread of its own, and everybody else is told
//! what was seen last. How one is taken, and what makes it count, it must not know.

use super::state::State;
use crate::api::with_causes;
use crate::paths::Paths;
use dockswap_config::{BackupSettings, Settings};
use dockswap_core::Timestamp;
use dockswap_store::{Archive, ArchiveError, Backup, BackupError, Taken};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How soon after the start one is taken that is due: what is to be deployed then goes first.
const AT_FIRST: Duration = Duration::from_mins(1);

/// How soon it is tried again when there is none.
const AGAIN: Duration = Duration::from_mins(10);

/// How often it is looked whether one is due: a machine that slept has another clock.
const LOOK: Duration = Duration::from_mins(10);

/// Why there is no new backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Since when it is being tried.
    pub(crate) since: Timestamp,
    /// Why not.
    pub(crate) why: String,
    /// What helps.
    pub(crate) next: &'static str,
}

/// The backups of this controller's database.
#[derive(Debug)]
pub(crate) struct Backups {
    /// `None`: the database is no file, and has tools of its own.
    pub(crate) archive: Option<Archive>,
    pub(crate) settings: BackupSettings,
    standing: Mutex<Standing>,
}

/// How they stand, as far as was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Newest first.
    pub(crate) backups: Vec<Backup>,
    /// Why there is no new one, though one was due; `None`: nothing is wrong.
    pub(crate) fault: Option<Fault>,
}

impl Backups {
    /// Those that the settings ask for.
    pub(crate) fn new(paths: &Paths, settings: &Settings) -> Self {
        Self::in_directory(paths.backups_dir(settings), settings.backup.clone())
    }

    /// Those in `dir`.
    pub(crate) fn in_directory(dir: Option<PathBuf>, settings: BackupSettings) -> Self {
        Self { archive: dir.map(Archive::at), settings, standing: Mutex::default() }
    }

    /// How they stand, as was seen last.
    pub(crate) fn standing(&self) -> Standing {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into the directory, for as long as that takes.
    pub(crate) fn look(&self, now: Timestamp) {
        let Some(archive) = &self.archive else { return };
        let listed = archive.list();
        let mut standing = self.locked();
        match listed {
            Ok(backups) => standing.backups = backups,
            Err(error) => {
                let next = "let the controller's user read it, or name another directory in backup.dir";
                let why = format!("{} cannot be read: {error}", archive.dir().display());
                standing.fault.get_or_insert(Fault { since: now, why, next });
            }
        }
    }

    /// How long until one is due. One from the future does not count: the clock was set back.
    fn due_in(&self, now: Timestamp) -> Duration {
        let newest = self.locked().backups.iter().map(|backup| backup.at).find(|at| *at <= now);
        newest.map_or(Duration::ZERO, |at| (at + self.settings.every).saturating_since(now))
    }

    /// Notes what came of one.
    fn conclude(&self, outcome: &Result<Taken, ArchiveError>, now: Timestamp) {
        let mut standing = self.locked();
        standing.fault = match outcome {
            Ok(Taken { backup, apps, events, removed, .. }) => {
                let file = backup.file.display();
                tracing::info!(%file, bytes = backup.bytes, apps, events, removed, "backed up, and the copy is sound");
                None
            }
            Err(error) => {
                let (why, next) = (with_causes(error), what_helps(error));
                tracing::error!(
                    why,
                    next,
                    "there is no new backup: it is tried again, and those that were there are"
                );
                let since = standing.fault.as_ref().map_or(now, |fault| fault.since);
                Some(Fault { since, why, next })
            }
        };
    }
}

/// What somebody can do about it.
fn what_helps(error: &ArchiveError) -> &'static str {
    match error {
        ArchiveError::NoRoom(_) | ArchiveError::Copy(BackupError::Failed { .. }) => {
            "free some room there, or name a directory on another disk in backup.dir"
        }
        ArchiveError::Directory { .. }
        | ArchiveError::Copy(BackupError::File { .. } | BackupError::Path { .. }) => {
            "let the controller's user write there, or name another directory in backup.dir"
        }
        ArchiveError::Foreign { .. } => "name another directory in backup.dir",
        ArchiveError::Examination(_) => "dockswap db check",
        ArchiveError::Look(_) | ArchiveError::Copy(BackupError::TimedOut | BackupError::NotSqlite) => {
            "see whether the disk is slow, or busy with something else"
        }
    }
}

/// Takes backups until `state.stop`, on a thread of their own; what is given says when that has ended.
///
/// # Errors
/// When there can be no thread.
pub(crate) fn start(state: Arc<State>) -> io::Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new().name("backups".to_owned()).spawn(move || {
        runtime.block_on(run(&state));
        drop(done);
    })?;
    Ok(ended)
}

async fn run(state: &State) {
    let backups = &state.backups;
    let every = backups.settings.every;
    backups.look(state.now());
    let Some(archive) = backups.archive.as_ref().filter(|_| !every.is_zero()) else { return };
    let mut next = Instant::now() + AT_FIRST.min(every);
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
        }
        backups.look(state.now());
        let due_in = backups.due_in(state.now());
        if !due_in.is_zero() {
            next = Instant::now() + due_in.min(LOOK);
            continue;
        }
        let outcome = tokio::select! {
            () = state.stop.cancelled() => return,
            outcome = archive.take(state.database.history(), backups.settings.keep, state.now()) => outcome,
        };
        backups.conclude(&outcome, state.now());
        backups.look(state.now());
        next = Instant::now() + if outcome.is_ok() { LOOK.min(every) } else { AGAIN.min(every) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::Backups;
    use dockswap_config::BackupSettings;
    use dockswap_core::Timestamp;
    use dockswap_store::{ArchiveError, NoRoom};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_hours(1);

    /// 2026-11-21T07:00:00Z.
    const SEVEN: Timestamp = Timestamp::from_micros(1_795_244_400_000_000);

    fn hourly(taken: &[&str]) -> (tempfile::TempDir, Backups) {
        let dir = tempfile::tempdir().unwrap();
        for name in taken {
            std::fs::write(dir.path().join(name), "a copy").unwrap();
        }
        let settings = BackupSettings { every: HOUR, ..BackupSettings::default() };
        let backups = Backups::in_directory(Some(dir.path().to_owned()), settings);
        backups.look(SEVEN);
        (dir, backups)
    }

    #[test]
    fn one_is_due_when_the_newest_is_old_enough() {
        let (_dir, none) = hourly(&[]);
        assert_eq!(none.due_in(SEVEN), Duration::ZERO);
        let (_dir, some) =
            hourly(&["dockswap-20261121T063000000Z.db", "dockswap-20261120T063000000Z.db", "notes"]);
        assert_eq!(some.due_in(SEVEN), HOUR / 2);
        assert_eq!(some.due_in(SEVEN + HOUR / 2), Duration::ZERO);
        // The clock was set back: one of tomorrow says nothing of today.
        let (_dir, ahead) = hourly(&["dockswap-20261122T063000000Z.db", "dockswap-20261121T060000000Z.db"]);
        assert_eq!(ahead.due_in(SEVEN), Duration::ZERO);
    }

    #[test]
    fn a_fault_stays_until_there_is_a_new_one_and_says_what_helps() {
        let (dir, backups) = hourly(&[]);
        let no_room = NoRoom { dir: dir.path().to_owned(), free: 1, needed: 2 };
        let failed = Err(ArchiveError::NoRoom(no_room));
        backups.conclude(&failed, SEVEN);
        backups.conclude(&failed, SEVEN + HOUR);
        let fault = backups.standing().fault.unwrap();
        assert_eq!(fault.since, SEVEN);
        assert!(fault.why.contains("1 bytes free") && fault.next.contains("backup.dir"), "{fault:?}");
    }
}
