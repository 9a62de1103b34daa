//! What is not ours, and what strangers do to ours, on real Docker.

use crate::stage::{STOP, Stage, docker, get};
use dockswap_core::ports::{ContainerState, Engine, EngineError};
use std::net::TcpListener;

#[tokio::test]
async fn a_strangers_container_under_our_name_is_named_and_untouched() {
    let stage = Stage::new().await;
    let name = format!("{}-blue-1", stage.app);
    let canary = stage.canary(&name, &[]);
    let before = stage.shown(&name).await;
    let error = stage.docker.ensure_running(&stage.group("v1").await).await.expect_err("the name is taken");
    assert!(
        matches!(&error, EngineError::Foreign { what } if *what == format!("container {name}")),
        "{error:?}"
    );
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("nothing of ours");
    let after = stage.shown(&name).await;
    assert_eq!(after.as_ref().and_then(|shown| shown.id.clone()), Some(canary));
    assert_eq!(after.and_then(|shown| shown.state), before.and_then(|shown| shown.state));
}

#[tokio::test]
async fn only_labelled_containers_are_ever_touched() {
    let stage = Stage::new().await;
    let app = format!("dockswap.app={}", stage.app);
    let network = format!("{}-theirs", stage.app);
    docker(&["network", "create", &network]).expect("network create");
    let canaries = [
        stage.canary(&format!("{}-canary-1", stage.app), &["--network", &network]),
        // Half of our labels do not make it ours.
        stage.canary(&format!("{}-canary-2", stage.app), &["--label", &app]),
        stage.canary(
            &format!("{}-canary-3", stage.app),
            &["--label", "dockswap.managed=true", "--label", &app],
        ),
    ];
    stage.docker.ensure_running(&stage.group("v1").await).await.expect("run");
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove");
    assert_eq!(stage.seen().await, []);
    for canary in canaries {
        let running =
            stage.shown(&canary).await.and_then(|shown| shown.state).and_then(|state| state.running);
        assert_eq!(running, Some(true), "{canary}");
    }
    assert!(docker(&["network", "inspect", &network]).is_some());
}

#[tokio::test]
async fn a_host_port_that_a_container_holds_is_told_with_its_holder() {
    let stage = Stage::new().await;
    let port = free_port();
    let holder = format!("{}-holder", stage.app);
    stage.canary(&holder, &["-p", &format!("127.0.0.1:{port}:8080")]);
    let mut group = stage.group("v1").await;
    group.host_port = Some(port);
    let error = stage.docker.ensure_running(&group).await.expect_err("the port is taken").to_string();
    assert!(error.contains(&format!("start container {}-blue-1", stage.app)), "{error}");
    assert!(error.contains(&format!("127.0.0.1:{port} is taken by container {holder}")), "{error}");

    let debris: Vec<_> = stage.seen().await.into_iter().map(|container| container.state).collect();
    assert_eq!(debris, [ContainerState::Created], "what was half made is found by label");
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove");
    assert_eq!(stage.seen().await, []);
    assert!(stage.shown(&holder).await.is_some());
}

#[tokio::test]
async fn a_host_port_that_a_process_holds_is_told() {
    let stage = Stage::new().await;
    let held = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = held.local_addr().expect("an address").port();
    let mut group = stage.group("v1").await;
    group.host_port = Some(port);
    let error = stage.docker.ensure_running(&group).await.expect_err("the port is taken").to_string();
    assert!(error.contains(&format!("127.0.0.1:{port} is taken by something on this host")), "{error}");
    // The same containers come to run once it is free.
    let debris = stage.seen().await;
    drop(held);
    let made = stage.docker.ensure_running(&group).await.expect("run");
    assert_eq!(made.first().map(|container| &container.id), debris.first().map(|container| &container.id));
}

#[tokio::test]
async fn what_a_stranger_removed_or_paused_runs_again() {
    let stage = Stage::new().await;
    let group = stage.group("v1").await;
    let name = format!("{}-blue-1", stage.app);
    let first = stage.docker.ensure_running(&group).await.expect("run");

    docker(&["pause", &name]).expect("pause");
    assert_eq!(stage.seen().await.first().map(|container| &container.state), Some(&ContainerState::Paused));
    let thawed = stage.docker.ensure_running(&group).await.expect("run again");
    assert_eq!(thawed, first);

    docker(&["rm", "-f", &name]).expect("rm");
    let second = stage.docker.ensure_running(&group).await.expect("run again");
    assert_ne!(first.first().map(|container| &container.id), second.first().map(|container| &container.id));
    assert_eq!(get(second.first().expect("one"), "/").await, "hello from v1\n");

    docker(&["pause", &name]).expect("pause");
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove what is paused");
    assert_eq!(stage.seen().await, []);
}

/// A port that nothing holds now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").port()
}
