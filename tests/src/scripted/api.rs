//! What each call does, and how it is answered.

use super::call::{Call, Request};
use super::container::{Container, Status};
use super::process::Death;
use super::streams::{self, Body, full};
use super::world::{Network, Refusal, World, lock};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long Docker waits for a container that is told to stop, unless told otherwise.
const STOP_SECONDS: u64 = 10;

pub(super) async fn perform(request: &Request, world: &Arc<Mutex<World>>) -> Result<Response<Body>, Refusal> {
    let object = request.object.as_str();
    match request.call {
        Call::Version => Ok(answer(200, &json!({"Version": "20.10.24", "ApiVersion": "1.41"}))),
        Call::Info => Ok(answer(200, &info())),
        Call::Events => Ok(streams::events(request, world)),
        Call::ContainerList => Ok(answer(200, &list(request, &lock(world)))),
        Call::ContainerInspect => Ok(answer(200, &lock(world).container(object)?.inspected())),
        Call::ContainerCreate => {
            let id = lock(world).create(object, &request.body)?;
            Ok(answer(201, &json!({"Id": id, "Warnings": []})))
        }
        Call::ContainerStart => Ok(empty(if lock(world).start(object)? { 204 } else { 304 })),
        Call::ContainerStop => stop(request, world).await,
        Call::ContainerUpdate => {
            let mut world = lock(world);
            let policy = &request.body["RestartPolicy"];
            if policy.is_object() {
                world.container_mut(object)?.restart_policy = policy.clone();
            }
            Ok(answer(200, &json!({"Warnings": []})))
        }
        Call::ContainerUnpause => {
            let mut world = lock(world);
            let container = world.container_mut(object)?;
            if container.status != Status::Paused {
                return Err((409, format!("Container {} is not paused", container.id)));
            }
            container.status = Status::Running;
            let id = container.id.clone();
            world.tell(&id, "unpause", &[]);
            Ok(empty(204))
        }
        Call::ContainerRemove => remove(object, world).await,
        Call::ContainerLogs => streams::logs(request, &lock(world)),
        Call::ImageList => Ok(answer(200, &images(request, &lock(world)))),
        Call::ImageInspect => {
            let world = lock(world);
            let image = world.image(object)?;
            let body = json!({"Id": image.id, "RepoTags": image.tags, "RepoDigests": image.digests});
            Ok(answer(200, &body))
        }
        Call::ImagePull => streams::pull(object, world),
        Call::ImageTag => tag(request, &mut lock(world)),
        Call::ImageRemove => remove_image(object, &mut lock(world)),
        Call::NetworkList => {
            let (world, wanted) = (lock(world), request.filter("name"));
            let named = |network: &&Network| wanted.iter().all(|name| network.name.contains(name.as_str()));
            let shown: Vec<Value> = world.networks.iter().filter(named).map(shown).collect();
            Ok(answer(200, &json!(shown)))
        }
        Call::NetworkCreate => {
            let mut world = lock(world);
            let id = world.fresh();
            let network =
                Network { id: id.clone(), name: object.to_owned(), labels: request.body["Labels"].clone() };
            world.networks.push(network);
            Ok(answer(201, &json!({"Id": id, "Warning": ""})))
        }
        Call::NetworkRemove => {
            let mut world = lock(world);
            let before = world.networks.len();
            world.networks.retain(|network| network.id != object && network.name != object);
            if world.networks.len() == before {
                return Err((404, format!("network {object} not found")));
            }
            Ok(empty(204))
        }
    }
}

fn info() -> Value {
    json!({
        "ServerVersion": "20.10.24", "LoggingDriver": "json-file", "OperatingSystem": "Scripted",
        "LiveRestoreEnabled": true, "Driver": "overlay2", "CgroupVersion": "2", "KernelVersion": "6.0",
        "Architecture": "x86_64", "DockerRootDir": "/", "SecurityOptions": [], "Warnings": [],
    })
}

fn list(request: &Request, world: &World) -> Value {
    let all = request.query.get("all").is_some_and(|all| all == "true" || all == "1");
    let (labels, ports) = (request.filter("label"), request.filter("publish"));
    let has = |container: &Container, label: &str| {
        label.split_once('=').is_some_and(|(key, value)| container.label(key) == Some(value))
    };
    let publishes = |container: &Container, port: &str| {
        container.runs() && container.host_port().is_some_and(|held| held.to_string() == port)
    };
    let wanted = world.containers.iter().filter(|container| {
        (all || container.runs())
            && labels.iter().all(|label| has(container, label))
            && ports.iter().all(|port| publishes(container, port))
    });
    wanted.map(Container::listed).collect()
}

async fn stop(request: &Request, world: &Arc<Mutex<World>>) -> Result<Response<Body>, Refusal> {
    let seconds = request.query.get("t").and_then(|text| text.parse().ok()).unwrap_or(STOP_SECONDS);
    let id = {
        let mut world = lock(world);
        let container = world.container_mut(&request.object)?;
        container.stopped = true;
        if container.status == Status::Restarting {
            container.status = Status::Exited;
        }
        if !container.runs() {
            return Ok(empty(304));
        }
        if let Some(process) = &container.process {
            process.terminate();
        }
        let id = container.id.clone();
        world.tell(&id, "kill", &[("signal", "15".to_owned())]);
        id
    };
    if tokio::time::timeout(Duration::from_secs(seconds), ended(world, &id)).await.is_err() {
        kill(world, &id).await;
    }
    lock(world).tell(&id, "stop", &[]);
    Ok(empty(204))
}

async fn remove(name: &str, world: &Arc<Mutex<World>>) -> Result<Response<Body>, Refusal> {
    let id = {
        let mut world = lock(world);
        let container = world.container_mut(name)?;
        container.stopped = true;
        container.id.clone()
    };
    kill(world, &id).await;
    lock(world).remove(&id)?;
    Ok(empty(204))
}

/// SIGKILL, and waits for the end.
pub(super) async fn kill(world: &Arc<Mutex<World>>, id: &str) {
    {
        let mut world = lock(world);
        let Ok(container) = world.container_mut(id) else { return };
        if let Some(process) = &mut container.process {
            process.kill(Death::Killed);
        }
    }
    ended(world, id).await;
}

/// Ends when the container does not run.
async fn ended(world: &Arc<Mutex<World>>, id: &str) {
    let mut changes = lock(world).changes.subscribe();
    loop {
        if !lock(world).container(id).is_ok_and(Container::runs) {
            return;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn images(request: &Request, world: &World) -> Value {
    let wanted = request.filter("reference");
    let named =
        |tag: &str| wanted.iter().any(|name| tag.rsplit_once(':').is_some_and(|(plain, _)| plain == name));
    let shown =
        world.images.iter().filter(|image| wanted.is_empty() || image.tags.iter().any(|tag| named(tag)));
    let shown = shown.map(|image| {
        // As Docker does: only the tags that were asked for.
        let tags: Vec<&String> = image.tags.iter().filter(|tag| wanted.is_empty() || named(tag)).collect();
        json!({
            "Id": image.id, "ParentId": "", "RepoTags": tags, "RepoDigests": image.digests, "Created": 0,
            "Size": 0, "SharedSize": -1, "VirtualSize": 0, "Labels": {}, "Containers": -1,
        })
    });
    shown.collect()
}

fn tag(request: &Request, world: &mut World) -> Result<Response<Body>, Refusal> {
    let id = world.image(&request.object)?.id.clone();
    let part = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    let name = format!("{}:{}", part("repo"), part("tag"));
    for image in &mut world.images {
        image.tags.retain(|tag| *tag != name);
        if image.id == id {
            image.tags.push(name.clone());
        }
    }
    Ok(empty(201))
}

fn remove_image(name: &str, world: &mut World) -> Result<Response<Body>, Refusal> {
    let image = world.image(name)?;
    let (id, last) = (image.id.clone(), image.tags.len() <= 1);
    let used = world.containers.iter().any(|container| container.image_id == id);
    if last && used {
        return Err((409, format!("conflict: unable to remove repository reference \"{name}\"")));
    }
    for image in &mut world.images {
        image.tags.retain(|tag| tag != name);
    }
    world.images.retain(|image| image.id != id || !image.tags.is_empty());
    Ok(answer(200, &json!([{"Untagged": name}])))
}

fn shown(network: &Network) -> Value {
    json!({
        "Name": network.name, "Id": network.id, "Created": "2026-01-01T00:00:00Z", "Scope": "local",
        "Driver": "bridge", "Labels": network.labels,
    })
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(body.to_string())));
    *response.status_mut() = code(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = code(status);
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
