//! The proxy as a whole: started, kept going, ended.

use crate::control;
use crate::keyfile::Keyfile;
use crate::limits::Limits;
use crate::listeners;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::socket::{Claim, ClaimError};
use crate::switchboard::Switchboard;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often it looks after what failed and what is over.
const TICK: Duration = Duration::from_secs(1);

/// Where a proxy listens and keeps its things.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The common listener; port 0: any free one (the status says which). Routes with a
    /// `listen_port` are served on the same address. `[::]` takes IPv4 as well.
    pub http: SocketAddr,
    /// The common listener for TLS, open while a route asks for it.
    pub https: SocketAddr,
    /// The control socket, made with mode 0600; a lock file is kept beside it.
    pub control_socket: PathBuf,
    /// The file that holds the last table.
    pub snapshot: PathBuf,
    /// The file that holds the last certificates and their keys.
    pub keyfile: PathBuf,
    /// What clients may take.
    pub limits: Limits,
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
/// # Errors
/// When it cannot start; nothing is left open then.
pub async fn serve(config: ProxyConfig, shutdown: CancellationToken) -> Result<(), ServeError> {
    let ProxyConfig { http, https, control_socket: socket, snapshot: path, keyfile, limits } = config;
    let claim = Claim::new(&socket).map_err(|error| match error {
        ClaimError::Taken => ServeError::AlreadyRunning { socket: socket.clone() },
        ClaimError::Io(source) => ServeError::Socket { socket: socket.clone(), source },
    })?;
    let snapshot = Snapshot::new(path.clone());
    let table = snapshot.load().map_err(|source| ServeError::Snapshot { path, source })?;
    let keyfile = Keyfile::new(keyfile);
    let keyring = keyfile.load();
    let drain_time = limits.drain_time;
    let proxy = Arc::new(Proxy::new(limits));
    let board = listeners::bind(http)
        .and_then(|common| Switchboard::new(Arc::clone(&proxy), (snapshot, keyfile), common, https))
        .map_err(|source| ServeError::Listen { addr: http, source })?;
    let board = Arc::new(board);
    board.restore(table, keyring).await;
    let control = match claim.bind() {
        Ok(listener) => control::start(listener, Arc::clone(&board)),
        Err(source) => {
            board.close().await;
            return Err(ServeError::Socket { socket, source });
        }
    };
    let listeners = board.status().await.listeners;
    tracing::info!(?listeners, socket = %socket.display(), "the proxy is ready");

    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        board.tick().await;
    }

    control.stop().await;
    board.close().await;
    proxy.draining.give();
    proxy.connections.close();
    if timeout(drain_time, proxy.connections.wait()).await.is_err() {
        tracing::warn!(connections = proxy.connections.len(), "closing connections that are still busy");
        proxy.ending.give();
        proxy.connections.wait().await;
    }
    if let Err(error) = claim.release() {
        tracing::warn!(%error, "cannot remove the control socket");
    }
    Ok(())
}
