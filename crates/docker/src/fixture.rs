//! Groups for tests, with nothing asked of them; shared with the tests on real Docker.

use dockswap_core::name::{Color, ConfigSha, DeploymentId, ImageId};
use dockswap_core::ports::{ContainerGroup, Secret};
use dockswap_core::spec::{ContainerOptions, Protocol, PullPolicy, RestartPolicy};
use std::collections::BTreeMap;

/// One blue replica of deployment 1.
pub(crate) fn group(app: &str) -> ContainerGroup {
    ContainerGroup {
        app: app.parse().expect("an app name"),
        color: Color::Blue,
        deployment: DeploymentId(1),
        config_sha: ConfigSha("5ha".to_owned()),
        image: ImageId("sha256:1".to_owned()),
        replicas: 1,
        options: options(),
        environment: Vec::new(),
        host_port: None,
        restart: RestartPolicy::No,
    }
}

/// One environment variable.
pub(crate) fn variable(name: &str, value: &str) -> (String, Secret) {
    (name.to_owned(), Secret::new(value.to_owned()))
}

fn options() -> ContainerOptions {
    ContainerOptions {
        expose_port: 8080,
        protocol: Protocol::Http1,
        environment: BTreeMap::new(),
        environment_overrides: BTreeMap::new(),
        env_file: Vec::new(),
        command: None,
        entrypoint: None,
        user: None,
        working_dir: None,
        labels: BTreeMap::new(),
        read_only: false,
        tmpfs: BTreeMap::new(),
        extra_hosts: Vec::new(),
        ulimits: BTreeMap::new(),
        init: false,
        volumes: Vec::new(),
        memory_limit_bytes: None,
        cpu_limit_nanos: None,
        restart_policy: RestartPolicy::UnlessStopped,
        pull_policy: PullPolicy::Never,
        network: "dockswap".to_owned(),
    }
}
