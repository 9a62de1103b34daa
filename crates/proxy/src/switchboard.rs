//! Putting tables in force, one at a time: revision, listeners, swap, snapshot, in this order.

use crate::listeners::Listeners;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::wire::Failure;
use dockswap_core::ports::RouterStatus;
use dockswap_core::routes::RouteTable;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// Holds what changes with the table. All changes go through it.
#[derive(Debug)]
pub(crate) struct Switchboard {
    proxy: Arc<Proxy>,
    snapshot: Snapshot,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listeners: Listeners,
    saved: Saved,
}

/// Whether the table in force is also on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    Yes,
    NotYet,
}

impl Switchboard {
    /// Accepts on `common`, with no route yet.
    pub(crate) fn new(proxy: Arc<Proxy>, snapshot: Snapshot, common: TcpListener) -> io::Result<Self> {
        let listeners = Listeners::new(Arc::clone(&proxy), common)?;
        Ok(Self { proxy, snapshot, state: Mutex::new(State { listeners, saved: Saved::Yes }) })
    }

    /// Puts the table of the run before in force. A listener that cannot be opened is logged, tried
    /// again by every [`Switchboard::tick`], and keeps nothing else from being served.
    pub(crate) async fn restore(&self, source: RouteTable) {
        let mut state = self.state.lock().await;
        let table = self.compile(&state, source);
        self.proxy.swap(&table);
        for (&port, app) in table.ports() {
            if let Err(error) = state.listeners.bind(port).and_then(|bound| state.listeners.open(port, bound))
            {
                tracing::error!(port, app, %error, "cannot listen; trying again every second");
            }
        }
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

        for (port, listener) in bound {
            if let Err(error) = state.listeners.open(port, listener) {
                tracing::error!(port, %error, "cannot listen; trying again every second");
            }
        }
        state.listeners.retain(|port| table.ports().contains_key(&port)).await;
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
        let table = self.proxy.table();
        for &port in table.ports().keys() {
            if state.listeners.is_open(port) {
                continue;
            }
            if let Err(error) = state.listeners.bind(port).and_then(|bound| state.listeners.open(port, bound))
            {
                tracing::debug!(port, %error, "still cannot listen");
            }
        }
        if state.saved == Saved::NotYet {
            self.save(&mut state, table).await;
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
            waiting: self.proxy.table().waiting(),
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
        let port = state.listeners.common_port();
        Arc::new(Table::compile(source, port, &self.proxy.upstreams, &self.proxy.table()))
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
}

/// Binds the listeners that `table` needs and `before` did not.
fn bind_new(
    listeners: &Listeners,
    before: &Table,
    table: &Table,
) -> Result<Vec<(u16, TcpListener)>, Failure> {
    let new = table.ports().iter().filter(|(port, _)| !before.ports().contains_key(port));
    new.map(|(&port, app)| match listeners.bind(port) {
        Ok(listener) => Ok((port, listener)),
        Err(error) => {
            let message = format!("cannot listen on {} for app {app}: {error}", listeners.address(port));
            Err(Failure::Refused { message })
        }
    })
    .collect()
}
