//! Docker's events, and what becomes of them on their way.

use super::container::Container;
use crate::time::now;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::{broadcast, watch};

/// How events are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Each, once, in order.
    #[default]
    Whole,
    /// None.
    Silent,
    /// Every second one.
    Gaps,
    /// Each twice.
    Doubled,
    /// Each after its successor.
    Reordered,
}

/// So many are kept for who asks what happened since.
const KEPT: usize = 1_000;

#[derive(Debug)]
pub(super) struct Events {
    pub(super) flow: Flow,
    told: u64,
    held: Option<Value>,
    past: Vec<Value>,
    live: broadcast::Sender<Value>,
    /// Counts up when every stream is to end.
    pub(super) cuts: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Self {
        let (live, _) = broadcast::channel(4_096);
        let (cuts, _) = watch::channel(0);
        Self { flow: Flow::Whole, told: 0, held: None, past: Vec::new(), live, cuts }
    }
}

impl Events {
    /// Something happened to `container`.
    pub(super) fn happened(&mut self, container: &Container, action: &str, more: &[(&str, String)]) {
        let mut attributes: BTreeMap<&str, &str> =
            container.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        attributes.insert("name", &container.name);
        attributes.insert("image", &container.image);
        attributes.extend(more.iter().map(|(key, value)| (*key, value.as_str())));
        let at = now();
        let event = json!({
            "status": action, "id": container.id, "from": container.image,
            "Type": "container", "Action": action, "scope": "local",
            "Actor": {"ID": container.id, "Attributes": attributes},
            "time": at.div_euclid(1_000_000), "timeNano": at * 1_000,
        });
        self.told += 1;
        match self.flow {
            Flow::Silent => {}
            Flow::Gaps if self.told.is_multiple_of(2) => {}
            Flow::Whole | Flow::Gaps => self.tell(event),
            Flow::Doubled => {
                self.tell(event.clone());
                self.tell(event);
            }
            Flow::Reordered => match self.held.take() {
                None => self.held = Some(event),
                Some(earlier) => {
                    self.tell(event);
                    self.tell(earlier);
                }
            },
        }
    }

    fn tell(&mut self, event: Value) {
        // Nobody may be listening.
        let _ = self.live.send(event.clone());
        self.past.push(event);
        if self.past.len() > KEPT {
            self.past.drain(..KEPT / 2);
        }
    }

    /// What was told since that second, and what will be.
    pub(super) fn since(&self, second: i64) -> (Vec<Value>, broadcast::Receiver<Value>) {
        let past = self.past.iter().filter(|event| event["time"].as_i64().is_some_and(|at| at >= second));
        (past.cloned().collect(), self.live.subscribe())
    }
}

/// Whether a listener that asked for these labels (`key=value`) and actions is told of `event`.
pub(super) fn is_wanted(event: &Value, labels: &[String], actions: &[String]) -> bool {
    let attributes = &event["Actor"]["Attributes"];
    let has = |label: &String| {
        label.split_once('=').is_some_and(|(key, value)| attributes[key].as_str() == Some(value))
    };
    let action = event["Action"].as_str().unwrap_or_default();
    labels.iter().all(has) && (actions.is_empty() || actions.iter().any(|wanted| wanted == action))
}
