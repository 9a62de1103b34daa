//! Places that can be taken at a time. Who takes them, and how many there are, is not its business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the places that are taken.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: AtomicU32,
}

/// A place, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Room>);

impl Room {
    /// Takes a place, if less than `most` are taken.
    pub(crate) fn take(self: &Arc<Self>, most: u32) -> Option<Seat> {
        // Nothing else is read by way of it.
        let one_more = |taken: u32| (taken < most).then(|| taken + 1);
        let had_room = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        had_room.then(|| Seat(Arc::clone(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_than_there_are_also_by_many_at_once() {
        let room = Arc::new(Room::default());
        let most = 3;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let _seats = [room.take(most), room.take(most)];
                        assert!(room.taken.load(Ordering::Relaxed) <= most);
                    }
                });
            }
        });
        let seats: Vec<_> = (0..5).map(|_| room.take(most)).collect();
        assert_eq!(seats.iter().flatten().count(), 3);
        drop(seats);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
