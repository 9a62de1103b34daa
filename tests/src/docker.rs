//! Docker as its own client shows it: an independent witness.

use crate::command::Done;
use std::process::Command;

/// A container, as Docker shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The whole id.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// `running`, `exited`, …
    pub state: String,
    /// When it last started, as Docker writes it.
    pub started_at: String,
    /// The slot, from its label.
    pub color: String,
    /// The deployment that made it, from its label.
    pub deployment: i64,
}

/// Runs the client; panics unless it succeeds. What it wrote.
pub fn docker(arguments: &[&str]) -> String {
    Done::of(Command::new("docker").args(arguments)).exits(0).stdout.trim().to_owned()
}

/// Every container of `app`, running or not, by name.
#[must_use]
pub fn containers(app: &str) -> Vec<Container> {
    let label = format!("label=dockswap.app={app}");
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &label]);
    let mut found: Vec<Container> = ids.lines().filter_map(inspect).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Those that run.
#[must_use]
pub fn running(app: &str) -> Vec<Container> {
    containers(app).into_iter().filter(|container| container.state == "running").collect()
}

/// `None`: it is gone meanwhile.
fn inspect(id: &str) -> Option<Container> {
    let format = "{{.Id}}|{{.Name}}|{{.State.Status}}|{{.State.StartedAt}}|{{index .Config.Labels \"dockswap.color\"}}|{{index .Config.Labels \"dockswap.deployment\"}}";
    let done =
        Done::of(Command::new("docker").args(["inspect", "--type", "container", "--format", format, id]));
    let fields: Vec<&str> = done.stdout.trim().split('|').collect();
    let [id, name, state, started_at, color, deployment] = fields[..] else { return None };
    Some(Container {
        id: id.to_owned(),
        name: name.trim_start_matches('/').to_owned(),
        state: state.to_owned(),
        started_at: started_at.to_owned(),
        color: color.to_owned(),
        deployment: deployment.parse().unwrap_or_default(),
    })
}

/// Removes whatever dockswap made for `app`: containers, and the tags that pin its images.
pub(crate) fn sweep(app: &str) {
    let list = |arguments: &[&str]| {
        let done = Done::of(Command::new("docker").args(arguments));
        done.stdout.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let remove = |verb: &str, things: &[String]| {
        if !things.is_empty() {
            // What is gone meanwhile need not be removed.
            let _ = Done::of(Command::new("docker").args([verb, "-f"]).args(things));
        }
    };
    remove("rm", &list(&["ps", "-aq", "--filter", &format!("label=dockswap.app={app}")]));
    let images = list(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let pins: Vec<String> = images.into_iter().filter(|image| image.contains(&format!("/{app}:"))).collect();
    remove("rmi", &pins);
}
