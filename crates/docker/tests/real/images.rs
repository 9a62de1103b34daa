//! Images: pull policies, pins, and a registry's answers as typed errors, on real Docker with a
//! registry of our own on 127.0.0.1.

use crate::stage::{Stage, docker};
use dockswap_core::name::{DeploymentId, ImageId};
use dockswap_core::ports::{Engine, ImageError, ImageRequest};
use dockswap_core::spec::PullPolicy;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

fn quiet(_: u64, _: u64) {}

#[tokio::test]
async fn an_image_that_is_here_is_not_pulled_and_pinned() {
    let stage = Stage::new().await;
    for pull in [PullPolicy::Never, PullPolicy::Missing] {
        let request = stage.request("dockswap-demo:v1", pull);
        let image = stage.docker.ensure_image(&request, &quiet).await.expect("the image");
        assert_eq!((image.id, image.digest), (stage.image("v1").await, None));
    }
    let pin = format!("dockswap.local/{}:d1", stage.app);
    let pinned = stage.raw.inspect_image(&pin).await.expect("the pin");
    assert_eq!(pinned.id.map(ImageId), Some(stage.image("v1").await));
}

#[tokio::test]
async fn never_means_never() {
    let stage = Stage::new().await;
    let request = stage.request("dockswap-no-such-image:v9", PullPolicy::Never);
    let error = stage.docker.ensure_image(&request, &quiet).await.expect_err("not here");
    assert!(matches!(&error, ImageError::NotLocal { reference } if reference == "dockswap-no-such-image:v9"));
}

#[tokio::test]
async fn scar_p19_a_pin_outlives_the_name_and_needs_no_registry() {
    let stage = Stage::new().await;
    let name = format!("127.0.0.1:1/{}:v1", stage.app);
    let id = import(&name);
    stage.docker.ensure_image(&stage.request(&name, PullPolicy::Missing), &quiet).await.expect("the image");
    docker(&["rmi", &name]).expect("rmi");

    let gone = stage.docker.ensure_image(&stage.request(&name, PullPolicy::Never), &quiet).await;
    assert!(matches!(gone, Err(ImageError::NotLocal { .. })), "{gone:?}");
    let rollback = ImageRequest {
        pinned: Some(id.clone()),
        deployment: DeploymentId(2),
        ..stage.request(&name, PullPolicy::Always)
    };
    let image = stage.docker.ensure_image(&rollback, &quiet).await.expect("the pinned image");
    assert_eq!(image.id, id);

    docker(&["rmi", "-f", &id.0]).expect("rmi by id");
    let error = stage.docker.ensure_image(&rollback, &quiet).await.expect_err("it is gone");
    assert!(matches!(&error, ImageError::NotLocal { reference } if *reference == id.0), "{error}");
    dockswap_proof::kept("scar-P19", "real Docker, the image's name removed");
}

#[tokio::test]
async fn scar_p19_pins_are_let_go_but_for_those_that_are_kept() {
    let stage = Stage::new().await;
    for deployment in 1..=3 {
        let name = format!("{}:v{deployment}", stage.app);
        import(&name);
        let request =
            ImageRequest { deployment: DeploymentId(deployment), ..stage.request(&name, PullPolicy::Never) };
        stage.docker.ensure_image(&request, &quiet).await.expect("the image");
        docker(&["rmi", &name]).expect("rmi");
    }
    let gone = [DeploymentId(1), DeploymentId(3), DeploymentId(9)];
    let stay = stage.docker.ensure_unpinned(&stage.app, &gone).await.expect("unpin");
    assert_eq!(stay, []);
    let left = docker(&["images", "--format", "{{.Tag}}", &format!("dockswap.local/{}", stage.app)]);
    assert_eq!(left.as_deref(), Some("d2"));
    for _ in 0..2 {
        let stay = stage.docker.ensure_unpinned(&stage.app, &[DeploymentId(2)]).await.expect("unpin");
        assert_eq!(stay, []);
    }
    assert!(stage.raw.inspect_image(&format!("dockswap.local/{}:d2", stage.app)).await.is_err());
    dockswap_proof::kept("scar-P19", "real Docker, our own clean-up");
}

#[tokio::test]
async fn a_pull_shows_progress_and_resolves_the_digest() {
    let stage = Stage::new().await;
    let registry = Registry::start(|registry| registry.image("shop", "v1")).await;
    let reference = format!("{}/shop:v1", registry.host);
    let seen = Mutex::new(Vec::new());
    let progress = |done, total| seen.lock().expect("a lock").push((done, total));
    let request = stage.request(&reference, PullPolicy::Missing);
    let image = stage.docker.ensure_image(&request, &progress).await.expect("the image");
    assert_eq!(
        image.digest,
        Some(format!("{}/shop@{}", registry.host, registry.digest("shop/manifests/v1")))
    );
    let seen = seen.into_inner().expect("a lock");
    assert!(seen.iter().all(|(done, total)| done <= total), "{seen:?}");
    assert!(seen.last().is_some_and(|(done, total)| done == total), "{seen:?}");

    // A digest is never asked for again.
    drop(registry);
    let by_digest = stage.request(&image.digest.clone().expect("a digest"), PullPolicy::Always);
    assert_eq!(stage.docker.ensure_image(&by_digest, &quiet).await.expect("local"), image);
    docker(&["rmi", "-f", &image.id.0]).expect("rmi");
}

// Docker's own client blocks a thread, and the registry must go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pulled_goes_with_its_last_pin_and_what_somebody_has_or_uses_stays() {
    let stage = Stage::new().await;
    let registry = Registry::start(|registry| {
        for tag in ["gone", "had", "named", "used", "digest"] {
            registry.image("shop", tag);
        }
    })
    .await;
    let named = |tag: &str| format!("{}/shop:{tag}", registry.host);
    let digest = format!("{}/shop@{}", registry.host, registry.digest("shop/manifests/digest"));
    docker(&["pull", "--quiet", &named("had")]).expect("pull");
    let wanted = [named("gone"), named("had"), named("named"), named("used"), digest];
    let (mut ids, mut deployments) = (Vec::new(), Vec::new());
    for (number, reference) in (1..).zip(&wanted) {
        let deployment = DeploymentId(number);
        let request = ImageRequest { deployment, ..stage.request(reference, PullPolicy::Missing) };
        ids.push(stage.docker.ensure_image(&request, &quiet).await.expect("the image").id.0);
        deployments.push(deployment);
    }
    let theirs = format!("{}-theirs", stage.app);
    docker(&["tag", &named("named"), &theirs]).expect("tag");
    docker(&["create", "--name", &theirs, &named("used"), "/none"]).expect("create");
    let there = || -> Vec<bool> {
        ids.iter().map(|id| docker(&["image", "inspect", "--format", "{{.Id}}", id]).is_some()).collect()
    };
    // A pin of any app keeps it.
    stage.docker.ensure_unpinned(&stage.app, &deployments[1..]).await.expect("unpin");
    assert_eq!(there(), [true, true, true, true, false]);
    stage.docker.ensure_unpinned(&stage.app, &deployments).await.expect("unpin");
    assert_eq!(there(), [false, true, true, true, false]);
    docker(&["rmi", &theirs]).expect("rmi");
    docker(&["rm", &theirs]).expect("rm");
    stage.docker.ensure_unpinned(&stage.app, &[]).await.expect("nothing is left to unpin");
    assert_eq!(there(), [false, true, false, false, false]);
    docker(&["rmi", &named("had")]).expect("rmi");
}

#[tokio::test]
async fn a_registrys_refusals_are_told_apart() {
    let stage = Stage::new().await;
    let registry = Registry::start(|registry| {
        registry.refuse("secret", "401 Unauthorized", "UNAUTHORIZED", "authentication required");
        registry.refuse(
            "busy",
            "429 Too Many Requests",
            "TOOMANYREQUESTS",
            "you have reached your pull rate limit",
        );
    })
    .await;
    let pull = async |name: &str| {
        let reference = format!("{}/{name}:v1", registry.host);
        let request = stage.request(&reference, PullPolicy::Always);
        stage.docker.ensure_image(&request, &quiet).await.expect_err("refused")
    };
    let missing = pull("nothing").await;
    assert!(matches!(&missing, ImageError::NotFound { .. }), "{missing}");
    let denied = pull("secret").await;
    assert!(matches!(&denied, ImageError::Denied { .. }), "{denied}");
    let busy = pull("busy").await;
    assert!(matches!(&busy, ImageError::Failed { message, .. } if message.contains("limit")), "{busy}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_failure_that_says_so() {
    let stage = Stage::new().await;
    let request = stage.request("127.0.0.1:1/app:v1", PullPolicy::Missing);
    let error = stage.docker.ensure_image(&request, &quiet).await.expect_err("nobody listens there");
    assert!(matches!(&error, ImageError::Failed { message, .. } if message.contains("refused")), "{error}");
}

/// An empty image under `name`, unlike every other; its id.
fn import(name: &str) -> ImageId {
    let mark = format!("LABEL mark={name}");
    let mut client = Command::new("docker")
        .args(["import", "--change", &mark, "-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the docker client");
    client.stdin.take().expect("stdin").write_all(&[0; 1_024]).expect("an empty tar");
    let output = client.wait_with_output().expect("docker import");
    assert!(output.status.success());
    ImageId(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A registry that answers GET and HEAD from a map, over plain HTTP: Docker allows that on loopback.
struct Registry {
    host: String,
    answers: BTreeMap<String, Answer>,
    server: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Clone)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Registry {
    async fn start(fill: impl FnOnce(&mut Self)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let host = listener.local_addr().expect("an address").to_string();
        let mut registry = Self { host, answers: BTreeMap::new(), server: None };
        fill(&mut registry);
        let answers = registry.answers.clone();
        registry.server = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone()));
            }
        }));
        registry
    }

    /// An image of one layer: an empty tar, told apart by its length.
    fn image(&mut self, name: &str, tag: &str) {
        let layer = vec![0; 4_096];
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"host":"{}","tag":"{tag}"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            self.host,
            sha256(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{},"digest":"{}"}}]}}"#,
            config.len(),
            sha256(config.as_bytes()),
            layer.len(),
            sha256(&layer)
        );
        let blobs = [config.into_bytes(), layer];
        for blob in blobs {
            self.answer(
                format!("{name}/blobs/{}", sha256(&blob)),
                "200 OK",
                "application/octet-stream",
                blob,
            );
        }
        let digest = sha256(manifest.as_bytes());
        for path in [tag, &digest] {
            self.answer(
                format!("{name}/manifests/{path}"),
                "200 OK",
                MANIFEST,
                manifest.clone().into_bytes(),
            );
        }
    }

    fn refuse(&mut self, name: &str, status: &'static str, code: &str, message: &str) {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#).into_bytes();
        self.answer(format!("{name}/manifests/v1"), status, "application/json", body);
    }

    fn answer(&mut self, path: String, status: &'static str, kind: &'static str, body: Vec<u8>) {
        self.answers.insert(path, Answer { status, kind, body });
    }

    fn digest(&self, path: &str) -> String {
        sha256(&self.answers.get(path).expect("an answer").body)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

async fn serve(stream: TcpStream, answers: BTreeMap<String, Answer>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or_default() == 0 {
                return;
            }
        }
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let unknown = || Answer {
            status: "404 Not Found",
            kind: "application/json",
            body: br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
        };
        let root = Answer { status: "200 OK", kind: "application/json", body: b"{}".to_vec() };
        let path = path.trim_start_matches("/v2").trim_matches('/');
        let answer = if path.is_empty() { root } else { answers.get(path).cloned().unwrap_or_else(unknown) };
        let head = format!(
            "HTTP/1.1 {}\r\nDocker-Distribution-Api-Version: registry/2.0\r\nDocker-Content-Digest: {}\r\n\
             Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
            answer.status,
            sha256(&answer.body),
            answer.kind,
            answer.body.len()
        );
        let body: &[u8] = if method == "HEAD" { &[] } else { &answer.body };
        if stream.write_all(&[head.as_bytes(), body].concat()).await.is_err() {
            return;
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
