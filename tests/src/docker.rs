//! Docker as its own client shows it: an independent witness.

use crate::command::Done;
use crate::time::{Micros, now};
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

/// When containers of `app` ended, as Docker's events say.
#[must_use]
pub fn deaths(app: &str) -> Vec<Micros> {
    events(app, "die", 0).into_iter().map(|event| event.at).collect()
}

/// Every signal that Docker delivered to a container of `app` since `since`: when, and the deployment
/// that made the container.
#[must_use]
pub fn signals(app: &str, since: Micros) -> Vec<(Micros, i64)> {
    events(app, "kill", since).into_iter().map(|event| (event.at, event.deployment)).collect()
}

struct Event {
    at: Micros,
    deployment: i64,
}

fn events(app: &str, kind: &str, since: Micros) -> Vec<Event> {
    let seconds = |at: Micros| format!("{}.{:06}", at.div_euclid(1_000_000), at.rem_euclid(1_000_000));
    let (label, kind) = (format!("label=dockswap.app={app}"), format!("event={kind}"));
    let since = if since == 0 { "24h".to_owned() } else { seconds(since) };
    // Not later: the client would wait until then.
    let until = seconds(now());
    let lines = docker(&[
        "events", "--since", &since, "--until", &until, "--filter", &label, "--filter", &kind, "--format",
        "json",
    ]);
    let read = |line: &str| -> Event {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON from Docker");
        let labels = &event["Actor"]["Attributes"];
        Event {
            at: event["timeNano"].as_i64().expect("a time") / 1_000,
            deployment: labels["dockswap.deployment"]
                .as_str()
                .and_then(|id| id.parse().ok())
                .unwrap_or_default(),
        }
    };
    lines.lines().map(read).collect()
}

/// A tag of an image, removed when it is dropped.
#[derive(Debug)]
pub struct Tag(pub String);

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = Done::of(Command::new("docker").args(["rmi", "-f", &self.0]));
    }
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
