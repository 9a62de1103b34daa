//! What Docker is asked to make for one replica of a group. Pure: options in, request out.

use crate::container::port_key;
use crate::daemon::{Reach, Session};
use crate::labels::Identity;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig, PortBinding,
    ResourcesUlimits, RestartPolicy as DockerRestartPolicy, RestartPolicyNameEnum,
};
use dockswap_core::name::{AppName, Color};
use dockswap_core::ports::ContainerGroup;
use dockswap_core::spec::{RestartPolicy, Volume};
use std::collections::HashMap;

/// What a process may still do as root after all else was dropped: change owners and users, bind
/// low ports, signal its own children. Enough for the images that begin as root and step down.
pub(crate) const CAPABILITIES: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID"];
/// Processes and threads in one container: a fork bomb stays its own.
pub(crate) const PIDS_LIMIT: i64 = 512;
/// Every container's log takes at most three times this.
pub(crate) const LOG_OPTIONS: [(&str, &str); 2] = [("max-file", "3"), ("max-size", "10m")];
/// No process gains power that its parent had not.
pub(crate) const SECURITY_OPTION: &str = "no-new-privileges";

/// The request for replica `replica` (counted from 1) of `group`.
pub(crate) fn body(group: &ContainerGroup, replica: u8, session: &Session) -> ContainerCreateBody {
    let options = &group.options;
    let mut labels: HashMap<_, _> = options.labels.clone().into_iter().collect();
    labels.extend(Identity::of(group, replica).write());
    ContainerCreateBody {
        image: Some(group.image.0.clone()),
        env: Some(
            group.environment.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect(),
        ),
        cmd: options.command.clone(),
        entrypoint: options.entrypoint.clone(),
        user: options.user.clone(),
        working_dir: options.working_dir.clone(),
        labels: Some(labels),
        exposed_ports: Some(vec![port_key(options.expose_port)]),
        host_config: Some(host_config(group, replica, session)),
        networking_config: aliases(&options.network, &group.app, group.color).map(|aliases| {
            NetworkingConfig {
                endpoints_config: Some(HashMap::from([(
                    options.network.clone(),
                    EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() },
                )])),
            }
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(group: &ContainerGroup, replica: u8, session: &Session) -> HostConfig {
    let options = &group.options;
    let ulimits = options.ulimits.iter().map(|(name, limit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    HostConfig {
        network_mode: Some(options.network.clone()),
        restart_policy: Some(restart_policy(group.restart)),
        port_bindings: published(group, replica, session.reach).map(|host_port| {
            let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host_port) };
            HashMap::from([(port_key(options.expose_port), Some(vec![binding]))])
        }),
        log_config: session.rotating_log_driver.clone().map(|driver| HostConfigLogConfig {
            typ: Some(driver),
            config: Some(LOG_OPTIONS.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        }),
        binds: Some(options.volumes.iter().map(bind).collect()),
        tmpfs: Some(options.tmpfs.clone().into_iter().collect()),
        readonly_rootfs: Some(options.read_only),
        extra_hosts: Some(options.extra_hosts.clone()),
        ulimits: Some(ulimits.collect()),
        init: options.init.then_some(true),
        memory: options.memory_limit_bytes.map(saturating),
        nano_cpus: options.cpu_limit_nanos.map(saturating),
        pids_limit: Some(PIDS_LIMIT),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec![SECURITY_OPTION.to_owned()]),
        ..HostConfig::default()
    }
}

/// The host port to ask for; an empty one lets Docker choose.
fn published(group: &ContainerGroup, replica: u8, reach: Reach) -> Option<String> {
    match (group.host_port.filter(|_| replica == 1), reach) {
        (Some(port), _) => Some(port.to_string()),
        (None, Reach::Loopback) => Some(String::new()),
        (None, Reach::Direct) => None,
    }
}

/// The names under which other containers on the network find this one. Not the app's bare name:
/// that would send them to a candidate before it has passed its gate. Docker's own networks know no
/// aliases.
pub(crate) fn aliases(network: &str, app: &AppName, color: Color) -> Option<Vec<String>> {
    (!["bridge", "default", "host", "none"].contains(&network)).then(|| vec![format!("{app}-{color}")])
}

/// `source:target[:ro]`, as Docker takes it.
pub(crate) fn bind(volume: &Volume) -> String {
    let Volume { source, target, read_only } = volume;
    if *read_only { format!("{source}:{target}:ro") } else { format!("{source}:{target}") }
}

/// The policy in Docker's terms.
pub(crate) fn restart_policy(policy: RestartPolicy) -> DockerRestartPolicy {
    let (name, retries) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(retries) => (RestartPolicyNameEnum::ON_FAILURE, retries),
    };
    DockerRestartPolicy { name: Some(name), maximum_retry_count: retries.map(i64::from) }
}

/// Whether what a container has is the policy that is wanted. Docker writes "no" as the empty name
/// too, and no limit of retries as zero.
pub(crate) fn has_policy(has: Option<&DockerRestartPolicy>, wanted: RestartPolicy) -> bool {
    let plain = |policy: &DockerRestartPolicy| {
        let name = match policy.name {
            None | Some(RestartPolicyNameEnum::EMPTY) => RestartPolicyNameEnum::NO,
            Some(name) => name,
        };
        (name, policy.maximum_retry_count.unwrap_or_default())
    };
    plain(has.unwrap_or(&DockerRestartPolicy::default())) == plain(&restart_policy(wanted))
}

fn saturating(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
