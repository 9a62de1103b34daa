//! Watching the apps directory: whole snapshots of it, each time a file's content has changed. It
//! must not know what is in the files.
//!
//! Level-triggered: a notification, an overflow, a poll and a person's `reload` all mean "look at
//! everything again", so none of them can be missed for good. What notifications say beyond that is
//! only used to tell how long to wait for a writer to finish:
//!
//! | what is known of the last writer | the file is read after quiet of | at the latest after |
//! |---|---|---|
//! | closed it, or renamed it here | 15 ms, when it ends with a line break, else 250 ms | 2 s |
//! | nothing (no notification) | 250 ms, or when last changed 2 s ago | 2 s |
//! | still has it open | 1 s | 10 s |
//! | removed it, or made it unreadable | 250 ms | 2 s |
//!
//! The last column bounds what endless rewriting can do, to its own file only.

mod bell;
mod eyes;
mod links;
mod look;
mod scan;

use crate::trust::Trust;
use bell::{Bell, Heard};
use eyes::Eyes;
use scan::{Now, Scanner};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the directory is looked at without any notification.
pub const POLL: Duration = Duration::from_secs(30);
/// The same where notifications are not to be had, or the directory is not there.
const POLL_BLIND: Duration = Duration::from_secs(1);
/// After a notification, so that those that belong together are taken together.
const SETTLE: Duration = Duration::from_millis(15);
/// How long the first snapshot waits for files that are being written.
const FIRST: Duration = Duration::from_secs(2);

/// The apps directory at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the directory could be read. When not, every file that was there is `Unreadable`:
    /// nothing has been deleted.
    pub directory: DirectoryState,
    /// Every app file in it, by path.
    pub files: BTreeMap<PathBuf, FileContent>,
}

/// Whether the directory could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// It was read.
    Available,
    /// It is not there or cannot be read, and why.
    Unavailable(String),
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// These bytes, at most 1 MiB, read whole.
    Bytes(Arc<[u8]>),
    /// It is there and cannot be used, and why.
    Unreadable(String),
}

/// A directory that is being watched, for as long as this is held.
#[derive(Debug)]
pub struct Watch {
    snapshots: mpsc::Receiver<Snapshot>,
    rescan: Rescan,
}

/// Makes the watch look again.
#[derive(Clone, Debug)]
pub struct Rescan {
    bell: Arc<Bell>,
}

impl Rescan {
    /// Looks at everything again, soon. A snapshot follows if something has changed.
    pub fn now(&self) {
        self.bell.ring();
    }
}

impl Watch {
    /// The next snapshot: the first one as soon as the directory has been read, later ones each
    /// time something in it has changed. Two in a row are never equal, and none is skipped for good:
    /// the last one is always the present state. Cancel-safe. `None` only if the watching thread
    /// has ended by a defect.
    pub async fn next(&mut self) -> Option<Snapshot> {
        self.snapshots.recv().await
    }

    /// A handle that makes the watch look again.
    #[must_use]
    pub fn rescan(&self) -> Rescan {
        self.rescan.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.rescan.bell.close();
    }
}

/// Watches `dir`, which is created when missing, and polls it every `poll` ([`POLL`]) besides.
///
/// Files are those ending in `.yaml` or `.yml`; hidden ones and editors' own are none. Symlinks are
/// followed, and watched at every link on the way. Without inotify (its limits are reached) the
/// directory is polled every second, and a warning says so. What others than `trust` allows can write
/// counts as unreadable.
///
/// # Errors
/// When the directory cannot be created, or no thread started.
pub fn watch(dir: &Path, poll: Duration, trust: Trust) -> io::Result<Watch> {
    std::fs::create_dir_all(dir)?;
    let bell = Arc::new(Bell::default());
    let (sender, snapshots) = mpsc::channel(1);
    let watcher = Watcher {
        eyes: Eyes::open(&bell),
        scanner: Scanner::new(dir, trust),
        bell: Arc::clone(&bell),
        dir: dir.to_owned(),
        poll,
        sender,
    };
    std::thread::Builder::new().name("apps-watch".to_owned()).spawn(move || watcher.run())?;
    Ok(Watch { snapshots, rescan: Rescan { bell } })
}

/// Reads `dir` once, as it is, without waiting for writers.
#[must_use]
pub fn read_directory(dir: &Path, trust: Trust) -> Snapshot {
    let mut scanner = Scanner::new(dir, trust);
    scanner.read_all(&Now::present());
    scanner.snapshot()
}

/// The watching thread.
struct Watcher {
    dir: PathBuf,
    poll: Duration,
    bell: Arc<Bell>,
    eyes: Eyes,
    scanner: Scanner,
    sender: mpsc::Sender<Snapshot>,
}

impl Watcher {
    fn run(mut self) {
        let first_by = Instant::now() + FIRST;
        let mut sent: Option<Snapshot> = None;
        loop {
            self.eyes.follow(&links::directories(&self.dir, self.scanner.links()));
            let signs = self.bell.answer();
            let now = Now::present();
            let scan = self.scanner.scan(&now, &signs);
            if sent.is_none() && now.instant >= first_by {
                self.scanner.give_up_waiting();
            }
            if sent.is_some() || !self.scanner.is_waiting() {
                let snapshot = self.scanner.snapshot();
                if sent.as_ref() != Some(&snapshot) {
                    if self.sender.blocking_send(snapshot.clone()).is_err() {
                        return;
                    }
                    sent = Some(snapshot);
                }
            }
            let poll =
                if self.eyes.are_blind() || !self.scanner.is_available() { POLL_BLIND } else { self.poll };
            let first_by = sent.is_none().then_some(first_by);
            let until = scan.into_iter().chain(first_by).fold(now.instant + poll, Instant::min);
            match self.bell.wait(until) {
                Heard::Closed => return,
                Heard::Nothing => {}
                Heard::Ring => std::thread::sleep(SETTLE),
            }
        }
    }
}
