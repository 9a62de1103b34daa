//! `dockswap status`.

use super::certificate;
use super::exit::{CliError, Exit};
use super::sentence;
use super::session::{Format, Session, data, now};
use super::text::{Table, age, block, duration};
use crate::api::wire;
use clap::Args;
use dockswap_controller::{FileStatus, GateView};
use dockswap_core::records::DeploymentStatus;
use dockswap_core::{AppName, ProjectName, Timestamp};
use std::io::IsTerminal;
use std::path::Path;
use tokio::time::{Duration, sleep};

/// Show how apps stand: what serves, and what is wrong
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The app, in detail [default: all of them, in a table]
    app: Option<AppName>,
    /// Only the apps of this project
    #[arg(long, conflicts_with = "app")]
    project: Option<ProjectName>,
    /// Show it again whenever it changes, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

/// So that a burst of changes is drawn once.
const SETTLE: Duration = Duration::from_millis(50);

pub(crate) async fn status(session: &Session, args: &StatusArgs) -> Result<Exit, CliError> {
    if !args.watch {
        show(session, args).await?;
        return Ok(Exit::Done);
    }
    let path = match &args.app {
        Some(app) => format!("/v1/apps/{app}/events/stream"),
        None => "/v1/events".to_owned(),
    };
    // Listen first, then look: what happens in between is noticed.
    let mut events = session.client.events(&path, None).await?;
    loop {
        if session.format == Format::Text && std::io::stdout().is_terminal() {
            data("\x1b[2J\x1b[H")?;
        }
        show(session, args).await?;
        if events.next().await.transpose()?.is_none() {
            return Err(CliError::new(Exit::NoController, "the controller has ended").next("dockswap run"));
        }
        sleep(SETTLE).await;
    }
}

async fn show(session: &Session, args: &StatusArgs) -> Result<(), CliError> {
    match &args.app {
        Some(app) => {
            let shown = session.app(app).await?;
            session.show(&shown, || detail(&shown, now()))
        }
        None => {
            let mut all: wire::Apps = session.client.get("/v1/apps").await?;
            if let Some(project) = &args.project {
                all.apps.retain(|app| app.view.project.as_ref() == Some(project));
                // What belongs to no known app belongs to no known project.
                all.files.clear();
                all.warnings.clear();
                if all.apps.is_empty() {
                    let what = format!("there is no app of {project}");
                    return Err(CliError::new(Exit::NotFound, what).next("dockswap project list"));
                }
            }
            let apps_dir = session.paths.apps_dir();
            session.show(&all, || overview(&all, &apps_dir, now()))
        }
    }
}

/// The table, and below it what is wrong.
fn overview(all: &wire::Apps, apps_dir: &Path, now: Timestamp) -> Vec<String> {
    let mut table =
        Table::new(["APP", "STATE", "COLOR", "IMAGE", "SINCE", "STANDBY", "ROUTE", "LAST DEPLOYMENT"]);
    for app in &all.apps {
        let view = &app.view;
        table.row([
            view.app.to_string(),
            state(app),
            view.active_color.map(|color| color.to_string()).unwrap_or_default(),
            view.image.clone().unwrap_or_default(),
            app.serving_since.map(|since| age(since.0, now)).unwrap_or_default(),
            standby(app, now).unwrap_or_default(),
            routes(&view.routes),
            app.last_deployment
                .as_ref()
                .map(|last| format!("#{} {}", last.id, last.status))
                .unwrap_or_default(),
        ]);
    }
    let mut lines = if table.is_empty() {
        vec![format!(
            "no apps yet: put an app file into {} (dockswap init writes an example)",
            apps_dir.display()
        )]
    } else {
        table.lines()
    };
    let mut wrong: Vec<String> = Vec::new();
    for app in &all.apps {
        wrong.extend(
            problems(app).iter().map(|problem| format!("{}: {}", app.view.app, block(problem, "  "))),
        );
    }
    wrong.extend(all.warnings.iter().map(|warning| block(warning, "  ")));
    for file in &all.files {
        let problems = file.problems.iter().map(|problem| block(problem, "  "));
        wrong.extend(problems);
    }
    if !wrong.is_empty() {
        lines.push(String::new());
        lines.extend(wrong);
    }
    lines
}

/// One app, a line a fact.
fn detail(app: &wire::App, now: Timestamp) -> Vec<String> {
    let view = &app.view;
    let mut lines = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("{name:<12} {}", block(&value, "             ")));
        }
    };
    let ago = |time: wire::Time| format!("{} ago ({time})", age(time.0, now));
    fact("app", Some(view.app.to_string()));
    fact("state", Some(state(app)));
    fact("since", app.state_since.map(ago));
    fact("progress", view.progress.as_ref().map(sentence::of_progress));
    fact("serves", Some(sentence::serving(app)));
    fact("", app.serving_since.map(ago));
    fact("gate", sentence::of_gate_view(app, now));
    fact("upstreams", (!view.upstreams.is_empty()).then(|| view.upstreams.join(", ")));
    fact("routes", (!view.routes.is_empty()).then(|| view.routes.join(", ")));
    let certificates: Vec<String> = app.certificates.iter().map(certificate::standing).collect();
    fact("certificate", (!certificates.is_empty()).then(|| certificates.join("\n")));
    fact("standby", standby(app, now));
    fact(
        "runs",
        view.runs_alone.then(|| "alone: no two of its versions at a time (strategy: recreate)".to_owned()),
    );
    fact("file", sentence::of_asked(app));
    fact("in flight", view.in_flight.map(|id| format!("deployment {id}")));
    fact("waiting", view.waiting.then(|| "a newer version waits for its turn".to_owned()));
    fact("last", app.last_deployment.as_ref().map(|last| last_deployment(last, now)));
    let wrong = problems(app);
    fact("problems", (!wrong.is_empty()).then(|| wrong.join("\n")));
    lines
}

fn last_deployment(last: &wire::Deployment, now: Timestamp) -> String {
    let took =
        last.ended_at.map(|end| format!(", took {}", duration(end.0.saturating_since(last.started_at.0))));
    let undoes = last.rollback_of.map(|id| format!(", undoing {id}"));
    format!(
        "deployment {} of {} into {}{}: {}, began {} ago{}",
        last.id,
        last.image,
        last.color,
        undoes.unwrap_or_default(),
        last.status,
        age(last.started_at.0, now),
        took.unwrap_or_default()
    )
}

/// The machine's state, with what is to be known beside it.
fn state(app: &wire::App) -> String {
    let view = &app.view;
    let mut state = view.state.clone();
    for (flag, is_set) in [
        ("degraded", view.degraded.is_some()),
        ("orphaned", matches!(view.file, FileStatus::Orphaned { .. }) && view.state != "retired"),
        ("invalid", matches!(view.file, FileStatus::Invalid { .. })),
        ("waiting", view.waiting),
        ("paused", matches!(view.gate, GateView::Paused(_))),
        ("maintenance", matches!(view.gate, GateView::Maintenance { .. })),
    ] {
        if is_set {
            state.push_str(", ");
            state.push_str(flag);
        }
    }
    state
}

fn standby(app: &wire::App, now: Timestamp) -> Option<String> {
    let standby = app.view.standby.as_ref()?;
    let warmth = match standby.warm_until_us {
        Some(until) => format!("running, {} left", age(now, until)),
        None => "stopped".to_owned(),
    };
    Some(format!("{} {} ({warmth})", standby.color, standby.image))
}

fn routes(routes: &[String]) -> String {
    match routes {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (+{})", rest.len()),
    }
}

/// What is wrong with an app: each may have several lines.
pub(crate) fn problems(app: &wire::App) -> Vec<String> {
    let view = &app.view;
    let mut problems = Vec::new();
    if let Some(failed) = &view.failed {
        problems.push(format!("failed: {failed}"));
    }
    if let Some(degraded) = &view.degraded {
        problems.push(format!("degraded: {degraded}"));
    }
    match &view.file {
        FileStatus::Valid => {}
        FileStatus::Invalid { problems: found } => {
            let runs = if view.active_color.is_some() { "what runs is untouched" } else { "nothing serves" };
            problems.push(format!("its file cannot be used; {runs}\n{}", found.join("\n")));
        }
        FileStatus::Orphaned { .. } if view.state == "retired" => {}
        FileStatus::Orphaned { reason } => {
            let serves = if view.active_color.is_some() { "it serves on" } else { "nothing serves" };
            problems.push(format!(
                "it has no file ({reason}); {serves}: put the file back, or dockswap remove {}",
                view.app
            ));
        }
    }
    problems.extend(app.certificates.iter().filter_map(certificate::problem));
    for file in &app.unused_files {
        let found = file.problems.join("\n");
        problems.push(format!(
            "{} is not used: another file describes {}\n{found}",
            file.path.display(),
            view.app
        ));
    }
    if let (Some(failure), Some(last)) = (&app.failure, &app.last_deployment)
        && view.failed.is_none()
        && !app.last_was_cancelled()
    {
        let how = match last.status {
            DeploymentStatus::RolledBack => "was rolled back",
            DeploymentStatus::InProgress => "is being rolled back",
            DeploymentStatus::Failed | DeploymentStatus::Success | DeploymentStatus::Cancelled => "failed",
        };
        problems.push(format!("deployment {} of {} {how}: {failure}", last.id, last.image));
    }
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{detail, overview, problems, sentence};
    use crate::api::wire;
    use crate::cli::fixture::{app, now};
    use dockswap_controller::{FileStatus, GateView, StandbyView};
    use dockswap_core::records::DeploymentStatus;
    use dockswap_core::routes::Hold;
    use dockswap_core::{Color, ConfigId, DeploymentId};
    use std::path::Path;
    use std::time::Duration;

    fn standby(warm: bool) -> StandbyView {
        StandbyView {
            color: Color::Green,
            image: "app:v0".to_owned(),
            deployment: DeploymentId(5),
            warm_until_us: warm.then(|| now() + Duration::from_secs(200)),
        }
    }

    #[test]
    fn the_table_and_what_is_wrong() {
        let mut web = app("web");
        web.view.standby = Some(standby(true));
        let mut api = app("api");
        api.view.file =
            FileStatus::Invalid { problems: vec!["apps/api.yaml:2:1: image: missing".to_owned()] };
        api.view.degraded = Some("1 of 2 replicas runs".to_owned());
        let mut last = api.last_deployment.take().unwrap();
        last.status = DeploymentStatus::Failed;
        api.last_deployment = Some(last);
        api.failure = Some("api-green-7 exited with code 1\n  | boom\u{1b}".to_owned());
        let files = vec![wire::File {
            path: "x.yaml".into(),
            app: None,
            sha: None,
            problems: vec!["apps/x.yaml:1:1: name: missing".to_owned()],
        }];
        let warnings = vec!["there is no new backup\nnext: free some".to_owned()];
        let all = wire::Apps { apps: vec![api, web], files, warnings };
        let lines = overview(&all, Path::new("apps"), now());
        assert_eq!(
            lines.join("\n"),
            "\
APP  STATE                      COLOR  IMAGE   SINCE  STANDBY                          ROUTE           LAST DEPLOYMENT
api  stable, degraded, invalid  blue   app:v1  4h     -                                api.localhost/  #7 failed
web  stable                     blue   app:v1  4h     green app:v0 (running, 3m left)  web.localhost/  #7 success

api: degraded: 1 of 2 replicas runs
api: its file cannot be used; what runs is untouched
  apps/api.yaml:2:1: image: missing
api: deployment 7 of app:v2 failed: api-green-7 exited with code 1
    | boom\\u{1b}
there is no new backup
  next: free some
apps/x.yaml:1:1: name: missing"
        );
    }

    #[test]
    fn nothing_yet_says_what_to_do() {
        let none = wire::Apps { apps: Vec::new(), files: Vec::new(), warnings: Vec::new() };
        let lines = overview(&none, Path::new("/etc/dockswap/apps"), now());
        assert_eq!(
            lines,
            ["no apps yet: put an app file into /etc/dockswap/apps (dockswap init writes an example)"]
        );
    }

    #[test]
    fn one_app_in_detail() {
        let mut web = app("web");
        web.view.standby = Some(standby(false));
        assert_eq!(
            detail(&web, now()).join("\n"),
            "\
app          web
state        stable
since        3h ago (2026-11-21T08:01:00.000000Z)
serves       blue (app:v1) serves web, by deployment 6
             4h ago (2026-11-21T08:00:00.000000Z)
upstreams    172.17.0.2:8080
routes       web.localhost/
standby      green app:v0 (stopped)
last         deployment 7 of app:v2 into green: success, began 4h ago, took 14.0 s"
        );
    }

    #[test]
    fn that_no_two_of_its_versions_run_at_a_time_is_shown() {
        let mut web = app("web");
        web.view.runs_alone = true;
        let shown = detail(&web, now()).join("\n");
        assert!(shown.contains("runs         alone: no two of its versions at a time"), "{shown}");
    }

    #[test]
    fn what_keeps_requests_from_an_app_is_shown() {
        let mut web = app("web");
        web.view.gate = GateView::Paused(Hold::begin(Duration::from_secs(12), 1_000, now()));
        web.requests_waiting = Some(40);
        let shown = detail(&web, now()).join("\n");
        assert!(shown.contains("state        stable, paused\n"), "{shown}");
        assert!(
            shown.contains("gate         paused, 12.0 s left, 40 requests wait (up to 1000)\n"),
            "{shown}"
        );
        web.view.gate = GateView::Maintenance { page_bytes: Some(13) };
        let shown = detail(&web, now()).join("\n");
        assert!(
            shown.contains("in maintenance: new requests are answered 503, with its own page"),
            "{shown}"
        );
    }

    #[test]
    fn a_cancelled_deployment_is_no_problem() {
        let mut web = app("web");
        web.failure = Some("x".to_owned());
        web.last_deployment.as_mut().unwrap().status = DeploymentStatus::Cancelled;
        assert_eq!(problems(&web), Vec::<String>::new());
    }

    #[test]
    fn a_missing_file_is_told_by_what_serves() {
        let gone = FileStatus::Orphaned { reason: "apps/web.yaml is gone".to_owned() };
        let mut web = app("web");
        web.view.file = gone;
        let serves_on =
            "it has no file (apps/web.yaml is gone); it serves on: put the file back, or dockswap remove web";
        assert_eq!(problems(&web), [serves_on]);
        (web.view.active_color, web.view.image) = (None, None);
        assert_eq!(problems(&web), [serves_on.replace("it serves on", "nothing serves")]);
        web.view.state = "retired".to_owned();
        assert_eq!(problems(&web), Vec::<String>::new());
        let served = "nothing serves web: it is out of service, and its routes answer 404";
        assert_eq!(sentence::serving(&web), served);
    }

    #[test]
    fn what_the_file_asks_for_and_who_else_claims_the_name() {
        let mut web = app("web");
        web.asked = Some(wire::Asked { config: ConfigId(4), image: "app:v2".to_owned() });
        web.unused_files = vec![wire::File {
            path: "apps/second.yaml".into(),
            app: Some("web".parse().unwrap()),
            sha: None,
            problems: vec!["apps/second.yaml:1:7: name: taken".to_owned()],
        }];
        let shown = detail(&web, now()).join("\n");
        assert!(shown.contains("the file asks for app:v2 (config 4); what serves is app:v1"), "{shown}");
        assert!(shown.contains("apps/second.yaml is not used"), "{shown}");
        assert!(shown.contains("apps/second.yaml:1:7: name: taken"), "{shown}");
    }
}
