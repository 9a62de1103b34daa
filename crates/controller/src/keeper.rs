//! The keeper of the route table: the only one who talks to the proxy about routes. Every app's
//! entry is a pure function of its committed state; the table is always applied whole.

use dockswap_core::AppName;
use dockswap_core::ports::{Router, RouterError};
use dockswap_core::routes::{AppRoutes, RouteTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Holds the routes of all apps and brings them to the proxy.
pub(crate) struct Keeper {
    router: Arc<dyn Router>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<AppName, AppRoutes>,
    /// The last revision that was offered.
    revision: u64,
    /// What the proxy has confirmed.
    confirmed: Option<RouteTable>,
}

impl Keeper {
    pub(crate) fn new(router: Arc<dyn Router>) -> Self {
        Self { router, state: Mutex::default() }
    }

    /// Applies the routes of all apps at once, at start. Nothing is published before this: half a
    /// table would take the other apps out of service.
    pub(crate) async fn begin(&self, apps: BTreeMap<AppName, AppRoutes>) -> Result<u64, RouterError> {
        let mut state = self.state.lock().await;
        state.apps = apps;
        self.apply(&mut state).await
    }

    /// Brings the routes of one app into force; `None` withdraws them. Returns the revision under
    /// which the proxy has confirmed them, at once when it already had.
    ///
    /// # Errors
    /// When they are not in force, or it is not known. The table that is kept then is the one
    /// before, so that one app's bad route never stands in the way of the others.
    pub(crate) async fn publish(&self, app: &AppName, routes: Option<AppRoutes>) -> Result<u64, RouterError> {
        let mut state = self.state.lock().await;
        let before = state.apps.get(app).cloned();
        let unchanged = before == routes;
        match routes {
            Some(routes) => state.apps.insert(app.clone(), routes),
            None => state.apps.remove(app),
        };
        if unchanged && let Some(confirmed) = &state.confirmed {
            return Ok(confirmed.revision);
        }
        let result = self.apply(&mut state).await;
        if let Err(RouterError::Refused { .. }) = &result {
            match before {
                Some(before) => state.apps.insert(app.clone(), before),
                None => state.apps.remove(app),
            };
        }
        result
    }

    /// Looks whether the proxy still holds what it confirmed, and applies the table again when it
    /// does not: it may have been restarted, or away.
    pub(crate) async fn check(&self) -> Result<(), RouterError> {
        let mut state = self.state.lock().await;
        let status = self.router.status().await?;
        if state.confirmed.as_ref() == Some(&status.table) {
            return Ok(());
        }
        self.apply(&mut state).await.map(|_| ())
    }

    async fn apply(&self, state: &mut State) -> Result<u64, RouterError> {
        // The proxy outlives controllers: its revision is where ours goes on.
        if state.revision == 0 {
            state.revision = self.router.status().await?.table.revision;
        }
        let mut table =
            RouteTable { revision: state.revision + 1, apps: state.apps.values().cloned().collect() };
        state.confirmed = None;
        let mut result = self.router.apply(&table).await;
        if let Err(RouterError::Stale { current, .. }) = result {
            table.revision = current + 1;
            result = self.router.apply(&table).await;
        }
        // An offered revision is never offered again with other content.
        state.revision = table.revision;
        result?;
        state.confirmed = Some(table);
        Ok(state.revision)
    }
}
