//! `backup` of the settings: how often the database is copied, where to, and how many copies stay. It must not know
//! how that is done.

use crate::fields::{Field, Fields, Shape};
use crate::policy::normal;
use crate::problem::Report;
use crate::settings::replace;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the database is backed up by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSettings {
    /// How often; zero: never.
    pub every: Duration,
    /// How many copies stay, at least 1.
    pub keep: usize,
    /// The directory of the copies, absolute; `None`: one in the data directory.
    pub dir: Option<PathBuf>,
}

const DAY: Duration = Duration::from_secs(86_400);

/// The fields of the section.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "every",
        Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(86_400 * 366) },
        "How often the database is copied, and the copy checked; 0s: never; default 24h.",
    ),
    Field::new("keep", Shape::Integer { min: 1, max: 1_000 }, "How many copies stay; default 7."),
    Field::new(
        "dir",
        Shape::FilePath,
        "The directory of the copies, best on another disk; default backups in the data directory.",
    ),
];

impl Default for BackupSettings {
    fn default() -> Self {
        Self { every: DAY, keep: 7, dir: None }
    }
}

impl BackupSettings {
    /// Lays what `backup` holds over what is there.
    pub(crate) fn overlay(&mut self, backup: &Fields<'_>, report: &mut Report) {
        replace(&mut self.every, backup.duration("every", report));
        replace(&mut self.keep, backup.integer("keep", report));
        if let Some(item) = backup.take("dir") {
            let path = item.text(report).map(Path::new).and_then(|path| {
                if path.is_absolute() { Some(normal(path)) } else { item.wrong("an absolute path", report) }
            });
            replace(&mut self.dir, path.map(Some));
        }
    }
}
