//! Docker's events as hints that something may have changed. They are filtered, lost and doubled:
//! nobody may rely on one.

use crate::container;
use crate::daemon::Docker;
use crate::labels::{APP, Filters, MANAGED, TRUE};
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use dockswap_core::ports::Hint;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What happens to containers that can change a decision. Health checks by `exec` are not among
/// them: every one makes three events.
const ACTIONS: [&str; 11] = [
    "create",
    "start",
    "die",
    "oom",
    "pause",
    "unpause",
    "destroy",
    "health_status",
    "update",
    "rename",
    "disconnect",
];
/// Between two attempts to connect: this at first, twice as long each time, at most [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// A stream of events that is opened again whenever it ends.
struct Listener {
    docker: Docker,
    events: Option<BoxStream<'static, Result<EventMessage, Error>>>,
    /// From when on events are wanted: from before the stream ended.
    since: SystemTime,
    pause: Duration,
}

impl Docker {
    pub(crate) fn listen(&self) -> BoxStream<'static, Hint> {
        let listener =
            Listener { docker: self.clone(), events: None, since: SystemTime::now(), pause: Duration::ZERO };
        stream::unfold(listener, |mut listener| async { Some((listener.next().await, listener)) }).boxed()
    }
}

impl Listener {
    async fn next(&mut self) -> Hint {
        loop {
            let Some(events) = &mut self.events else {
                self.connect().await;
                return Hint::Everything;
            };
            let next = events.next().await;
            match next {
                Some(Ok(event)) => {
                    self.pause = Duration::ZERO;
                    self.since = SystemTime::now();
                    let hint = match left_its_network(&event) {
                        Some(container) => owner(&self.docker, container).await,
                        None => read(&event),
                    };
                    if let Some(hint) = hint {
                        return hint;
                    }
                }
                ended => {
                    tracing::debug!(?ended, "docker's events ended");
                    self.events = None;
                    self.docker.forget();
                    self.pause = longer(self.pause);
                }
            }
        }
    }

    /// Waits its turn, then until the daemon answers, and asks for its events.
    async fn connect(&mut self) {
        tokio::time::sleep(self.pause).await;
        while let Err(failure) = self.docker.session_in_time().await {
            tracing::debug!(reason = failure.message(), "docker's events cannot be had");
            self.pause = longer(self.pause);
            tokio::time::sleep(self.pause).await;
        }
        // Not by label: a network's events carry none of its containers'.
        let filters = Filters::from([
            ("type".to_owned(), ["container", "network"].map(str::to_owned).to_vec()),
            ("event".to_owned(), ACTIONS.map(str::to_owned).to_vec()),
        ]);
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let options = EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        self.events = Some(self.docker.client.events(Some(options)).boxed());
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(SHORTEST, LONGEST)
}

/// Whose container it is that has left a network: the network does not know.
async fn owner(docker: &Docker, container: &str) -> Option<Hint> {
    let shown = docker.inspect(container).await.ok().flatten()?;
    container::identity(&shown).map(|identity| Hint::App(identity.app))
}

/// The container that has left a network.
fn left_its_network(event: &EventMessage) -> Option<&str> {
    if event.action.as_deref() != Some("disconnect") {
        return None;
    }
    event.actor.as_ref()?.attributes.as_ref()?.get("container").map(String::as_str)
}

/// Whose containers should be looked at again.
fn read(event: &EventMessage) -> Option<Hint> {
    let attributes = event.actor.as_ref()?.attributes.as_ref()?;
    let app = attributes.get(APP).filter(|_| attributes.get(MANAGED).is_some_and(|value| value == TRUE))?;
    app.parse().ok().map(Hint::App)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_names_its_app() {
        let event =
            |attributes| serde_json::from_value(json!({"Actor": {"Attributes": attributes}})).unwrap();
        let hint = read(&event(json!({"dockswap.managed": "true", "dockswap.app": "web", "exitCode": "1"})));
        assert_eq!(hint, Some(Hint::App("web".parse().unwrap())));
        assert_eq!(read(&event(json!({"dockswap.app": "web"}))), None);
        assert_eq!(read(&event(json!({"dockswap.app": "NOT A NAME"}))), None);
        assert_eq!(read(&event(json!({}))), None);
    }

    #[test]
    fn a_container_that_leaves_its_network_is_named_by_the_network() {
        let event = |action| {
            serde_json::from_value(
                json!({"Type": "network", "Action": action, "Actor": {"Attributes": {"container": "c0ffee"}}}),
            )
            .unwrap()
        };
        assert_eq!(left_its_network(&event("disconnect")), Some("c0ffee"));
        assert_eq!(left_its_network(&event("create")), None);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<_> =
            std::iter::successors(Some(Duration::ZERO), |&pause| Some(longer(pause))).take(10).collect();
        assert_eq!(pauses[1], SHORTEST);
        assert_eq!(pauses[2], SHORTEST * 2);
        assert_eq!(pauses[9], LONGEST);
    }
}
