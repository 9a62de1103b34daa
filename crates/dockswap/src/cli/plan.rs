//! `dockswap plan`.

use super::app_files::{Accepted, AppFile, Checked};
use super::config::diff;
use super::exit::{CliError, Exit};
use super::records::{Records, Standing};
use super::sentence::of_gate;
use super::session::{Session, note};
use super::text::{count, duration};
use clap::Args;
use dockswap_config::{Policy, parse_app};
use dockswap_core::spec::{OnRegression, Promotion, PullPolicy};
use dockswap_core::{AppName, AppSpec, Color, ConfigId};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Show what a deploy would change, and its steps; change nothing
///
/// Compares the file with the version that serves. Without APP or FILE: every app of the config
/// directory. Works on the database when no controller answers, and as for a new app where there is
/// no database either.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// An app, or the path of an app file
    #[arg(value_name = "APP|FILE")]
    subject: Option<String>,
}

/// What a deploy of one app would do.
#[derive(Debug, Serialize)]
struct Plan {
    app: AppName,
    file: PathBuf,
    /// The version that it is compared with; absent: it is new.
    against: Option<ConfigId>,
    /// Whether the file says something else than that version, comments and layout aside.
    changes: bool,
    diff: Vec<String>,
    steps: Vec<String>,
}

pub(crate) async fn plan(session: &Session, args: &PlanArgs) -> Result<Exit, CliError> {
    let settings = session.settings()?;
    let accepted = Accepted::ask(session).await;
    let chosen = match &args.subject {
        Some(subject) if Path::new(subject).is_file() => {
            Checked::files(&[PathBuf::from(subject)], &session.paths, &settings, &accepted)
        }
        _ => Checked::directory(&session.paths, &settings, &accepted),
    };
    let wanted: Vec<&AppFile> = match &args.subject {
        Some(subject) if !Path::new(subject).is_file() => {
            chosen.files.iter().filter(|file| file.spec.name.as_str() == subject).collect()
        }
        _ => chosen.files.iter().collect(),
    };
    let invalid = || {
        CliError::new(Exit::Usage, "not every file can be used")
            .because(chosen.problems.join("\n"))
            .next("dockswap validate")
    };
    if wanted.is_empty() && !chosen.problems.is_empty() {
        return Err(invalid());
    }
    if let (Some(subject), []) = (&args.subject, wanted.as_slice()) {
        let apps = session.paths.apps_dir();
        return Err(CliError::new(
            Exit::NotFound,
            format!("no file, and no app of {}, is called {subject}", apps.display()),
        ));
    }
    let records = records(session).await;
    let mut plans = Vec::new();
    for file in wanted {
        plans.push(plan_of(records.as_ref(), file, &settings.policy).await?);
    }
    session.show(&serde_json::json!({ "plans": plans }), || plans.iter().flat_map(Plan::lines).collect())?;
    if chosen.problems.is_empty() { Ok(Exit::Done) } else { Err(invalid()) }
}

/// Whoever has records; nobody, on a machine where dockswap never ran.
async fn records(session: &Session) -> Option<Records<'_>> {
    match Records::open(session).await {
        Ok(records) => Some(records),
        Err(_) => {
            note("neither a controller nor a database is here: every app counts as new");
            None
        }
    }
}

async fn plan_of(records: Option<&Records<'_>>, file: &AppFile, policy: &Policy) -> Result<Plan, CliError> {
    let app = &file.spec.name;
    let standing = match records {
        Some(records) => records.standing(app).await?,
        None => None,
    };
    let served = match (records, standing.as_ref().and_then(|standing| standing.deployment)) {
        (Some(records), Some(deployment)) => {
            let config = records.deployment(deployment).await?.config;
            Some(records.config(config).await?)
        }
        _ => None,
    };
    let base = file.path.parent().unwrap_or(Path::new("."));
    let before =
        served.as_ref().map(|served| (served.id, parse_app(&file.path, &served.bytes, base, policy).ok()));
    let same = before.as_ref().is_some_and(|(_, spec)| spec.as_ref() == Some(&file.spec));
    let diff = match &served {
        Some(served) => diff(
            &format!("{app} config {} (serves)", served.id),
            &served.bytes,
            &file.path.display().to_string(),
            &file.bytes,
        ),
        None => Vec::new(),
    };
    Ok(Plan {
        app: app.clone(),
        file: file.path.clone(),
        against: before.map(|(id, _)| id),
        changes: !same,
        diff,
        steps: if same { Vec::new() } else { steps(&file.spec, standing.as_ref()) },
    })
}

/// What a deploy of `spec` does, in order.
fn steps(spec: &AppSpec, standing: Option<&Standing>) -> Vec<String> {
    let live = standing.and_then(|standing| standing.color);
    let color = live.map_or(Color::Blue, Color::other);
    let policy = &spec.deployment;
    let fetch = match spec.container.pull_policy {
        PullPolicy::Always => format!("pull {}", spec.image),
        PullPolicy::Missing => format!("pull {}, unless it is on the host", spec.image),
        PullPolicy::Never => format!("find {} on the host", spec.image),
    };
    let containers = count(u64::from(spec.replicas), "container");
    let mut steps = vec![fetch, format!("start {containers} as {color}")];
    let gate = of_gate(&spec.health_check);
    steps
        .push(format!("wait until {color} is healthy, at most {}: {gate}", duration(policy.startup_timeout)));
    if policy.promotion == Promotion::Manual {
        steps.push(format!("wait for `dockswap promote {}`", spec.name));
    }
    let routes: Vec<String> = spec.routes.iter().map(ToString::to_string).collect();
    steps.push(format!("move the traffic of {} to {color}, at once", routes.join(", ")));
    if let Some(live) = live {
        let drain = duration(policy.drain_timeout);
        steps.push(format!("let {live} finish its requests, at most {drain}"));
    }
    let regression = match (policy.on_regression, live) {
        (OnRegression::RollBack, Some(live)) => {
            format!("give the traffic back to {live} if {color} turns unhealthy")
        }
        (OnRegression::RollBack, None) | (OnRegression::Record, _) => {
            format!("record it if {color} turns unhealthy")
        }
    };
    steps.push(format!("watch {color} for {}: {regression}", duration(policy.watch)));
    if let Some(live) = live {
        let window = duration(policy.rollback_window);
        steps.push(format!("keep {live} running for {window}, for an instant rollback; then stop it"));
    }
    if let Some(standing) = standing
        .filter(|standing| !["stable", "pending", "failed", "retired"].contains(&standing.state.as_str()))
    {
        steps.insert(0, format!("end or await what is in flight (state {})", standing.state));
    }
    steps
}

impl Plan {
    fn lines(&self) -> Vec<String> {
        let mut lines = match (self.against, self.changes) {
            (None, _) => vec![format!("{}: new ({})", self.app, self.file.display())],
            (Some(_), true) => vec![format!("{}: changed", self.app)],
            (Some(id), false) if self.diff.is_empty() => {
                vec![format!("{}: unchanged, config {id} serves", self.app)]
            }
            (Some(_), false) => vec![format!(
                "{}: comments or layout only: stored as a version, nothing is deployed",
                self.app
            )],
        };
        lines.extend(self.diff.iter().map(|line| format!("  {line}")));
        lines.extend(self.steps.iter().enumerate().map(|(index, step)| format!("  {}. {step}", index + 1)));
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{Plan, steps};
    use crate::cli::records::Standing;
    use dockswap_config::{Policy, parse_app};
    use dockswap_core::{AppSpec, Color, DeploymentId};
    use std::path::Path;

    fn spec(more: &str) -> AppSpec {
        let text = format!("name: web\nimage: app:v2\ndocker: {{ expose_port: 8080 }}\n{more}");
        parse_app(Path::new("web.yaml"), text.as_bytes(), Path::new("/"), &Policy::default()).unwrap()
    }

    fn blue_serves(state: &str) -> Standing {
        Standing { color: Some(Color::Blue), deployment: Some(DeploymentId(6)), state: state.to_owned() }
    }

    #[test]
    fn a_first_deployment_has_nothing_to_drain() {
        assert_eq!(
            steps(&spec("health_check: { endpoint: /up, expected_status: 200 }\n"), None),
            [
                "pull app:v2, unless it is on the host",
                "start 1 container as blue",
                "wait until blue is healthy, at most 1 min 0 s: GET /up answers 200 within 5.0 s",
                "move the traffic of web.localhost/ to blue, at once",
                "watch blue for 10.0 s: record it if blue turns unhealthy",
            ]
        );
    }

    #[test]
    fn a_deployment_takes_the_other_color_and_keeps_the_old_one() {
        let steps =
            steps(&spec("deployment: { promotion: manual }\nreplicas: 2\n"), Some(&blue_serves("watching")));
        assert_eq!(steps[0], "end or await what is in flight (state watching)");
        assert_eq!(steps[2], "start 2 containers as green");
        assert_eq!(steps[4], "wait for `dockswap promote web`");
        assert_eq!(
            steps[7],
            "watch green for 10.0 s: give the traffic back to blue if green turns unhealthy"
        );
        assert_eq!(steps[8], "keep blue running for 5 min 0 s, for an instant rollback; then stop it");
    }

    #[test]
    fn a_plan_without_changes_says_so() {
        let plan = Plan {
            app: "web".parse().unwrap(),
            file: "apps/web.yaml".into(),
            against: Some(dockswap_core::ConfigId(3)),
            changes: false,
            diff: Vec::new(),
            steps: Vec::new(),
        };
        assert_eq!(plan.lines(), ["web: unchanged, config 3 serves"]);
    }
}
