//! Putting tables in force, one at a time: revision, listeners, swap, snapshot, in this order. And keyrings.

use crate::certificates::Certificates;
use crate::handover::{self, Offer, TakeoverError};
use crate::keyfile::Keyfile;
use crate::listeners::Listeners;
use crate::predecessor::Predecessor;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::socket::Claim;
use crate::table::{Asked, Door, Table};
use crate::upstream::SPREAD;
use crate::wire::Failure;
use arc_swap::Guard;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::RouterStatus;
use dockswap_core::routes::{RouteTable, UpstreamId, UpstreamLoad, Waiting};
use hyper::upgrade::Upgraded;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Mutex, watch};

/// How long the controller is sure to wait for an answer, beyond what it asked to wait for.
const WITHIN: Duration = Duration::from_secs(4);

/// Holds what changes with the table. All changes go through it.
#[derive(Debug)]
pub(crate) struct Switchboard {
    proxy: Arc<Proxy>,
    snapshot: Snapshot,
    keyfile: Keyfile,
    /// The one that this proxy took over from.
    predecessor: Option<Predecessor>,
    state: Mutex<State>,
    news: watch::Sender<Succession>,
}

#[derive(Debug)]
struct State {
    listeners: Listeners,
    saved: Saved,
    keys_saved: Saved,
}

/// Who accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Succession {
    /// This proxy.
    None,
    /// Nobody: another process may, and has not said that it does.
    Handing,
    /// Another process, which this one answers to.
    Done,
    /// Another process that has gone away since.
    Lost,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The controller, on the control socket: once another proxy has that, only it knows the answers.
    OnSocket,
    /// The proxy that took over, which waits so long.
    OnLifeline(Duration),
}

impl Asker {
    /// How long it waits for an answer, beyond what it asked to wait for.
    const fn within(self) -> Duration {
        match self {
            Self::OnSocket => WITHIN,
            Self::OnLifeline(within) => within,
        }
    }
}

/// Whether what is in force is also on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    Yes,
    NotYet,
}

impl Switchboard {
    /// With `listeners` that nobody is accepted on yet, and no route.
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        (snapshot, keyfile): (Snapshot, Keyfile),
        listeners: Listeners,
    ) -> Self {
        let state = Mutex::new(State { listeners, saved: Saved::Yes, keys_saved: Saved::Yes });
        let news = watch::Sender::new(Succession::None);
        Self { proxy, snapshot, keyfile, predecessor: None, state, news }
    }

    /// Has the proxy that this one takes over from stop accepting, and accepts in its place. To be called when
    /// everything is ready.
    pub(crate) async fn succeed(&mut self, mut lifeline: UnixStream) -> Result<(), TakeoverError> {
        handover::ready(&mut lifeline).await?;
        let state = self.state.get_mut();
        state.listeners.accept();
        state.listeners.forget_handed();
        // The table came from the other one's memory, and its file may be another.
        (state.saved, state.keys_saved) = (Saved::NotYet, Saved::NotYet);
        handover::taken(&mut lifeline).await?;
        self.predecessor = Some(Predecessor::meet(lifeline).await?);
        Ok(())
    }

    /// Accepts from now on.
    pub(crate) async fn accept(&self) {
        self.state.lock().await.listeners.accept();
    }

    /// Puts the keyring and the table of the run before in force; nobody is accepted yet. A listener that cannot be
    /// opened is logged, tried again by every [`Switchboard::tick`], and keeps nothing else from being served.
    pub(crate) async fn restore(&self, source: RouteTable, keyring: Keyring) {
        let mut state = self.state.lock().await;
        self.proxy.show(Certificates::compile(keyring, &self.proxy.engine, &self.proxy.certificates()));
        let table = self.compile(&state, source);
        self.proxy.swap(&table);
        for (door, error) in self.open_asked(&mut state) {
            let (addr, app) =
                (state.listeners.address(door), table.asked().get(&door).map(|asked| &asked.app));
            tracing::error!(%addr, app, %error, "cannot listen; trying again every second");
        }
    }

    /// Puts `keyring` in force: when this returns, every handshake that begins later goes by it. A disk that
    /// fails is dealt with as by [`Switchboard::install`].
    pub(crate) async fn hold(&self, keyring: Keyring, asker: Asker) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        self.answers(asker)?;
        if *self.proxy.certificates().source() == keyring {
            return Ok(());
        }
        let hosts = keyring.certificates.len();
        self.proxy.show(Certificates::compile(keyring, &self.proxy.engine, &self.proxy.certificates()));
        tracing::info!(hosts, "certificates in force");
        still_closed(self.open_asked(&mut state));
        let table = self.proxy.table();
        state.listeners.retain(|door| self.is_asked(&table, door)).await;
        self.save_keys(&mut state).await;
        Ok(())
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
    pub(crate) async fn install(&self, source: RouteTable, asker: Asker) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        self.answers(asker)?;
        let before = self.proxy.table();
        let current = before.source().revision;
        if *before.source() == source {
            return self.tell(&before, asker).await;
        }
        if source.revision <= current {
            return Err(Failure::Stale { current, offered: source.revision });
        }
        let table = self.compile(&state, source);
        if self.has_parted() {
            self.proxy.swap(&table);
            return self.tell(&table, asker).await;
        }
        let bound = bind_new(&mut state.listeners, &before, &table)?;

        self.proxy.swap(&table);
        let told = self.tell(&table, asker).await;

        for (door, listener) in bound {
            if let Err(error) = state.listeners.open(door, listener) {
                let addr = state.listeners.address(door);
                tracing::error!(%addr, %error, "cannot listen; trying again every second");
            }
        }
        state.listeners.retain(|door| self.is_asked(&table, door)).await;
        tracing::info!(revision = table.source().revision, "route table in force");
        self.save(&mut state, table).await;
        told
    }

    /// Has every later request begin by `table` in the proxy before this one too.
    async fn tell(&self, table: &Table, asker: Asker) -> Result<(), Failure> {
        match &self.predecessor {
            Some(predecessor) => Ok(predecessor.apply(table.source(), asker.within()).await?),
            None => Ok(()),
        }
    }

    /// Whether this proxy is the one to answer.
    pub(crate) fn answers(&self, asker: Asker) -> Result<(), Failure> {
        if asker == Asker::OnSocket && self.has_parted() {
            let message = "another proxy has taken over".to_owned();
            return Err(Failure::Unavailable { message });
        }
        Ok(())
    }

    /// Looks after what is over, and tries again what failed: listeners that are not open, a
    /// snapshot that was not written.
    pub(crate) async fn tick(&self) {
        let mut state = self.state.lock().await;
        // Under the lock: between compiling a table and putting it in force, its upstreams look as if
        // nobody needed them.
        self.proxy.upstreams.tidy();
        if let Some(predecessor) = &self.predecessor {
            let limits = &self.proxy.limits;
            predecessor.outlives(limits.handover_time + 2 * (limits.drain_time + SPREAD));
        }
        if self.has_parted() {
            return;
        }
        still_closed(self.open_asked(&mut state));
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

    /// Opens what is asked for and not open; what cannot be, and why.
    fn open_asked(&self, state: &mut State) -> Vec<(Door, io::Error)> {
        let table = self.proxy.table();
        let for_proofs = Some(Door::Secure).filter(|door| !table.asked().contains_key(door));
        let doors = table.asked().keys().copied().chain(for_proofs);
        let closed = doors
            .filter(|&door| self.is_asked(&table, door) && !state.listeners.is_open(door))
            .collect::<Vec<_>>();
        let opened = closed.into_iter().map(|door| {
            (door, state.listeners.bind(door).and_then(|bound| state.listeners.open(door, bound)))
        });
        opened.filter_map(|(door, opened)| opened.err().map(|error| (door, error))).collect()
    }

    /// What the proxy is doing.
    pub(crate) async fn status(&self, asker: Asker) -> RouterStatus {
        // The lock is not held while another process is asked.
        let (table, listeners) = {
            let state = self.state.lock().await;
            (self.proxy.table(), state.listeners.addresses())
        };
        let (load, waiting) = match &self.predecessor {
            Some(predecessor) => predecessor.carries(asker.within()).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "what is in flight there is not counted");
                Default::default()
            }),
            None => Default::default(),
        };
        RouterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            table: table.source().clone(),
            listeners,
            load: together(self.proxy.upstreams.loads(), load),
            waiting: all_waiting(table.waiting(), waiting),
        }
    }

    /// Waits until nothing is in flight on `upstreams`, at most until `patience` is over; what is left.
    pub(crate) async fn drained(
        &self,
        upstreams: &[UpstreamId],
        patience: Duration,
        asker: Asker,
    ) -> Result<Vec<UpstreamLoad>, Failure> {
        let there = async {
            match &self.predecessor {
                Some(predecessor) => predecessor.drained(upstreams, patience, asker.within()).await,
                None => Ok(Vec::new()),
            }
        };
        let (here, there) = tokio::join!(self.proxy.upstreams.drained(upstreams, patience), there);
        Ok(together(here, there?))
    }

    /// Ends what is in flight on `upstreams`.
    pub(crate) async fn end(&self, upstreams: &[UpstreamId], asker: Asker) -> Result<(), Failure> {
        let there = async {
            match &self.predecessor {
                Some(predecessor) => predecessor.close(upstreams, asker.within()).await,
                None => Ok(()),
            }
        };
        let ((), there) = tokio::join!(self.proxy.upstreams.close(upstreams), there);
        Ok(there?)
    }

    /// Hands the sockets over to the one that asked, and returns the lifeline once it accepts. Nothing changes before
    /// it is ready; when it dies before it accepts, this proxy is as it was.
    pub(crate) async fn hand_over(
        &self,
        asked: Upgraded,
        claim: &Claim,
    ) -> Result<UnixStream, TakeoverError> {
        let mut lifeline = {
            let mut state = self.state.lock().await;
            let lock = claim.share()?.filter(|_| !self.has_parted());
            // Somebody else was faster.
            let Some(lock) = lock else { return Err(io::Error::from(io::ErrorKind::NotConnected).into()) };
            let (sockets, activated) = state.listeners.sockets();
            let offer = Offer {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                table: self.proxy.table().source().clone(),
                common: state.listeners.common_address(),
                activated,
                keyring: Some(self.proxy.certificates().source().clone()),
            };
            let files: Vec<_> = std::iter::once(lock.as_fd()).chain(sockets).collect();
            let mut lifeline = handover::give(asked, &offer, &files).await?;
            state.listeners.pause().await;
            self.news.send_replace(Succession::Handing);
            if let Err(error) = handover::parted(&mut lifeline).await {
                self.resume(&mut state);
                return Err(error.into());
            }
            lifeline
        };
        // Without a bound: it may accept from now on, and only its death says that it will not.
        let taken = handover::is_taken(&mut lifeline).await;
        let mut state = self.state.lock().await;
        if let Err(error) = taken {
            self.resume(&mut state);
            return Err(error.into());
        }
        state.listeners.part().await;
        self.news.send_replace(Succession::Done);
        Ok(lifeline)
    }

    fn resume(&self, state: &mut State) {
        state.listeners.accept();
        self.news.send_replace(Succession::None);
    }

    /// The one that took over is gone.
    pub(crate) fn lose_successor(&self) {
        self.news.send_replace(Succession::Lost);
    }

    /// Waits until another process accepts, or did.
    pub(crate) async fn handed_over(&self) {
        self.becomes(|news| matches!(news, Succession::Done | Succession::Lost)).await;
    }

    /// Waits until the one that took over is gone.
    pub(crate) async fn successor_lost(&self) {
        self.becomes(|news| news == Succession::Lost).await;
    }

    async fn becomes(&self, wanted: impl Fn(Succession) -> bool) {
        // Its sender lives as long as this, so that it cannot fail.
        let _news = self.news.subscribe().wait_for(|news| wanted(*news)).await.map(|news| *news);
    }

    /// Whether this proxy accepts nothing more, as another one does or may.
    pub(crate) fn has_parted(&self) -> bool {
        *self.news.borrow() != Succession::None
    }

    /// Waits until no connection is left, here and in the proxy before this one.
    pub(crate) async fn empty(&self) {
        self.proxy.connections.wait().await;
        if let Some(predecessor) = &self.predecessor {
            predecessor.gone().await;
        }
    }

    /// Where the proxy listens, the common address first.
    pub(crate) async fn addresses(&self) -> Vec<SocketAddr> {
        self.state.lock().await.listeners.addresses()
    }

    /// What carries the traffic.
    pub(crate) const fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Closes all listeners; connections end after the request that they are at. Not when another proxy has them.
    pub(crate) async fn close(&self) {
        let mut state = self.state.lock().await;
        if !self.has_parted() {
            state.listeners.close().await;
        }
    }

    fn compile(&self, state: &State, source: RouteTable) -> Arc<Table> {
        let (ports, before) = (state.listeners.common_ports(), self.proxy.table());
        let Proxy { upstreams, meter, limits, .. } = &*self.proxy;
        Arc::new(Table::compile(source, ports, upstreams, meter, limits, &before))
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

/// Was said when it was first tried: every second is too often for more than this.
fn still_closed(doors: Vec<(Door, io::Error)>) {
    for (door, error) in doors {
        tracing::debug!(?door, %error, "still cannot listen");
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

/// What waits here and there.
fn all_waiting(mut here: Vec<Waiting>, there: Vec<Waiting>) -> Vec<Waiting> {
    for queue in there {
        match here.iter_mut().find(|known| known.app == queue.app) {
            Some(known) => known.requests += queue.requests,
            None => here.push(queue),
        }
    }
    here
}

/// Binds the listeners that `table` needs and `before` did not.
fn bind_new(
    listeners: &mut Listeners,
    before: &Table,
    table: &Table,
) -> Result<Vec<(Door, TcpListener)>, Failure> {
    let new = table.asked().iter();
    let new = new.filter(|(door, _)| !before.asked().contains_key(door) && !listeners.is_open(**door));
    let new: Vec<_> = new.collect();
    let bound = new.into_iter().map(|(&door, Asked { app, .. })| match listeners.bind(door) {
        Ok(listener) => Ok((door, listener)),
        Err(error) => {
            let message = format!("cannot listen on {} for app {app}: {error}", listeners.address(door));
            Err(Failure::Refused { message })
        }
    });
    bound.collect()
}
