//! Projects: which there are, and taking one away. An app belongs to the one that its newest file names, and there is
//! nothing else to make one.

use super::access::Caller;
use super::code::Code;
use super::error::Problem;
use super::segment::Segment;
use super::wire;
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Extension};
use dockswap_controller::Signature;
use dockswap_core::ProjectName;
use dockswap_core::grants::Role;
use dockswap_store::ProjectOutcome;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of an app that is out of service.
const RETIRED: &str = "retired";

/// Every project that the caller may see: those of apps in service, and those in which something was granted.
pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<wire::Projects>, Problem> {
    let projects = known(&state, &caller).await?;
    Ok(Json(wire::Projects { projects: projects.into_values().collect() }))
}

async fn known(state: &State, caller: &Caller) -> Result<BTreeMap<ProjectName, wire::ProjectEntry>, Problem> {
    let mut projects: BTreeMap<ProjectName, wire::ProjectEntry> = BTreeMap::new();
    let empty =
        |name: &ProjectName| wire::ProjectEntry { project: name.clone(), apps: Vec::new(), grants: 0 };
    for view in state.controller.views() {
        if let Some(name) = view.project.filter(|_| view.state != RETIRED) {
            projects.entry(name.clone()).or_insert_with(|| empty(&name)).apps.push(view.app);
        }
    }
    for (name, grants) in state.database.history().granted_projects().await? {
        if let Ok(name) = name.parse::<ProjectName>() {
            projects.entry(name.clone()).or_insert_with(|| empty(&name)).grants = grants;
        }
    }
    projects.retain(|name, _| caller.grants.on(Some(name)).is_some());
    Ok(projects)
}

/// Takes a project away: everything that was granted in it. Refused while an app of it is in service, and where somebody
/// has a higher role in it than the caller.
pub(super) async fn remove(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(signature): Extension<Signature>,
    Segment(name): Segment,
) -> Result<Json<wire::ProjectRemoved>, Problem> {
    let unknown = || unknown_project(&name);
    let project: ProjectName = name.parse().map_err(|_| unknown())?;
    signature.about(format!("project/{project}"));
    if !known(&state, &caller).await?.contains_key(&project) {
        return Err(unknown());
    }
    let role = caller.grants.on(Some(&project)).unwrap_or(Role::Viewer);
    let conflict = |code, detail: String| Err(Problem::new(code, detail));
    let audit = signature.take();
    let done = audit.clone().map(wire::done);
    let outcome = state.database.remove_project(project.clone(), role, done).await;
    if let (false, Some(audit)) = (matches!(outcome, Ok(ProjectOutcome::Removed(_))), audit) {
        signature.put_back(audit);
    }
    match outcome? {
        ProjectOutcome::Removed(grants) => {
            state.porter.changed();
            Ok(Json(wire::ProjectRemoved { project, grants }))
        }
        ProjectOutcome::InService(apps) => conflict(
            Code::ProjectInService,
            format!(
                "{} of {project} is in service: remove it, or give it another project, first",
                apps.join(", ")
            ),
        ),
        ProjectOutcome::Unknown(apps) => {
            let apps = if caller.sees_everything() { apps.join(", ") } else { "an app".to_owned() };
            let detail = format!(
                "{apps} is in service, and to which project it belongs is not known, for its newest file cannot be \
                 read: mend that first"
            );
            conflict(Code::ProjectUnknown, detail)
        }
        ProjectOutcome::Above(role) => {
            let detail =
                format!("somebody is {role} of {project}: whoever takes that away must be {role} there too");
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

pub(super) fn unknown_project(name: &str) -> Problem {
    Problem::new(Code::UnknownProject, format!("there is no project {}", name.escape_default()))
}
