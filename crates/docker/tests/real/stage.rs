//! A stage for tests on real Docker: an app of its own, containers that are not dockswap's, and the
//! clearing up, also after a panic.

#[path = "../../src/fixture.rs"]
mod fixture;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, WaitContainerOptions};
use dockswap_core::name::{AppName, ConfigSha, DeploymentId, ImageId};
use dockswap_core::ports::{Container, ContainerGroup, DeploymentFilter, Engine, ImageRequest, Selector};
use dockswap_core::spec::PullPolicy;
use dockswap_docker::Docker;
use futures_util::StreamExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use fixture::variable;

/// Longer than anything here takes: reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What stops give the app.
pub(crate) const STOP: Duration = Duration::from_secs(5);

/// One app on real Docker.
pub(crate) struct Stage {
    pub(crate) docker: Docker,
    pub(crate) raw: bollard::Docker,
    pub(crate) app: AppName,
}

impl Stage {
    /// A stage with an app name that no other test has.
    pub(crate) async fn new() -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
        let app = format!("t-{}-{}", std::process::id(), nanos % 1_000_000_000_000);
        let docker =
            Docker::connect(None).unwrap_or_else(|error| panic!("{error}: run scripts/ensure-docker"));
        if let Err(error) = docker.info().await {
            panic!("{error}: run scripts/ensure-docker");
        }
        let raw = bollard::Docker::connect_with_defaults().expect("as above");
        Self { docker, raw, app: app.parse().expect("an app name") }
    }

    /// The id of `dockswap-demo:<tag>`.
    pub(crate) async fn image(&self, tag: &str) -> ImageId {
        let image = self.raw.inspect_image(&format!("dockswap-demo:{tag}")).await;
        let image = image.unwrap_or_else(|error| panic!("{error}: run scripts/build-demo-images"));
        ImageId(image.id.expect("an id"))
    }

    /// One blue replica of deployment 1 of the demo image `tag`.
    pub(crate) async fn group(&self, tag: &str) -> ContainerGroup {
        let mut group = fixture::group(self.app.as_str());
        group.image = self.image(tag).await;
        group.config_sha = ConfigSha(format!("{:064x}", 0x5ba));
        group
    }

    /// Everything of the app.
    pub(crate) fn all(&self) -> Selector {
        Selector { app: self.app.clone(), color: None, deployment: DeploymentFilter::Any }
    }

    /// What dockswap sees of the app.
    pub(crate) async fn seen(&self) -> Vec<Container> {
        self.docker.observe(Some(&self.app)).await.expect("observe")
    }

    /// What Docker shows of a container; `None` when it is not there.
    pub(crate) async fn shown(&self, name: &str) -> Option<ContainerInspectResponse> {
        self.raw.inspect_container(name, None::<InspectContainerOptions>).await.ok()
    }

    /// Waits until the container has ended.
    pub(crate) async fn ended(&self, id: &str) {
        let mut wait = self.raw.wait_container(id, None::<WaitContainerOptions>);
        // A non-zero exit code is an error to bollard.
        let _ = tokio::time::timeout(PATIENCE, wait.next()).await.expect("the container did not end");
    }

    /// An image request as a deployment makes it.
    pub(crate) fn request(&self, reference: &str, pull: PullPolicy) -> ImageRequest {
        ImageRequest {
            app: self.app.clone(),
            deployment: DeploymentId(1),
            reference: reference.to_owned(),
            pull,
            pinned: None,
        }
    }

    /// A running container that is not dockswap's, removed with the stage; its id.
    pub(crate) fn canary(&self, name: &str, extra: &[&str]) -> String {
        let mark = format!("dockswap-test={}", self.app);
        let mut arguments = vec!["run", "-d", "--name", name, "--label", &mark];
        arguments.extend(extra);
        arguments.push("dockswap-demo:v1");
        docker(&arguments).expect("docker run")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for label in [format!("dockswap.app={}", self.app), format!("dockswap-test={}", self.app)] {
            let found = docker(&["ps", "-aq", "--filter", &format!("label={label}")]).unwrap_or_default();
            remove(&["rm", "-f", "-v"], &found);
        }
        let pins = format!("dockswap.local/{}", self.app);
        let images = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &pins]).unwrap_or_default();
        remove(&["rmi"], &images);
        let networks = docker(&["network", "ls", "-q", "--filter", &format!("name={}", self.app)]);
        remove(&["network", "rm"], &networks.unwrap_or_default());
    }
}

fn remove(verb: &[&str], found: &str) {
    let mut arguments = verb.to_vec();
    arguments.extend(found.split_whitespace());
    if arguments.len() > verb.len() {
        // What cannot be removed is seen by whoever looks; a test that passed stays passed.
        let _ = docker(&arguments);
    }
}

/// Runs the command-line client; what it printed, or `None` when it failed.
pub(crate) fn docker(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("docker").args(arguments).stderr(Stdio::null()).output().expect("the docker client");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Asks `work` again until it gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut work: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(done) = work().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it never came")
}

/// The body of `GET path` from a container, once it listens.
pub(crate) async fn get(container: &Container, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let addr = container.upstream.as_ref().expect("an upstream").addr;
    let mut stream = until(|| async move { tokio::net::TcpStream::connect(addr).await.ok() }).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}
