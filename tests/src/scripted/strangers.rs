//! Containers that are not dockswap's, and the witness that nobody touches them.

use super::ScriptedDocker;
use super::container::Container;
use super::image::environment;
use crate::docker::Container as Shown;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// What is on every scripted Docker, by name and labels: near enough to dockswap's to be mistaken.
const STRANGERS: &[(&str, &[(&str, &str)])] = &[
    ("postgres", &[]),
    ("web-blue-1", &[("com.example.team", "shop")]),
    ("web-green-2", &[("dockswap.managed", "false"), ("dockswap.app", "web")]),
    ("unmanaged", &[("dockswap.app", "web"), ("dockswap.color", "blue"), ("dockswap.deployment", "1")]),
];

impl ScriptedDocker {
    pub(super) fn settle_strangers(&self) {
        self.world().add_image("stranger:latest", environment(&[("VERSION", "stranger")]));
        for (name, labels) in STRANGERS {
            self.stranger(name, labels, &json!({}));
        }
    }

    /// Somebody else runs a container called `name`, with these labels, and with these options of
    /// `HostConfig`. It answers as the demo app of version `stranger`.
    pub fn stranger(&self, name: &str, labels: &[(&str, &str)], host: &Value) -> String {
        let mut world = self.world();
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut host = host.clone();
        host["NetworkMode"] = json!("bridge");
        let body = json!({"Image": "stranger:latest", "Labels": labels, "HostConfig": host});
        let made = world.create(name, &body).and_then(|id| world.start(&id).map(|_| id));
        made.unwrap_or_else(|(_, words)| panic!("{words}"))
    }

    /// Every container that is not dockswap's, by name.
    #[must_use]
    pub fn strangers(&self) -> Vec<Shown> {
        let world = self.world();
        let foreign = world.containers.iter().filter(|container| container.app().is_none());
        let mut shown: Vec<Shown> = foreign.map(super::shown).collect();
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        shown
    }

    /// Who has an address now: the container's name.
    #[must_use]
    pub fn who_has(&self, address: Ipv4Addr) -> Option<String> {
        let world = self.world();
        let holder = world.containers.iter().find(|container| container.address == Some(address));
        holder.map(|container: &Container| container.name.clone())
    }

    /// What anybody has done to a container that is not dockswap's.
    #[must_use]
    pub fn touched_strangers(&self) -> Vec<String> {
        let asked = self.asked();
        let foreign = asked.iter().filter(|asked| asked.id.is_some() && asked.app.is_none() && asked.done());
        foreign.map(|asked| format!("{:?} of {}", asked.call, asked.object)).collect()
    }
}
