//! Locking a [`Mutex`] whose data stay whole even when a holder panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. Every critical section in this crate leaves its data consistent at each step, so
/// a poisoned lock holds nothing broken.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
