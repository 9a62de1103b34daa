//! The `docker run` that makes what dockswap makes, for people to read and try. Pure; it never holds
//! the value of an environment variable.

use crate::create::{CAPABILITIES, LOG_OPTIONS, PIDS_LIMIT, SECURITY_OPTION, aliases, bind};
use crate::labels::Identity;
use dockswap_core::ports::ContainerGroup;
use dockswap_core::spec::RestartPolicy;
use std::collections::BTreeMap;

/// The arguments, beginning with `docker run`, that make the first replica of `group` by hand. Every
/// value of its environment is masked as `***`.
#[must_use]
pub fn docker_run_command(group: &ContainerGroup) -> Vec<String> {
    let options = &group.options;
    let identity = Identity::of(group, 1);
    let mut command: Vec<String> = ["docker", "run", "--detach"].map(str::to_owned).to_vec();
    let mut flag = |name: &str, value: String| command.extend([format!("--{name}"), value]);

    flag("name", identity.container_name());
    flag("network", options.network.clone());
    for alias in aliases(&options.network, &group.app, group.color).into_iter().flatten() {
        flag("network-alias", alias);
    }
    if let Some(port) = group.host_port {
        flag("publish", format!("127.0.0.1:{port}:{}", options.expose_port));
    }
    flag("restart", restart(group.restart));
    let labels: BTreeMap<_, _> = options.labels.clone().into_iter().chain(identity.write()).collect();
    for (key, value) in labels {
        flag("label", format!("{key}={value}"));
    }
    for (name, _) in &group.environment {
        flag("env", format!("{name}=***"));
    }
    for volume in &options.volumes {
        flag("volume", bind(volume));
    }
    for (target, mount_options) in &options.tmpfs {
        let separator = if mount_options.is_empty() { "" } else { ":" };
        flag("tmpfs", format!("{target}{separator}{mount_options}"));
    }
    for host in &options.extra_hosts {
        flag("add-host", host.clone());
    }
    for (name, limit) in &options.ulimits {
        flag("ulimit", format!("{name}={}:{}", limit.soft, limit.hard));
    }
    if let Some(bytes) = options.memory_limit_bytes {
        flag("memory", bytes.to_string());
    }
    if let Some(nanos) = options.cpu_limit_nanos {
        flag("cpus", decimal(nanos));
    }
    flag("pids-limit", PIDS_LIMIT.to_string());
    flag("cap-drop", "ALL".to_owned());
    for capability in CAPABILITIES {
        flag("cap-add", capability.to_owned());
    }
    flag("security-opt", SECURITY_OPTION.to_owned());
    for (key, value) in LOG_OPTIONS {
        flag("log-opt", format!("{key}={value}"));
    }
    if let Some(user) = &options.user {
        flag("user", user.clone());
    }
    if let Some(dir) = &options.working_dir {
        flag("workdir", dir.clone());
    }
    // `--entrypoint` takes one word: the others come before the command's.
    let mut entrypoint = options.entrypoint.iter().flatten();
    if let Some(program) = entrypoint.next() {
        flag("entrypoint", program.clone());
    }
    if options.read_only {
        command.push("--read-only".to_owned());
    }
    if options.init {
        command.push("--init".to_owned());
    }
    command.push(group.image.0.clone());
    command.extend(entrypoint.cloned());
    command.extend(options.command.iter().flatten().cloned());
    command
}

fn restart(policy: RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => "no".to_owned(),
        RestartPolicy::Always => "always".to_owned(),
        RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
        RestartPolicy::OnFailure(None) => "on-failure".to_owned(),
        RestartPolicy::OnFailure(Some(retries)) => format!("on-failure:{retries}"),
    }
}

/// Billionths as a decimal: 1,500,000,000 is `1.5`.
fn decimal(nanos: u64) -> String {
    const NANOS: u64 = 1_000_000_000;
    let text = format!("{}.{:09}", nanos / NANOS, nanos % NANOS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_command_says_what_dockswap_does() {
        let mut group = fixture::group("web");
        group.host_port = Some(8081);
        group.options.entrypoint = Some(vec!["/app".to_owned(), "serve".to_owned()]);
        group.options.command = Some(vec!["--port=8080".to_owned()]);
        group.options.cpu_limit_nanos = Some(1_500_000_000);
        let line = docker_run_command(&group).join(" ");
        assert!(line.starts_with("docker run --detach --name web-blue-1 --network dockswap "), "{line}");
        assert!(line.ends_with(" --entrypoint /app sha256:1 serve --port=8080"), "{line}");
        for part in [
            "--publish 127.0.0.1:8081:8080 ",
            "--restart no ",
            "--label dockswap.app=web ",
            "--cpus 1.5 ",
            "--cap-drop ALL ",
            "--security-opt no-new-privileges ",
            "--log-opt max-size=10m ",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn no_value_of_the_environment_is_shown() {
        let mut group = fixture::group("web");
        group.environment = vec![fixture::variable("PASSWORD", "canary-7f3a")];
        let line = docker_run_command(&group).join(" ");
        assert!(line.contains("--env PASSWORD=*** "), "{line}");
        assert!(!line.contains("canary-7f3a"), "{line}");
    }
}
