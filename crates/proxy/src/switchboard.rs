//! Putting tables in force, one at a time: revision, listeners, swap, snapshot, in this order.

use crate::handover::{self, Offer, TakeoverError};
use crate::listeners::Listeners;
use crate::predecessor::Predecessor;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::socket::Claim;
use crate::table::Table;
use crate::wire::Failure;
use dockswap_core::ports::RouterStatus;
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad};
use hyper::upgrade::Upgraded;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Mutex, watch};

/// Holds what changes with the table. All changes go through it.
#[derive(Debug)]
pub(crate) struct Switchboard {
    proxy: Arc<Proxy>,
    snapshot: Snapshot,
    /// The one that this proxy took over from.
    predecessor: Option<Predecessor>,
    state: Mutex<State>,
    news: watch::Sender<Succession>,
}

#[derive(Debug)]
struct State {
    listeners: Listeners,
    saved: Saved,
}

/// Who accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Succession {
    /// This proxy.
    None,
    /// This proxy: so many that wanted to take over went away before they had.
    Failed(u32),
    /// Another process, which this one answers to.
    Done,
    /// Another process that has gone away since.
    Lost,
}

/// Whether the table in force is also on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    Yes,
    NotYet,
}

impl Switchboard {
    /// Accepts on the listeners' common address, with no route yet.
    pub(crate) fn new(proxy: Arc<Proxy>, snapshot: Snapshot, listeners: Listeners) -> Self {
        let state = Mutex::new(State { listeners, saved: Saved::Yes });
        Self { proxy, snapshot, predecessor: None, state, news: watch::Sender::new(Succession::None) }
    }

    /// Tells the proxy that this one takes over from that it may stop accepting. To be called when everything is
    /// ready; sockets that no route wants are closed then.
    pub(crate) async fn succeed(&mut self, mut lifeline: UnixStream, pid: u32) -> Result<(), TakeoverError> {
        handover::serving(&mut lifeline).await?;
        self.predecessor = Some(Predecessor::meet(pid, lifeline).await?);
        let state = self.state.get_mut();
        state.listeners.inherited().forget();
        // The table came from the other one's memory, and its file may be another.
        state.saved = Saved::NotYet;
        Ok(())
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
        let unused = state.listeners.inherited().unused();
        if !unused.is_empty() {
            tracing::info!(?unused, "inherited sockets that no route wants");
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
        if self.has_parted() {
            self.follow(table).await;
            return Ok(());
        }
        let bound = bind_new(&mut state.listeners, &before, &table)?;

        self.follow(Arc::clone(&table)).await;

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

    /// Begins every later request by `table`, here and in the proxy before this one.
    async fn follow(&self, table: Arc<Table>) {
        self.proxy.swap(&table);
        if let Some(predecessor) = &self.predecessor {
            predecessor.apply(table.source()).await;
        }
    }

    /// Looks after what is over, and tries again what failed: listeners that are not open, a
    /// snapshot that was not written.
    pub(crate) async fn tick(&self) {
        let mut state = self.state.lock().await;
        // Under the lock: between compiling a table and putting it in force, its upstreams look as if
        // nobody needed them.
        self.proxy.upstreams.tidy();
        if self.has_parted() {
            return;
        }
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
            load: self.loads().await,
        }
    }

    async fn loads(&self) -> Vec<UpstreamLoad> {
        let before = match &self.predecessor {
            Some(predecessor) => predecessor.loads().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "what is in flight there is not known");
                Vec::new()
            }),
            None => Vec::new(),
        };
        together(self.proxy.upstreams.loads(), before)
    }

    /// Waits until nothing is in flight on `upstreams`, at most until `patience` is over; what is left.
    pub(crate) async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
    ) -> Result<Vec<UpstreamLoad>, Failure> {
        let there = async {
            match &self.predecessor {
                Some(predecessor) => predecessor.drained(upstreams, patience).await,
                None => Ok(Vec::new()),
            }
        };
        let (here, there) = tokio::join!(self.proxy.upstreams.drained(upstreams, patience), there);
        Ok(together(here, there.map_err(|error| Failure::refusing(&error))?))
    }

    /// Ends what is in flight on `upstreams`.
    pub(crate) async fn end(&self, upstreams: &[UpstreamId]) -> Result<(), Failure> {
        let there = async {
            match &self.predecessor {
                Some(predecessor) => predecessor.close(upstreams).await,
                None => Ok(()),
            }
        };
        let ((), there) = tokio::join!(self.proxy.upstreams.close(upstreams), there);
        there.map_err(|error| Failure::refusing(&error))
    }

    /// Hands the sockets over to the one that asked, and returns the lifeline. Nothing changes until that is done, or
    /// has failed: then this proxy is as it was.
    pub(crate) async fn hand_over(
        &self,
        asked: Upgraded,
        claim: &Claim,
    ) -> Result<UnixStream, TakeoverError> {
        let mut state = self.state.lock().await;
        let offer = Offer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            table: self.proxy.table().source().clone(),
            common: state.listeners.common_address(),
        };
        let files: Vec<_> = std::iter::once(claim.lock()).chain(state.listeners.sockets()).collect();
        match handover::give(asked, &offer, &files).await {
            Ok(mut lifeline) => {
                state.listeners.part().await;
                self.news.send_replace(Succession::Done);
                // It has them now, whether it hears this or not.
                handover::parted(&mut lifeline).await?;
                Ok(lifeline)
            }
            Err(error) => {
                self.news.send_modify(|news| {
                    *news = match *news {
                        Succession::Failed(times) => Succession::Failed(times + 1),
                        _ => Succession::Failed(1),
                    };
                });
                Err(error)
            }
        }
    }

    /// The one that took over is gone.
    pub(crate) fn lose_successor(&self) {
        self.news.send_replace(Succession::Lost);
    }

    /// Follows who accepts connections.
    pub(crate) fn succession(&self) -> watch::Receiver<Succession> {
        self.news.subscribe()
    }

    /// Whether another process accepts.
    pub(crate) fn has_parted(&self) -> bool {
        matches!(*self.news.borrow(), Succession::Done | Succession::Lost)
    }

    /// The one that this proxy took over from.
    pub(crate) const fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
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
        let common = state.listeners.common_address().port();
        Arc::new(Table::compile(source, common, &self.proxy.upstreams, &self.proxy.meter))
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

/// What is in flight here and there.
fn together(mut here: Vec<UpstreamLoad>, there: Vec<UpstreamLoad>) -> Vec<UpstreamLoad> {
    for load in there {
        match here.iter_mut().find(|known| known.id == load.id) {
            Some(known) => known.in_flight += load.in_flight,
            None => here.push(load),
        }
    }
    here
}

/// Binds the listeners that `table` needs and `before` did not.
fn bind_new(
    listeners: &mut Listeners,
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
