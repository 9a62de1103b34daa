//! Where the traffic of apps comes in, beyond what the route table says: what others cannot have, and what wants a
//! certificate. Where the traffic goes is not its business.

use crate::controller::Controller;
use dockswap_core::AppName;
use dockswap_core::machine::Serving;
use dockswap_core::spec::Route;
use std::collections::BTreeSet;

impl Controller {
    /// The routes that an app has, or will have however the deployment in flight ends. They may differ
    /// from those in its file: that version may have failed. A standby holds none: a rollback to
    /// routes that another app has by then is refused.
    #[must_use]
    pub fn held_routes(&self, app: &AppName) -> Vec<Route> {
        let Some(handle) = self.apps().get(app).cloned() else { return Vec::new() };
        let machine = handle.machine.borrow().clone();
        let in_flight = if machine.in_flight().is_some() { machine.releases() } else { Vec::new() };
        let releases = in_flight.into_iter().flat_map(|release| release.plan.routes.iter());
        releases.chain(machine.route().routes).cloned().collect()
    }

    /// The routes that want certificates, of every app: [`Controller::held_routes`], those of traffic that was found
    /// where the records do not send it, and those that a warm standby brings back, as far as nobody else serves
    /// their host over TLS by now.
    #[must_use]
    pub fn secure_routes(&self) -> Vec<(AppName, Route)> {
        let mut apps: BTreeSet<AppName> = self.apps().keys().cloned().collect();
        apps.extend(self.shared.held_apps().cloned());
        let of = |app: &AppName, routes: Vec<Route>| {
            let app = app.clone();
            routes.into_iter().filter(|route| route.tls.is_some()).map(move |route| (app.clone(), route))
        };
        let held = |app: &AppName| [self.held_routes(app), self.shared.held(app).incoming()].concat();
        let mut secure: Vec<(AppName, Route)> = apps.iter().flat_map(|app| of(app, held(app))).collect();
        let spare = |route: &Route| secure.iter().all(|(_, served)| served.host != route.host);
        let warm = apps.iter().flat_map(|app| of(app, self.standby_routes(app)));
        let warm: Vec<_> = warm.filter(|(_, route)| spare(route)).collect();
        secure.extend(warm);
        secure
    }

    /// The routes that a rollback brings back without a start.
    fn standby_routes(&self, app: &AppName) -> Vec<Route> {
        let Some(handle) = self.apps().get(app).cloned() else { return Vec::new() };
        let machine = handle.machine.borrow().clone();
        let standby = machine.serving().and_then(Serving::warm_standby);
        standby.map(|standby| standby.release.plan.routes.clone()).unwrap_or_default()
    }
}
