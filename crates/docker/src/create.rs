//! What Docker is asked to make for one replica of a group. Pure: options in, request out.

use crate::container::port_key;
use crate::daemon::{Reach, Session};
use crate::drift;
use crate::labels::{ASKED, Identity};
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
    let mut body = ContainerCreateBody {
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
    };
    let asked = drift::label(&body);
    body.labels.get_or_insert_default().insert(ASKED.to_owned(), asked);
    body
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

/// The policy that Docker shows. One that it shows in words of its own is taken for none.
pub(crate) fn policy_of(shown: Option<&DockerRestartPolicy>) -> RestartPolicy {
    let Some(policy) = shown else { return RestartPolicy::No };
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS) => RestartPolicy::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            let retries = policy.maximum_retry_count.and_then(|retries| u32::try_from(retries).ok());
            RestartPolicy::OnFailure(retries.filter(|retries| *retries > 0))
        }
        Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => RestartPolicy::No,
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::fixture;
    use dockswap_core::spec::Ulimit;
    use serde_json::{Value, json};

    fn session(reach: Reach) -> Session {
        let driver = Some("json-file".to_owned());
        Session { rotating_log_driver: driver, reach, processors: 2 }
    }

    fn made(group: &ContainerGroup, replica: u8, session: &Session) -> Value {
        serde_json::to_value(body(group, replica, session)).unwrap()
    }

    #[test]
    fn a_plain_group_is_confined_and_not_published() {
        let body = made(&fixture::group("web"), 1, &session(Reach::Direct));
        let host = &body["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert!(!host["CapAdd"].as_array().unwrap().contains(&json!("NET_RAW")));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(host["PidsLimit"], json!(512));
        assert_eq!(
            host["LogConfig"],
            json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}})
        );
        assert_eq!(host["RestartPolicy"]["Name"], json!("no"));
        assert_eq!(host["NetworkMode"], json!("dockswap"));
        assert_eq!(host.get("PortBindings").cloned().unwrap_or_default(), Value::Null);
        assert_eq!(host.get("Privileged").cloned().unwrap_or_default(), Value::Null);
        let endpoint = &body["NetworkingConfig"]["EndpointsConfig"]["dockswap"];
        assert_eq!(endpoint["Aliases"], json!(["web-blue"]));
    }

    #[test]
    fn every_option_reaches_docker() {
        let mut group = fixture::group("web");
        group.environment = vec![fixture::variable("A", "1"), fixture::variable("EMPTY", "")];
        let options = &mut group.options;
        options.command = Some(vec!["serve".to_owned()]);
        options.entrypoint = Some(vec!["/bin/app".to_owned(), "--fast".to_owned()]);
        options.user = Some("1000:1000".to_owned());
        options.working_dir = Some("/srv".to_owned());
        options.labels.insert("team".to_owned(), "shop".to_owned());
        options.read_only = true;
        options.tmpfs.insert("/tmp".to_owned(), "size=64m".to_owned());
        options.extra_hosts.push("db:10.0.0.5".to_owned());
        options.ulimits.insert("nofile".to_owned(), Ulimit { soft: 1_024, hard: -1 });
        options.init = true;
        options.volumes = vec![
            Volume { source: "data".to_owned(), target: "/data".to_owned(), read_only: false },
            Volume { source: "/srv/www".to_owned(), target: "/www".to_owned(), read_only: true },
        ];
        options.memory_limit_bytes = Some(512 << 20);
        options.cpu_limit_nanos = Some(1_500_000_000);
        group.restart = RestartPolicy::OnFailure(Some(5));

        let body = made(&group, 1, &session(Reach::Direct));
        assert_eq!(body["Env"], json!(["A=1", "EMPTY="]));
        assert_eq!(body["Cmd"], json!(["serve"]));
        assert_eq!(body["Entrypoint"], json!(["/bin/app", "--fast"]));
        assert_eq!((&body["User"], &body["WorkingDir"]), (&json!("1000:1000"), &json!("/srv")));
        assert_eq!(body["Labels"]["team"], json!("shop"));
        let host = &body["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], json!(true));
        assert_eq!(host["Tmpfs"], json!({"/tmp": "size=64m"}));
        assert_eq!(host["ExtraHosts"], json!(["db:10.0.0.5"]));
        assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Soft": 1024, "Hard": -1}]));
        assert_eq!(host["Init"], json!(true));
        assert_eq!(host["Binds"], json!(["data:/data", "/srv/www:/www:ro"]));
        assert_eq!((&host["Memory"], &host["NanoCpus"]), (&json!(536_870_912), &json!(1_500_000_000)));
        assert_eq!(host["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 5}));
    }

    #[test]
    fn a_label_of_the_user_never_replaces_one_of_ours() {
        let mut group = fixture::group("web");
        group.options.labels.insert("dockswap.app".to_owned(), "another".to_owned());
        assert_eq!(made(&group, 1, &session(Reach::Direct))["Labels"]["dockswap.app"], json!("web"));
    }

    #[test]
    fn host_ports_are_bound_to_loopback_by_the_first_replica_only() {
        let mut group = fixture::group("web");
        group.host_port = Some(8081);
        let ports = |replica, reach| {
            let body = made(&group, replica, &session(reach));
            body["HostConfig"]["PortBindings"].clone()
        };
        let fixed = json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]});
        assert_eq!(ports(1, Reach::Direct), fixed);
        assert_eq!(ports(2, Reach::Direct), Value::Null);
        assert_eq!(ports(1, Reach::Loopback), fixed);
        assert_eq!(ports(2, Reach::Loopback)["8080/tcp"][0], json!({"HostIp": "127.0.0.1", "HostPort": ""}));
    }

    #[test]
    fn a_log_driver_of_the_administrators_choice_is_left_alone() {
        let session = Session { rotating_log_driver: None, reach: Reach::Direct, processors: 2 };
        let body = made(&fixture::group("web"), 1, &session);
        assert_eq!(body["HostConfig"]["LogConfig"], Value::Null);
    }

    #[test]
    fn restart_policies_are_compared_by_meaning() {
        let shown =
            |name, count| Some(DockerRestartPolicy { name: Some(name), maximum_retry_count: Some(count) });
        let cases = [
            (shown(RestartPolicyNameEnum::EMPTY, 0), RestartPolicy::No, true),
            (None, RestartPolicy::No, true),
            (shown(RestartPolicyNameEnum::NO, 0), RestartPolicy::No, true),
            (shown(RestartPolicyNameEnum::ALWAYS, 0), RestartPolicy::No, false),
            (shown(RestartPolicyNameEnum::ON_FAILURE, 0), RestartPolicy::OnFailure(None), true),
            (shown(RestartPolicyNameEnum::ON_FAILURE, 3), RestartPolicy::OnFailure(Some(3)), true),
            (shown(RestartPolicyNameEnum::ON_FAILURE, 3), RestartPolicy::OnFailure(None), false),
        ];
        for (shown, wanted, expected) in cases {
            assert_eq!(has_policy(shown.as_ref(), wanted), expected, "{shown:?} {wanted:?}");
        }
    }
}
