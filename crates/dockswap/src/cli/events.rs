//! `dockswap events`.

use super::exit::{CliError, Exit};
use super::page::PageArgs;
use super::records::Records;
use super::sentence;
use super::session::{Format, Session, data};
use super::text::block;
use crate::api::wire;
use clap::Args;
use dockswap_core::{AppName, DeploymentId};
use dockswap_store::EventScope;

/// List what happened to an app, or in a deployment, oldest first
///
/// The newest 20 unless --limit says otherwise. With --follow also what happens from now on, until
/// the deployment is over (or for ever, for an app); with --json one event a line then. Read from the
/// database when the controller does not answer.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// An app, or the number of a deployment
    #[arg(value_name = "APP|ID")]
    subject: String,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn events(session: &Session, args: &EventsArgs) -> Result<Exit, CliError> {
    let scope = scope(&args.subject)?;
    let records = Records::open(session).await?;
    let mut events = records.events(&scope, args.page.into()).await?;
    events.reverse();
    if !args.follow {
        let document = wire::Events { events };
        session.show(&document, || document.events.iter().map(line).collect())?;
        return Ok(Exit::Done);
    }
    for event in &events {
        show(session, event)?;
    }
    let path = match &scope {
        EventScope::Deployment(id) => format!("/v1/deployments/{id}/events/stream"),
        EventScope::App(app) => format!("/v1/apps/{app}/events/stream"),
        EventScope::All => "/v1/events".to_owned(),
    };
    let last = events.last().map_or(0, |event| event.id);
    let mut stream = session.client.events(&path, Some(last)).await?;
    while let Some(message) = stream.next().await {
        let message = message?;
        match message.name.as_str() {
            "transition" => show(session, &message.json()?)?,
            "ended" => break,
            _ => {}
        }
    }
    Ok(Exit::Done)
}

/// A name of digits alone is a deployment's: `app/123` is not needed for anything else.
fn scope(subject: &str) -> Result<EventScope, CliError> {
    if let Ok(id) = subject.parse() {
        return Ok(EventScope::Deployment(DeploymentId(id)));
    }
    let app: Result<AppName, _> = subject.parse();
    app.map(EventScope::App).map_err(|error| CliError::new(Exit::Usage, error.to_string()))
}

fn show(session: &Session, event: &wire::Event) -> Result<(), CliError> {
    match session.format {
        Format::Json => data(&serde_json::to_string(event).map_err(std::io::Error::from)?),
        Format::Text => data(&line(event)),
    }
}

/// `2026-11-21 07:38:26.123  #7  pulling → starting  the image is here`
fn line(event: &wire::Event) -> String {
    let at = event.at.to_string();
    let at = at.get(..23).unwrap_or(&at).replace('T', " ");
    let (from, to) = (event.from.as_deref().unwrap_or("?"), event.to.as_deref().unwrap_or("?"));
    let states = if from == to { to.to_owned() } else { format!("{from} → {to}") };
    let deployment = format!("#{}", event.deployment);
    format!("{at}  {deployment:<5} {states:<30}  {}", block(&sentence::of_event(event), "    "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{line, scope};
    use dockswap_core::DeploymentId;
    use dockswap_store::EventScope;
    use serde_json::json;

    #[test]
    fn a_line_an_event() {
        let event = serde_json::from_value(json!({
            "id": 4, "deployment": 7, "app": "web", "event": "container_started", "from": "starting",
            "to": "health_check", "color": "green", "refused": false, "error": null,
            "at": "2026-11-21T07:38:26.123456Z", "payload": {"event": {"type": "container_started"}},
        }))
        .unwrap();
        assert_eq!(
            line(&event),
            "2026-11-21 07:38:26.123  #7    starting → health_check         the containers of green run"
        );
    }

    #[test]
    fn a_number_is_a_deployment_and_anything_else_an_app() {
        assert_eq!(scope("7").unwrap(), EventScope::Deployment(DeploymentId(7)));
        assert_eq!(scope("web").unwrap(), EventScope::App("web".parse().unwrap()));
        assert_eq!(scope("../x").unwrap_err().exit.code(), 2);
    }
}
