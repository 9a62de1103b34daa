//! `dockswap maintenance`.

use super::exit::{CliError, Exit};
use super::outcome::Outcome;
use super::session::Session;
use crate::api::wire::{Accepted, MaintenanceOrder, PAGE_LIMIT};
use clap::{Args, ValueEnum};
use dockswap_core::AppName;
use std::path::{Path, PathBuf};

/// Answer new requests to an app with 503 and a page, or open it again
///
/// What is in flight goes on, open connections too. Deployments go on behind the page. It lasts until it is switched
/// off, also over restarts.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The app
    pub(crate) app: AppName,
    /// Whether the app is in maintenance
    #[arg(value_enum)]
    switch: OnOff,
    /// The page: HTML, at most 64 KiB, read once [default: a plain sentence]
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

pub(crate) async fn maintenance(session: &Session, args: &MaintenanceArgs) -> Result<Exit, CliError> {
    let app = &args.app;
    let path = format!("/v1/apps/{app}/maintenance");
    let (accepted, how): (Accepted, _) = match (args.switch, &args.page) {
        (OnOff::On, page) => {
            let page = page.as_deref().map(read).transpose()?;
            (session.client.post(&path, &MaintenanceOrder { page }).await?, "in maintenance")
        }
        (OnOff::Off, None) => (session.client.delete(&path).await?, "open"),
        (OnOff::Off, Some(_)) => {
            return Err(CliError::new(Exit::Usage, "an app that is opened again has no use for a page"));
        }
    };
    let shown = session.app(app).await?;
    let outcome = match (accepted.begun, args.switch) {
        (false, _) => "unchanged",
        (true, OnOff::On) => "closed",
        (true, OnOff::Off) => "opened",
    };
    let document = Outcome { deployment: accepted.deployment, ..Outcome::of(&shown, outcome, None) };
    session.show(&document, || {
        vec![match (accepted.begun, args.switch) {
            (true, OnOff::On) => {
                format!("{app}: {how}: its requests are answered 503: dockswap maintenance {app} off")
            }
            (true, OnOff::Off) => format!("{app}: {how} again"),
            (false, OnOff::On) => format!("{app}: it is {how} already, with this page"),
            (false, OnOff::Off) => format!("{app}: it is not in maintenance"),
        }]
    })?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String, CliError> {
    let cannot = |why: String| {
        CliError::new(Exit::Usage, format!("the page {} cannot be used", path.display())).because(why)
    };
    let page = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    if page.len() > PAGE_LIMIT {
        return Err(cannot(format!("it has {} bytes, and may have {PAGE_LIMIT}", page.len())));
    }
    Ok(page)
}
