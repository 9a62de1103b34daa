//! The calls of Docker's API that are played, and how a request is understood as one. It does nothing.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use std::collections::BTreeMap;

/// A call of Docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are named as Docker's own documentation names them")]
pub enum Call {
    Version,
    Info,
    Events,
    ContainerList,
    ContainerInspect,
    ContainerCreate,
    ContainerStart,
    ContainerStop,
    ContainerUpdate,
    ContainerUnpause,
    ContainerRemove,
    ContainerLogs,
    ImageList,
    ImageInspect,
    ImagePull,
    ImageTag,
    ImageRemove,
    NetworkList,
    NetworkCreate,
    NetworkRemove,
}

impl Call {
    /// Those that a deployment cannot do without, in the order in which a first deployment makes them.
    pub const OF_A_DEPLOYMENT: [Self; 8] = [
        Self::ImageInspect,
        Self::ImagePull,
        Self::ImageTag,
        Self::ContainerCreate,
        Self::ContainerStart,
        Self::ContainerInspect,
        Self::ContainerList,
        Self::ContainerUpdate,
    ];

    /// Whether it may change something.
    #[must_use]
    pub const fn changes(self) -> bool {
        !matches!(
            self,
            Self::Version
                | Self::Info
                | Self::Events
                | Self::ContainerList
                | Self::ContainerInspect
                | Self::ContainerLogs
                | Self::ImageList
                | Self::ImageInspect
                | Self::NetworkList
        )
    }
}

/// A request, understood.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    /// The name or id in the path, the name of what is to be made, or the reference of an image.
    pub(super) object: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Request {
    /// `None`: it is not played.
    pub(super) fn read(method: &Method, path: &str, query: &str, body: &Bytes) -> Option<Self> {
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (decoded(key), decoded(value)))
            .collect();
        let path = decoded(unversioned(path));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (call, object) = match (method.as_str(), parts.as_slice()) {
            ("GET", ["version"]) => (Call::Version, ""),
            ("GET", ["info"]) => (Call::Info, ""),
            ("GET", ["events"]) => (Call::Events, ""),
            ("GET", ["containers", "json"]) => (Call::ContainerList, ""),
            ("POST", ["containers", "create"]) => (Call::ContainerCreate, query.get("name")?.as_str()),
            ("GET", ["containers", name, "json"]) => (Call::ContainerInspect, *name),
            ("GET", ["containers", name, "logs"]) => (Call::ContainerLogs, *name),
            ("POST", ["containers", name, "start"]) => (Call::ContainerStart, *name),
            ("POST", ["containers", name, "stop"]) => (Call::ContainerStop, *name),
            ("POST", ["containers", name, "update"]) => (Call::ContainerUpdate, *name),
            ("POST", ["containers", name, "unpause"]) => (Call::ContainerUnpause, *name),
            ("DELETE", ["containers", name]) => (Call::ContainerRemove, *name),
            ("GET", ["images", "json"]) => (Call::ImageList, ""),
            ("POST", ["images", "create"]) => (Call::ImagePull, query.get("fromImage")?.as_str()),
            ("GET", ["images", .., "json"]) => (Call::ImageInspect, middle(&path, "/json")?),
            ("POST", ["images", .., "tag"]) => (Call::ImageTag, middle(&path, "/tag")?),
            ("DELETE", ["images", ..]) => (Call::ImageRemove, middle(&path, "")?),
            ("GET", ["networks"]) => (Call::NetworkList, ""),
            ("POST", ["networks", "create"]) => (Call::NetworkCreate, ""),
            ("DELETE", ["networks", name]) => (Call::NetworkRemove, *name),
            _ => return None,
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let object = match call {
            Call::ImagePull => reference(object, query.get("tag").map(String::as_str)),
            Call::NetworkCreate => body["Name"].as_str()?.to_owned(),
            _ => object.to_owned(),
        };
        Some(Self { call, object, query, body })
    }

    /// What a filter of the query asks for.
    pub(super) fn filter(&self, name: &str) -> Vec<String> {
        let filters: Value =
            self.query.get("filters").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let values = filters[name].as_array().cloned().unwrap_or_default();
        values.iter().filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect()
    }

    /// The app that the request itself names; who looks at the containers may know more.
    pub(super) fn app(&self) -> Option<String> {
        let labelled = self.body["Labels"]["dockswap.app"].as_str().map(ToOwned::to_owned);
        let filtered = || {
            let labels = self.filter("label");
            labels.iter().find_map(|label| label.strip_prefix("dockswap.app=").map(ToOwned::to_owned))
        };
        let pinned = || {
            let pin = self.query.get("repo").map(String::as_str).or(Some(self.object.as_str()));
            let app = pin?.strip_prefix("dockswap.local/")?.split(':').next()?;
            Some(app.to_owned())
        };
        labelled.or_else(filtered).or_else(pinned)
    }
}

/// `name:tag`, or `name@digest`.
fn reference(name: &str, tag: Option<&str>) -> String {
    match tag {
        Some(tag) if tag.contains(':') => format!("{name}@{tag}"),
        Some(tag) if !tag.is_empty() => format!("{name}:{tag}"),
        _ => name.to_owned(),
    }
}

/// What is between `/images/` and `end`.
fn middle<'a>(path: &'a str, end: &str) -> Option<&'a str> {
    path.strip_prefix("/images/")?.strip_suffix(end)
}

/// The path without `/v1.41`.
fn unversioned(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/v1.") else { return path };
    rest.find('/').map_or(path, |slash| &rest[slash..])
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Call, Request};
    use bytes::Bytes;
    use hyper::Method;

    fn read(method: &Method, path: &str, query: &str) -> Option<(Call, String)> {
        Request::read(method, path, query, &Bytes::new()).map(|request| (request.call, request.object))
    }

    #[test]
    fn requests_are_understood() {
        let pull = read(&Method::POST, "/v1.41/images/create", "fromImage=reg%3A5000%2Fapp&tag=v1");
        assert_eq!(pull, Some((Call::ImagePull, "reg:5000/app:v1".to_owned())));
        let image = read(&Method::GET, "/v1.41/images/reg:5000/team/app:v1/json", "");
        assert_eq!(image, Some((Call::ImageInspect, "reg:5000/team/app:v1".to_owned())));
        let list = read(&Method::GET, "/containers/json", "all=true");
        assert_eq!(list, Some((Call::ContainerList, String::new())));
        assert_eq!(read(&Method::POST, "/v1.41/swarm/init", ""), None);
    }

    #[test]
    fn a_filter_names_the_app() {
        let filters =
            "filters=%7B%22label%22%3A%5B%22dockswap.managed%3Dtrue%22%2C%22dockswap.app%3Dweb%22%5D%7D";
        let request = Request::read(&Method::GET, "/containers/json", filters, &Bytes::new());
        assert_eq!(request.and_then(|request| request.app()).as_deref(), Some("web"));
    }
}
