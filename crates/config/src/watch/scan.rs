//! What is known of the directory, and bringing it up to date: decides when a file has been quiet
//! for long enough to be read.

use super::bell::{Sign, Signs, Writer};
use super::look::{self, Content, Look};
use super::{DirectoryState, FileContent, Snapshot};
use crate::trust::Trust;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Quiet after a writer that has finished.
const QUIET_DONE: Duration = Duration::from_millis(15);
/// Quiet when nothing is known of a writer, or the content looks unfinished.
const QUIET_UNKNOWN: Duration = Duration::from_millis(250);
/// Quiet while a writer has the file open.
const QUIET_OPEN: Duration = Duration::from_secs(1);
/// The longest that rewriting puts off reading.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same while a writer has the file open.
const PATIENCE_OPEN: Duration = Duration::from_secs(10);
/// A file that last changed so long ago is finished, whatever is known of its writer.
const SETTLED: Duration = Duration::from_secs(2);
/// All app files together.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The time of a scan, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
}

impl Now {
    pub(super) fn present() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// What the clock on the wall showed at `instant`.
    fn wall_at(&self, instant: Instant) -> SystemTime {
        self.wall - self.instant.saturating_duration_since(instant)
    }

    /// Whether a file that changed at `wall` is finished, whatever is known of its writer.
    fn is_long_after(&self, wall: SystemTime) -> bool {
        self.wall.duration_since(wall).is_ok_and(|age| age >= SETTLED)
    }
}

/// What is known of the directory.
#[derive(Debug)]
pub(super) struct Scanner {
    dir: PathBuf,
    trust: Trust,
    state: DirectoryState,
    device: Option<u64>,
    files: BTreeMap<PathBuf, Known>,
    bytes: usize,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    is_link: bool,
    /// As last read; `None`: not read yet.
    content: Option<FileContent>,
    /// How it looked when it was read.
    look: Option<Look>,
    read_at: Option<Instant>,
    /// It has changed since, and is not quiet yet.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    look: Look,
    first: Instant,
    last: Instant,
}

/// What became of a file that had changed.
enum Outcome {
    Waits(Instant),
    Gone,
    Is(FileContent),
}

impl Scanner {
    /// Knows nothing yet.
    pub(super) fn new(dir: &Path, trust: Trust) -> Self {
        Self {
            dir: dir.to_owned(),
            trust,
            state: DirectoryState::Available,
            device: None,
            files: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Looks at everything; says when to look again at files that are not quiet yet.
    pub(super) fn scan(&mut self, now: &Now, signs: &Signs) -> Option<Instant> {
        if !self.take_list() {
            return None;
        }
        let (real_dir, trust) = (self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone()), self.trust);
        let (mut next, mut gone) = (None::<Instant>, Vec::new());
        for (path, known) in &mut self.files {
            let sign = if signs.is_empty() { None } else { signs.get(&real(path, known.is_link, &real_dir)) };
            let Some(outcome) = known.update(path, sign, now, trust) else { continue };
            match outcome {
                Outcome::Waits(until) => next = Some(next.map_or(until, |next| next.min(until))),
                Outcome::Gone => gone.push(path.clone()),
                Outcome::Is(content) => {
                    self.bytes -= known.len();
                    known.content = Some(within(self.bytes, content));
                    self.bytes += known.len();
                }
            }
        }
        for path in gone {
            self.bytes -= self.files.remove(&path).map_or(0, |known| known.len());
        }
        next
    }

    /// Reads everything as it is, without waiting for writers.
    pub(super) fn read_all(&mut self, now: &Now) {
        self.scan(now, &Signs::new());
        let later = Now { instant: now.instant + PATIENCE, ..*now };
        self.scan(&later, &Signs::new());
        self.give_up_waiting();
    }

    /// Whether a file has not been read even once.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_available() && self.files.values().any(|known| known.content.is_none())
    }

    /// Takes files that have not been read even once for unreadable, until they are.
    pub(super) fn give_up_waiting(&mut self) {
        for known in self.files.values_mut() {
            let busy = || FileContent::Unreadable("it is still being written".to_owned());
            known.content.get_or_insert_with(busy);
        }
    }

    /// Whether the directory could be read.
    pub(super) fn is_available(&self) -> bool {
        self.state == DirectoryState::Available
    }

    /// The files that are symlinks.
    pub(super) fn links(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|(_, known)| known.is_link).map(|(path, _)| path.as_path())
    }

    /// What is known, for others.
    pub(super) fn snapshot(&self) -> Snapshot {
        let content = |known: &Known| match (&self.state, &known.content) {
            (_, None) => None,
            (DirectoryState::Available, Some(content)) => Some(content.clone()),
            (DirectoryState::Unavailable(why), Some(_)) => Some(FileContent::Unreadable(why.clone())),
        };
        let files = self.files.iter().filter_map(|(path, known)| Some((path.clone(), content(known)?)));
        Snapshot { directory: self.state.clone(), files: files.collect() }
    }

    /// Takes in which files there are. Whether the directory could be read.
    fn take_list(&mut self) -> bool {
        let listed = look::list(&self.dir, self.trust).and_then(|(files, device)| {
            let unmounted = self.device.is_some_and(|before| before != device);
            if unmounted && files.is_empty() && !self.files.is_empty() {
                let message = "it is empty and on another file system than before: is it mounted?";
                return Err(std::io::Error::other(message));
            }
            Ok((files, device))
        });
        match listed {
            Ok((files, device)) => {
                self.device = Some(device);
                self.state = DirectoryState::Available;
                for file in files {
                    let new = || Known::new(file.is_link);
                    self.files.entry(file.path).or_insert_with(new).is_link = file.is_link;
                }
                true
            }
            Err(error) => {
                let why = format!("the directory {} cannot be read: {error}", self.dir.display());
                self.state = DirectoryState::Unavailable(why);
                false
            }
        }
    }
}

impl Known {
    const fn new(is_link: bool) -> Self {
        Self { is_link, content: None, look: None, read_at: None, pending: None }
    }

    fn len(&self) -> usize {
        match &self.content {
            Some(FileContent::Bytes(bytes)) => bytes.len(),
            Some(FileContent::Unreadable(_)) | None => 0,
        }
    }

    /// Looks at the file; `None`: it is as it was.
    fn update(&mut self, path: &Path, sign: Option<&Sign>, now: &Now, trust: Trust) -> Option<Outcome> {
        let look = look::look(path, trust);
        let heard = sign.filter(|sign| self.read_at.is_none_or(|read_at| sign.at > read_at));
        if self.look.as_ref() == Some(&look) && heard.is_none() {
            self.pending = None;
            return None;
        }
        // The sign speaks of what is seen only if the file has not changed since.
        let sign = heard.filter(|sign| look.is_covered(now.wall_at(sign.at)));
        let seen = sign.map_or(now.instant, |sign| sign.at);
        let fresh = || Pending { look: look.clone(), first: seen, last: seen };
        let pending = self.pending.get_or_insert_with(fresh);
        if pending.look != look {
            pending.look = look.clone();
            pending.last = seen;
        }
        pending.last = heard.map_or(pending.last, |sign| pending.last.max(sign.at));
        let writer = sign.map_or(Writer::Unknown, |sign| sign.writer);
        let ready = pending.ready_at(writer, now);
        if now.instant < ready {
            return Some(Outcome::Waits(ready));
        }
        let content = match &look {
            Look::Absent => return Some(Outcome::Gone),
            Look::Refused(why) => FileContent::Unreadable(why.clone()),
            Look::File(signature) => match look::read(path, signature) {
                Content::Whole(bytes) if pending.looks_unfinished(&bytes, now) => {
                    return Some(Outcome::Waits(pending.last + QUIET_UNKNOWN));
                }
                Content::Whole(bytes) => FileContent::Bytes(bytes),
                Content::Changed => {
                    pending.last = now.instant;
                    return Some(Outcome::Waits(now.instant + QUIET_DONE));
                }
                Content::Refused(why) => FileContent::Unreadable(why),
            },
        };
        (self.look, self.read_at, self.pending) = (Some(look), Some(now.instant), None);
        Some(Outcome::Is(content))
    }
}

impl Pending {
    /// When the file may be read, if nothing more happens.
    fn ready_at(&self, writer: Writer, now: &Now) -> Instant {
        let (quiet, patience) = match (&self.look, writer) {
            (Look::File(signature), Writer::Unknown) if now.is_long_after(signature.changed()) => {
                return self.first;
            }
            (Look::File(_), Writer::Done) => (QUIET_DONE, PATIENCE),
            (Look::File(_), Writer::Open) => (QUIET_OPEN, PATIENCE_OPEN),
            (Look::File(_), Writer::Unknown) | (Look::Absent | Look::Refused(_), _) => {
                (QUIET_UNKNOWN, PATIENCE)
            }
        };
        (self.last + quiet).min(self.first + patience)
    }

    /// Whether a file that was just closed may be a part of one: more may follow after a pause.
    fn looks_unfinished(&self, bytes: &[u8], now: &Now) -> bool {
        let waited = now.instant >= (self.last + QUIET_UNKNOWN).min(self.first + PATIENCE);
        let settled = matches!(&self.look, Look::File(signature) if now.is_long_after(signature.changed()));
        !waited && !settled && bytes.last() != Some(&b'\n')
    }
}

/// Where the content of `path` really lies: under what name notifications speak of it.
fn real(path: &Path, is_link: bool, real_dir: &Path) -> PathBuf {
    let target = if is_link { path.canonicalize().ok() } else { None };
    target.unwrap_or_else(|| path.file_name().map_or_else(|| path.to_owned(), |name| real_dir.join(name)))
}

/// `content`, unless it is too much beside `others` bytes.
fn within(others: usize, content: FileContent) -> FileContent {
    match content {
        FileContent::Bytes(bytes) if others + bytes.len() > MOST_BYTES => FileContent::Unreadable(format!(
            "all app files together have more than {MOST_BYTES} bytes (64 MiB)"
        )),
        content => content,
    }
}

#[cfg(test)]
mod tests;
