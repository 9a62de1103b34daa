//! Putting tables in force, one at a time: revision, listeners, swap, snapshot, in this order. And keyrings.

use crate::certificates::Certificates;
use crate::keyfile::Keyfile;
use crate::listeners::Listeners;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::table::{Asked, Door, Table};
use crate::wire::Failure;
use arc_swap::Guard;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::RouterStatus;
use dockswap_core::routes::RouteTable;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// Holds what changes with the table. All changes go through it.
#[derive(Debug)]
pub(crate) struct Switchboard {
    proxy: Arc<Proxy>,
    snapshot: Snapshot,
    keyfile: Keyfile,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listeners: Listeners,
    saved: Saved,
    keys_saved: Saved,
}

/// Whether what is in force is also on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    Yes,
    NotYet,
}

impl Switchboard {
    /// Accepts on `common`, with no route yet.
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        (snapshot, keyfile): (Snapshot, Keyfile),
        common: TcpListener,
        https: SocketAddr,
    ) -> io::Result<Self> {
        let listeners = Listeners::new(Arc::clone(&proxy), common, https)?;
        let state = State { listeners, saved: Saved::Yes, keys_saved: Saved::Yes };
        Ok(Self { proxy, snapshot, keyfile, state: Mutex::new(state) })
    }

    /// Puts the keyring and the table of the run before in force. A listener that cannot be opened is logged, tried
    /// again by every [`Switchboard::tick`], and keeps nothing else from being served.
    pub(crate) async fn restore(&self, source: RouteTable, keyring: Keyring) {
        let mut state = self.state.lock().await;
        self.proxy.show(Certificates::compile(keyring, &self.proxy.engine));
        let table = self.compile(&state, source);
        self.proxy.swap(&table);
        for (&door, Asked { app, .. }) in table.asked() {
            if let Err(error) = state.listeners.bind(door).and_then(|bound| state.listeners.open(door, bound))
            {
                let addr = state.listeners.address(door);
                tracing::error!(%addr, app, %error, "cannot listen; trying again every second");
            }
        }
    }

    /// Puts `keyring` in force: when this returns, every handshake that begins later goes by it. A disk that
    /// fails is dealt with as by [`Switchboard::install`].
    pub(crate) async fn hold(&self, keyring: Keyring) {
        let mut state = self.state.lock().await;
        if *self.proxy.certificates().source() == keyring {
            return;
        }
        let hosts = keyring.certificates.len();
        self.proxy.show(Certificates::compile(keyring, &self.proxy.engine));
        tracing::info!(hosts, "certificates in force");
        self.open_asked(&mut state);
        let table = self.proxy.table();
        state.listeners.retain(|door| self.is_asked(&table, door)).await;
        self.save_keys(&mut state).await;
    }

    /// The tag of the keyring in force.
    pub(crate) fn held(&self) -> String {
        self.proxy.certificates().source().tag.clone()
    }

    /// Puts `source` in force. When this returns, every request that begins later sees it, and a
    /// proxy that starts after a crash serves it. The same table again is no error.
    ///
    /// A new listener that cannot be opened refuses the table, and nothing changes; one that could
    /// not be opened for the table in force either does not. A disk that fails does not refuse it:
    /// traffic goes first; the snapshot is then written by a later [`Switchboard::tick`].
    pub(crate) async fn install(&self, source: RouteTable) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        let before = self.proxy.table();
        let current = before.source().revision;
        if *before.source() == source {
            return Ok(());
        }
        if source.revision <= current {
            return Err(Failure::Stale { current, offered: source.revision });
        }
        let table = self.compile(&state, source);
        let bound = bind_new(&state.listeners, &before, &table)?;

        self.proxy.swap(&table);

        for (door, listener) in bound {
            if let Err(error) = state.listeners.open(door, listener) {
                let addr = state.listeners.address(door);
                tracing::error!(%addr, %error, "cannot listen; trying again every second");
            }
        }
        state.listeners.retain(|door| self.is_asked(&table, door)).await;
        tracing::info!(revision = table.source().revision, "route table in force");
        self.save(&mut state, table).await;
        Ok(())
    }

    /// Looks after what is over, and tries again what failed: listeners that are not open, a
    /// snapshot that was not written.
    pub(crate) async fn tick(&self) {
        let mut state = self.state.lock().await;
        // Under the lock: between compiling a table and putting it in force, its upstreams look as if
        // nobody needed them.
        self.proxy.upstreams.tidy();
        self.open_asked(&mut state);
        if state.saved == Saved::NotYet {
            self.save(&mut state, self.proxy.table()).await;
        }
        if state.keys_saved == Saved::NotYet {
            self.save_keys(&mut state).await;
        }
    }

    /// Whether anything asks for a door: a route, or an ACME server that is expected.
    fn is_asked(&self, table: &Table, door: Door) -> bool {
        table.asked().contains_key(&door) || (door == Door::Secure && self.proxy.certificates().has_proofs())
    }

    /// Opens what is asked for and not open.
    fn open_asked(&self, state: &mut State) {
        let table = self.proxy.table();
        let doors = table.asked().keys().copied().chain([Door::Secure]);
        for door in doors.filter(|&door| self.is_asked(&table, door)) {
            if state.listeners.is_open(door) {
                continue;
            }
            if let Err(error) = state.listeners.bind(door).and_then(|bound| state.listeners.open(door, bound))
            {
                tracing::debug!(?door, %error, "still cannot listen");
            }
        }
    }

    /// What the proxy is doing.
    pub(crate) async fn status(&self) -> RouterStatus {
        let state = self.state.lock().await;
        RouterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            table: self.proxy.table().source().clone(),
            listeners: state.listeners.addresses(),
            load: self.proxy.upstreams.loads(),
        }
    }

    /// What carries the traffic.
    pub(crate) const fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Closes all listeners; connections end after the request that they are at.
    pub(crate) async fn close(&self) {
        self.state.lock().await.listeners.close().await;
    }

    fn compile(&self, state: &State, source: RouteTable) -> Arc<Table> {
        Arc::new(Table::compile(source, state.listeners.common_ports(), &self.proxy.upstreams))
    }

    async fn save(&self, state: &mut State, table: Arc<Table>) {
        let snapshot = self.snapshot.clone();
        let saved = tokio::task::spawn_blocking(move || snapshot.save(table.source())).await;
        state.saved = match saved.map_err(io::Error::other).flatten() {
            Ok(()) => Saved::Yes,
            Err(error) => {
                tracing::error!(%error, "cannot save the route table; trying again every second");
                Saved::NotYet
            }
        };
    }

    async fn save_keys(&self, state: &mut State) {
        let (keyfile, certificates) = (self.keyfile.clone(), Guard::into_inner(self.proxy.certificates()));
        let saved = tokio::task::spawn_blocking(move || keyfile.save(certificates.source())).await;
        state.keys_saved = match saved.map_err(io::Error::other).flatten() {
            Ok(()) => Saved::Yes,
            Err(error) => {
                tracing::error!(%error, "cannot save the certificates; trying again every second");
                Saved::NotYet
            }
        };
    }
}

/// Binds the listeners that `table` needs and `before` did not.
fn bind_new(
    listeners: &Listeners,
    before: &Table,
    table: &Table,
) -> Result<Vec<(Door, TcpListener)>, Failure> {
    let new = table.asked().iter();
    let new = new.filter(|(door, _)| !before.asked().contains_key(door) && !listeners.is_open(**door));
    new.map(|(&door, Asked { app, .. })| match listeners.bind(door) {
        Ok(listener) => Ok((door, listener)),
        Err(error) => {
            let message = format!("cannot listen on {} for app {app}: {error}", listeners.address(door));
            Err(Failure::Refused { message })
        }
    })
    .collect()
}
