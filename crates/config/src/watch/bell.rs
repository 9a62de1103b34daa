//! What notifications say, kept until the next look: that something happened, and which writer has
//! finished. Bounded by the number of files that are open at a time.

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Signs older than this say nothing any more.
const MEMORY: Duration = Duration::from_secs(30);

/// What is known of a file's last writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// When it was last heard of.
    pub(super) at: Instant,
    pub(super) writer: Writer,
}

/// Where a writer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// Not known.
    Unknown,
    /// It has written, and not closed the file.
    Open,
    /// It has closed the file, or renamed it here.
    Done,
}

pub(super) type Signs = HashMap<PathBuf, Sign>;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Ring,
    Nothing,
    Closed,
}

/// Rung by notifications and people, answered by the watching thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    closed: bool,
    signs: Signs,
}

impl Bell {
    /// Something may have changed.
    pub(super) fn ring(&self) {
        self.lock().rung = true;
        self.rung.notify_one();
    }

    /// Nobody wants to know any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.rung.notify_one();
    }

    /// Takes in a notification.
    pub(super) fn hear(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.lock().signs.clear(),
            Ok(Event { kind: EventKind::Access(kind), .. })
                if kind != AccessKind::Close(AccessMode::Write) =>
            {
                // Somebody reads; mostly it is us.
                return;
            }
            Ok(event) => {
                let signs = &mut self.lock().signs;
                for path in &event.paths {
                    note(signs, path, event.kind);
                }
            }
            Err(_) => self.lock().signs.clear(),
        }
        self.ring();
    }

    /// What is known of writers; rings until now are answered by it.
    pub(super) fn answer(&self) -> Signs {
        let mut state = self.lock();
        state.rung = false;
        state.signs.retain(|_, sign| sign.at.elapsed() < MEMORY);
        state.signs.clone()
    }

    /// Waits for a ring, until `until`.
    pub(super) fn wait(&self, until: Instant) -> Heard {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match &*state {
                State { closed: true, .. } => return Heard::Closed,
                State { rung: true, .. } => return Heard::Ring,
                _ if left.is_zero() => return Heard::Nothing,
                _ => {}
            }
            state = self.rung.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(signs: &mut Signs, path: &Path, kind: EventKind) {
    let writer = match kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Writer::Done,
        EventKind::Modify(ModifyKind::Data(_)) => Writer::Open,
        EventKind::Create(_) => Writer::Unknown,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            signs.remove(path);
            return;
        }
        _ => return,
    };
    signs.insert(path.to_owned(), Sign { at: Instant::now(), writer });
}

#[cfg(test)]
mod tests {
    use super::{Bell, Heard, Writer};
    use dockswap_proof::Proof;
    use notify::event::{AccessKind, AccessMode, DataChange, Flag, ModifyKind};
    use notify::{Event, EventKind};
    use std::time::{Duration, Instant};

    fn heard(bell: &Bell) -> Heard {
        bell.wait(Instant::now() + Duration::ZERO)
    }

    /// When the kernel's queue overflows, what was heard of writers may be out of date: it is forgotten,
    /// and everything is looked at again.
    #[test]
    fn an_overflow_is_a_reason_to_look_at_everything() {
        let mut proof = Proof::of("cfg.1000", "an overflow of notifications");
        let open = Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Any)));
        let closed = Event::new(EventKind::Access(AccessKind::Close(AccessMode::Write)));
        let lost = [
            Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)),
            Err(notify::Error::generic("the queue is full")),
        ];
        for lost in lost {
            for before in [&open, &closed] {
                let bell = Bell::default();
                bell.hear(Ok(before.clone().add_path("web.yaml".into())));
                let known = bell.answer();
                assert!(known.values().all(|sign| sign.writer != Writer::Unknown) && known.len() == 1);
                assert_eq!(heard(&bell), Heard::Nothing);
                bell.hear(match &lost {
                    Ok(event) => Ok(event.clone()),
                    Err(error) => Err(notify::Error::generic(&error.to_string())),
                });
                let rung = heard(&bell);
                let signs = bell.answer();
                if rung == Heard::Ring && signs.is_empty() {
                    proof.kept();
                } else {
                    proof.broken(format!("{rung:?}, and {signs:?} is still believed"));
                }
            }
        }
        proof.conclude();
    }
}
