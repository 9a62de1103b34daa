//! `dockswap why`.

use super::certificate;
use super::exit::{CliError, Exit};
use super::sentence;
use super::session::{Session, now};
use super::status::problems;
use super::text::{age, block, duration};
use crate::api::wire;
use clap::Args;
use dockswap_controller::{AppView, FileStatus};
use dockswap_core::records::DeploymentStatus;
use dockswap_core::{AppName, Timestamp};

/// Say in sentences how an app stands, and the events that led to it
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The app
    app: AppName,
}

pub(crate) async fn why(session: &Session, args: &WhyArgs) -> Result<Exit, CliError> {
    let why: wire::Why = session.client.get(&format!("/v1/apps/{}/why", args.app)).await?;
    session.show(&why, || story(&why, now()))?;
    Ok(Exit::Done)
}

fn story(why: &wire::Why, now: Timestamp) -> Vec<String> {
    let (app, view) = (&why.app, &why.app.view);
    let since = app.state_since.map_or_else(String::new, |since| format!(", for {}", age(since.0, now)));
    let mut lines = vec![format!("{} is {}{since}: {}.", view.app, view.state, meaning(view))];
    let since = app.serving_since.map_or_else(String::new, |since| format!(", since {since}"));
    lines.push(format!("{}{since}.", capital(&sentence::serving(app))));
    if let Some(serving) = &why.serving {
        lines.push(format!("It was brought by deployment {} (config {}).", serving.id, serving.config));
    }
    if let Some(gate) = sentence::of_gate_view(app, now) {
        lines.push(format!("It is {gate}."));
    }
    if let Some(progress) = &view.progress {
        lines.push(format!("{}.", capital(&sentence::of_progress(progress))));
    }
    if let Some(standby) = &view.standby {
        let how = match standby.warm_until_us {
            Some(until) if view.in_flight.is_some() => format!("still runs for {}", age(now, until)),
            Some(until) => format!(
                "still runs for {}: `dockswap switch {} {}` moves the traffic to it at once",
                age(now, until),
                view.app,
                standby.color
            ),
            None => "is stopped, and kept for a rollback".to_owned(),
        };
        lines.push(format!("The version before ({}, {}) {how}.", standby.color, standby.image));
    }
    if let Some(asked) = sentence::of_asked(app) {
        lines.push(format!("{}.", capital(&asked)));
    }
    for certificate in &app.certificates {
        lines.push(format!("Certificate for {}.", certificate::standing(certificate)));
    }
    if view.waiting {
        lines.push("A newer version of its file waits for its turn.".to_owned());
    }
    for problem in problems(app) {
        lines.push(block(&format!("Wrong: {problem}"), "  "));
    }
    if let Some(last) = &app.last_deployment {
        lines.push(String::new());
        lines.push(format!("The newest deployment, {} ({}): {}.", last.id, last.image, ended(last)));
        let began = why.events.first().map_or(last.started_at.0, |event| event.at.0);
        for event in &why.events {
            let at = duration(event.at.0.saturating_since(began));
            lines.push(format!("  +{at:<9} {}", block(&sentence::of_event(event), "             ")));
        }
    }
    lines.push(String::new());
    lines.extend(next(app).into_iter().map(|command| format!("next: {command}")));
    lines
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// What a state means.
fn meaning(view: &AppView) -> &'static str {
    match view.state.as_str() {
        "pending" => "it has never served",
        "stable" => "it serves, and nothing is in flight",
        "pulling" => "the image of the new version is being fetched; the old version, if any, serves",
        "holding" => "requests wait; the old version is being stopped, for it may not run beside the new one",
        "starting" => "the containers of the new version are being started",
        "health_check" => "the new version must prove that it can serve, before it gets any traffic",
        "awaiting_promotion" => "the new version is ready, and waits for `dockswap promote`",
        "switching" => "the traffic is being moved to the new version",
        "draining" => "requests in flight on the color that left the route are being finished",
        "watching" => "the new version has the traffic, and is being watched",
        "stopping" => "the color out of traffic is being stopped",
        "rolling_back" => "the deployment is being undone; the version before it serves, or is about to",
        "failed" => {
            "nothing healthy serves, or something kept failing: it needs a new deploy, or `dockswap recover`"
        }
        "retired" => "it was taken out of service; its file is ignored until it is edited or deployed",
        _ => "this version of the command does not know that state",
    }
}

fn ended(last: &wire::Deployment) -> String {
    let took = last.ended_at.map(|end| duration(end.0.saturating_since(last.started_at.0)));
    let took = took.map_or_else(String::new, |took| format!(" after {took}"));
    match last.status {
        DeploymentStatus::InProgress => "it is not over".to_owned(),
        DeploymentStatus::Success => format!("it succeeded{took}"),
        DeploymentStatus::Failed => {
            format!("it failed{took}, before it had any traffic or with nothing to go back to")
        }
        DeploymentStatus::RolledBack => format!("it had the traffic, which was taken back{took}"),
        DeploymentStatus::Cancelled => format!("it was cancelled{took}"),
    }
}

/// What a person would do now.
fn next(app: &wire::App) -> Vec<String> {
    let name = &app.view.app;
    let last = app.last_deployment.as_ref().map(|last| last.status);
    match (app.view.state.as_str(), last) {
        ("awaiting_promotion", _) => {
            vec![format!("dockswap promote {name}"), format!("dockswap cancel {name}")]
        }
        ("failed", _) => vec![format!("dockswap deploy {name}"), format!("dockswap recover {name}")],
        ("stable", Some(DeploymentStatus::Failed | DeploymentStatus::RolledBack))
            if app.failure.is_some() =>
        {
            vec![format!("mend the file or the image, then dockswap deploy {name}")]
        }
        ("pending", _) if matches!(app.view.file, FileStatus::Orphaned { .. }) => {
            vec![format!("put its file back, or dockswap remove {name}")]
        }
        ("pending", _) => vec![format!("dockswap deploy {name}")],
        ("retired", _) => vec![format!("dockswap deploy {name}"), format!("dockswap history {name}")],
        ("stable", _) => vec![format!("dockswap health {name}")],
        _ => vec![format!("dockswap events {name} --follow")],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::story;
    use crate::api::wire;
    use crate::cli::fixture::{app, now};
    use dockswap_core::records::DeploymentStatus;
    use serde_json::json;

    #[test]
    fn a_failed_deployment_is_told_with_the_apps_own_words() {
        let event = |id: i64, at: &str, event: serde_json::Value| -> wire::Event {
            serde_json::from_value(json!({
                "id": id, "deployment": 7, "app": "web", "event": event["type"], "from": null, "to": null,
                "color": "green", "refused": false, "error": null, "at": at, "payload": {"event": event},
            }))
            .unwrap()
        };
        let mut web = app("web");
        let last = web.last_deployment.as_mut().unwrap();
        last.status = DeploymentStatus::Failed;
        web.failure = Some("web-green-7 exited with code 1\n  | boom".to_owned());
        let events = vec![
            event(
                40,
                "2026-11-21T07:59:58.000000Z",
                json!({"type": "image_ready", "id": "sha256:1", "digest": null}),
            ),
            event(41, "2026-11-21T07:59:58.250000Z", json!({"type": "container_started"})),
            event(
                42,
                "2026-11-21T07:59:59.500000Z",
                json!({"type": "health_check_failed", "summary": "web-green-7 exited with code 1", "evidence": ["boom"]}),
            ),
        ];
        let why = wire::Why { app: web, serving: None, events };
        assert_eq!(
            story(&why, now()).join("\n"),
            "\
web is stable, for 3h: it serves, and nothing is in flight.
Blue (app:v1) serves web, by deployment 6, since 2026-11-21T08:00:00.000000Z.
Wrong: deployment 7 of app:v2 failed: web-green-7 exited with code 1
    | boom

The newest deployment, 7 (app:v2): it failed after 14.0 s, before it had any traffic or with nothing to go back to.
  +0 ms      the image is here: sha256:1
  +250 ms    the containers of green run
  +1.5 s     web-green-7 exited with code 1
               | boom

next: mend the file or the image, then dockswap deploy web"
        );
    }
}
