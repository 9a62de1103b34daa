//! Who is let in where: one table of every path and method of the API, with the door before it. The router is made of
//! this table and of nothing else, so there is no path without a door.
//!
//! What a caller may not see does not exist for them: an app that is hidden from them and one that is not there
//! are answered alike.

use super::access::{Caller, Peer};
use super::audit::{Told, carry_out, conclude, record};
use super::code::Code;
use super::error::Problem;
use super::{BODY_LIMIT, DEADLINE, PAGE_BODY_LIMIT};
use super::{
    access, app_name, apps, audit, backups, deployment_id, drift, facts, files, gates, logs, orders,
    projects, prune, records, stream, system, tokens,
};
use super::{once, openapi, query};
use crate::run::state::State;
use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, RawPathParams, Request};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use dockswap_controller::Signature;
use dockswap_core::ConfigId;
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::Role;
use std::sync::Arc;

/// Whom a path asks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody, also who does not say who they are.
    Everyone,
    /// Everybody who says who they are. The answer holds only what they may see.
    Known,
    /// Who has this role for the app that the path names.
    App(Role),
    /// The same for the app of the deployment that it names.
    Deployment(Role),
    /// The same for the app of the stored file that it names.
    Config(Role),
    /// Who has this role in the project that the path names.
    Project(Role),
    /// Who has this role everywhere.
    Everywhere(Role),
}

/// What an answer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It changes nothing, and comes in time.
    Question,
    /// It changes nothing, and goes on.
    Stream,
    /// It changes something. The verb is what it is called on record.
    Order(&'static str),
}

/// One path and method.
pub(crate) struct Route {
    #[cfg_attr(
        not(any(test, feature = "in-memory")),
        expect(dead_code, reason = "the handler has it too; tests ask here")
    )]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) door: Door,
    pub(crate) manner: Manner,
    handler: MethodRouter<Arc<State>>,
}

type Handling = MethodRouter<Arc<State>>;

fn ask<H: Handler<T, Arc<State>>, T: 'static>(path: &'static str, door: Door, handler: H) -> Route {
    let handler: Handling = on(MethodFilter::GET, handler);
    Route { method: Method::GET, path, door, manner: Manner::Question, handler }
}

fn follow<H: Handler<T, Arc<State>>, T: 'static>(path: &'static str, door: Door, handler: H) -> Route {
    Route { manner: Manner::Stream, ..ask(path, door, handler) }
}

fn post<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    door: Door,
    verb: &'static str,
    handler: H,
) -> Route {
    let handler: Handling = on(MethodFilter::POST, handler);
    Route { method: Method::POST, path, door, manner: Manner::Order(verb), handler }
}

fn delete<H: Handler<T, Arc<State>>, T: 'static>(
    path: &'static str,
    door: Door,
    verb: &'static str,
    handler: H,
) -> Route {
    let handler: Handling = on(MethodFilter::DELETE, handler);
    Route { method: Method::DELETE, path, door, manner: Manner::Order(verb), handler }
}

impl Route {
    /// Lets a body have so many bytes.
    fn with_bodies_of(self, most: usize) -> Self {
        Self { handler: self.handler.layer(DefaultBodyLimit::max(most)), ..self }
    }
}

/// Every path and method of the API.
pub(crate) fn routes() -> Vec<Route> {
    use Door::{App, Config, Deployment, Everyone, Everywhere, Known, Project};
    use Role::{Admin, Developer, Owner, Viewer};
    vec![
        ask("/healthz", Everyone, system::alive),
        ask("/readyz", Everyone, system::ready),
        ask("/metrics", Everywhere(Viewer), system::metrics),
        ask("/v1/whoami", Known, access::whoami),
        ask("/v1/apps", Known, apps::list),
        ask("/v1/apps/{app}", App(Viewer), apps::one),
        delete("/v1/apps/{app}", App(Admin), "remove", orders::remove),
        ask("/v1/apps/{app}/why", App(Viewer), apps::why),
        ask("/v1/apps/{app}/health", App(Viewer), apps::health),
        ask("/v1/apps/{app}/docker-run", App(Viewer), apps::docker_run),
        ask("/v1/apps/{app}/drift", App(Viewer), drift::app),
        ask("/v1/apps/{app}/deployments", App(Viewer), records::deployments),
        post("/v1/apps/{app}/deployments", App(Developer), "deploy", orders::deploy),
        ask("/v1/apps/{app}/configs", App(Viewer), records::configs),
        ask("/v1/apps/{app}/events", App(Viewer), records::app_events),
        follow("/v1/apps/{app}/events/stream", App(Viewer), stream::app),
        follow("/v1/apps/{app}/logs", App(Viewer), logs::logs),
        post("/v1/apps/{app}/rollback", App(Developer), "rollback", orders::rollback),
        post("/v1/apps/{app}/switch", App(Developer), "switch", orders::switch),
        post("/v1/apps/{app}/promote", App(Developer), "promote", orders::promote),
        post("/v1/apps/{app}/cancel", App(Developer), "cancel", orders::cancel),
        post("/v1/apps/{app}/recover", App(Admin), "recover", orders::recover),
        post("/v1/apps/{app}/pause", App(Developer), "pause", gates::pause),
        post("/v1/apps/{app}/resume", App(Developer), "resume", gates::resume),
        post("/v1/apps/{app}/maintenance", App(Developer), "maintenance_on", gates::close)
            .with_bodies_of(PAGE_BODY_LIMIT),
        delete("/v1/apps/{app}/maintenance", App(Developer), "maintenance_off", gates::open),
        ask("/v1/configs/{id}", Config(Viewer), records::config),
        ask("/v1/deployments/{id}", Deployment(Viewer), records::deployment),
        ask("/v1/deployments/{id}/events", Deployment(Viewer), records::deployment_events),
        follow("/v1/deployments/{id}/events/stream", Deployment(Viewer), stream::deployment),
        follow("/v1/events", Known, stream::everything),
        ask("/v1/openapi.json", Known, openapi::answer),
        ask("/v1/drift", Known, drift::all),
        ask("/v1/facts", Everywhere(Viewer), facts::all),
        ask("/v1/files", Everywhere(Viewer), files::list),
        ask("/v1/certificates", Everywhere(Viewer), system::certificates),
        ask("/v1/backups", Everywhere(Viewer), backups::list),
        post("/v1/reload", Everywhere(Admin), "reload", files::reload),
        ask("/v1/prune", Everywhere(Viewer), prune::prunable),
        post("/v1/prune", Everywhere(Admin), "prune", prune::prune),
        ask("/v1/projects", Known, projects::list),
        delete("/v1/projects/{project}", Project(Admin), "project_remove", projects::remove),
        ask("/v1/audit", Everywhere(Admin), audit::list),
        ask("/v1/tokens", Everywhere(Owner), tokens::list),
        post("/v1/tokens", Everywhere(Owner), "token_create", tokens::create),
        delete("/v1/tokens/{token}", Everywhere(Owner), "token_revoke", tokens::revoke),
    ]
}

/// The router: the table, each path behind its door.
pub(super) fn router(state: &Arc<State>) -> Router {
    let mut router = Router::new();
    let orders = once::Orders::new(state.clone());
    for Route { path, door, manner, handler, .. } in routes() {
        let post = Post { state: state.clone(), door, manner };
        let mut handler = handler.route_layer(middleware::from_fn(query::refuse_unknown));
        if matches!(manner, Manner::Order(_)) {
            // An answer that is given again is no order, and leaves no record.
            handler = handler.route_layer(middleware::from_fn_with_state(state.clone(), recorded));
            handler = handler.route_layer(middleware::from_fn_with_state(orders.clone(), once::once));
        }
        handler = handler.route_layer(middleware::from_fn_with_state(post, guard));
        if manner != Manner::Stream {
            handler = handler.route_layer(middleware::from_fn(in_time));
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let with = router.route(path, handler);
        router = with;
    }
    router
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state.clone())
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(DEADLINE, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::late().into_response())
}

/// What the guard of a door knows.
#[derive(Clone)]
struct Post {
    state: Arc<State>,
    door: Door,
    manner: Manner,
}

/// Finds out who asks, and lets them in or not.
async fn guard(
    extract: axum::extract::State<Post>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let Post { state, door, manner } = extract.0;
    if door == Door::Everyone {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.clone());
    let named = match &params {
        Ok(params) => Ok(params.iter().next().map(|(_, text)| text.to_owned()).unwrap_or_default()),
        Err(unreadable) => Err(Problem::new(Code::BadRequest, unreadable.body_text())),
    };
    let caller = state.porter.caller(peer.clone(), request.headers()).await;
    if let Ok(Caller { token: Some(token), .. }) = &caller
        && let Err(refused) = state.rates.admit(token.id.as_str())
    {
        return *refused;
    }
    let admitted = match (&caller, &named) {
        (Ok(caller), Ok(named)) => door.admits(&state, caller, named).await,
        (Err(problem), _) | (_, Err(problem)) => Err(problem.clone()),
    };
    let Manner::Order(verb) = manner else {
        return match (caller, admitted) {
            (Ok(caller), Ok(())) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            (_, Err(problem)) | (Err(problem), Ok(())) => problem.into_response(),
        };
    };
    let known = caller.map_err(|_| peer.map_or_else(|| "nowhere".to_owned(), |peer| peer.to_string()));
    let record = record(verb, door.target(named.as_deref().unwrap_or_default()), &known);
    match (known, admitted) {
        (Ok(caller), Ok(())) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(Recorded(record));
            next.run(request).await
        }
        (_, admitted) => {
            let response = admitted.err().unwrap_or_else(Problem::late).into_response();
            conclude(&state, &Signature::of(record), Told::of(&response)).await;
            response
        }
    }
}

/// How an order that was let in goes on record.
#[derive(Clone)]
struct Recorded(AuditRecord);

/// Carries an order out that was let in.
async fn recorded(extract: axum::extract::State<Arc<State>>, mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove::<Recorded>() {
        Some(Recorded(record)) => carry_out(extract.0, record, request, next).await,
        None => next.run(request).await,
    }
}

/// The most of what a path names that goes on record.
const NAMED: usize = 64;

impl Door {
    /// Lets `caller` in, or says why not. `named`: what stands in the path.
    async fn admits(self, state: &State, caller: &Caller, named: &str) -> Result<(), Problem> {
        match self {
            Self::Everyone | Self::Known => Ok(()),
            Self::Everywhere(role) => caller.must_be(caller.grants.everywhere(), role),
            Self::Project(role) => {
                let project = named.parse().map_err(|_| projects::unknown_project(named))?;
                let held =
                    caller.grants.on(Some(&project)).ok_or_else(|| projects::unknown_project(named))?;
                caller.must_be(Some(held), role)
            }
            Self::App(role) => {
                let app = app_name(named)?;
                let held = caller.role_on(state, &app).ok_or_else(|| Problem::unknown_app(&app))?;
                caller.must_be(Some(held), role)
            }
            Self::Deployment(role) => {
                let id = deployment_id(named)?;
                let row = state.database.history().deployment(id).await?;
                let held = row.and_then(|row| caller.role_on(state, &row.app_name));
                caller.must_be(Some(held.ok_or_else(|| Problem::unknown_deployment(id))?), role)
            }
            Self::Config(role) => {
                let unknown = || records::unknown_config(named);
                let id: i64 = named.parse().map_err(|_| unknown())?;
                let row = state.database.history().config(ConfigId(id)).await?;
                let held = row.and_then(|row| caller.role_on(state, &row.app));
                caller.must_be(Some(held.ok_or_else(unknown)?), role)
            }
        }
    }

    /// What an order behind this door is about.
    fn target(self, named: &str) -> String {
        let named: String = named.chars().take(NAMED).collect();
        match self {
            Self::App(_) => format!("app/{named}"),
            Self::Deployment(_) => format!("deployment/{named}"),
            Self::Config(_) => format!("config/{named}"),
            Self::Project(_) => format!("project/{named}"),
            Self::Everyone | Self::Known | Self::Everywhere(_) => "controller".to_owned(),
        }
    }
}
