//! `dockswap resume`.

use super::exit::{CliError, Exit};
use super::outcome::Outcome;
use super::session::Session;
use crate::api::wire::Accepted;
use clap::Args;
use dockswap_core::AppName;
use serde_json::json;

/// End a pause: the requests that wait go on
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The app
    pub(crate) app: AppName,
}

pub(crate) async fn resume(session: &Session, args: &ResumeArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let accepted: Accepted = session.client.post(&format!("/v1/apps/{app}/resume"), &json!({})).await?;
    let shown = session.app(app).await?;
    let how = if accepted.begun { "resumed" } else { "unchanged" };
    let document = Outcome { deployment: accepted.deployment, ..Outcome::of(&shown, how, None) };
    session.show(&document, || {
        vec![if accepted.begun { format!("{app}: resumed") } else { format!("{app}: it is not paused") }]
    })?;
    Ok(Exit::Done)
}
