//! Reading the files that app files name, any of which may lie on a mount that hangs: one read at a time for a path,
//! and few in all, however often they are asked for. What is read is not looked into.

use crate::wanted::CertificateFiles;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a file may take to be read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads at the same time. A thread that reads from a mount that hangs cannot be ended, and a process has some
/// hundreds of them.
const MOST: usize = 64;

/// The reads of one custodian.
pub(crate) struct Reads {
    files: Arc<dyn CertificateFiles>,
    turns: Arc<Semaphore>,
    under_way: Mutex<BTreeMap<String, Read>>,
}

/// A read that was begun.
struct Read {
    text: Shared<BoxFuture<'static, Result<String, String>>>,
    task: AbortHandle,
    /// It took too long, and nobody waits for it any more.
    late: bool,
}

impl Reads {
    pub(crate) fn of(files: Arc<dyn CertificateFiles>) -> Self {
        Self { files, turns: Arc::new(Semaphore::new(MOST)), under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, Read>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the reads that have ended: what is asked for from now on is read anew.
    pub(crate) fn tidy(&self) {
        self.under_way().retain(|_, read| !read.task.is_finished());
    }

    /// The text of the file at `path`. Whoever asks while it is being read gets the same; one that is late keeps
    /// nobody waiting a second time.
    ///
    /// # Errors
    /// Why not, with the path.
    pub(crate) async fn read(&self, path: &str) -> Result<String, String> {
        let read = match self.begin(path) {
            Some(text) => timeout(PATIENCE, text).await.ok(),
            None => None,
        };
        let read = read.unwrap_or_else(|| {
            if let Some(read) = self.under_way().get_mut(path) {
                read.late = true;
            }
            Err(format!("it could not be read within {} s", PATIENCE.as_secs()))
        });
        read.map_err(|why| format!("{path}: {why}"))
    }

    /// The read of `path`, begun now or before; `None`: one that is late is still under way.
    fn begin(&self, path: &str) -> Option<Shared<BoxFuture<'static, Result<String, String>>>> {
        let mut under_way = self.under_way();
        if let Some(read) = under_way.get(path).filter(|read| !read.late || !read.task.is_finished()) {
            return (!read.late).then(|| read.text.clone());
        }
        let (files, turns, owned) = (Arc::clone(&self.files), Arc::clone(&self.turns), path.to_owned());
        let task = tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            files.read(&owned).await
        });
        let handle = task.abort_handle();
        let text =
            task.map(|read| read.unwrap_or_else(|_| Err("reading it broke off".to_owned()))).boxed().shared();
        under_way.insert(path.to_owned(), Read { text: text.clone(), task: handle, late: false });
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    /// A mount that hangs below `/hung` until it is told otherwise.
    #[derive(Default)]
    struct Mount {
        reads: AtomicUsize,
        back: Notify,
    }

    #[async_trait]
    impl CertificateFiles for Mount {
        async fn read(&self, path: &str) -> Result<String, String> {
            let number = self.reads.fetch_add(1, Ordering::SeqCst);
            if path.starts_with("/hung") {
                self.back.notified().await;
            }
            Ok(format!("{number}"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mount_that_hangs_is_asked_once_and_keeps_nobody_waiting_twice() {
        let mount = Arc::new(Mount::default());
        let reads = Reads::of(mount.clone());
        for _ in 0..100 {
            reads.tidy();
            let late = reads.read("/hung/a").await;
            assert_eq!(late, Err("/hung/a: it could not be read within 2 s".to_owned()));
        }
        assert_eq!(mount.reads.load(Ordering::SeqCst), 1);
        let begun = tokio::time::Instant::now();
        assert!(reads.read("/hung/a").await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(reads.read("/other").await.as_deref(), Ok("1"));
        // What came too late is old by the time that somebody asks again.
        mount.back.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
        mount.back.notify_one();
        reads.tidy();
        assert_eq!(reads.read("/hung/a").await.as_deref(), Ok("2"));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_files_hang_few_threads_wait_for_them() {
        let mount = Arc::new(Mount::default());
        let reads = Reads::of(mount.clone());
        let paths: Vec<String> = (0..3 * MOST).map(|number| format!("/hung/{number}")).collect();
        let all = futures_util::future::join_all(paths.iter().map(|path| reads.read(path))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(mount.reads.load(Ordering::SeqCst), MOST);
    }
}
