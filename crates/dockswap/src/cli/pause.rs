//! `dockswap pause`.

use super::exit::{CliError, Exit};
use super::outcome::Outcome;
use super::sentence;
use super::session::{Session, now};
use super::wait::span;
use crate::api::wire::{Accepted, PauseOrder};
use clap::Args;
use dockswap_core::AppName;
use std::time::Duration;

/// Let new requests to an app wait, until `dockswap resume`
///
/// They wait in the proxy, and go on when the app is resumed or the time is up; one more than may wait is
/// answered 503. What is in flight goes on, open connections too. For a moment in which an app must not be asked: a
/// migration, a restart of its database. Again: the time begins anew.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The app
    pub(crate) app: AppName,
    /// For at most so long, up to 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = span, default_value = "30s")]
    limit: Duration,
    /// How many requests may wait
    #[arg(long, value_name = "N", default_value = "1000")]
    queue: u32,
}

pub(crate) async fn pause(session: &Session, args: &PauseArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let order = PauseOrder { limit: args.limit, queue: args.queue };
    let accepted: Accepted = session.client.post(&format!("/v1/apps/{app}/pause"), &order).await?;
    let shown = session.app(app).await?;
    let document = Outcome { deployment: accepted.deployment, ..Outcome::of(&shown, "paused", None) };
    session.show(&document, || {
        let gate = sentence::of_gate_view(&shown, now()).unwrap_or_else(|| "resumed meanwhile".to_owned());
        vec![format!("{app}: {gate}: dockswap resume {app}")]
    })?;
    Ok(Exit::Done)
}
