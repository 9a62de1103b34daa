//! Constant load on one app through the proxy. Every answer is checked, every request that fails is
//! counted with its reason, and each is kept with its times, so that it can be judged afterwards.

mod client;
mod report;

pub use report::{Failure, Report, Sample};

use crate::time::Micros;
use crate::wait::until;
use client::Client;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A GET on a connection that is kept.
    KeepAlive,
    /// A GET on a connection of its own.
    OneShot,
    /// A POST with a body, on a connection that is kept; the answer must be the same body.
    Post,
}

/// How many clients of each kind, and how often each asks.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Clients with a connection that is kept.
    pub keep_alive: usize,
    /// Clients that open a connection for each request.
    pub one_shot: usize,
    /// Clients that post.
    pub posts: usize,
    /// From one request of a client to its next; zero: as soon as it is answered.
    pub period: Duration,
    /// What is asked of the app by GET.
    pub path: &'static str,
}

impl Default for Mix {
    /// 320 requests a second, of all kinds.
    fn default() -> Self {
        Self { keep_alive: 4, one_shot: 2, posts: 2, period: Duration::from_millis(25), path: "/" }
    }
}

/// Load that is under way, in a thread of its own.
#[derive(Debug)]
pub struct Load {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    ended: AtomicBool,
    report: Mutex<Report>,
}

impl State {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Begins, and returns once every client has had an answer: the app must serve.
    #[must_use]
    pub fn start(proxy: SocketAddr, host: &str, mix: Mix) -> Self {
        let load = Self::begin(proxy, host, mix);
        let clients = mix.keep_alive + mix.one_shot + mix.posts;
        until("every client has had an answer", Duration::from_secs(30), || {
            (load.state.report().requests() >= 2 * clients).then_some(())
        });
        load
    }

    /// Begins.
    #[must_use]
    pub fn begin(proxy: SocketAddr, host: &str, mix: Mix) -> Self {
        let state = Arc::new(State::default());
        let (shared, host) = (Arc::clone(&state), host.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(generate(proxy, host, mix, shared));
        });
        Self { state, thread: Some(thread) }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn so_far(&self) -> Report {
        self.state.report().clone()
    }

    /// What has been seen since it was last taken.
    #[must_use]
    pub fn take(&self) -> Report {
        std::mem::take(&mut *self.state.report())
    }

    /// Requests answered and failed, so far.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let report = self.state.report();
        (report.requests(), report.failures.len())
    }

    /// Waits for the first answer of `version` to a request that was sent after `after`: when it was
    /// complete.
    #[must_use]
    pub fn first_answer(&self, version: &str, after: Micros) -> Micros {
        until(&format!("an answer of {version}"), Duration::from_secs(60), || {
            let report = self.state.report();
            let answers = report.samples.iter().filter(|sample| sample.version == version);
            answers.filter(|sample| sample.began >= after).map(|sample| sample.ended).min()
        })
    }

    /// Waits until `count` more requests have been answered or failed.
    pub fn goes_on(&self, count: usize) {
        let from = self.counts().0;
        until("the load goes on", Duration::from_secs(60), || {
            (self.counts().0 >= from + count).then_some(())
        });
    }

    /// Lets every client finish its request, and ends.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.end();
        std::mem::take(&mut *self.state.report())
    }

    fn end(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the load panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks once.
///
/// # Errors
/// What was wrong with the answer.
pub fn once(proxy: SocketAddr, host: &str, kind: Kind) -> Result<Sample, Failure> {
    ask_once(Client::new(kind, proxy, host.to_owned(), "/"))
}

/// Asks once for `path`.
///
/// # Errors
/// What was wrong with the answer.
pub fn get(proxy: SocketAddr, host: &str, path: &'static str) -> Result<Sample, Failure> {
    ask_once(Client::new(Kind::OneShot, proxy, host.to_owned(), path))
}

fn ask_once(mut client: Client) -> Result<Sample, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(client.request(1_000))
}

async fn generate(proxy: SocketAddr, host: String, mix: Mix, state: Arc<State>) {
    let kinds = [(Kind::KeepAlive, mix.keep_alive), (Kind::OneShot, mix.one_shot), (Kind::Post, mix.posts)];
    let kinds = kinds.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    let count = u32::try_from(mix.keep_alive + mix.one_shot + mix.posts).unwrap_or(u32::MAX).max(1);
    let clients = kinds.zip(0_u32..).map(|(kind, at)| {
        let client = Client::new(kind, proxy, host.clone(), mix.path);
        // One after the other, so that the load is even however long the period is.
        let first = Instant::now() + mix.period * at / count;
        ask(client, (first, mix.period), at, Arc::clone(&state))
    });
    futures_util::future::join_all(clients).await;
}

/// One client: asks at its pace, a request at a time.
async fn ask(mut client: Client, (first, period): (Instant, Duration), at: u32, state: Arc<State>) {
    let mut pace = interval_at(first, period.max(Duration::from_micros(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Bodies of many sizes, among them ones that do not fit into one read.
    let mut size = at as usize * 257;
    while !state.ended.load(Ordering::Relaxed) {
        pace.tick().await;
        size = (size * 31 + 1_021) % 100_000;
        let result = client.request(size).await;
        state.report().add(result);
    }
}
