//! `dockswap prune`.

use super::exit::{CliError, Exit};
use super::session::{Session, note};
use super::text::Table;
use crate::api::wire::{PrunedApp, Pruning};
use clap::Args;
use serde_json::json;

/// Remove what is old: images, deployments, stored files and events
///
/// The controller does so by itself, by `retention` in `dockswap.yaml`: images whenever a deployment has
/// ended, the rest once a day. What serves, what is in
/// flight and the versions that `dockswap rollback` can go back to always stay; so do the newest events of
/// each app. A deployment whose image was given up stays in the history until it is old enough, and cannot be
/// gone back to any more. Of images in Docker, those go that have no other name, and those that dockswap has
/// pulled itself and that no container uses.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only say how much would go
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn prune(session: &Session, args: &PruneArgs) -> Result<Exit, CliError> {
    let document: Pruning = if args.dry_run {
        session.client.get("/v1/prune").await?
    } else {
        session.client.post("/v1/prune", &json!({})).await?
    };
    session.show(&document, || table(&document.apps))?;
    if document.more {
        let more = if args.dry_run {
            "there are more apps, which were not looked at in time"
        } else {
            "there is more: the controller goes on with it by itself, and its log says how much went"
        };
        note(more);
    }
    Ok(Exit::Done)
}

fn table(apps: &[PrunedApp]) -> Vec<String> {
    if apps.is_empty() {
        return vec!["nothing is old enough to go".to_owned()];
    }
    let mut table = Table::new(["APP", "IMAGES", "DEPLOYMENTS", "FILES", "EVENTS"]);
    for one in apps {
        let numbers = [one.images, one.deployments, one.configs, one.events];
        let [images, deployments, configs, events] = numbers.map(|number| number.to_string());
        table.row([one.app.to_string(), images, deployments, configs, events]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::api::wire::PrunedApp;

    #[test]
    fn a_row_an_app() {
        let one = PrunedApp {
            app: "web".parse().expect("a name"),
            images: 2,
            deployments: 4,
            configs: 6,
            events: 80,
        };
        assert_eq!(
            table(&[one]),
            ["APP  IMAGES  DEPLOYMENTS  FILES  EVENTS", "web  2       4            6      80"]
        );
        assert_eq!(table(&[]), ["nothing is old enough to go"]);
    }
}
