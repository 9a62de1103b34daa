//! `dockswap wait`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::sentence;
use super::session::Session;
use crate::api::wire;
use clap::Args;
use clap::builder::PossibleValuesParser;
use dockswap_controller::FileStatus;
use dockswap_core::AppName;
use dockswap_core::records::DeploymentStatus;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The states, as the machine names them.
const STATES: [&str; 14] = [
    "pending",
    "stable",
    "pulling",
    "holding",
    "starting",
    "health_check",
    "awaiting_promotion",
    "switching",
    "draining",
    "watching",
    "stopping",
    "rolling_back",
    "failed",
    "retired",
];

/// Wait until an app is in a state, for scripts
///
/// `stable` means: it serves, nothing is in flight, and no newer version waits. The config directory
/// is read first, so that an edit of just now counts. Exits with 7 when the time is up; at once with 1
/// when the app is `failed`, with 2 when its file cannot be used, and with 3 when the newest deployment
/// failed and an older one serves.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The app
    pub(crate) app: AppName,
    /// The state to wait for
    #[arg(long = "for", value_name = "STATE", default_value = "stable", value_parser = PossibleValuesParser::new(STATES))]
    state: String,
    /// How long to wait: 90s, 5m, 1m30s
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = span)]
    timeout: Duration,
}

/// Minutes and seconds as files have them: `500ms`, `5s`, `1m30s`, `1h`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let advice = || "write a duration as in 90s, 5m or 1m30s".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(advice)?;
        let number: u64 = rest[..digits].parse().map_err(|_| advice())?;
        rest = &rest[digits..];
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let (unit, millis) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(advice)?;
        rest = &rest[unit.len()..];
        total += Duration::from_millis(number.checked_mul(millis).ok_or_else(advice)?);
    }
    if text.is_empty() { Err(advice()) } else { Ok(total) }
}

pub(crate) async fn wait(session: &Session, args: &WaitArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let until = Instant::now() + args.timeout;
    match timeout_at(until, arrive(session, args)).await {
        Ok(arrived) => arrived,
        Err(_) => Err(CliError::new(
            Exit::TimedOut,
            format!("{app} is not {} after {:?}", args.state, args.timeout),
        )
        .next(format!("dockswap why {app}"))),
    }
}

async fn arrive(session: &Session, args: &WaitArgs) -> Result<Exit, CliError> {
    match session.client.post::<Value>("/v1/reload", &json!({})).await {
        Ok(_) => {}
        // Who may not have the directory read waits until it is read by itself.
        Err(ClientError::Answered(problem)) if problem.status == 403 => {}
        Err(error) => return Err(error.into()),
    }
    let app = &args.app;
    let path = format!("/v1/apps/{app}/events/stream");
    loop {
        // Listen first, then look: what happens in between is noticed.
        let mut events = session.client.events(&path, None).await?;
        loop {
            let shown = session.app(app).await?;
            if let Some(error) = in_vain(&shown, &args.state) {
                return Err(error);
            }
            if arrived(&shown, &args.state) {
                let document = json!({ "app": app, "state": shown.view.state, "image": shown.view.image });
                session.show(&document, || {
                    vec![format!("{app}: {}: {}", shown.view.state, sentence::serving(&shown))]
                })?;
                return Ok(Exit::Done);
            }
            match events.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    }
}

/// Why the newest version of the file will not get to `state` by itself, or never got there though an
/// older one is in it.
fn in_vain(app: &wire::App, state: &str) -> Option<CliError> {
    let view = &app.view;
    if view.waiting || view.in_flight.is_some() {
        return None;
    }
    let name = &view.app;
    if state == "stable"
        && let FileStatus::Invalid { problems } = &view.file
    {
        let what = format!("the file of {name} cannot be used");
        return Some(CliError::new(Exit::Usage, what).because(problems.join("\n")).next("dockswap validate"));
    }
    let last = app.last_deployment.as_ref()?;
    let failed = matches!(last.status, DeploymentStatus::Failed | DeploymentStatus::RolledBack);
    let error = match view.state.as_str() {
        "failed" if state != "failed" => CliError::new(Exit::Failed, format!("{name} has failed")),
        "stable" if state == "stable" && failed && view.serving.is_some_and(|serving| serving != last.id) => {
            CliError::new(Exit::OldServes, format!("deployment {} of {name} has failed", last.id))
        }
        "pending" if state == "stable" && failed => {
            CliError::new(Exit::Failed, format!("deployment {} of {name} has failed", last.id))
        }
        _ => return None,
    };
    let why = view.failed.clone().or_else(|| app.failure.clone());
    Some(CliError { why, ..error }.next(format!("dockswap why {name}")))
}

fn arrived(app: &wire::App, state: &str) -> bool {
    app.view.state == state && !(state == "stable" && app.view.waiting)
}

#[cfg(test)]
mod tests {
    use super::{arrived, in_vain, span};
    use crate::cli::fixture::app;
    use dockswap_controller::FileStatus;
    use dockswap_core::DeploymentId;
    use dockswap_core::records::DeploymentStatus;
    use std::time::Duration;

    #[test]
    fn durations_as_files_have_them() {
        for (text, millis) in [("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("2h", 7_200_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "5", "s", "5x", "1m-3s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stable_is_not_stable_while_a_newer_version_waits() {
        let mut web = app("web");
        assert!(arrived(&web, "stable"));
        web.view.waiting = true;
        assert!(!arrived(&web, "stable"));
        assert!(!arrived(&web, "failed"));
    }

    #[test]
    fn an_older_version_that_is_stable_is_not_what_was_waited_for() {
        let code = |app: &_, state| in_vain(app, state).map(|error| error.exit.code());
        let mut web = app("web");
        assert_eq!(code(&web, "stable"), None);
        web.last_deployment.as_mut().expect("a deployment").status = DeploymentStatus::Failed;
        assert_eq!((code(&web, "stable"), code(&web, "retired")), (Some(3), None));
        web.view.file = FileStatus::Invalid { problems: vec!["web.yaml:1:1: name: missing".to_owned()] };
        assert_eq!(code(&web, "stable"), Some(2));
        web.view.in_flight = Some(DeploymentId(8));
        assert_eq!(code(&web, "stable"), None);
        (web.view.in_flight, web.view.file) = (None, FileStatus::Valid);
        web.view.state = "failed".to_owned();
        assert_eq!((code(&web, "stable"), code(&web, "failed")), (Some(1), None));
    }
}
