//! App files in a format of the simulation's own: lines of `key=value`; `#` begins a comment.

use super::World;
use async_trait::async_trait;
use dockswap_controller::Offer;
use dockswap_core::limits::TrafficLimits;
use dockswap_core::name::ConfigSha;
use dockswap_core::ports::{AppFiles, ResolveError, Secret, SpecError};
use dockswap_core::records::ConfigRow;
use dockswap_core::spec::{
    CertificateSource, ContainerOptions, DeploymentPolicy, HealthCheck, HostPattern, HostPorts, HttpCheck,
    OnRegression, Promotion, Protocol, PullPolicy, RestartPolicy, Route, Strategy, Tls,
};
use dockswap_core::{AppName, AppSpec, Color};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A value that must never be shown.
pub(crate) const CANARY: &str = "canary-5ebe2294ecd0";

/// The lines of a secret of several lines.
pub(crate) const CANARY_LINES: [&str; 2] = ["canary-line-one-77aa", "canary-line-two-88bb"];

/// A version of an app's file.
#[derive(Clone, Debug)]
pub(crate) struct Version(BTreeMap<&'static str, String>);

impl Version {
    /// A version that runs `image`, with short times.
    pub(crate) fn of(image: &str) -> Self {
        Self(BTreeMap::from([("image", image.to_owned())]))
    }

    fn with(mut self, key: &'static str, value: &impl ToString) -> Self {
        self.0.insert(key, value.to_string());
        self
    }

    pub(crate) fn replicas(self, replicas: u8) -> Self {
        self.with("replicas", &replicas)
    }

    pub(crate) fn watch(self, seconds: u64) -> Self {
        self.with("watch", &seconds)
    }

    pub(crate) fn window(self, seconds: u64) -> Self {
        self.with("window", &seconds)
    }

    pub(crate) fn drain(self, seconds: u64) -> Self {
        self.with("drain", &seconds)
    }

    pub(crate) fn listen_port(self, port: u16) -> Self {
        self.with("port", &port)
    }

    /// Served over TLS as `host`, by the certificate file `cert`.
    pub(crate) fn secure(self, host: &str, cert: &str) -> Self {
        self.with("host", &host).with("cert", &cert)
    }

    pub(crate) fn path(self, prefix: &str) -> Self {
        self.with("path", &prefix)
    }

    pub(crate) fn manual(self) -> Self {
        self.with("promotion", &"manual")
    }

    pub(crate) fn recreate(self) -> Self {
        self.with("strategy", &"recreate")
    }

    /// How many good probes in a row the gate asks for, a second apart.
    pub(crate) fn threshold(self, probes: u8) -> Self {
        self.with("threshold", &probes)
    }

    pub(crate) fn only_recorded(self) -> Self {
        self.with("regression", &"record")
    }

    /// No HTTP check: the image's own HEALTHCHECK has a say.
    pub(crate) fn tcp(self) -> Self {
        self.with("check", &"tcp")
    }

    pub(crate) fn comment(self, text: &impl ToString) -> Self {
        self.with("#", text)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        for (key, value) in &self.0 {
            let _ = writeln!(text, "{key}={value}");
        }
        text.into_bytes()
    }

    /// The version as the config directory would offer it.
    pub(crate) fn offer(&self, app: &AppName) -> Offer {
        let bytes = self.bytes();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Offer {
            sha: ConfigSha(format!("{:016x}", hasher.finish())),
            spec: Arc::new(read(app, &bytes)),
            bytes,
        }
    }
}

/// The spec that bytes stand for.
pub(crate) fn read(app: &AppName, bytes: &[u8]) -> AppSpec {
    let text = String::from_utf8_lossy(bytes);
    let fields: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let number = |key: &str, default: u64| fields.get(key).and_then(|n| n.parse().ok()).unwrap_or(default);
    let seconds = |key: &str, default: u64| Duration::from_secs(number(key, default));
    AppSpec {
        name: app.clone(),
        description: None,
        project: None,
        image: fields.get("image").copied().unwrap_or("good:none").to_owned(),
        replicas: u8::try_from(number("replicas", 1)).unwrap_or(1),
        container: options(),
        host_ports: HostPorts::default(),
        health_check: HealthCheck {
            http: (fields.get("check") != Some(&"tcp")).then(|| HttpCheck {
                endpoint: "/health".to_owned(),
                method: "GET".to_owned(),
                expected_status: vec![(200, 399)],
            }),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            retries: 2,
            success_threshold: u32::try_from(number("threshold", 1)).unwrap_or(1),
        },
        deployment: DeploymentPolicy {
            startup_delay: Duration::ZERO,
            startup_timeout: seconds("startup", 15),
            drain_timeout: seconds("drain", 5),
            stop_timeout: Duration::from_secs(2),
            watch: seconds("watch", 5),
            on_regression: match fields.get("regression") {
                Some(_) => OnRegression::Record,
                None => OnRegression::RollBack,
            },
            rollback_window: seconds("window", 30),
            promotion: match fields.get("promotion") {
                Some(_) => Promotion::Manual,
                None => Promotion::Auto,
            },
            strategy: match fields.get("strategy") {
                Some(_) => Strategy::Recreate,
                None => Strategy::BlueGreen,
            },
        },
        routes: vec![Route {
            host: HostPattern::Exact(
                fields.get("host").map_or_else(|| format!("{app}.localhost"), ToString::to_string),
            ),
            path_prefix: fields.get("path").unwrap_or(&"/").to_string(),
            strip_prefix: false,
            listen_port: fields.get("port").and_then(|port| port.parse().ok()),
            tls: fields.get("cert").map(|cert| Tls {
                source: CertificateSource::Files { cert: cert.to_string(), key: cert.to_string() },
                hsts_secs: None,
            }),
        }],
        limits: TrafficLimits::default(),
    }
}

fn options() -> ContainerOptions {
    ContainerOptions {
        expose_port: 8080,
        protocol: Protocol::Http1,
        environment: BTreeMap::new(),
        environment_overrides: BTreeMap::new(),
        env_file: Vec::new(),
        command: None,
        entrypoint: None,
        user: None,
        working_dir: None,
        labels: BTreeMap::new(),
        read_only: false,
        tmpfs: BTreeMap::new(),
        extra_hosts: Vec::new(),
        ulimits: BTreeMap::new(),
        init: false,
        volumes: Vec::new(),
        memory_limit_bytes: None,
        cpu_limit_nanos: None,
        restart_policy: RestartPolicy::UnlessStopped,
        pull_policy: PullPolicy::Missing,
        network: "dockswap".to_owned(),
    }
}

#[async_trait]
impl AppFiles for World {
    fn parse(&self, row: &ConfigRow) -> Result<Arc<AppSpec>, SpecError> {
        Ok(Arc::new(read(&row.app, &row.bytes)))
    }

    async fn environment(&self, _: &AppSpec, _: Color) -> Result<Vec<(String, Secret)>, ResolveError> {
        if let Some(reference) = self.lock().unresolvable.clone() {
            return Err(ResolveError {
                owner: "environment variable TOKEN".to_owned(),
                reference,
                message: "it is not set".to_owned(),
            });
        }
        Ok(vec![
            ("TOKEN".to_owned(), Secret::new(CANARY.to_owned())),
            ("KEY".to_owned(), Secret::new(CANARY_LINES.join("\n"))),
        ])
    }
}
