//! The engine against a daemon that behaves badly: a Unix socket with scripted answers. No Docker is
//! needed.

use dockswap_core::name::{ContainerId, DeploymentId};
use dockswap_core::ports::{Engine, EngineError, Hint, ImageError, ImageRequest};
use dockswap_core::spec::PullPolicy;
use dockswap_docker::{Docker, ImageDisk, Room};
use futures_util::StreamExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Longer than anything here takes: reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// For calls that will get no answer.
const SHORT: Duration = Duration::from_millis(300);

/// What the daemon does with one request.
#[derive(Clone, Debug)]
enum Reply {
    /// Status and JSON.
    Answer(u16, String),
    /// The head and the beginning of a body that never goes on.
    Stall,
    /// Nothing, ever.
    Hang,
    /// The connection is closed at once.
    Close,
}

fn ok(json: &str) -> Reply {
    Reply::Answer(200, json.to_owned())
}

/// Answers what `connect` asks; `script` is asked first, with method and path.
struct Daemon {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(script: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("dockswap-fake-{}-{count}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket).expect("bind");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                tokio::spawn(async move { serve(stream, &*script, &log).await });
            }
        });
        Self { socket, seen, server }
    }

    fn connect(&self) -> Docker {
        Docker::connect(Some(&format!("unix://{}", self.socket.display()))).expect("connect")
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.server.abort();
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve(
    stream: UnixStream,
    script: &(impl Fn(&str) -> Option<Reply> + Sync),
    log: &Mutex<Vec<String>>,
) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begin = head.len();
        if stream.read_line(&mut head).await.unwrap_or_default() == 0 {
            return;
        }
        if let Some(value) = head[begin..].to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    let request: String = head.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    log.lock().expect("a lock").push(request.clone());
    let path = request.split_once('?').map_or(request.as_str(), |(path, _)| path);
    let usual = || match path.rsplit('/').next() {
        Some("version") => ok(r#"{"Version": "20.10.24", "ApiVersion": "1.41"}"#),
        Some("info") => ok(r#"{"LoggingDriver": "json-file"}"#),
        _ => Reply::Answer(404, r#"{"message": "not scripted"}"#.to_owned()),
    };
    let written = match script(&request).unwrap_or_else(usual) {
        Reply::Answer(status, json) => {
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                json.len()
            );
            stream.write_all((head + &json).as_bytes()).await
        }
        Reply::Stall => {
            let begun = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[";
            let written = stream.write_all(begun.as_bytes()).await;
            std::future::pending::<()>().await;
            written
        }
        Reply::Hang => std::future::pending().await,
        Reply::Close => Ok(()),
    };
    // A client that is gone no longer wants it.
    drop(written);
}

fn inspected(id: &str) -> String {
    format!(
        r#"{{"Id": "{id}", "Name": "/web-blue-1", "State": {{"Status": "exited", "ExitCode": 1}},
            "Config": {{"Labels": {{"dockswap.managed": "true", "dockswap.app": "web", "dockswap.color": "blue",
            "dockswap.deployment": "1", "dockswap.config_sha": "a", "dockswap.replica": "1"}}}}}}"#
    )
}

#[tokio::test]
async fn the_version_is_negotiated_once_and_named_in_every_request() {
    let daemon = Daemon::start(|request| request.contains("/containers/json").then(|| ok("[]")));
    let docker = daemon.connect();
    for _ in 0..2 {
        assert_eq!(docker.observe(None).await.expect("observe"), []);
    }
    let seen = daemon.seen();
    let count = |part: &str| seen.iter().filter(|request| request.contains(part)).count();
    assert_eq!((count("/version"), count("/info"), count("/v1.41/containers/json")), (1, 1, 2), "{seen:?}");
}

#[tokio::test]
async fn a_daemon_that_was_upgraded_is_spoken_to_in_its_new_version() {
    let upgraded = Arc::new(Mutex::new(false));
    let now = Arc::clone(&upgraded);
    let daemon = Daemon::start(move |request| {
        let upgraded = *now.lock().expect("a lock");
        match (request.contains("/containers/json"), upgraded) {
            (true, true) if request.contains("/v1.41/") => Some(Reply::Answer(
                400,
                r#"{"message": "client version 1.41 is too old. Minimum supported API version is 1.44"}"#
                    .to_owned(),
            )),
            (true, _) => Some(ok("[]")),
            (false, true) if request.ends_with("/version") => {
                Some(ok(r#"{"Version": "29.0.0", "ApiVersion": "1.52"}"#))
            }
            (false, _) => None,
        }
    });
    let docker = daemon.connect();
    docker.observe(None).await.expect("observe before");
    *upgraded.lock().expect("a lock") = true;
    docker.observe(None).await.expect("observe after");
    assert!(daemon.seen().last().is_some_and(|request| request.contains("/v1.52/containers")));
}

#[tokio::test]
async fn a_daemon_that_is_too_old_is_refused_in_words() {
    let daemon =
        Daemon::start(|request| request.ends_with("/version").then(|| ok(r#"{"ApiVersion": "1.39"}"#)));
    let error = daemon.connect().observe(None).await.expect_err("too old").to_string();
    assert!(error.contains("1.39") && error.contains("20.10"), "{error}");
}

#[tokio::test]
async fn silence_ends_at_the_deadline_wherever_it_begins() {
    for reply in [Reply::Hang, Reply::Stall, Reply::Close] {
        for silent in ["/version", "/info", "/containers/json", "/containers/c1/json"] {
            let reply = reply.clone();
            let daemon = Daemon::start(move |request| {
                let path = request.split_once('?').map_or(request, |(path, _)| path);
                if path.ends_with(silent) {
                    return Some(reply.clone());
                }
                path.ends_with("/containers/json").then(|| ok(r#"[{"Id": "c1"}]"#))
            });
            let docker = daemon.connect().with_deadline(SHORT);
            let answer =
                tokio::time::timeout(PATIENCE, docker.observe(None)).await.expect("a deadline of its own");
            assert!(matches!(answer, Err(EngineError::Unavailable { .. })), "{silent}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn one_inspect_that_hangs_does_not_keep_the_others_from_being_asked() {
    let daemon = Daemon::start(|request| {
        if request.contains("/containers/json") {
            return Some(ok(r#"[{"Id": "c1"}, {"Id": "c2"}, {"Id": "c3"}]"#));
        }
        if request.contains("/containers/c1/") {
            return Some(Reply::Hang);
        }
        request.contains("/containers/c").then(|| ok(&inspected("c2")))
    });
    let docker = daemon.connect().with_deadline(SHORT);
    let error = docker.observe(None).await.expect_err("never a partial list");
    assert!(matches!(&error, EngineError::Unavailable { message } if message.contains("c1")), "{error}");
    let seen = daemon.seen();
    for id in ["c2", "c3"] {
        assert!(seen.iter().any(|request| request.contains(id)), "{seen:?}");
    }
}

#[tokio::test]
async fn a_container_that_goes_between_list_and_inspect_is_not_there() {
    let daemon = Daemon::start(|request| {
        if request.contains("/containers/json") {
            return Some(ok(r#"[{"Id": "gone"}, {"Id": "c2"}]"#));
        }
        request.contains("/containers/c2/").then(|| ok(&inspected("c2")))
    });
    let seen = daemon.connect().observe(None).await.expect("observe");
    assert_eq!(seen.iter().map(|container| container.id.0.as_str()).collect::<Vec<_>>(), ["c2"]);
}

#[tokio::test]
async fn an_interruption_of_the_events_is_a_hint_about_everything() {
    let event = r#"{"Type": "container", "Action": "die",
        "Actor": {"Attributes": {"dockswap.managed": "true", "dockswap.app": "web"}}}"#
        .replace('\n', " ");
    let daemon = Daemon::start(move |request| request.contains("/events").then(|| ok(&format!("{event}\n"))));
    let hints = daemon.connect().hints().take(4).collect::<Vec<_>>();
    let hints = tokio::time::timeout(PATIENCE, hints).await.expect("hints");
    let web = Hint::App("web".parse().expect("a name"));
    assert_eq!(hints, [Hint::Everything, web.clone(), Hint::Everything, web]);
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_a_daemon_that_does_not_answer() {
    let error = Docker::connect(Some("unix:///nonexistent/docker.sock")).expect_err("nothing there");
    assert!(
        matches!(&error, EngineError::Unavailable { message } if message.contains("/nonexistent/docker.sock"))
    );
}

/// What was asked for is a memory limit of 256 MiB and a network: somebody changed both, and the name.
#[tokio::test]
async fn what_was_changed_is_set_back_by_one_call_each() {
    let asked = r#"{\"fields\": {\"memory\": \"268435456\", \"network\": \"dockswap\"}}"#;
    let shown = inspected("c1")
        .replace("\"dockswap.managed\"", &format!("\"dockswap.asked\": \"{asked}\", \"dockswap.managed\""));
    let shown = shown.replace("/web-blue-1", "/mine");
    let shown = shown.replacen(
        "{\"Id\"",
        r#"{"HostConfig": {"Memory": 1073741824}, "NetworkSettings": {"Networks": {}}, "Id""#,
        1,
    );
    let daemon = Daemon::start(move |request| {
        let path = request.split_once('?').map_or(request, |(path, _)| path);
        if path.ends_with("/containers/json") {
            return Some(ok(r#"[{"Id": "c1"}]"#));
        }
        if path.ends_with("/containers/c1/json") {
            return Some(ok(&shown));
        }
        if path.ends_with("/networks") {
            return Some(ok(r#"[{"Name": "dockswap", "Id": "n1"}]"#));
        }
        path.starts_with("POST").then(|| ok("{}"))
    });
    let docker = daemon.connect();
    let seen = docker.observe(None).await.expect("observe");
    let fields: Vec<&str> = seen[0].drift.iter().map(|drift| drift.field.as_str()).collect();
    assert_eq!(fields, ["name", "memory", "network"]);
    docker.ensure_as_asked(&ContainerId("c1".to_owned())).await.expect("set back");
    let posts: Vec<String> =
        daemon.seen().into_iter().filter(|request| request.starts_with("POST")).collect();
    let parts =
        ["/networks/dockswap/connect", "/containers/c1/update", "/containers/c1/rename?name=web-blue-1"];
    assert_eq!(posts.len(), parts.len(), "{posts:?}");
    for (post, part) in posts.iter().zip(parts) {
        assert!(post.ends_with(part), "{posts:?}");
    }
}

#[tokio::test]
async fn an_image_that_does_not_fit_is_not_fetched_and_one_that_is_here_needs_no_room() {
    let daemon = Daemon::start(|request| {
        let path = request.split_once('?').map_or(request, |(path, _)| path);
        if path.ends_with("/images/json") {
            return Some(ok(
                r#"[{"Id": "sha256:1", "ParentId": "", "RepoTags": ["app:v1"], "RepoDigests": [], "Created": 1,
                    "Size": 900000000, "SharedSize": 0, "Labels": {}, "Containers": 0}]"#,
            ));
        }
        if path.ends_with("/images/app:v1/json") {
            return Some(ok(r#"{"Id": "sha256:1"}"#));
        }
        path.starts_with("POST").then(|| ok(""))
    });
    let disk =
        ImageDisk { dir: "/var/lib/docker".to_owned(), free_bytes: 1_500_000_000, total_bytes: 1 << 40 };
    let docker = daemon.connect().with_room(Room::new(None, move || Some(disk.clone())));
    let request = |reference: &str| ImageRequest {
        app: "web".parse().expect("a name"),
        deployment: DeploymentId(1),
        reference: reference.to_owned(),
        pull: PullPolicy::Missing,
        pinned: None,
    };
    let refused = docker.ensure_image(&request("app:v2"), &|_, _| {}).await.expect_err("it does not fit");
    assert!(matches!(refused, ImageError::NoRoom { .. }), "{refused:?}");
    let words = refused.to_string();
    for part in [
        "app:v2",
        "858 MiB, as app:v1 does",
        "1430 MiB are free at /var/lib/docker",
        "1024 MiB stay free",
        "prune",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!daemon.seen().iter().any(|request| request.contains("/images/create")), "{:?}", daemon.seen());
    docker.ensure_image(&request("app:v1"), &|_, _| {}).await.expect("it is here");
}
