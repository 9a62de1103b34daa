//! The proxy as a whole: started, kept going, ended.

use crate::control::{self, Control, Desk};
use crate::front::Front;
use crate::handover::{self, Taken, TakeoverError};
use crate::inherited::Inherited;
use crate::journal::{AccessLog, Journal};
use crate::keyfile::Keyfile;
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::socket::{Claim, ClaimError};
use crate::switchboard::Switchboard;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it looks after what failed and what is over.
const TICK: Duration = Duration::from_secs(1);

/// How often a proxy is looked for that has the claim and does not answer.
const ASK: Duration = Duration::from_millis(20);

/// How long a connection that rests may ask once more when another proxy has taken over: whoever has just sent a
/// request gets its answer, and with it the word that the connection ends.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// Where a proxy listens and keeps its things.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The common listener; port 0: any free one (the status says which). Routes with a
    /// `listen_port` are served on the same address. `[::]` takes IPv4 as well.
    pub http: SocketAddr,
    /// The common listener for TLS, open while a route asks for it.
    pub https: SocketAddr,
    /// The port by which clients reach that one, where it is another: behind a port mapping, say. Plain requests are
    /// sent on to it.
    pub public_https_port: Option<u16>,
    /// The control socket, made with mode 0600; a lock file is kept beside it.
    pub control_socket: PathBuf,
    /// The file that holds the last table.
    pub snapshot: PathBuf,
    /// The file that holds the last certificates and their keys.
    pub keyfile: PathBuf,
    /// What clients may take.
    pub limits: Limits,
    /// What stands in front.
    pub front: Front,
    /// Where requests are written down; `None`: nowhere.
    pub access_log: Option<AccessLog>,
    /// Sockets that a service manager has opened: one that is on the port of a listener is used in its place.
    pub sockets: Vec<TcpListener>,
    /// What about a proxy that runs already.
    pub start: Start,
    /// Is told once everything answers; dropped when the proxy does not start.
    pub ready: Option<oneshot::Sender<()>>,
}

/// How a proxy begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As the only one.
    Alone,
    /// In place of the one that answers on the control socket, with its listening sockets: no connection is refused.
    /// Where none answers, alone.
    TakingOver,
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another proxy has the control socket.
    #[error("a proxy is already running on {socket}")]
    AlreadyRunning {
        /// Its socket.
        socket: PathBuf,
    },
    /// The control socket cannot be made.
    #[error("cannot open the control socket {socket}")]
    Socket {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The common listener cannot be opened.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The running proxy did not hand over.
    #[error("cannot take over from the proxy on {socket}, which goes on")]
    Takeover {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: TakeoverError,
    },
    /// There is no thread for the access log.
    #[error("cannot start the access log")]
    AccessLog(#[source] io::Error),
    /// The snapshot is there and cannot be read. (One that is merely broken is set aside.)
    #[error("cannot read the saved route table {path}")]
    Snapshot {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs a proxy until `shutdown` is cancelled; it then accepts nothing new, ends each connection
/// after the request that it is at, and waits for these at most [`Limits::drain_time`].
///
/// It serves the table of the run before as soon as it listens. The control socket answers last of
/// all: whoever reaches it finds everything else ready.
///
/// Another proxy may take over from it ([`Start::TakingOver`]): it then accepts nothing new, follows that one's tables,
/// and returns when it has no connection left, after [`Limits::handover_time`], or when that one is gone.
///
/// # Errors
/// When it cannot start; nothing is left open then, and a proxy that it was to take over from goes on.
pub async fn serve(config: ProxyConfig, shutdown: CancellationToken) -> Result<(), ServeError> {
    let ProxyConfig {
        http,
        https,
        public_https_port,
        control_socket: socket,
        snapshot: path,
        keyfile,
        limits,
        front,
        access_log,
        sockets,
        start,
        ready,
    } = config;
    let (snapshot, keyfile) = (Snapshot::new(path.clone()), Keyfile::new(keyfile));
    let listening = |source| ServeError::Listen { addr: http, source };
    let opening = |source| ServeError::Socket { socket: socket.clone(), source };
    let broken = |source| ServeError::Takeover { socket: socket.clone(), source };
    let begun = match start {
        Start::Alone => Claim::new(&socket).map(Begun::Alone),
        Start::TakingOver => take_over(&socket).await.map_err(broken)?,
    };
    let begun = begun.map_err(|error| match error {
        ClaimError::Taken => ServeError::AlreadyRunning { socket: socket.clone() },
        ClaimError::Io(source) => opening(source),
    })?;
    let (claim, table, keyring, common, inherited, lifeline) = match begun {
        Begun::Alone(claim) => {
            let table = snapshot.load().map_err(|source| ServeError::Snapshot { path, source })?;
            (claim, table, None, http, Inherited::activated(sockets), None)
        }
        Begun::After(Taken { lifeline, offer, mut files }) => {
            tracing::info!(version = offer.version, "taking over from the running proxy");
            let common = if http.port() == 0 { offer.common } else { http };
            let claim = Claim::inherited(&socket, files.remove(0));
            let inherited = Inherited::handed_over(files, offer.activated);
            (claim, offer.table, offer.keyring, common, inherited, Some(lifeline))
        }
    };
    let claim = Arc::new(claim);
    let mut proxy = Proxy::new(limits, front);
    let journal = access_log.map(|log| Journal::start(log, proxy.meter.unlogged())).transpose();
    let journal = journal.map_err(ServeError::AccessLog)?.map(Arc::new);
    proxy.journal.clone_from(&journal);
    let proxy = Arc::new(proxy);
    let listeners = inherited
        .and_then(|inherited| Listeners::new(Arc::clone(&proxy), common, https, inherited))
        .map_err(listening)?
        .reached_by(public_https_port);
    let keyring = keyring.unwrap_or_else(|| keyfile.load());
    let mut board = Switchboard::new(Arc::clone(&proxy), (snapshot, keyfile), listeners);
    board.restore(table, keyring).await;
    let control = claim.bind().map_err(opening)?;
    match lifeline {
        None => board.accept().await,
        Some(lifeline) => board.succeed(lifeline).await.map_err(broken)?,
    }
    let board = Arc::new(board);
    let desk = Desk { board: Arc::clone(&board), claim: Arc::clone(&claim) };
    let control = control::start(control, desk.clone());
    let listeners = board.addresses().await;
    tracing::info!(?listeners, socket = %socket.display(), "the proxy is ready");
    if let Some(ready) = ready {
        // Whoever wanted to know may have gone.
        let _ = ready.send(());
    }

    carry(&desk, control, &shutdown).await.stop().await;
    board.close().await;
    let parted = board.has_parted();
    if parted {
        part(&desk, &shutdown).await;
    } else {
        finish(&board, proxy.limits.drain_time).await;
    }
    if let Some(journal) = journal {
        journal.end().await;
    }
    if parted {
        return Ok(());
    }
    if let Err(error) = claim.release() {
        tracing::warn!(%error, "cannot remove the control socket");
    }
    Ok(())
}

/// How a proxy begins.
enum Begun {
    Alone(Claim),
    After(Taken),
}

/// What the running proxy hands over; the claim where none runs. One that has just lost its socket has it again within
/// [`TICK`].
async fn take_over(socket: &Path) -> Result<Result<Begun, ClaimError>, TakeoverError> {
    let deadline = Instant::now() + 5 * TICK;
    loop {
        if let Some(taken) = handover::take(socket).await? {
            return Ok(Ok(Begun::After(taken)));
        }
        match Claim::new(socket) {
            Err(ClaimError::Taken) if Instant::now() < deadline => sleep(ASK).await,
            claim => return Ok(claim.map(Begun::Alone)),
        }
    }
}

/// Looks after everything, until it is to end or has handed over.
async fn carry(desk: &Desk, mut control: Control, shutdown: &CancellationToken) -> Control {
    let mut ticks = ticks();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return control,
            () = desk.board.handed_over() => return control,
            _ = ticks.tick() => desk.board.tick().await,
        }
        // One that wanted to take over and did not may have put its own socket in the place of this one's.
        if desk.board.has_parted() || desk.claim.has_path() {
            continue;
        }
        match desk.claim.bind() {
            Ok(listener) => {
                control.stop().await;
                control = control::start(listener, desk.clone());
            }
            Err(error) => tracing::error!(%error, "the control socket is gone, and cannot be opened again"),
        }
    }
}

/// Finishes what was begun before another proxy took over: what is in flight, tunnels, and the one that this one took
/// over from.
async fn part(desk: &Desk, shutdown: &CancellationToken) {
    let (board, proxy) = (&desk.board, desk.board.proxy());
    tracing::info!(connections = proxy.connections.len(), "another proxy has taken over; finishing");
    // The other one holds it too, and must be able to leave it to the next.
    desk.claim.let_go();
    proxy.connections.close();
    proxy.parting.give();
    let over = async {
        if timeout(LAST_REQUEST, proxy.connections.wait()).await.is_err() {
            proxy.draining.give();
        }
        board.empty().await;
    };
    let mut ticks = ticks();
    let look_after = async {
        loop {
            ticks.tick().await;
            board.tick().await;
        }
    };
    tokio::select! {
        () = over => {}
        () = look_after => {}
        // Nobody counts any more what is in flight here: it must end before what it is in flight on is stopped.
        () = board.successor_lost() => {
            tracing::warn!("the proxy that took over is gone: closing all connections");
            cut(proxy).await;
        }
        () = shutdown.cancelled() => finish(board, proxy.limits.drain_time).await,
        () = sleep(proxy.limits.handover_time) => {
            tracing::info!(connections = proxy.connections.len(), "the time to finish is over");
            finish(board, proxy.limits.drain_time).await;
        }
    }
}

/// Ends every connection after the request that it is at, and within `time`.
async fn finish(board: &Switchboard, time: Duration) {
    let proxy = board.proxy();
    proxy.closing.give();
    proxy.parting.give();
    proxy.draining.give();
    proxy.connections.close();
    if timeout(time, board.empty()).await.is_err() {
        tracing::warn!(connections = proxy.connections.len(), "closing connections that are still busy");
        let busy: Vec<_> = proxy.upstreams.loads().into_iter().map(|load| load.id).collect();
        proxy.upstreams.close(&busy).await;
        cut(proxy).await;
    }
}

/// Ends every connection at once.
async fn cut(proxy: &Proxy) {
    proxy.ending.give();
    proxy.connections.wait().await;
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
