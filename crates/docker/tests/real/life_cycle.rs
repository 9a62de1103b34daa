//! Containers from their making to their end, on real Docker.

use crate::stage::{STOP, Stage, get, variable};
use bollard::models::RestartPolicyNameEnum;
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListNetworksOptionsBuilder};
use dockswap_core::name::{Color, ConfigSha, DeploymentId};
use dockswap_core::ports::{
    Container, ContainerState, DeploymentFilter, DockerHealth, Engine, Exit, Selector,
};
use dockswap_core::spec::{RestartPolicy, Ulimit, Volume};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

#[tokio::test]
async fn a_group_runs_stops_runs_again_and_goes() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.replicas = 2;
    let made = stage.docker.ensure_running(&group).await.expect("run");
    let names: Vec<_> = made.iter().map(|container| container.name.clone()).collect();
    assert_eq!(names, [format!("{}-blue-1", stage.app), format!("{}-blue-1-2", stage.app)]);
    for container in &made {
        assert_eq!(container.state, ContainerState::Running);
        assert_eq!(
            (container.image.clone(), container.health.clone()),
            (group.image.clone(), DockerHealth::Absent)
        );
        assert_eq!(get(container, "/").await, "hello from v1\n");
    }
    assert_eq!(stage.seen().await, made);

    stage.docker.ensure_stopped(&stage.all(), STOP).await.expect("stop");
    let ended = ContainerState::Exited(Exit::default());
    let stopped = stage.seen().await;
    assert!(
        stopped.iter().all(|container| container.state == ended && container.upstream.is_none()),
        "{stopped:?}"
    );
    stage.docker.ensure_stopped(&stage.all(), STOP).await.expect("stop what is stopped");

    let again = stage.docker.ensure_running(&group).await.expect("run again");
    for (before, after) in made.iter().zip(&again) {
        assert_eq!(before.id, after.id);
        let (before, after) = (before.upstream.as_ref(), after.upstream.as_ref());
        assert!(before.map(|upstream| upstream.id.started_at) < after.map(|upstream| upstream.id.started_at));
    }

    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove");
    assert_eq!(stage.seen().await, []);
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove what is gone");
}

#[tokio::test]
async fn running_what_runs_changes_nothing() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.replicas = 2;
    let first = stage.docker.ensure_running(&group).await.expect("run");
    let second = stage.docker.ensure_running(&group).await.expect("run again");
    assert_eq!(first, second);
}

#[tokio::test]
async fn labels_are_those_of_the_contract() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.options.labels.insert("team".to_owned(), "shop".to_owned());
    group.environment.push(variable("TOKEN", "canary-51aa"));
    stage.docker.ensure_running(&group).await.expect("run");
    let shown = stage.shown(&format!("{}-blue-1", stage.app)).await.expect("the container");
    let labels: BTreeMap<_, _> =
        shown.config.and_then(|config| config.labels).expect("labels").into_iter().collect();
    let mut ours: BTreeMap<_, _> = labels.into_iter().filter(|(key, _)| key != "demo-app.hash").collect();
    let asked = ours.remove("dockswap.asked").expect("what was asked for");
    assert!(asked.contains("TOKEN") && !asked.contains("canary"), "{asked}");
    let expected = [
        ("dockswap.managed", "true"),
        ("dockswap.app", stage.app.as_str()),
        ("dockswap.color", "blue"),
        ("dockswap.deployment", "1"),
        ("dockswap.config_sha", group.config_sha.0.as_str()),
        ("dockswap.replica", "1"),
        ("dockswap.port", "8080"),
        ("team", "shop"),
    ];
    assert_eq!(ours, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

/// However Docker writes what it was asked for, it is not taken for something else.
#[tokio::test]
async fn a_container_with_every_option_is_what_was_asked_for() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.environment.push(variable("TOKEN", "canary-51aa"));
    let options = &mut group.options;
    options.user = Some("1000:1000".to_owned());
    options.working_dir = Some("/tmp/".to_owned());
    options.labels.insert("team".to_owned(), "shop".to_owned());
    options.read_only = true;
    options.tmpfs.insert("/scratch".to_owned(), "size=1m".to_owned());
    options.extra_hosts.push("db:10.0.0.5".to_owned());
    options.memory_limit_bytes = Some(64 << 20);
    options.cpu_limit_nanos = Some(1_500_000_000);
    stage.docker.ensure_running(&group).await.expect("run");
    let seen = stage.docker.observe(Some(&group.app)).await.expect("observe");
    assert_eq!(seen.iter().map(|one| one.drift.clone()).collect::<Vec<_>>(), [vec![]]);
}

#[tokio::test]
async fn a_container_whose_making_was_not_heard_of_is_adopted() {
    let stage = Stage::new().await;
    let group = stage.group("v1").await;
    let labels = [
        ("dockswap.managed", "true"),
        ("dockswap.app", stage.app.as_str()),
        ("dockswap.color", "blue"),
        ("dockswap.deployment", "1"),
        ("dockswap.config_sha", group.config_sha.0.as_str()),
        ("dockswap.replica", "1"),
    ];
    let body = bollard::models::ContainerCreateBody {
        image: Some(group.image.0.clone()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&format!("{}-blue-1", stage.app)).build();
    let lost = stage.raw.create_container(Some(options), body).await.expect("create");

    let adopted = stage.docker.ensure_running(&group).await.expect("run");
    assert_eq!(adopted.iter().map(|container| container.id.0.as_str()).collect::<Vec<_>>(), [lost.id]);
    let container = adopted.first().expect("one");
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(get(container, "/").await, "hello from v1\n");
}

#[tokio::test]
async fn a_container_of_ours_from_another_life_is_replaced() {
    let stage = Stage::new().await;
    let old = stage.group("v1").await;
    let before = stage.docker.ensure_running(&old).await.expect("run");
    let mut new = stage.group("v2").await;
    new.config_sha = ConfigSha("another".to_owned());
    let after = stage.docker.ensure_running(&new).await.expect("run the other");
    assert_ne!(before.first().map(|container| &container.id), after.first().map(|container| &container.id));
    assert_eq!(stage.seen().await, after);
    assert_eq!(get(after.first().expect("one"), "/").await, "hello from v2\n");
}

#[tokio::test]
async fn restart_policies_follow_the_life() {
    let stage = Stage::new().await;
    let name = format!("{}-blue-1", stage.app);
    let policy = || async {
        let config = stage.shown(&name).await.and_then(|shown| shown.host_config);
        let policy = config.and_then(|config| config.restart_policy).expect("a policy");
        (policy.name, policy.maximum_retry_count)
    };
    let mut group = stage.group("v1").await;
    let candidate = stage.docker.ensure_running(&group).await.expect("run");
    assert_eq!(policy().await, (Some(RestartPolicyNameEnum::NO), Some(0)));
    for (wanted, name, retries) in [
        (RestartPolicy::UnlessStopped, RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        (RestartPolicy::OnFailure(Some(3)), RestartPolicyNameEnum::ON_FAILURE, 3),
        (RestartPolicy::Always, RestartPolicyNameEnum::ALWAYS, 0),
    ] {
        group.restart = wanted;
        let live = stage.docker.ensure_running(&group).await.expect("run as live");
        let lives = |containers: &[Container]| {
            containers.iter().map(|one| (one.id.clone(), one.upstream.clone())).collect::<Vec<_>>()
        };
        assert_eq!(lives(&live), lives(&candidate), "a change of policy is no restart");
        assert_eq!(live[0].restart, wanted);
        assert_eq!(policy().await, (Some(name), Some(retries)));
    }
    stage.docker.ensure_stopped(&stage.all(), STOP).await.expect("stop");
    assert_eq!(policy().await.0, Some(RestartPolicyNameEnum::NO));
    let again = stage.docker.ensure_started(&stage.all(), RestartPolicy::Always).await.expect("start again");
    assert_eq!(
        again.iter().map(|c| &c.id).collect::<Vec<_>>(),
        candidate.iter().map(|c| &c.id).collect::<Vec<_>>()
    );
    assert_eq!(policy().await.0, Some(RestartPolicyNameEnum::ALWAYS));
    assert_eq!(stage.seen().await, again, "nothing else was made");
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove");
    assert_eq!(stage.docker.ensure_started(&stage.all(), RestartPolicy::No).await.expect("nothing"), []);
}

#[tokio::test]
async fn options_are_in_force_inside() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.environment = vec![variable("GREETING", "grüß gott"), variable("VERSION", "override")];
    let options = &mut group.options;
    options.read_only = true;
    options.init = true;
    options.tmpfs.insert("/tmp".to_owned(), "size=1m".to_owned());
    options.extra_hosts.push("db.internal:10.1.2.3".to_owned());
    options.ulimits.insert("nofile".to_owned(), Ulimit { soft: 512, hard: 1_024 });
    options.memory_limit_bytes = Some(64 << 20);
    options.cpu_limit_nanos = Some(500_000_000);
    options.user = Some("1000:1000".to_owned());
    options.volumes = vec![Volume { source: "/usr".to_owned(), target: "/usr".to_owned(), read_only: true }];
    let made = stage.docker.ensure_running(&group).await.expect("run");
    let container = made.first().expect("one");
    assert_eq!(get(container, "/env?name=GREETING").await, "grüß gott");
    assert_eq!(get(container, "/").await, "hello from override\n");

    let host = stage.shown(&container.name).await.and_then(|shown| shown.host_config).expect("a config");
    assert_eq!(
        (host.memory, host.nano_cpus, host.pids_limit),
        (Some(64 << 20), Some(500_000_000), Some(512))
    );
    assert_eq!((host.readonly_rootfs, host.init), (Some(true), Some(true)));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    let log = host.log_config.and_then(|log| log.config).expect("log options");
    assert_eq!(log.get("max-size").map(String::as_str), Some("10m"));
}

#[tokio::test]
async fn only_what_is_selected_goes() {
    let stage = Stage::new().await;
    let first = stage.group("v1").await;
    let mut second = stage.group("v2").await;
    second.color = Color::Green;
    second.deployment = DeploymentId(2);
    stage.docker.ensure_running(&first).await.expect("run blue");
    let kept = stage.docker.ensure_running(&second).await.expect("run green");
    let others = Selector { deployment: DeploymentFilter::Except(DeploymentId(2)), ..stage.all() };
    stage.docker.ensure_gone(&others, STOP).await.expect("remove");
    assert_eq!(stage.seen().await, kept);
}

#[tokio::test]
async fn an_app_that_is_deaf_to_sigterm_is_killed_and_not_taken_for_oom() {
    let stage = Stage::new().await;
    let group = stage.group("ignores-sigterm").await;
    let made = stage.docker.ensure_running(&group).await.expect("run");
    get(made.first().expect("one"), "/").await;
    stage.docker.ensure_stopped(&stage.all(), Duration::from_millis(200)).await.expect("stop");
    let states: Vec<_> = stage.seen().await.into_iter().map(|container| container.state).collect();
    assert_eq!(states, [ContainerState::Exited(Exit { code: 137, ..Exit::default() })]);
}

#[tokio::test]
async fn a_network_that_is_absent_is_made_once() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.options.network = format!("{}-net", stage.app);
    group.replicas = 3;
    let mut other = group.clone();
    other.color = Color::Green;
    // Another connection, as another process would have.
    let second = dockswap_docker::Docker::connect(None).expect("connect");
    let (blue, green) = tokio::join!(stage.docker.ensure_running(&group), second.ensure_running(&other));
    assert_eq!((blue.expect("blue").len(), green.expect("green").len()), (3, 3));
    let filters = HashMap::from([("name", vec![group.options.network.as_str()])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = stage.raw.list_networks(Some(options)).await.expect("networks");
    let labels: Vec<_> = networks.into_iter().map(|network| network.labels.unwrap_or_default()).collect();
    assert_eq!(labels, [HashMap::from([("dockswap.managed".to_owned(), "true".to_owned())])]);
}
