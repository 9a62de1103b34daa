//! The proxy that this one took over from, for as long as it finishes what it carries. Its requests count, and it
//! must know every table: it may still begin one on a connection that it keeps.

use crate::form;
use crate::question::{Question, Reply};
use bytes::Bytes;
use dockswap_core::ports::{RouterError, RouterStatus};
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad};
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long it may take to answer, beyond what it was asked to wait.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long it takes at most to notice that the lifeline has ended, once a question on it has.
const NOTICE: Duration = Duration::from_millis(100);

/// Its end of the lifeline, which lives as long as it does.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor {
    pid: u32,
    lifeline: SendRequest<Full<Bytes>>,
    gone: CancellationToken,
}

impl Predecessor {
    /// Process `pid`, at the other end of `lifeline`.
    pub(crate) async fn meet(pid: u32, lifeline: UnixStream) -> io::Result<Self> {
        let met = http2::handshake(TokioExecutor::new(), TokioIo::new(lifeline)).await;
        let (lifeline, connection) = met.map_err(io::Error::other)?;
        let gone = CancellationToken::new();
        let tell = gone.clone().drop_guard();
        tokio::spawn(async move {
            // However it ends, the other side is gone.
            drop(connection.await);
            tracing::info!(pid, "the proxy before this one has ended");
            drop(tell);
        });
        Ok(Self { pid, lifeline, gone })
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it has ended.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Whether its end explains that it did not answer.
    async fn was_gone(&self) -> bool {
        timeout(NOTICE, self.gone()).await.is_ok()
    }

    /// Puts `table` in force there. When this returns, no request begins there by an older one: a proxy that does not
    /// take it is ended.
    pub(crate) async fn apply(&self, table: &RouteTable) {
        let applied = match Question::apply(table) {
            Ok(question) => self.ask(&question, DEADLINE).await.and_then(|reply| reply.done()),
            Err(error) => Err(error),
        };
        if let Err(error) = applied
            && !self.was_gone().await
        {
            tracing::error!(pid = self.pid, %error, "the proxy before this one does not follow: it is ended");
            self.end();
        }
    }

    /// What is in flight there.
    pub(crate) async fn loads(&self) -> Result<Vec<UpstreamLoad>, RouterError> {
        if self.is_gone() {
            return Ok(Vec::new());
        }
        let status: RouterStatus = self.ask(&Question::status(), DEADLINE).await?.json()?;
        Ok(status.load)
    }

    /// Waits until nothing is in flight there on `upstreams`; what is left.
    pub(crate) async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, RouterError> {
        let question = Question::drained(upstreams, patience)?;
        match self.ask(&question, patience.saturating_add(DEADLINE)).await {
            Err(_) if self.was_gone().await => Ok(Vec::new()),
            reply => reply?.json(),
        }
    }

    /// Closes what is in flight there on `upstreams`.
    pub(crate) async fn close(&self, upstreams: &[UpstreamId]) -> Result<(), RouterError> {
        let question = Question::close(upstreams)?;
        match self.ask(&question, crate::upstream::SPREAD.saturating_add(DEADLINE)).await {
            Err(_) if self.was_gone().await => Ok(()),
            reply => reply?.done(),
        }
    }

    async fn ask(&self, question: &Question, deadline: Duration) -> Result<Reply, RouterError> {
        let mut lifeline = self.lifeline.clone();
        let asked =
            async { Reply::read(lifeline.send_request(form::for_http2(question.to_request())).await?).await };
        let unavailable = |message| RouterError::Unavailable {
            message: format!("the proxy before this one (process {}): {message}", self.pid),
        };
        match timeout(deadline, asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {deadline:?}"))),
        }
    }

    /// Ends it at once. The lifeline is open, so that its process id is still its own.
    fn end(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) else { return };
        if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            tracing::error!(pid = self.pid, %error, "it cannot be ended");
        }
    }
}
