//! Docker as its own client shows it: an independent witness.

use crate::command::Done;
use crate::time::{Micros, now};
use crate::witness;
use std::path::Path;
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

/// A Docker Engine: the machine's, or a test's own.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    host: Option<String>,
}

impl Docker {
    /// The one that listens on `socket`.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { host: Some(format!("unix://{}", socket.display())) }
    }

    /// How it is reached; `None`: as the environment says.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The client, which talks to it.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command
    }

    /// Runs the client.
    #[must_use]
    pub fn done(&self, arguments: &[&str]) -> Done {
        Done::of(self.client().args(arguments))
    }

    /// Runs the client; panics unless it succeeds. What it wrote.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.done(arguments).exits(0).stdout.trim().to_owned()
    }

    /// Every container of `app`, running or not, by name.
    #[must_use]
    pub fn containers(&self, app: &str) -> Vec<Container> {
        let label = format!("label=dockswap.app={app}");
        let ids = self.run(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        let mut found: Vec<Container> = ids.lines().filter_map(|id| self.inspect(id)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Those that run.
    #[must_use]
    pub fn running(&self, app: &str) -> Vec<Container> {
        self.containers(app).into_iter().filter(|container| container.state == "running").collect()
    }

    /// `None`: it is gone meanwhile.
    fn inspect(&self, id: &str) -> Option<Container> {
        let format = "{{.Id}}|{{.Name}}|{{.State.Status}}|{{.State.StartedAt}}|{{index .Config.Labels \"dockswap.color\"}}|{{index .Config.Labels \"dockswap.deployment\"}}";
        let done = self.done(&["inspect", "--type", "container", "--format", format, id]);
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
    pub(crate) fn sweep(&self, app: &str) {
        let list = |arguments: &[&str]| {
            self.done(arguments).stdout.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let remove = |verb: &str, things: &[String]| {
            if !things.is_empty() {
                // What is gone meanwhile need not be removed.
                let _ = Done::of(self.client().args([verb, "-f"]).args(things));
            }
        };
        remove("rm", &list(&["ps", "-aq", "--filter", &format!("label=dockswap.app={app}")]));
        let images = list(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let pins: Vec<String> =
            images.into_iter().filter(|image| image.contains(&format!("/{app}:"))).collect();
        remove("rmi", &pins);
    }
}

/// Runs the client of the machine's Docker; panics unless it succeeds. What it wrote.
pub fn docker(arguments: &[&str]) -> String {
    Docker::default().run(arguments)
}

/// Every container of `app` on the machine's Docker, running or not, by name.
#[must_use]
pub fn containers(app: &str) -> Vec<Container> {
    Docker::default().containers(app)
}

/// Those that run.
#[must_use]
pub fn running(app: &str) -> Vec<Container> {
    Docker::default().running(app)
}

/// Every signal that Docker delivered to a container of `app` since `since`: when, and the deployment
/// that made the container. Of the last 256 events alone: a [`Witness`](crate::Witness) forgets none.
#[must_use]
pub fn signals(app: &str, since: Micros) -> Vec<(Micros, i64)> {
    let seconds = |at: Micros| format!("{}.{:06}", at.div_euclid(1_000_000), at.rem_euclid(1_000_000));
    // Until now, not later: the client would wait until then.
    let (since, until, label) = (seconds(since), seconds(now()), format!("label=dockswap.app={app}"));
    let filters = ["--filter", "event=kill", "--filter", &label, "--format", "json"];
    let lines = docker(&[&["events", "--since", &since, "--until", &until], filters.as_slice()].concat());
    lines.lines().filter_map(witness::read).map(|seen| (seen.at, seen.deployment)).collect()
}

/// A tag of an image, removed when it is dropped.
#[derive(Debug)]
pub struct Tag(pub String);

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = Done::of(Command::new("docker").args(["rmi", "-f", &self.0]));
    }
}
