//! The proxy as a whole: started, kept going, ended.

use crate::control::{self, Control, Desk};
use crate::handover::{self, TakeoverError};
use crate::inherited::{Fit, Inherited};
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::socket::{Claim, ClaimError};
use crate::switchboard::{Succession, Switchboard};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it looks after what failed and what is over.
const TICK: Duration = Duration::from_secs(1);

/// How long a connection that rests may ask once more when another proxy has taken over: whoever has just sent a
/// request gets its answer, and with it the word that the connection ends.
const LAST_REQUEST: Duration = Duration::from_secs(5);

/// Where a proxy listens and keeps its things.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The common listener; port 0: any free one (the status says which). Routes with a
    /// `listen_port` are served on the same address. `[::]` takes IPv4 as well.
    pub http: SocketAddr,
    /// The control socket, made with mode 0600; a lock file is kept beside it.
    pub control_socket: PathBuf,
    /// The file that holds the last table.
    pub snapshot: PathBuf,
    /// What clients may take.
    pub limits: Limits,
    /// Sockets that a service manager has opened: one that is on the port of a listener is used in its place.
    pub sockets: Vec<TcpListener>,
    /// What about a proxy that runs already.
    pub start: Start,
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
/// and returns when it has no connection left, or after [`Limits::handover_time`].
///
/// # Errors
/// When it cannot start; nothing is left open then, and a proxy that it was to take over from goes on.
pub async fn serve(config: ProxyConfig, shutdown: CancellationToken) -> Result<(), ServeError> {
    let ProxyConfig { http, control_socket: socket, snapshot: path, limits, sockets, start } = config;
    let snapshot = Snapshot::new(path.clone());
    let listening = |source| ServeError::Listen { addr: http, source };
    let opening = |source| ServeError::Socket { socket: socket.clone(), source };
    let broken = |source| ServeError::Takeover { socket: socket.clone(), source };
    let taken = match start {
        Start::Alone => None,
        Start::TakingOver => handover::take(&socket).await.map_err(broken)?,
    };
    let (claim, table, common, inherited, lifeline) = match taken {
        None => {
            let claim = Claim::new(&socket).map_err(|error| match error {
                ClaimError::Taken => ServeError::AlreadyRunning { socket: socket.clone() },
                ClaimError::Io(source) => opening(source),
            })?;
            let table = snapshot.load().map_err(|source| ServeError::Snapshot { path, source })?;
            (claim, table, http, Inherited::new(sockets, Fit::Port), None)
        }
        Some((lifeline, offer, mut files)) => {
            tracing::info!(pid = offer.pid, version = offer.version, "taking over from the running proxy");
            let common = if http.port() == 0 { offer.common } else { http };
            let claim = Claim::inherited(&socket, files.remove(0));
            (claim, offer.table, common, Inherited::of_files(files, Fit::Exact), Some((lifeline, offer.pid)))
        }
    };
    let claim = Arc::new(claim);
    let proxy = Arc::new(Proxy::new(limits));
    let listeners = inherited
        .and_then(|inherited| Listeners::new(Arc::clone(&proxy), common, inherited))
        .map_err(listening)?;
    let mut board = Switchboard::new(Arc::clone(&proxy), snapshot, listeners);
    board.restore(table).await;
    let control = match claim.bind() {
        Ok(listener) => listener,
        Err(source) => {
            board.close().await;
            return Err(opening(source));
        }
    };
    if let Some((lifeline, pid)) = lifeline
        && let Err(source) = board.succeed(lifeline, pid).await
    {
        board.close().await;
        return Err(broken(source));
    }
    let board = Arc::new(board);
    let desk = Desk { board: Arc::clone(&board), claim: Arc::clone(&claim) };
    let listeners = board.status().await.listeners;
    let control = control::start(control, desk.clone());
    tracing::info!(?listeners, socket = %socket.display(), "the proxy is ready");

    let control = carry(&desk, control, &shutdown).await;
    control.stop().await;
    if board.has_parted() {
        part(&board, &shutdown).await;
        return Ok(());
    }
    board.close().await;
    finish(&board, proxy.limits.drain_time).await;
    if let Err(error) = claim.release() {
        tracing::warn!(%error, "cannot remove the control socket");
    }
    Ok(())
}

/// Looks after everything, until it is to end or has handed over.
async fn carry(desk: &Desk, mut control: Control, shutdown: &CancellationToken) -> Control {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut succession = desk.board.succession();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return control,
            _ = ticks.tick() => desk.board.tick().await,
            _ = succession.changed() => {
                if desk.board.has_parted() {
                    return control;
                }
                // The one that failed may have put its own socket in the place of this one's.
                match desk.claim.bind() {
                    Ok(listener) => {
                        control.stop().await;
                        control = control::start(listener, desk.clone());
                    }
                    Err(error) => tracing::error!(%error, "the control socket cannot be opened again"),
                }
            }
        }
    }
}

/// Finishes what was begun before another proxy took over: what is in flight, tunnels, and the one that this one took
/// over from.
async fn part(board: &Switchboard, shutdown: &CancellationToken) {
    let proxy = board.proxy();
    tracing::info!(connections = proxy.connections.len(), "another proxy has taken over; finishing");
    proxy.connections.close();
    proxy.parting.give();
    let mut succession = board.succession();
    let alone = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            // Nobody counts any more what is in flight here.
            _ = succession.wait_for(|news| *news == Succession::Lost) => {}
        }
    };
    let over = async {
        if timeout(LAST_REQUEST, proxy.connections.wait()).await.is_err() {
            proxy.draining.give();
            proxy.connections.wait().await;
        }
        if let Some(predecessor) = board.predecessor() {
            predecessor.gone().await;
        }
    };
    tokio::select! {
        () = over => return,
        () = alone => {}
        () = sleep(proxy.limits.handover_time) => tracing::warn!("it has lasted too long"),
    }
    finish(board, proxy.limits.drain_time).await;
}

/// Ends every connection after the request that it is at, and within `time`.
async fn finish(board: &Switchboard, time: Duration) {
    let proxy = board.proxy();
    proxy.parting.give();
    proxy.draining.give();
    proxy.connections.close();
    if timeout(time, proxy.connections.wait()).await.is_err() {
        tracing::warn!(connections = proxy.connections.len(), "closing connections that are still busy");
        let busy: Vec<_> = proxy.upstreams.loads().into_iter().map(|load| load.id).collect();
        proxy.upstreams.close(&busy).await;
        proxy.ending.give();
        proxy.connections.wait().await;
    }
}
