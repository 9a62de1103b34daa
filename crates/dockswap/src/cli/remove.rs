//! `dockswap remove`.

use super::exit::{CliError, Exit};
use super::outcome;
use super::sentence;
use super::session::{Session, note};
use crate::api::wire::{self, Accepted};
use clap::Args;
use dockswap_core::AppName;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};

/// Take an app out of service
///
/// Withdraws its routes, drains it, and removes its containers. History stays. The file stays too:
/// delete it, or its next edit deploys the app again.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The app
    pub(crate) app: AppName,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn remove(session: &Session, args: &RemoveArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let shown = session.app(app).await?;
    if !args.yes {
        confirm(app, &shown)?;
    }
    let accepted: Accepted = session.client.delete(&format!("/v1/apps/{app}")).await?;
    if args.no_wait || !accepted.begun {
        return outcome::accepted(session, app, accepted).await;
    }
    let path = format!("/v1/apps/{app}/events/stream");
    // Listen first, then look: what happens in between is noticed.
    let mut events = session.client.events(&path, None).await?;
    loop {
        let shown = session.app(app).await?;
        if shown.view.state == "retired" {
            session.show(&json!({ "app": app, "outcome": "retired" }), || {
                vec![format!("{app}: out of service; its history stays: dockswap history {app}")]
            })?;
            return Ok(Exit::Done);
        }
        let Some(message) = events.next().await.transpose()? else {
            events = session.client.events(&path, None).await?;
            continue;
        };
        if message.name == "transition" {
            note(&format!("{app}: {}", sentence::of_event(&message.json::<wire::Event>()?)));
        }
    }
}

/// Asks a person; somebody who cannot be asked has to say so by a flag.
fn confirm(app: &AppName, shown: &wire::App) -> Result<(), CliError> {
    let refused = |what: &str| CliError::new(Exit::Usage, what).next(format!("dockswap remove {app} --yes"));
    if !std::io::stdin().is_terminal() {
        return Err(refused("remove asks before it acts, and there is no terminal to ask on"));
    }
    let mut out = anstream::stderr().lock();
    let _ = write!(out, "{}. Take {app} out of service? [y/N] ", sentence::serving(shown));
    let _ = out.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused("nothing was removed")) }
}
