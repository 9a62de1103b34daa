//! How a deployment that was followed ended, for people, programs and exit codes.

use super::exit::{CliError, Exit};
use super::follow::{self, Followed, Until};
use super::sentence;
use super::session::Session;
use super::text::duration;
use crate::api::wire;
use dockswap_core::records::DeploymentStatus;
use dockswap_core::{AppName, DeploymentId};
use serde::Serialize;
use std::time::Duration;

/// What is printed when an order is done with.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) app: AppName,
    pub(crate) deployment: Option<DeploymentId>,
    /// `success`, `failed`, `rolled_back`, `cancelled`; `switched`: it has the traffic and is not over;
    /// `in_progress`, `queued`: it was not waited for; `unchanged`: it was so already.
    #[serde(rename = "outcome")]
    pub(crate) how: &'static str,
    /// From its beginning to the confirmed switch, or to its end.
    pub(crate) took_ms: Option<u64>,
    pub(crate) active_color: Option<dockswap_core::Color>,
    pub(crate) image: Option<String>,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

/// Prints what was not waited for.
pub(crate) async fn accepted(
    session: &Session,
    app: &AppName,
    accepted: wire::Accepted,
) -> Result<Exit, CliError> {
    let shown = session.app(app).await?;
    let outcome = match accepted {
        wire::Accepted { queued: true, .. } => "queued",
        wire::Accepted { begun: false, .. } => "unchanged",
        wire::Accepted { .. } => "in_progress",
    };
    let document = Outcome { deployment: accepted.deployment, ..Outcome::of(&shown, outcome, None) };
    session.show(&document, || {
        let line = match (accepted.deployment, outcome) {
            (_, "queued") => format!("{app}: it waits for its turn: dockswap status {app}"),
            (Some(id), "unchanged") if shown.view.in_flight == Some(id) => {
                format!("{app}: deployment {id} is under way already: dockswap events {id} -f")
            }
            (_, "unchanged") => format!("{app}: it is already so; {}", sentence::serving(&shown)),
            (Some(id), _) => format!("{app}: deployment {id} has begun: dockswap events {id} -f"),
            (None, _) => format!("{app}: begun"),
        };
        vec![line]
    })?;
    Ok(Exit::Done)
}

/// Follows `deployment` and prints how that ended. `verb`: what was wanted, as in `deployed`.
pub(crate) async fn followed(
    session: &Session,
    app: &AppName,
    deployment: DeploymentId,
    until: Until,
    verb: &str,
) -> Result<Exit, CliError> {
    let followed = follow::follow(&session.client, app, deployment, until).await?;
    let shown = session.app(app).await?;
    match followed {
        Followed::Switched(took) => {
            let document =
                Outcome { deployment: Some(deployment), ..Outcome::of(&shown, "switched", Some(took)) };
            session.show(&document, || {
                vec![format!("{app}: {verb} in {}: {}", duration(took), sentence::serving(&shown))]
            })?;
            Ok(Exit::Done)
        }
        Followed::Ended(row) => {
            let failure = cause(session, row.id).await;
            ended(session, &shown, &row, failure, verb)
        }
    }
}

/// Why a deployment did not succeed, as its events tell: the first failure, or who ended it.
async fn cause(session: &Session, deployment: DeploymentId) -> Option<String> {
    let path = format!("/v1/deployments/{deployment}/events?limit=200");
    let newest_first: wire::Events = session.client.get(&path).await.ok()?;
    cause_among(&newest_first.events)
}

/// The same, from events that are at hand, newest first.
pub(crate) fn cause_among(newest_first: &[wire::Event]) -> Option<String> {
    let mut events = newest_first.iter().rev().filter(|event| !event.refused);
    let ends = ["cancel", "superseded", "manual_recovery"];
    events.find(|event| event.error.is_some() || ends.contains(&event.name.as_str())).map(sentence::of_event)
}

/// Prints how a deployment ended.
fn ended(
    session: &Session,
    app: &wire::App,
    row: &wire::Deployment,
    failure: Option<String>,
    verb: &str,
) -> Result<Exit, CliError> {
    let took = row.ended_at.map(|end| end.0.saturating_since(row.started_at.0));
    let succeeded = row.status == DeploymentStatus::Success;
    let document = Outcome {
        deployment: Some(row.id),
        failure: failure.clone().filter(|_| !succeeded),
        ..Outcome::of(app, row.status.as_str(), took)
    };
    if succeeded {
        session.show(&document, || {
            let took = took.map_or_else(String::new, |took| format!(" in {}", duration(took)));
            vec![format!("{}: {verb}{took}: {}", row.app, sentence::serving(app))]
        })?;
        return Ok(Exit::Done);
    }
    session.show(&document, Vec::new)?;
    Err(failed(app, row, failure, verb))
}

/// The error for a deployment that did not succeed.
fn failed(app: &wire::App, row: &wire::Deployment, failure: Option<String>, verb: &str) -> CliError {
    // What failed may have the traffic all the same, for want of better.
    let old_serves = app.view.serving.is_some_and(|serving| serving != row.id);
    let (exit, how) = match row.status {
        DeploymentStatus::Cancelled => (Exit::Conflict, "was cancelled"),
        DeploymentStatus::RolledBack => (Exit::OldServes, "was rolled back"),
        DeploymentStatus::Failed | DeploymentStatus::InProgress | DeploymentStatus::Success => {
            (Exit::OldServes, "failed")
        }
    };
    let exit = if exit == Exit::OldServes && !old_serves { Exit::Failed } else { exit };
    let mut error = CliError::new(exit, format!("{} was not {verb}: deployment {} {how}", row.app, row.id));
    error.why = failure;
    error.now = Some(sentence::serving(app));
    error.next(format!("dockswap why {}", row.app)).next(format!("dockswap events {}", row.id))
}

impl Outcome {
    pub(crate) fn of(app: &wire::App, how: &'static str, took: Option<Duration>) -> Self {
        Self {
            app: app.view.app.clone(),
            deployment: None,
            how,
            took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            active_color: app.view.active_color,
            image: app.view.image.clone(),
            failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::failed;
    use crate::api::wire;
    use crate::cli::fixture::app;
    use dockswap_core::records::DeploymentStatus;

    #[test]
    fn the_exit_code_says_whether_the_old_version_serves() {
        let row = |status| wire::Deployment { status, ..app("web").last_deployment.unwrap() };
        let mut down = app("web");
        (down.view.active_color, down.view.serving) = (None, None);
        let mut for_want_of_better = app("web");
        for_want_of_better.view.serving = for_want_of_better.last_deployment.as_ref().map(|last| last.id);
        for (app, status, code) in [
            (app("web"), DeploymentStatus::Failed, 3),
            (app("web"), DeploymentStatus::RolledBack, 3),
            (for_want_of_better, DeploymentStatus::Failed, 1),
            (down.clone(), DeploymentStatus::Failed, 1),
            (down, DeploymentStatus::Cancelled, 5),
            (app("web"), DeploymentStatus::Cancelled, 5),
        ] {
            assert_eq!(failed(&app, &row(status), None, "deployed").exit.code(), code, "{status}");
        }
    }

    #[test]
    fn a_failure_says_why_what_serves_and_what_to_do() {
        let shown = app("web");
        let mut row = shown.last_deployment.clone().unwrap();
        row.status = DeploymentStatus::Failed;
        let why = Some("web-green-7 exited with code 1\n  | boom".to_owned());
        assert_eq!(
            failed(&shown, &row, why, "deployed").to_string(),
            "error: web was not deployed: deployment 7 failed\n\
             \x20 why:  web-green-7 exited with code 1\n\
             \x20         | boom\n\
             \x20 now:  blue (app:v1) serves web, by deployment 6\n\
             \x20 next: dockswap why web\n\
             \x20       dockswap events 7"
        );
    }
}
