//! `dockswap drift`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::Table;
use crate::api::wire;
use clap::Args;
use dockswap_controller::ContainerDrift;
use dockswap_core::AppName;
use dockswap_core::ports::Remedy;

/// Compare the containers with what was asked for when they were made, and show what differs
///
/// Whether each runs, its limits, restart policy, network, name, image, mounts and the rest; environment and command
/// by their hash alone. What can be set right is, without being asked: this only shows it. Exits with 1 when anything
/// differs.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The app [default: all]
    pub(crate) app: Option<AppName>,
}

pub(crate) async fn drift(session: &Session, args: &DriftArgs) -> Result<Exit, CliError> {
    let path =
        args.app.as_ref().map_or_else(|| "/v1/drift".to_owned(), |app| format!("/v1/apps/{app}/drift"));
    let found: wire::Drifts = session.client.get(&path).await?;
    session.show(&found, || table(&found.containers))?;
    let differs = found.containers.iter().any(|container| !container.drift.is_empty());
    Ok(if differs { Exit::Failed } else { Exit::Done })
}

fn table(containers: &[ContainerDrift]) -> Vec<String> {
    let mut table = Table::new(["CONTAINER", "ROLE", "FIELD", "ASKED", "FOUND", "WHAT IS DONE"]);
    for container in containers {
        for drift in &container.drift {
            table.row([
                container.name.clone(),
                if container.live { "live" } else { "standby" }.to_owned(),
                drift.field.clone(),
                drift.asked.clone(),
                drift.found.clone(),
                done(drift.remedy, container),
            ]);
        }
    }
    if !table.is_empty() {
        return table.lines();
    }
    vec![match containers.len() {
        0 => "no containers".to_owned(),
        1 => "1 container, as it was asked for".to_owned(),
        many => format!("{many} containers, all as they were asked for"),
    }]
}

fn done(remedy: Remedy, container: &ContainerDrift) -> String {
    match remedy {
        Remedy::SetBack if container.live => "it is set back".to_owned(),
        Remedy::RunAgain => "it is made to run again".to_owned(),
        Remedy::SetBack | Remedy::Leave => "nothing".to_owned(),
        Remedy::Deploy => format!("nothing: `dockswap deploy {}` makes it anew", container.app),
    }
}

#[cfg(test)]
mod tests {
    use super::table;
    use dockswap_controller::ContainerDrift;
    use dockswap_core::ports::{Drift, Remedy};
    use dockswap_core::{Color, DeploymentId};

    fn container(drift: Vec<Drift>) -> ContainerDrift {
        ContainerDrift {
            app: "web".parse().expect("a name"),
            name: "web-blue-6".to_owned(),
            color: Color::Blue,
            deployment: DeploymentId(6),
            replica: 1,
            live: true,
            drift,
        }
    }

    #[test]
    fn a_row_a_difference_with_what_is_done_about_it() {
        let differs = |field: &str, asked: &str, found: &str, remedy| Drift {
            field: field.to_owned(),
            asked: asked.to_owned(),
            found: found.to_owned(),
            remedy,
        };
        let drift = vec![
            differs("memory", "268435456", "1073741824", Remedy::SetBack),
            differs("privileged", "false", "true", Remedy::Deploy),
        ];
        assert_eq!(
            table(&[container(drift)]),
            [
                "CONTAINER   ROLE  FIELD       ASKED      FOUND       WHAT IS DONE",
                "web-blue-6  live  memory      268435456  1073741824  it is set back",
                "web-blue-6  live  privileged  false      true        nothing: `dockswap deploy web` makes it anew",
            ]
        );
    }

    #[test]
    fn no_difference_is_said_in_words() {
        assert_eq!(table(&[]), ["no containers"]);
        assert_eq!(table(&[container(vec![])]), ["1 container, as it was asked for"]);
    }
}
