//! One container: what it was made of, how it fares, and how Docker shows it.

use super::process::{Death, Process};
use crate::time::{Micros, now, stamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Restarting,
    Paused,
    Exited,
    /// It is being removed, and never will be.
    Removing,
}

impl Status {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }
}

/// Where a container of dockswap's comes from, by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose it is.
    pub app: String,
    /// The slot.
    pub color: String,
    /// The deployment that made it.
    pub deployment: i64,
}

impl Origin {
    pub(super) fn of(container: &Container) -> Option<Self> {
        Some(Self {
            app: container.app()?.to_owned(),
            color: container.label("dockswap.color")?.to_owned(),
            deployment: container.deployment()?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    /// As it was asked for.
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) labels: BTreeMap<String, String>,
    /// The image's and its own.
    pub(super) environment: Vec<(String, String)>,
    pub(super) network: String,
    exposed: Value,
    bindings: Value,
    pub(super) restart_policy: Value,
    created: Micros,
    pub(super) status: Status,
    pub(super) exit_code: i64,
    pub(super) out_of_memory: bool,
    pub(super) error: String,
    started: Option<Micros>,
    finished: Option<Micros>,
    pub(super) address: Option<Ipv4Addr>,
    /// The host port, held while it runs.
    pub(super) port: Option<TcpListener>,
    pub(super) process: Option<Process>,
    pub(super) lines: Vec<String>,
    /// How often it was started: what is told of an earlier life changes nothing.
    pub(super) life: u64,
    /// Somebody stopped it: its restart policy does not count.
    pub(super) stopped: bool,
    /// Restarts by its policy, in a row.
    pub(super) restarts: u32,
}

impl Container {
    /// A container as `body`, the request to create it, asks for it.
    pub(super) fn new(
        id: String,
        name: &str,
        body: &Value,
        image_id: String,
        mut environment: Vec<(String, String)>,
    ) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let own = body["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let own = own.filter_map(|pair| pair.split_once('='));
        environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        environment.push(("HOSTNAME".to_owned(), id[..12].to_owned()));
        let labels = body["Labels"].as_object().into_iter().flatten();
        let host = &body["HostConfig"];
        let policy = host["RestartPolicy"].clone();
        Self {
            name: name.to_owned(),
            image: text(&body["Image"]),
            image_id,
            labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
            environment,
            network: host["NetworkMode"].as_str().unwrap_or("bridge").to_owned(),
            exposed: body["ExposedPorts"].clone(),
            bindings: host["PortBindings"].clone(),
            restart_policy: if policy.is_object() { policy } else { json!({"Name": "no"}) },
            created: now(),
            status: Status::Created,
            exit_code: 0,
            out_of_memory: false,
            error: String::new(),
            started: None,
            finished: None,
            address: None,
            port: None,
            process: None,
            lines: Vec::new(),
            life: 0,
            stopped: false,
            restarts: 0,
            id,
        }
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Whose it is, if it is one of dockswap's.
    pub(super) fn app(&self) -> Option<&str> {
        self.label("dockswap.managed").filter(|value| *value == "true")?;
        self.label("dockswap.app")
    }

    pub(super) fn deployment(&self) -> Option<i64> {
        self.label("dockswap.deployment")?.parse().ok()
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.id == name || (name.len() >= 12 && self.id.starts_with(name))
    }

    /// The host port that it asks for.
    pub(super) fn host_port(&self) -> Option<u16> {
        let mut bindings = self.bindings.as_object()?.values();
        bindings.find_map(|binding| binding[0]["HostPort"].as_str()?.parse().ok())
    }

    /// A new life begins.
    pub(super) fn began(&mut self, address: Option<Ipv4Addr>) {
        self.life += 1;
        self.status = Status::Running;
        self.started = Some(now());
        self.address = address;
        (self.exit_code, self.out_of_memory, self.stopped) = (0, false, false);
        self.error.clear();
    }

    /// Its life is over.
    pub(super) fn ended(&mut self, death: Death) {
        self.status = if self.status == Status::Removing { Status::Removing } else { Status::Exited };
        self.exit_code = death.code();
        self.out_of_memory = death == Death::OutOfMemory;
        self.finished = Some(now());
        (self.address, self.port, self.process) = (None, None, None);
    }

    /// Whether its restart policy wants another life.
    pub(super) fn comes_back(&self) -> bool {
        let most = self.restart_policy["MaximumRetryCount"].as_u64().unwrap_or_default();
        !self.stopped
            && match self.restart_policy["Name"].as_str().unwrap_or_default() {
                "always" | "unless-stopped" => true,
                "on-failure" => self.exit_code != 0 && (most == 0 || u64::from(self.restarts) < most),
                _ => false,
            }
    }

    pub(super) fn started_at(&self) -> String {
        self.started.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), stamp)
    }

    /// As inspect shows it.
    pub(super) fn inspected(&self) -> Value {
        let ports: BTreeMap<&str, Value> = self.bindings.as_object().map_or_else(BTreeMap::new, |bindings| {
            bindings.iter().map(|(key, value)| (key.as_str(), value.clone())).collect()
        });
        let exposed: BTreeMap<&str, Value> = match &self.exposed {
            Value::Array(keys) => keys.iter().filter_map(|key| Some((key.as_str()?, json!({})))).collect(),
            Value::Object(keys) => keys.keys().map(|key| (key.as_str(), json!({}))).collect(),
            _ => BTreeMap::new(),
        };
        let environment: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        json!({
            "Id": self.id,
            "Name": format!("/{}", self.name),
            "Created": stamp(self.created),
            "Image": self.image_id,
            "RestartCount": self.restarts,
            "State": {
                "Status": self.status.word(),
                "Running": self.runs(),
                "Paused": self.status == Status::Paused,
                "Restarting": self.status == Status::Restarting,
                "OOMKilled": self.out_of_memory,
                "Dead": false,
                "Pid": 0,
                "ExitCode": self.exit_code,
                "Error": self.error,
                "StartedAt": self.started_at(),
                "FinishedAt": self.finished.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), stamp),
            },
            "Config": {
                "Image": self.image, "Labels": self.labels, "ExposedPorts": exposed, "Env": environment,
            },
            "HostConfig": {
                "NetworkMode": self.network,
                "RestartPolicy": self.restart_policy,
                "PortBindings": self.bindings,
            },
            "NetworkSettings": {
                "Ports": if self.runs() { json!(ports) } else { json!({}) },
                "Networks": { self.network.as_str(): {
                    "IPAddress": self.address.map(|address| address.to_string()).unwrap_or_default(),
                }},
            },
        })
    }

    /// As a list shows it.
    pub(super) fn listed(&self) -> Value {
        let public = self
            .host_port()
            .filter(|_| self.runs())
            .map(|port| json!([{"IP": "127.0.0.1", "PrivatePort": 8080, "PublicPort": port, "Type": "tcp"}]));
        json!({
            "Id": self.id,
            "Names": [format!("/{}", self.name)],
            "Image": self.image,
            "ImageID": self.image_id,
            "Created": self.created.div_euclid(1_000_000),
            "State": self.status.word(),
            "Labels": self.labels,
            "Ports": public.unwrap_or_else(|| json!([])),
        })
    }
}
