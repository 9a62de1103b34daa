//! `dockswap health`.

use super::exit::{CliError, Exit};
use super::session::Session;
use super::text::Table;
use crate::api::wire;
use clap::Args;
use dockswap_core::AppName;

/// Probe the containers of both colors now, and show what they answer
///
/// Exits with 1 when a container that serves is not healthy, or none serves.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The app
    pub(crate) app: AppName,
}

pub(crate) async fn health(session: &Session, args: &HealthArgs) -> Result<Exit, CliError> {
    let health: wire::Health = session.client.get(&format!("/v1/apps/{}/health", args.app)).await?;
    session.show(&health, || table(&health.containers))?;
    let mut live = health.containers.iter().filter(|container| container.live).peekable();
    let serves = live.peek().is_some() && live.all(|container| container.healthy);
    Ok(if serves { Exit::Done } else { Exit::Failed })
}

fn table(containers: &[wire::ContainerHealth]) -> Vec<String> {
    let mut table = Table::new(["CONTAINER", "COLOR", "ROLE", "ADDRESS", "HEALTH"]);
    for container in containers {
        table.row([
            container.name.clone(),
            container.color.to_string(),
            if container.live { "live" } else { "out of traffic" }.to_owned(),
            container.address.map(|address| address.to_string()).unwrap_or_default(),
            match (&container.seen, container.healthy) {
                (Some(seen), false) => format!("unhealthy: {seen}"),
                _ => "healthy".to_owned(),
            },
        ]);
    }
    if table.is_empty() { vec!["no containers".to_owned()] } else { table.lines() }
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::api::wire::ContainerHealth;
    use dockswap_core::{Color, DeploymentId};

    #[test]
    fn a_row_a_container_with_what_was_seen() {
        let container = ContainerHealth {
            name: "web-blue-6".to_owned(),
            color: Color::Blue,
            deployment: DeploymentId(6),
            replica: 1,
            live: true,
            address: "172.17.0.2:8080".parse().ok(),
            healthy: false,
            seen: Some("GET /health answered 301 to https://x: redirects are not followed".to_owned()),
        };
        assert_eq!(
            table(&[container]),
            [
                "CONTAINER   COLOR  ROLE  ADDRESS          HEALTH",
                "web-blue-6  blue   live  172.17.0.2:8080  unhealthy: GET /health answered 301 to https://x: redirects are not followed",
            ]
        );
        assert_eq!(table(&[]), ["no containers"]);
    }
}
