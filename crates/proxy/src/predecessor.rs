//! The proxy that this one took over from, for as long as it finishes what it carries. Its requests count, and it
//! must know every table: it may still begin one on a connection that it keeps.

use crate::form;
use crate::question::{Question, Reply};
use crate::upstream::SPREAD;
use crate::wire;
use bytes::Bytes;
use dockswap_core::ports::{RouterError, RouterStatus};
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad, Waiting};
use http::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal};
use std::io;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// What each proxy of a chain leaves, of the time that it is given, to the one that asked it.
const HOP: Duration = Duration::from_millis(50);

/// How long it takes at most to notice that the lifeline has ended, once a question on it has, or the process was
/// killed.
const NOTICE: Duration = Duration::from_millis(20);

/// Its end of the lifeline, which lives as long as it does.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor {
    pid: Option<Pid>,
    since: Instant,
    lifeline: SendRequest<Full<Bytes>>,
    gone: CancellationToken,
}

impl Predecessor {
    /// The process at the other end of `lifeline`.
    pub(crate) async fn meet(lifeline: UnixStream) -> io::Result<Self> {
        // The kernel's word, and not the other side's.
        let pid = lifeline.peer_cred()?.pid().and_then(Pid::from_raw);
        let met = http2::handshake(TokioExecutor::new(), TokioIo::new(lifeline)).await;
        let (lifeline, connection) = met.map_err(io::Error::other)?;
        let gone = CancellationToken::new();
        let tell = gone.clone().drop_guard();
        tokio::spawn(async move {
            // However it ends: a proxy that has lost its successor ends at once.
            drop(connection.await);
            tracing::info!(?pid, "the proxy before this one has ended");
            drop(tell);
        });
        Ok(Self { pid, since: Instant::now(), lifeline, gone })
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it has ended.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Ends it when it has been there for longer than `time`: it keeps its own time, unless it hangs.
    pub(crate) fn outlives(&self, time: Duration) {
        if !self.is_gone() && self.since.elapsed() > time {
            tracing::error!(pid = ?self.pid, "the proxy before this one does not end by itself: it is killed");
            self.kill();
        }
    }

    /// Puts `table` in force there. When this returns, no request begins there by an older one: a proxy that does not
    /// take it in time is killed.
    ///
    /// # Errors
    /// When it lives all the same.
    pub(crate) async fn apply(&self, table: &RouteTable, within: Duration) -> Result<(), RouterError> {
        let question = Question::apply(table)?;
        let applied = self.ask(&question, Duration::ZERO, within).await.and_then(|reply| reply.done());
        let Err(error) = applied else { return Ok(()) };
        if self.was_gone().await {
            return Ok(());
        }
        tracing::error!(pid = ?self.pid, %error, "the proxy before this one does not follow: it is killed");
        self.kill();
        if self.was_gone().await { Ok(()) } else { Err(error) }
    }

    /// What is in flight there, and what waits.
    pub(crate) async fn carries(
        &self,
        within: Duration,
    ) -> Result<(Vec<UpstreamLoad>, Vec<Waiting>), RouterError> {
        match self.ask(&Question::status(), Duration::ZERO, within).await {
            Err(_) if self.was_gone().await => Ok((Vec::new(), Vec::new())),
            reply => reply?.json().map(|status: RouterStatus| (status.load, status.waiting)),
        }
    }

    /// Waits until nothing is in flight there on `upstreams`; what is left.
    pub(crate) async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
        within: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError> {
        match self.ask(&Question::drained(upstreams, patience)?, patience, within).await {
            Err(_) if self.was_gone().await => Ok(Vec::new()),
            reply => reply?.json(),
        }
    }

    /// Closes what is in flight there on `upstreams`.
    pub(crate) async fn close(&self, upstreams: &[UpstreamId], within: Duration) -> Result<(), RouterError> {
        match self.ask(&Question::close(upstreams)?, SPREAD, within).await {
            Err(_) if self.was_gone().await => Ok(()),
            reply => reply?.done(),
        }
    }

    /// `within`: how long the one who asked this proxy waits, beyond `patience`.
    async fn ask(
        &self,
        question: &Question,
        patience: Duration,
        within: Duration,
    ) -> Result<Reply, RouterError> {
        let within = within.saturating_sub(HOP);
        let mut request = form::for_http2(question.to_request().into());
        let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        request.fields.set(wire::WITHIN, HeaderValue::from(millis));
        let mut lifeline = self.lifeline.clone();
        let asked = async { Reply::read(lifeline.send_request(request.into()).await?).await };
        let unavailable = |why| RouterError::Unavailable {
            message: format!("the proxy before this one (process {:?}): {why}", self.pid),
        };
        match timeout(patience.saturating_add(within), asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {within:?}"))),
        }
    }

    /// Whether its end explains that it did not answer.
    async fn was_gone(&self) -> bool {
        timeout(NOTICE, self.gone()).await.is_ok()
    }

    /// Ends it at once. The lifeline is open, so that its process id is still its own.
    fn kill(&self) {
        let Some(pid) = self.pid.filter(|pid| *pid != rustix::process::getpid()) else { return };
        if let Err(error) = rustix::process::kill_process(pid, Signal::KILL) {
            tracing::error!(?pid, %error, "it cannot be killed");
        }
    }
}
