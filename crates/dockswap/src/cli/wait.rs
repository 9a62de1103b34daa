//! `dockswap wait`.

use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::sentence;
use super::session::Session;
use crate::api::wire;
use clap::Args;
use clap::builder::PossibleValuesParser;
use dockswap_core::AppName;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The states, as the machine names them.
const STATES: [&str; 13] = [
    "pending",
    "stable",
    "pulling",
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

/// How soon a controller that does not answer is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Wait until an app is in a state, for scripts
///
/// `stable` means: it serves, nothing is in flight, and no newer version waits. The config directory
/// is read first, so that an edit of just now counts. Exits with 7 when the time is up; with 1 as soon
/// as the app is `failed`, unless that is what is waited for.
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
fn span(text: &str) -> Result<Duration, String> {
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
    // The controller may only just be starting.
    loop {
        match session.client.post::<Value>("/v1/reload", &json!({})).await {
            Err(ClientError::Unreachable { .. }) => sleep(RETRY).await,
            read => {
                read.map(drop)?;
                break;
            }
        }
    }
    let app = &args.app;
    let path = format!("/v1/apps/{app}/events/stream");
    loop {
        // Listen first, then look: what happens in between is noticed.
        let mut events = match session.client.events(&path, None).await {
            Err(ClientError::Unreachable { .. }) => {
                sleep(RETRY).await;
                continue;
            }
            events => events?,
        };
        loop {
            let shown = session.app(app).await?;
            if arrived(&shown, &args.state) {
                let document = json!({ "app": app, "state": shown.view.state, "image": shown.view.image });
                session.show(&document, || {
                    vec![format!("{app}: {}: {}", shown.view.state, sentence::serving(&shown))]
                })?;
                return Ok(Exit::Done);
            }
            if shown.view.state == "failed" && !shown.view.waiting {
                let error = CliError::new(Exit::Failed, format!("{app} has failed"));
                let why = shown.view.failed.clone().or(shown.failure.clone());
                return Err(CliError { why, ..error }.next(format!("dockswap why {app}")));
            }
            match events.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    }
}

fn arrived(app: &wire::App, state: &str) -> bool {
    app.view.state == state && !(state == "stable" && app.view.waiting)
}

#[cfg(test)]
mod tests {
    use super::{arrived, span};
    use crate::cli::fixture::app;
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
}
