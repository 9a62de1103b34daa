//! What is left of a container that ended, its log, and hints, on real Docker.

use crate::stage::{PATIENCE, STOP, Stage, docker, get, variable};
use dockswap_core::name::ContainerId;
use dockswap_core::ports::{Container, ContainerState, Engine, EngineError, Exit, Hint};
use dockswap_docker::Follow;
use futures_util::StreamExt;
use tokio::time::timeout;

fn only(containers: Vec<Container>) -> Container {
    containers.into_iter().next().expect("a container")
}

#[tokio::test]
async fn an_app_that_exits_leaves_its_code_and_last_words() {
    let stage = Stage::new().await;
    let mut group = stage.group("exits").await;
    group.environment.push(variable("PRINT", "reading the settings"));
    let made = only(stage.docker.ensure_running(&group).await.expect("started"));
    stage.ended(&made.id.0).await;
    let ended = only(stage.seen().await);
    assert_eq!(ended.state, ContainerState::Exited(Exit { code: 3, ..Exit::default() }));
    assert_eq!(ended.upstream, None);
    let words = stage.docker.last_lines(&made.id, 20).await.expect("the log");
    let mut sorted = words.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "demo-app: cannot reach the database at db.internal:5432: connection refused",
            "demo-app: giving up with exit code 3",
            "reading the settings",
        ]
    );
    assert_eq!(stage.docker.last_lines(&made.id, 1).await.expect("the log").len(), 1);
}

#[tokio::test]
async fn a_killed_container_was_not_out_of_memory() {
    let stage = Stage::new().await;
    let made = only(stage.docker.ensure_running(&stage.group("v1").await).await.expect("run"));
    docker(&["kill", &made.name]).expect("kill");
    stage.ended(&made.id.0).await;
    let exit = Exit { code: 137, ..Exit::default() };
    assert_eq!(only(stage.seen().await).state, ContainerState::Exited(exit));
}

#[tokio::test]
async fn a_container_that_takes_more_memory_than_it_may_was_out_of_memory() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.options.memory_limit_bytes = Some(16 << 20);
    let made = only(stage.docker.ensure_running(&group).await.expect("run"));
    // It is killed before it can answer.
    let asked = tokio::spawn(async move { get(&made, "/allocate?mb=64").await });
    stage.ended(&format!("{}-blue-1", stage.app)).await;
    assert!(asked.await.is_err());
    let exit = Exit { code: 137, oom_killed: true, memory_limit: Some(16 << 20), error: None };
    assert_eq!(only(stage.seen().await).state, ContainerState::Exited(exit));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_in_dockers_words() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    group.options.entrypoint = Some(vec!["/no/such/program".to_owned()]);
    let error = stage.docker.ensure_running(&group).await.expect_err("it cannot start").to_string();
    assert!(error.contains("start container") && error.contains("/no/such/program"), "{error}");
    stage.docker.ensure_gone(&stage.all(), STOP).await.expect("remove");
}

#[tokio::test]
async fn an_apps_log_cannot_play_tricks_on_a_terminal() {
    let stage = Stage::new().await;
    let mut group = stage.group("v1").await;
    let long = "x".repeat(2_000);
    group.environment.push(variable("PRINT", &format!("\u{1b}]0;owned\u{7}\u{1b}[31mred\n{long}")));
    let made = only(stage.docker.ensure_running(&group).await.expect("run"));
    get(&made, "/").await;
    let words = stage.docker.last_lines(&made.id, 3).await.expect("the log");
    assert_eq!(words.first().map(String::as_str), Some(r"\u{1b}]0;owned\u{7}\u{1b}[31mred"));
    assert_eq!(words.get(1).map(String::len), Some(1_000));
    assert_eq!(words.get(2).map(String::as_str), Some("demo-app v1 listens on 0.0.0.0:8080"));
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let stage = Stage::new().await;
    let made = only(stage.docker.ensure_running(&stage.group("v1").await).await.expect("run"));
    get(&made, "/").await;
    let log = stage.docker.logs(&made.id, None, Follow::Yes);
    let reading = tokio::spawn(async move {
        log.fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece.expect("a piece"));
            all
        })
        .await
    });
    stage.docker.ensure_stopped(&stage.all(), STOP).await.expect("stop");
    let all = timeout(PATIENCE, reading).await.expect("the log did not end").expect("no panic");
    let all = String::from_utf8(all).expect("text");
    assert!(all.starts_with("demo-app v1 listens on"), "{all}");
    assert!(all.ends_with("nothing left in flight\n"), "{all}");

    let tail: Vec<_> = stage.docker.logs(&made.id, Some(1), Follow::No).collect().await;
    let tail: Vec<_> = tail.into_iter().map(|piece| piece.expect("a piece")).collect();
    assert_eq!(tail.concat(), b"demo-app: stopped, nothing left in flight\n");
}

#[tokio::test]
async fn the_log_of_a_container_that_is_not_there_is_an_error() {
    let stage = Stage::new().await;
    let nobody = ContainerId("0".repeat(64));
    let error = stage.docker.last_lines(&nobody, 5).await.expect_err("no such container");
    assert!(
        matches!(&error, EngineError::Refused { message, .. } if message.contains("No such container")),
        "{error}"
    );
    let pieces: Vec<_> = stage.docker.logs(&nobody, None, Follow::No).collect().await;
    assert!(matches!(pieces.as_slice(), [Err(EngineError::Refused { .. })]), "{pieces:?}");
}

#[tokio::test]
async fn hints_begin_with_everything_and_name_the_app() {
    let stage = Stage::new().await;
    let mut hints = stage.docker.hints();
    assert_eq!(timeout(PATIENCE, hints.next()).await.expect("in time"), Some(Hint::Everything));
    let wanted = Hint::App(stage.app.clone());
    stage.docker.ensure_running(&stage.group("v1").await).await.expect("run");
    let mut ours = hints.filter(|hint| std::future::ready(*hint == wanted));
    assert!(timeout(PATIENCE, ours.next()).await.expect("in time").is_some());
}

#[tokio::test]
async fn the_daemon_says_what_it_is() {
    let stage = Stage::new().await;
    let info = stage.docker.info().await.expect("info");
    assert!(info.version.starts_with(|digit: char| digit.is_ascii_digit()), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(!info.storage_driver.is_empty() && !info.root_dir.is_empty(), "{info:?}");
}
