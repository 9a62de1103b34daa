//! Backups that are taken by themselves: one whenever the newest is older than the settings ask for, whoever ran
//! before. How one is taken, and what makes it count, it must not know.

use super::state::State;
use crate::api::with_causes;
use crate::paths::Paths;
use dockswap_config::{BackupSettings, Settings};
use dockswap_core::Timestamp;
use dockswap_store::{Archive, ArchiveError, BackupError, Taken};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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
    fault: Mutex<Option<Fault>>,
}

impl Backups {
    /// Those that the settings ask for.
    pub(crate) fn new(paths: &Paths, settings: &Settings) -> Self {
        Self::in_directory(paths.backups_dir(settings), settings.backup.clone())
    }

    /// Those in `dir`.
    pub(crate) fn in_directory(dir: Option<PathBuf>, settings: BackupSettings) -> Self {
        Self { archive: dir.map(Archive::at), settings, fault: Mutex::default() }
    }

    /// Why there is no new one, though one was due; `None`: nothing is wrong.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the newest one was taken that is not from the future.
    fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let backups = self.archive.as_ref()?.list().ok()?;
        backups.into_iter().map(|backup| backup.at).find(|at| *at <= now)
    }

    /// How long until one is due.
    fn due_in(&self, now: Timestamp) -> Duration {
        self.newest(now).map_or(Duration::ZERO, |at| (at + self.settings.every).saturating_since(now))
    }

    /// Notes what came of one.
    fn conclude(&self, outcome: &Result<Taken, ArchiveError>, now: Timestamp) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        *fault = match outcome {
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
                let since = fault.as_ref().map_or(now, |fault| fault.since);
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

/// Takes backups until `state.stop`.
pub(crate) async fn run(state: Arc<State>) {
    let backups = &state.backups;
    let every = backups.settings.every;
    let Some(archive) = backups.archive.as_ref().filter(|_| !every.is_zero()) else { return };
    let mut next = Instant::now() + AT_FIRST.min(every);
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
        }
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
        let fault = backups.fault().unwrap();
        assert_eq!(fault.since, SEVEN);
        assert!(fault.why.contains("1 bytes free") && fault.next.contains("backup.dir"), "{fault:?}");
    }
}
