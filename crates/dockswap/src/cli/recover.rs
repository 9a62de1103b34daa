//! `dockswap recover`.

use super::exit::{CliError, Exit};
use super::outcome::Outcome;
use super::sentence;
use super::session::Session;
use crate::api::wire::Accepted;
use clap::Args;
use dockswap_core::AppName;
use serde_json::json;

/// Settle an app on what Docker and the proxy really show
///
/// For an app in state `failed`, or one that is stuck. Probes the containers of both colors, and goes
/// on with what is healthy. Refused when nothing is: deploy a version that is.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The app
    pub(crate) app: AppName,
}

pub(crate) async fn recover(session: &Session, args: &RecoverArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let accepted: Accepted = session.client.post(&format!("/v1/apps/{app}/recover"), &json!({})).await?;
    let shown = session.app(app).await?;
    let outcome = if accepted.begun { "recovered" } else { "unchanged" };
    let document = Outcome { deployment: accepted.deployment, ..Outcome::of(&shown, outcome, None) };
    session.show(&document, || {
        vec![format!("{app}: state {}: {}", shown.view.state, sentence::serving(&shown))]
    })?;
    Ok(Exit::Done)
}
