//! Docker's events about one app, kept while they happen: Docker itself forgets all but the last 256 of
//! everybody's.

use crate::docker::Docker;
use crate::time::{Micros, now};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Micros,
    /// `create`, `start`, `kill`, `die`, `oom`, `destroy`, …
    pub what: String,
    /// The container's whole id.
    pub container: String,
    /// The deployment that made the container, from its label.
    pub deployment: i64,
    /// Of a `kill`: the number of the signal.
    pub signal: Option<String>,
}

/// One who watches.
#[derive(Debug)]
pub struct Witness {
    client: Child,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Witness {
    /// Watches the containers of `app` from now on.
    #[must_use]
    pub fn of(docker: &Docker, app: &str) -> Self {
        // From a moment ago on: what happens while the client connects is told too.
        let since = now().div_euclid(1_000_000).to_string();
        let label = format!("label=dockswap.app={app}");
        let mut command = docker.client();
        command.args(["events", "--since", &since, "--filter", &label, "--format", "json"]);
        let mut client =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the docker client");
        let lines = BufReader::new(client.stdout.take().expect("its output")).lines();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for event in lines.map_while(Result::ok).filter_map(|line| read(&line)) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        Self { client, seen }
    }

    /// What has happened, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// A line of `docker events`; `None`: nothing that happened to a container.
pub(crate) fn read(line: &str) -> Option<Seen> {
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON from Docker");
    let (actor, labels) = (&event["Actor"], &event["Actor"]["Attributes"]);
    (event["Type"] == "container").then(|| Seen {
        at: event["timeNano"].as_i64().expect("a time") / 1_000,
        what: event["Action"].as_str().unwrap_or_default().to_owned(),
        container: actor["ID"].as_str().unwrap_or_default().to_owned(),
        deployment: labels["dockswap.deployment"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default(),
        signal: labels["signal"].as_str().map(ToOwned::to_owned),
    })
}
