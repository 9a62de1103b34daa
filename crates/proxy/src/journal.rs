//! Where the lines of the access log go: through a bounded queue to a thread that writes them. Whoever has a line never
//! waits: what there is no room for, or what cannot be written, is dropped and counted. It must not know what a line says.

use crate::sync::lock;
use prometheus_client::metrics::counter::Counter;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Bytes that may wait to be written; what comes on top of them is dropped.
const MOST: usize = 4 * 1024 * 1024;

/// When so many wait, they are written at once; before that, lines are gathered, so that a busy proxy neither wakes the
/// thread for each nor writes each by itself.
const ENOUGH: usize = 64 * 1024;
const GATHER: Duration = Duration::from_millis(100);

/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(1);

/// The access log: where it goes, and how a line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How a line is written.
    pub form: Form,
    /// The file that lines are appended to, opened again when another one has taken its place; made with mode 0640.
    /// `None`: standard output.
    pub file: Option<PathBuf>,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// An access log that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    form: Form,
    queue: Arc<Queue>,
    /// Told when the last line is written.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Batch>,
    /// Something waits, or nothing more will.
    news: Condvar,
    dropped: Counter,
}

/// Whole lines.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    ended: bool,
}

impl Journal {
    /// Begins to write; what is dropped is counted in `dropped`. A file that cannot be opened is logged, and tried again
    /// with the next lines.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(crate) fn start(log: AccessLog, dropped: Counter) -> io::Result<Self> {
        let AccessLog { form, file } = log;
        let queue = Arc::new(Queue { waiting: Mutex::default(), news: Condvar::new(), dropped });
        let (tell, ended) = oneshot::channel();
        let mut writer = Writer { queue: Arc::clone(&queue), sink: Sink::of(file), state: State::Works };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            // Here, for it may take as long as it likes: a pipe waits for its reader.
            let opened = writer.sink.ready();
            writer.note(opened);
            writer.run();
            // Whoever wanted to know may have given up.
            let _told = tell.send(());
        })?;
        Ok(Self { form, queue, ended: Mutex::new(Some(ended)) })
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Takes a line, with its line break, if there is room.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut waiting = lock(&self.queue.waiting);
        if waiting.ended || waiting.bytes.len() + line.len() > MOST {
            self.queue.dropped.inc();
            return;
        }
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        let after = waiting.bytes.len();
        drop(waiting);
        // It sleeps for the first, and gathers from then on.
        if before == 0 || (before < ENOUGH && after >= ENOUGH) {
            self.queue.news.notify_one();
        }
    }

    /// Has all that waits written, as far as that is done within [`LAST`]; later lines are dropped.
    pub(crate) async fn end(&self) {
        lock(&self.queue.waiting).ended = true;
        self.queue.news.notify_one();
        let ended = lock(&self.ended).take();
        if let Some(ended) = ended
            && timeout(LAST, ended).await.is_err()
        {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
    }
}

impl Queue {
    /// The lines that wait, as soon as there are some; `None`: there will be none. `spare` is room for the next.
    fn next(&self, spare: Vec<u8>) -> Option<Batch> {
        let empty = |waiting: &mut Batch| waiting.bytes.is_empty() && !waiting.ended;
        let waiting =
            self.news.wait_while(lock(&self.waiting), empty).unwrap_or_else(PoisonError::into_inner);
        let few = |waiting: &mut Batch| waiting.bytes.len() < ENOUGH && !waiting.ended;
        let gathered = self.news.wait_timeout_while(waiting, GATHER, few);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let rest = Batch { bytes: spare, lines: 0, ended: waiting.ended };
        let batch = std::mem::replace(&mut *waiting, rest);
        (!batch.bytes.is_empty()).then_some(batch)
    }
}

/// The one who writes.
#[derive(Debug)]
struct Writer {
    queue: Arc<Queue>,
    sink: Sink,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Works,
    /// The last attempt was in vain, and may have left half a line.
    Broken,
}

impl Writer {
    fn run(&mut self) {
        let mut spare = Vec::new();
        while let Some(mut batch) = self.queue.next(std::mem::take(&mut spare)) {
            let written = self.write(&batch.bytes);
            if written.is_err() {
                self.queue.dropped.inc_by(batch.lines);
            }
            self.note(written);
            batch.bytes.clear();
            spare = batch.bytes;
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.sink.ready()?;
        if self.state == State::Broken {
            self.sink.write(b"\n")?;
        }
        self.sink.write(lines)
    }

    /// Says what is new about it.
    fn note(&mut self, done: io::Result<()>) {
        let state = match &done {
            Ok(()) => State::Works,
            Err(_) => State::Broken,
        };
        match (self.state, done) {
            (State::Works, Err(error)) => {
                let to = &self.sink;
                tracing::error!(%error, %to, "cannot write the access log; its lines are dropped until that is mended");
            }
            (State::Broken, Ok(())) => tracing::info!("the access log is written again"),
            _ => {}
        }
        self.state = state;
    }
}

#[derive(Debug)]
enum Sink {
    Stdout,
    File { path: PathBuf, open: Option<(File, Place)> },
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File { path, .. } => path.display().fmt(f),
        }
    }
}

/// Which file it is: device and number.
type Place = (u64, u64);

impl Sink {
    fn of(file: Option<PathBuf>) -> Self {
        file.map_or(Self::Stdout, |path| Self::File { path, open: None })
    }

    /// Opens what is not open; anew, where another file has taken its place.
    fn ready(&mut self) -> io::Result<()> {
        let Self::File { path, open } = self else { return Ok(()) };
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let there = fs::metadata(&*path).ok().map(place);
        if open.as_ref().is_some_and(|(_, which)| Some(*which) == there) {
            return Ok(());
        }
        *open = None;
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&*path)?;
        let which = place(file.metadata()?);
        *open = Some((file, which));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File { open: Some((file, _)), .. } => file.write_all(bytes),
            Self::File { open: None, .. } => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use std::io::Read;

    fn journal(path: PathBuf) -> (Journal, Counter) {
        let dropped = Counter::default();
        let log = AccessLog { form: Form::Text, file: Some(path) };
        (Journal::start(log, dropped.clone()).unwrap(), dropped)
    }

    #[tokio::test]
    async fn lines_are_written_whole_and_in_order_and_a_file_that_was_moved_away_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let (journal, dropped) = journal(path.clone());
        let mut expected = String::new();
        for number in 0..10_000 {
            let line = format!("line {number}\n");
            journal.push(line.as_bytes());
            expected += &line;
        }
        while fs::metadata(&path).map_or(0, |file| file.len()) < expected.len() as u64 {
            thread::yield_now();
        }
        fs::rename(&path, &moved).unwrap();
        journal.push(b"later\n");
        journal.end().await;
        assert_eq!(fs::read_to_string(&moved).unwrap(), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "later\n");
        journal.push(b"too late\n");
        assert_eq!(dropped.get(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_dropped_counted_and_does_not_stay_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/access.log");
        let (journal, dropped) = journal(path.clone());
        journal.push(b"nowhere\n");
        while dropped.get() == 0 {
            thread::yield_now();
        }
        fs::create_dir(dir.path().join("logs")).unwrap();
        journal.push(b"here\n");
        journal.end().await;
        assert_eq!((fs::read_to_string(&path).unwrap().trim_start(), dropped.get()), ("here\n", 1));
    }

    /// A pipe that nobody reads: who pushes does not wait, however much it is.
    #[tokio::test]
    async fn nobody_waits_for_a_log_that_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (journal, dropped) = journal(path);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let pushed = 3 * MOST / line.len();
        for _ in 0..pushed {
            journal.push(&line);
        }
        assert!(dropped.get() > 0);
        // What was not dropped arrives.
        let kept = (pushed - usize::try_from(dropped.get()).unwrap()) * line.len();
        let mut read = vec![0; kept];
        tokio::task::spawn_blocking(move || reader.read_exact(&mut read).map(|()| reader))
            .await
            .unwrap()
            .unwrap();
        journal.end().await;
    }
}
