//! Questions about apps as they stand now.

use super::access::Caller;
use super::error::Problem;
use super::query::Asked;
use super::segment::Segment;
use super::{app_name, backups, wire};
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Extension};
use dockswap_controller::{AppView, FileStatus};
use dockswap_core::ports::Probe;
use dockswap_core::records::{DeploymentStatus, StoreError};
use dockswap_core::{AppName, Color, DeploymentId};
use dockswap_docker::docker_run_command;
use dockswap_store::{EventScope, History, Page};
use serde::Deserialize;
use std::sync::Arc;

/// The most events of one deployment that are looked through.
const EVENTS: u64 = 500;

/// How many deployments back the one of the newest version is looked for.
const RECENT: u64 = 50;

/// A color, or none given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfColor {
    pub(super) color: Option<Color>,
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<wire::Apps>, Problem> {
    let mut apps = Vec::new();
    let seen = |view: &AppView| caller.grants.on(view.project.as_ref()).is_some();
    for view in state.controller.views().into_iter().filter(seen) {
        apps.push(with_records(&state, view).await?);
    }
    count_waiting(&state, &mut apps).await;
    let veil = caller.veil(&state);
    let apps: Vec<wire::App> = apps.into_iter().map(|app| veil.over_app(app)).collect();
    let known = |file: &wire::File| apps.iter().any(|app| Some(&app.view.app) == file.app.as_ref());
    let unknown = |file: &wire::File| !file.problems.is_empty() && !known(file);
    let files = if caller.sees_everything() {
        state.intake.files().into_iter().filter(unknown).collect()
    } else {
        // What belongs to no known app belongs to no known project.
        Vec::new()
    };
    let warnings = if caller.sees_everything() {
        state.backups.standing().fault.iter().map(backups::warning).collect()
    } else {
        Vec::new()
    };
    Ok(Json(wire::Apps { apps, files, warnings }))
}

pub(super) async fn one(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
) -> Result<Json<wire::App>, Problem> {
    let app = find(&state, &app_name(&app)?).await?;
    Ok(Json(caller.veil(&state).over_app(app)))
}

pub(super) async fn why(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Segment(app): Segment,
) -> Result<Json<wire::Why>, Problem> {
    let app = find(&state, &app_name(&app)?).await?;
    let history = state.database.history();
    let events = match &app.last_deployment {
        Some(last) => history.events_after(&EventScope::Deployment(last.id), 0, EVENTS).await?,
        None => Vec::new(),
    };
    let last = app.last_deployment.as_ref().map(|last| last.id);
    let serving = match app.view.serving {
        Some(serving) if Some(serving) != last => history.deployment(serving).await?,
        _ => None,
    };
    let veil = caller.veil(&state);
    Ok(Json(wire::Why {
        app: veil.over_app(app),
        serving: serving.map(wire::Deployment::from),
        events: events.into_iter().map(|event| veil.over_event(event.into())).collect(),
    }))
}

pub(super) async fn health(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
) -> Result<Json<wire::Health>, Problem> {
    let app = app_name(&app)?;
    let answers = state.controller.health(&app).await?;
    let view = view(&state, &app)?;
    let containers = answers.into_iter().map(|(container, probe)| {
        let seen = match probe {
            Probe::Healthy => None,
            Probe::Unhealthy(seen) => Some(seen),
        };
        wire::ContainerHealth {
            name: container.name,
            color: container.color,
            deployment: container.deployment,
            replica: container.replica,
            live: view.active_color == Some(container.color) && view.origin == Some(container.deployment),
            address: container.upstream.map(|upstream| upstream.addr),
            healthy: seen.is_none(),
            seen,
        }
    });
    Ok(Json(wire::Health { containers: containers.collect(), app }))
}

pub(super) async fn docker_run(
    extract::State(state): extract::State<Arc<State>>,
    Segment(app): Segment,
    Asked(OfColor { color }): Asked<OfColor>,
) -> Result<Json<wire::DockerRun>, Problem> {
    let app = app_name(&app)?;
    let group = state.controller.group(&app, color).await?;
    Ok(Json(wire::DockerRun { app, color: group.color, command: docker_run_command(&group) }))
}

pub(super) fn view(state: &State, app: &AppName) -> Result<AppView, Problem> {
    state.controller.view(app).ok_or_else(|| never_accepted(state, app))
}

/// Why an app is unknown: there is nothing of it, or its file could not be used so far. A file that
/// cannot be read is taken for that of the app that it is named after.
fn never_accepted(state: &State, app: &AppName) -> Problem {
    let of_app = |file: &&wire::File| match &file.app {
        Some(name) => name == app,
        None => file.path.file_stem().is_some_and(|stem| stem == app.as_str()),
    };
    let files = state.intake.files();
    let problems: Vec<&str> =
        files.iter().filter(of_app).flat_map(|file| &file.problems).map(String::as_str).collect();
    if problems.is_empty() { Problem::unknown_app(app) } else { Problem::invalid(problems.join("\n")) }
}

async fn find(state: &State, app: &AppName) -> Result<wire::App, Problem> {
    let mut app = with_records(state, view(state, app)?).await?;
    count_waiting(state, std::slice::from_mut(&mut app)).await;
    Ok(app)
}

/// Asks the proxy how many requests wait, where any may.
async fn count_waiting(state: &State, apps: &mut [wire::App]) {
    if !apps.iter().any(|app| app.view.gate.holds()) {
        return;
    }
    let Some(waiting) = state.controller.waiting().await else { return };
    for app in apps.iter_mut().filter(|app| app.view.gate.holds()) {
        app.requests_waiting = Some(waiting.get(&app.view.app).copied().unwrap_or(0));
    }
}

/// What is on record about an app, beside what the controller shows of it.
async fn with_records(state: &State, view: AppView) -> Result<wire::App, StoreError> {
    let history = state.database.history();
    let state_since = history.current_state(&view.app).await?.map(|row| wire::Time(row.updated_at));
    let serving_since = match view.serving {
        Some(serving) => {
            let events = history.events_after(&EventScope::Deployment(serving), 0, EVENTS).await?;
            events
                .into_iter()
                .find(|event| event.event_type == "traffic_switched")
                .map(|event| wire::Time(event.created_at))
        }
        None => None,
    };
    let last = history.deployments(&view.app, Page::first(1)).await?.into_iter().next();
    let failure = match &last {
        Some(last) if last.status != DeploymentStatus::Success => {
            let events = history.events_after(&EventScope::Deployment(last.id), 0, EVENTS).await?;
            // The first failure is the cause; what went wrong while it was undone came after it.
            events
                .into_iter()
                .find(|event| event.error.is_some() && event.payload.get("refused").is_none())
                .and_then(|event| event.error)
        }
        _ => None,
    };
    let asked = match view.serving {
        Some(serving) if view.in_flight.is_none() => asked(history, &view.app, serving).await?,
        _ => None,
    };
    let unused_files = unused_files(&view, state.intake.files());
    Ok(wire::App {
        certificates: state.certificates_of(&view.app),
        view,
        requests_waiting: None,
        unused_files,
        asked,
        serving_since,
        state_since,
        last_deployment: last.map(wire::Deployment::from),
        failure,
    })
}

/// What the file asks for, when an operator has given the traffic to an earlier version since.
async fn asked(
    history: &History,
    app: &AppName,
    serving: DeploymentId,
) -> Result<Option<wire::Asked>, StoreError> {
    let rows = history.deployments(app, Page::first(RECENT)).await?;
    let newest = history.configs(app, Page::first(1)).await?.into_iter().next();
    let (Some(newest), Some(last)) = (newest, rows.first()) else { return Ok(None) };
    if last.id != serving || last.config_id == newest.id {
        return Ok(None);
    }
    // A version of other comments only has no deployment, and asks for nothing else.
    let deployed = rows.iter().find(|row| row.config_id == newest.id);
    Ok(deployed.map(|row| wire::Asked { config: newest.id, image: row.image.clone() }))
}

/// The files of an app that are refused beside the one that describes it.
fn unused_files(view: &AppView, files: Vec<wire::File>) -> Vec<wire::File> {
    let told = |file: &wire::File| match &view.file {
        FileStatus::Valid => false,
        FileStatus::Invalid { problems } => *problems == file.problems,
        FileStatus::Orphaned { .. } => file.sha.is_none(),
    };
    let unused =
        |file: &wire::File| file.app.as_ref() == Some(&view.app) && !file.problems.is_empty() && !told(file);
    files.into_iter().filter(unused).collect()
}
