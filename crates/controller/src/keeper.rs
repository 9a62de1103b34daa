//! The keeper of the route table: the only one who talks to the proxy about routes. Every app's
//! entry is a pure function of its committed state; the table is always applied whole.

use dockswap_core::AppName;
use dockswap_core::ports::{Container, Router, RouterError, RouterStatus};
use dockswap_core::routes::{AppRoutes, RouteTable};
use dockswap_core::spec::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, MutexGuard};

/// Holds the routes of all apps and brings them to the proxy.
pub(crate) struct Keeper {
    router: Arc<dyn Router>,
    state: Mutex<State>,
    /// How many calls the proxy has not answered.
    unanswered: AtomicU64,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<AppName, AppRoutes>,
    /// The last revision that was offered.
    revision: u64,
    /// What the proxy has confirmed.
    confirmed: Option<RouteTable>,
    /// Whose routes the proxy refused when the whole table had to be brought back: they are left out
    /// until it takes them.
    left_out: BTreeSet<AppName>,
}

impl Keeper {
    pub(crate) fn new(router: Arc<dyn Router>) -> Self {
        Self { router, state: Mutex::default(), unanswered: AtomicU64::new(0) }
    }

    /// The turn to talk to the proxy, with an error where it has meanwhile left somebody else's call
    /// unanswered: then it is not asked once more, and nobody waits for it longer than one call lasts.
    async fn turn(&self) -> (MutexGuard<'_, State>, Result<(), RouterError>) {
        let before = self.unanswered.load(Ordering::SeqCst);
        let state = self.state.lock().await;
        let answers = if self.unanswered.load(Ordering::SeqCst) == before {
            Ok(())
        } else {
            Err(RouterError::Unavailable { message: "it has just left a call unanswered".to_owned() })
        };
        (state, answers)
    }

    /// Counts what was not answered.
    fn answered<T>(&self, answer: Result<T, RouterError>) -> Result<T, RouterError> {
        if matches!(answer, Err(RouterError::Unavailable { .. })) {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    async fn status(&self) -> Result<RouterStatus, RouterError> {
        self.answered(self.router.status().await)
    }

    async fn offer(&self, table: &RouteTable) -> Result<(), RouterError> {
        self.answered(self.router.apply(table).await)
    }

    /// Applies the routes of all apps at once, at start. Nothing is published before this: half a
    /// table would take the other apps out of service.
    pub(crate) async fn begin(&self, apps: BTreeMap<AppName, AppRoutes>) -> Result<u64, RouterError> {
        let mut state = self.state.lock().await;
        state.apps = apps;
        self.restore(&mut state).await?;
        Ok(state.revision)
    }

    /// Another app that has one of `routes`, or another certificate for the host of one.
    pub(crate) async fn holder_of(&self, app: &AppName, routes: &[Route]) -> Option<(AppName, Route)> {
        let state = self.state.lock().await;
        let others = state.apps.values().filter(|other| other.app != *app);
        others.flat_map(|other| other.routes.iter().map(move |route| (other, route))).find_map(
            |(other, route)| {
                let clashes = |own: &Route| own.clashes_with(route) || own.disputes_certificate_of(route);
                routes.iter().any(clashes).then(|| (other.app.clone(), route.clone()))
            },
        )
    }

    /// Brings the routes of one app into force; `None` withdraws them. Returns the revision under
    /// which the proxy has confirmed them, at once when it already had.
    ///
    /// # Errors
    /// When they are not in force, or it is not known. The table that is kept then is the one
    /// before, so that one app's bad route never stands in the way of the others.
    pub(crate) async fn publish(&self, app: &AppName, routes: Option<AppRoutes>) -> Result<u64, RouterError> {
        let (mut state, answers) = self.turn().await;
        let before = state.apps.get(app).cloned();
        let unchanged = before == routes && !state.left_out.contains(app);
        match routes {
            Some(routes) => state.apps.insert(app.clone(), routes),
            None => state.apps.remove(app),
        };
        if unchanged && let Some(confirmed) = &state.confirmed {
            return Ok(confirmed.revision);
        }
        let was_left_out = state.left_out.remove(app);
        if answers.is_err() {
            // Whoever brings the table to the proxy next brings this too.
            state.confirmed = None;
        }
        answers?;
        let result = self.apply(&mut state).await;
        if let Err(RouterError::Refused { .. }) = &result {
            match before {
                Some(before) => state.apps.insert(app.clone(), before),
                None => state.apps.remove(app),
            };
            if was_left_out {
                state.left_out.insert(app.clone());
            }
        }
        result
    }

    /// What the table holds for an app, or will hold when it is applied next.
    pub(crate) async fn entry(&self, app: &AppName) -> Option<AppRoutes> {
        self.state.lock().await.apps.get(app).cloned()
    }

    /// Gives up bringing an app's routes into force: the next table has `before` again, whoever brings it.
    /// Returns the revision under which somebody else's table has brought them meanwhile: then they stay.
    pub(crate) async fn give_up(&self, app: &AppName, before: Option<AppRoutes>) -> Option<u64> {
        let mut state = self.state.lock().await;
        if let (Some(confirmed), false) = (&state.confirmed, state.left_out.contains(app)) {
            return Some(confirmed.revision);
        }
        match before {
            Some(before) => state.apps.insert(app.clone(), before),
            None => state.apps.remove(app),
        };
        None
    }

    /// Takes the addresses of `containers`, which have just been started, out of every route that leads
    /// to a container that had one of them before: Docker hands a freed address to the next container at
    /// once, and whoever had it may not have been missed yet. Whoever was started later has it now: what
    /// Docker says of a start may be long on its way.
    ///
    /// # Errors
    /// When it is not known whether the proxy has taken the table: the next one says it too.
    pub(crate) async fn claim(&self, containers: &[Container]) -> Result<(), RouterError> {
        let (mut state, answers) = self.turn().await;
        let mut changed = false;
        for target in state.apps.values_mut().filter_map(|app| app.target.as_mut()) {
            let before = target.upstreams.len();
            target.upstreams.retain(|known| {
                let newcomers = containers.iter().filter_map(|container| container.upstream.as_ref());
                !newcomers.into_iter().any(|newcomer| {
                    newcomer.addr == known.addr
                        && newcomer.id.container != known.id.container
                        && newcomer.id.started_at >= known.id.started_at
                })
            });
            changed |= target.upstreams.len() < before;
        }
        if changed {
            state.confirmed = None;
            answers?;
            self.apply(&mut state).await?;
        }
        Ok(())
    }

    /// The table that the proxy has confirmed; where it is in doubt, it is applied first.
    ///
    /// # Errors
    /// When the doubt stays.
    pub(crate) async fn confirmed(&self) -> Result<RouteTable, RouterError> {
        let (mut state, answers) = self.turn().await;
        if state.confirmed.is_none() {
            answers?;
            self.restore(&mut state).await?;
        }
        Ok(state.confirmed.clone().unwrap_or_default())
    }

    /// Looks whether the proxy still holds what it confirmed, and applies the table again when it
    /// does not: it may have been restarted, or away.
    pub(crate) async fn check(&self) -> Result<(), RouterError> {
        let (mut state, answers) = self.turn().await;
        answers?;
        let status = self.status().await?;
        if state.confirmed.as_ref() == Some(&status.table) {
            self.readmit(&mut state).await
        } else {
            self.restore(&mut state).await
        }
    }

    /// Brings the whole table into force. Where the proxy refuses it, apps with a listener of their
    /// own are left out and tried one by one: the port that one app cannot have never keeps the
    /// others from being served. What the proxy holds already is given up only when it has to be.
    async fn restore(&self, state: &mut State) -> Result<(), RouterError> {
        let refused = match self.apply(state).await {
            Ok(_) => return self.readmit(state).await,
            Err(refused @ RouterError::Refused { .. }) => refused,
            Err(error) => return Err(error),
        };
        let held: BTreeSet<AppName> =
            self.status().await?.table.apps.into_iter().map(|app| app.app).collect();
        let own = |app: &&AppRoutes| {
            app.routes.iter().any(|route| route.listen_port.is_some() || route.tls.is_some())
        };
        let all: BTreeSet<AppName> = state.apps.values().filter(own).map(|app| app.app.clone()).collect();
        for suspects in [all.difference(&held).cloned().collect(), all] {
            tracing::warn!(apps = ?suspects, error = %refused, "routes are tried one by one");
            state.left_out.extend(suspects);
            match self.apply(state).await {
                Ok(_) => return self.readmit(state).await,
                Err(RouterError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Asks the proxy again to take the routes that were left out.
    async fn readmit(&self, state: &mut State) -> Result<(), RouterError> {
        for app in state.left_out.clone() {
            state.left_out.remove(&app);
            if let Err(error) = self.apply(state).await {
                tracing::debug!(%app, %error, "still left out of the route table");
                state.left_out.insert(app);
                if !matches!(error, RouterError::Refused { .. }) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, state: &mut State) -> Result<u64, RouterError> {
        // The proxy outlives controllers: its revision is where ours goes on.
        if state.revision == 0 {
            state.revision = self.status().await?.table.revision;
        }
        let apps = state.apps.values().filter(|app| !state.left_out.contains(&app.app)).cloned().collect();
        let mut table = RouteTable { revision: state.revision + 1, apps };
        let before = state.confirmed.take();
        let mut result = self.offer(&table).await;
        if let Err(RouterError::Stale { current, .. }) = result {
            table.revision = current + 1;
            result = self.offer(&table).await;
        }
        // An offered revision is never offered again with other content.
        state.revision = table.revision;
        if let Err(RouterError::Refused { .. }) = result {
            // The table in force stays.
            state.confirmed = before;
        }
        result?;
        state.confirmed = Some(table);
        Ok(state.revision)
    }
}
