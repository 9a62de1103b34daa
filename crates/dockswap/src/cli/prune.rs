//! `dockswap prune`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::Table;
use crate::api::wire::{PrunedApp, Pruning};
use clap::Args;
use dockswap_core::AppName;
use serde_json::json;
use std::collections::BTreeMap;

/// Remove what is old: images, deployments, stored files and events
///
/// The controller does so by itself once a day, by `retention` in `dockswap.yaml`. What serves, what is in
/// flight and the versions that `dockswap rollback` can go back to always stay; so do the newest events of
/// each app. A deployment whose image was given up stays in the history until it is old enough, and cannot be
/// gone back to any more. Only images that no other name holds are removed from Docker.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only say how much would go
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn prune(session: &Session, args: &PruneArgs) -> Result<Exit, CliError> {
    let mut sums: BTreeMap<AppName, PrunedApp> = BTreeMap::new();
    loop {
        let part: Pruning = if args.dry_run {
            session.client.get("/v1/prune").await?
        } else {
            session.client.post("/v1/prune", &json!({})).await?
        };
        for one in part.apps {
            match sums.get_mut(&one.app) {
                Some(sum) => sum.add(&one),
                None => {
                    sums.insert(one.app.clone(), one);
                }
            }
        }
        // What would go is counted once.
        if !part.more || args.dry_run {
            break;
        }
    }
    let document = Pruning { apps: sums.into_values().collect(), more: false };
    session.show(&document, || table(&document.apps))?;
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
        let mut one = PrunedApp {
            app: "web".parse().expect("a name"),
            images: 1,
            deployments: 2,
            configs: 3,
            events: 40,
        };
        one.add(&one.clone());
        assert_eq!(
            table(&[one]),
            ["APP  IMAGES  DEPLOYMENTS  FILES  EVENTS", "web  2       4            6      80"]
        );
        assert_eq!(table(&[]), ["nothing is old enough to go"]);
    }
}
