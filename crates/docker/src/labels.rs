//! Which container is ours, and whose: labels, names and filters. Pure.

use dockswap_core::name::{AppName, Color, ConfigSha, DeploymentId};
use dockswap_core::ports::{ContainerGroup, DeploymentFilter, Selector};
use dockswap_core::spec::Protocol;
use std::collections::HashMap;

/// Set to [`TRUE`] on everything that dockswap makes.
pub(crate) const MANAGED: &str = "dockswap.managed";
/// The app's name.
pub(crate) const APP: &str = "dockswap.app";
/// The slot.
pub(crate) const COLOR: &str = "dockswap.color";
/// The deployment's id.
pub(crate) const DEPLOYMENT: &str = "dockswap.deployment";
/// The config that the container comes from.
pub(crate) const CONFIG_SHA: &str = "dockswap.config_sha";
/// Counted from 1.
pub(crate) const REPLICA: &str = "dockswap.replica";
/// Where the app listens inside: an image may expose other ports too, and a container must be
/// understood without its app file.
pub(crate) const PORT: &str = "dockswap.port";
/// What the app speaks there, when it is not HTTP/1.1.
pub(crate) const PROTOCOL: &str = "dockswap.protocol";
/// What was asked for when it was made: see `drift.rs`.
pub(crate) const ASKED: &str = "dockswap.asked";
/// How all labels begin that are ours.
pub(crate) const OURS: &str = "dockswap.";
/// The value of [`MANAGED`].
pub(crate) const TRUE: &str = "true";

/// What the labels of one of our containers say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) app: AppName,
    pub(crate) color: Color,
    pub(crate) deployment: DeploymentId,
    pub(crate) replica: u8,
    pub(crate) config: ConfigSha,
    /// Absent when the container was made by hand.
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Protocol,
}

impl Identity {
    /// Who replica `replica` of `group` is.
    pub(crate) fn of(group: &ContainerGroup, replica: u8) -> Self {
        Self {
            app: group.app.clone(),
            color: group.color,
            deployment: group.deployment,
            replica,
            config: group.config_sha.clone(),
            port: Some(group.options.expose_port),
            protocol: group.options.protocol,
        }
    }

    /// Reads labels; `None` when they are not those of a container of ours.
    pub(crate) fn read(labels: &HashMap<String, String>) -> Option<Self> {
        if labels.get(MANAGED)? != TRUE {
            return None;
        }
        Some(Self {
            app: labels.get(APP)?.parse().ok()?,
            color: labels.get(COLOR)?.parse().ok()?,
            deployment: DeploymentId(labels.get(DEPLOYMENT)?.parse().ok()?),
            replica: labels.get(REPLICA)?.parse().ok()?,
            config: ConfigSha(labels.get(CONFIG_SHA)?.clone()),
            port: labels.get(PORT).and_then(|port| port.parse().ok()),
            protocol: match labels.get(PROTOCOL).map(String::as_str) {
                Some("h2c") => Protocol::H2c,
                _ => Protocol::Http1,
            },
        })
    }

    /// The labels that say so.
    pub(crate) fn write(&self) -> HashMap<String, String> {
        let labels = [
            (MANAGED, TRUE.to_owned()),
            (APP, self.app.to_string()),
            (COLOR, self.color.to_string()),
            (DEPLOYMENT, self.deployment.to_string()),
            (CONFIG_SHA, self.config.to_string()),
            (REPLICA, self.replica.to_string()),
        ];
        let port = self.port.map(|port| (PORT, port.to_string()));
        let protocol =
            (self.protocol != Protocol::default()).then(|| (PROTOCOL, self.protocol.as_str().to_owned()));
        labels.into_iter().chain(port).chain(protocol).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// `<app>-<color>-<deployment>`, from the second replica on with `-2`. Deployment ids are never
    /// given twice, so neither are names.
    pub(crate) fn container_name(&self) -> String {
        let base = format!("{}-{}-{}", self.app, self.color, self.deployment);
        if self.replica == 1 { base } else { format!("{base}-{}", self.replica) }
    }
}

/// A filter for Docker's list and event calls.
pub(crate) type Filters = HashMap<String, Vec<String>>;

/// Everything of ours, or of one app.
pub(crate) fn filters(app: Option<&AppName>) -> Filters {
    let mut labels = vec![format!("{MANAGED}={TRUE}")];
    labels.extend(app.map(|app| format!("{APP}={app}")));
    HashMap::from([("label".to_owned(), labels)])
}

/// Whether `selector` takes the container with this identity.
pub(crate) fn takes(selector: &Selector, identity: &Identity) -> bool {
    identity.app == selector.app
        && selector.color.is_none_or(|color| identity.color == color)
        && match selector.deployment {
            DeploymentFilter::Any => true,
            DeploymentFilter::Only(deployment) => identity.deployment == deployment,
            DeploymentFilter::Except(deployment) => identity.deployment != deployment,
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn identity(replica: u8) -> Identity {
        Identity {
            app: "web-api".parse().unwrap(),
            color: Color::Green,
            deployment: DeploymentId(12),
            replica,
            config: ConfigSha("ab12".to_owned()),
            port: Some(8080),
            protocol: Protocol::Http1,
        }
    }

    #[test]
    fn names_count_replicas_from_the_second_on() {
        assert_eq!(identity(1).container_name(), "web-api-green-12");
        assert_eq!(identity(2).container_name(), "web-api-green-12-2");
    }

    #[test]
    fn labels_are_read_as_they_were_written() {
        let grpc = Identity { protocol: Protocol::H2c, ..identity(1) };
        for identity in [identity(3), grpc] {
            assert_eq!(Identity::read(&identity.write()), Some(identity));
        }
    }

    #[test]
    fn labels_that_lack_one_or_deny_are_not_ours() {
        for key in [MANAGED, APP, COLOR, DEPLOYMENT, CONFIG_SHA, REPLICA] {
            let mut labels = identity(1).write();
            labels.remove(key);
            assert_eq!(Identity::read(&labels), None, "without {key}");
        }
        let mut labels = identity(1).write();
        labels.insert(MANAGED.to_owned(), "false".to_owned());
        assert_eq!(Identity::read(&labels), None);
    }

    #[test]
    fn a_selector_takes_by_app_color_and_deployment() {
        let selector =
            |app: &str, color, deployment| Selector { app: app.parse().unwrap(), color, deployment };
        let cases = [
            (selector("web-api", None, DeploymentFilter::Any), true),
            (selector("web", None, DeploymentFilter::Any), false),
            (selector("web-api", Some(Color::Blue), DeploymentFilter::Any), false),
            (selector("web-api", Some(Color::Green), DeploymentFilter::Only(DeploymentId(12))), true),
            (selector("web-api", None, DeploymentFilter::Only(DeploymentId(1))), false),
            (selector("web-api", None, DeploymentFilter::Except(DeploymentId(12))), false),
            (selector("web-api", None, DeploymentFilter::Except(DeploymentId(1))), true),
        ];
        for (selector, expected) in cases {
            assert_eq!(takes(&selector, &identity(1)), expected, "{selector:?}");
        }
    }
}
