//! The operating system's notifications for a changing set of directories.

use super::bell::Bell;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Notifications, as far as they are to be had.
#[derive(Debug)]
pub(super) struct Eyes {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    blind: bool,
}

impl Eyes {
    /// Rings `bell` for what happens in the directories that will be followed.
    pub(super) fn open(bell: &Arc<Bell>) -> Self {
        let bell = Arc::clone(bell);
        let mut eyes = Self { watcher: None, directories: BTreeSet::new(), blind: false };
        match notify::recommended_watcher(move |event| bell.hear(event)) {
            Ok(watcher) => eyes.watcher = Some(watcher),
            Err(error) => eyes.close(&error),
        }
        eyes
    }

    /// Whether changes go unnoticed without polling.
    pub(super) const fn are_blind(&self) -> bool {
        self.blind
    }

    /// Follows `directories`, and no others. One that was followed is asked for again: it may have
    /// been deleted and made anew, and asking twice costs nothing.
    pub(super) fn follow(&mut self, directories: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(directories) {
            // It may be gone for real, and the watch with it.
            let _ = watcher.unwatch(gone);
        }
        self.directories.clone_from(directories);
        for directory in directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    return self.close(&error);
                }
                // Not there, or not readable: the scan says so, and polling finds it again.
                Err(_) => {
                    self.directories.remove(directory);
                }
            }
        }
    }

    fn close(&mut self, error: &notify::Error) {
        tracing::warn!(
            %error,
            "no notifications of file changes: polling the apps directory every second; raising fs.inotify.max_user_watches and max_user_instances helps"
        );
        self.watcher = None;
        self.blind = true;
    }
}
