//! From what Docker shows of a container to what dockswap sees in it. Pure.

use crate::labels::Identity;
use crate::{create, escape};
use bollard::models::{
    ContainerInspectResponse, ContainerState as Shown, ContainerStateStatusEnum as Status, Health,
    HealthStatusEnum, NetworkSettings, PortBinding,
};
use chrono::DateTime;
use dockswap_core::name::{ContainerId, ImageId};
use dockswap_core::ports::{Container, ContainerState, DockerHealth, Exit};
use dockswap_core::routes::{Upstream, UpstreamId};
use dockswap_core::time::Timestamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads an answer to inspect, all but its drift; `None` when the container is not ours.
pub(crate) fn read(shown: &ContainerInspectResponse) -> Option<Container> {
    let identity = identity(shown)?;
    let id = ContainerId(shown.id.clone()?);
    let default = Shown::default();
    let details = shown.state.as_ref().unwrap_or(&default);
    let state = state(shown);
    let goes_on = matches!(state, ContainerState::Running | ContainerState::Paused);
    let started_at = details.started_at.as_deref().filter(|_| goes_on).and_then(timestamp);
    let life = started_at.map(|started_at| UpstreamId { container: id.clone(), started_at });
    let upstream = life
        .clone()
        .filter(|_| state == ContainerState::Running)
        .zip(identity.port.or_else(|| exposed_port(shown)))
        .and_then(|(id, port)| {
            Some(Upstream { id, addr: reached(shown, port)?, protocol: identity.protocol })
        });
    Some(Container {
        id,
        name: shown.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        app: identity.app,
        color: identity.color,
        deployment: identity.deployment,
        replica: identity.replica,
        image: ImageId(shown.image.clone().unwrap_or_default()),
        state,
        health: health(details.health.as_ref()),
        life,
        upstream,
        restart: create::policy_of(shown.host_config.as_ref().and_then(|host| host.restart_policy.as_ref())),
        restarts: shown.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        drift: Vec::new(),
    })
}

/// Who a container is, by its labels.
pub(crate) fn identity(shown: &ContainerInspectResponse) -> Option<Identity> {
    Identity::read(shown.config.as_ref()?.labels.as_ref()?)
}

/// Whether a container runs, from what inspect shows.
pub(crate) fn state(shown: &ContainerInspectResponse) -> ContainerState {
    let Some(details) = &shown.state else { return ContainerState::Created };
    match details.status {
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting(exit(details, memory_limit(shown))),
        Some(Status::EXITED) => ContainerState::Exited(exit(details, memory_limit(shown))),
        Some(Status::REMOVING | Status::DEAD) => ContainerState::Removing,
        Some(Status::CREATED | Status::EMPTY) | None => ContainerState::Created,
    }
}

fn memory_limit(shown: &ContainerInspectResponse) -> Option<u64> {
    let limit = shown.host_config.as_ref()?.memory?;
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

fn exit(shown: &Shown, memory_limit: Option<u64>) -> Exit {
    Exit {
        code: shown.exit_code.unwrap_or_default(),
        oom_killed: shown.oom_killed.unwrap_or_default(),
        memory_limit,
        error: shown.error.as_deref().filter(|error| !error.is_empty()).map(escape::line),
    }
}

fn health(shown: Option<&Health>) -> DockerHealth {
    let Some(health) = shown else { return DockerHealth::Absent };
    match health.status {
        Some(HealthStatusEnum::STARTING) => DockerHealth::Starting,
        Some(HealthStatusEnum::HEALTHY) => DockerHealth::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let last = health.log.iter().flatten().next_back().and_then(|check| check.output.as_deref());
            DockerHealth::Unhealthy(escape::line(last.unwrap_or_default().trim()))
        }
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => DockerHealth::Absent,
    }
}

/// Where what listens on `port` in the container is reached.
fn reached(shown: &ContainerInspectResponse, port: u16) -> Option<SocketAddr> {
    let network = shown.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let settings = shown.network_settings.as_ref()?;
    // A port that Docker chose was published because the container's own address is out of reach.
    if asks_docker_for_a_port(shown, port) {
        loopback(settings, port)
    } else {
        Some(SocketAddr::new(address(settings, network)?, port))
    }
}

/// The first port that a container without our port label says it exposes.
fn exposed_port(shown: &ContainerInspectResponse) -> Option<u16> {
    let exposed = shown.config.as_ref()?.exposed_ports.as_ref()?;
    exposed.iter().filter_map(|key| key.strip_suffix("/tcp")?.parse().ok()).min()
}

fn asks_docker_for_a_port(shown: &ContainerInspectResponse, port: u16) -> bool {
    let asked = shown.host_config.as_ref().and_then(|config| config.port_bindings.as_ref());
    let bindings = asked.and_then(|ports| ports.get(&port_key(port))).and_then(Option::as_ref);
    bindings
        .into_iter()
        .flatten()
        .any(|binding| matches!(binding.host_port.as_deref(), None | Some("" | "0")))
}

fn loopback(settings: &NetworkSettings, port: u16) -> Option<SocketAddr> {
    let bindings: &[PortBinding] = settings.ports.as_ref()?.get(&port_key(port))?.as_deref()?;
    let port = bindings.iter().find_map(|binding| binding.host_port.as_deref()?.parse().ok())?;
    Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
}

/// The address on the container's own network, or on the first one that has given it one.
fn address(settings: &NetworkSettings, network: Option<&str>) -> Option<IpAddr> {
    let networks: BTreeMap<_, _> = settings.networks.as_ref()?.iter().collect();
    let own = network.and_then(|name| networks.get(&name.to_owned()).copied());
    own.into_iter().chain(networks.into_values()).find_map(|endpoint| {
        let addresses = [endpoint.ip_address.as_deref(), endpoint.global_ipv6_address.as_deref()];
        addresses.into_iter().flatten().find_map(|text| text.parse().ok())
    })
}

/// How Docker's maps name a TCP port.
pub(crate) fn port_key(port: u16) -> String {
    format!("{port}/tcp")
}

/// RFC 3339 with nanoseconds, as Docker writes it, to whole microseconds.
fn timestamp(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_micros(time.timestamp_micros()))
}

/// The order in which containers are shown: app, color, deployment, replica.
pub(crate) fn sort(containers: &mut [Container]) {
    containers.sort_by(|a, b| {
        (&a.app, a.color, a.deployment, a.replica).cmp(&(&b.app, b.color, b.deployment, b.replica))
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::{Value, json};

    fn shown(extra: Value) -> ContainerInspectResponse {
        let mut base = json!({
            "Id": "c0ffee", "Name": "/web-blue-3", "Image": "sha256:1",
            "State": {"Status": "running", "StartedAt": "2026-11-21T08:06:33.123456789Z"},
            "HostConfig": {"NetworkMode": "dockswap"},
            "Config": {"Labels": {
                "dockswap.managed": "true", "dockswap.app": "web", "dockswap.color": "blue",
                "dockswap.deployment": "3", "dockswap.config_sha": "ab", "dockswap.replica": "1",
                "dockswap.port": "8080"}},
            "NetworkSettings": {"Networks": {
                "another": {"IPAddress": "172.30.0.9"},
                "dockswap": {"IPAddress": "172.18.0.2"}}}
        });
        merge(&mut base, extra);
        serde_json::from_value(base).unwrap()
    }

    fn merge(base: &mut Value, extra: Value) {
        match (base, extra) {
            (Value::Object(base), Value::Object(extra)) => {
                for (key, value) in extra {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
            (base, extra) => *base = extra,
        }
    }

    #[test]
    fn an_upstream_is_address_port_and_life() {
        let container = read(&shown(json!({}))).unwrap();
        let upstream = container.upstream.unwrap();
        assert_eq!(upstream.addr, "172.18.0.2:8080".parse().unwrap());
        assert_eq!(upstream.id.container.0, "c0ffee");
        assert_eq!(upstream.id.started_at.as_micros(), 1_795_248_393_123_456);
        assert_eq!(container.name, "web-blue-3");
    }

    #[test]
    fn a_port_that_docker_chose_is_read_back() {
        let container = read(&shown(json!({
            "HostConfig": {"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
            "NetworkSettings": {"Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]}}
        })));
        assert_eq!(container.unwrap().upstream.unwrap().addr, "127.0.0.1:49153".parse().unwrap());
    }

    #[test]
    fn a_port_that_the_file_chose_does_not_change_the_way() {
        let container = read(&shown(json!({
            "HostConfig": {"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}},
            "NetworkSettings": {"Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}}
        })));
        assert_eq!(container.unwrap().upstream.unwrap().addr, "172.18.0.2:8080".parse().unwrap());
    }

    #[test]
    fn states_are_read_with_their_exits() {
        let exit = |oom_killed| Exit { code: 137, oom_killed, ..Exit::default() };
        let cases = [
            (json!({"Status": "created", "ExitCode": 128}), ContainerState::Created),
            (json!({"Status": "paused"}), ContainerState::Paused),
            (json!({"Status": "restarting", "ExitCode": 137}), ContainerState::Restarting(exit(false))),
            (
                json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true, "Error": ""}),
                ContainerState::Exited(exit(true)),
            ),
            (json!({"Status": "removing"}), ContainerState::Removing),
            (json!({"Status": "dead"}), ContainerState::Removing),
        ];
        for (state, expected) in cases {
            let container = read(&shown(json!({"State": state.clone()}))).unwrap();
            let lives_on = expected == ContainerState::Paused;
            assert_eq!((container.state, container.upstream), (expected, None), "{state}");
            assert_eq!(container.life.is_some(), lives_on, "{state}");
        }
    }

    #[test]
    fn health_carries_the_last_output() {
        let state = json!({"State": {"Health": {"Status": "unhealthy", "Log": [
            {"ExitCode": 1, "Output": "first"}, {"ExitCode": 1, "Output": "connection \u{1b}refused\n"}]}}});
        let health = read(&shown(state)).unwrap().health;
        assert_eq!(health, DockerHealth::Unhealthy(r"connection \u{1b}refused".to_owned()));
        assert_eq!(read(&shown(json!({}))).unwrap().health, DockerHealth::Absent);
    }

    #[test]
    fn a_container_without_our_labels_is_not_ours() {
        assert_eq!(read(&shown(json!({"Config": {"Labels": {"dockswap.managed": "yes"}}}))), None);
    }
}
