//! The validated app: what an app file says once it has been read, defaulted and checked.
//!
//! Values only, no YAML: the `config` crate makes an [`AppSpec`], everybody else uses it.

use crate::limits::TrafficLimits;
use crate::name::{AppName, Color};
use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One app, as its file describes it. Two files that differ in comments or layout only give equal
/// specs, which is how such an edit is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSpec {
    /// The app's name, unique over all files.
    pub name: AppName,
    /// Free text for people.
    pub description: Option<String>,
    /// The group that the app belongs to.
    pub project: Option<String>,
    /// The image reference as written, for example `myapp:v1`.
    pub image: String,
    /// Containers per color, 1 to 32.
    pub replicas: u8,
    /// How containers are made.
    pub container: ContainerOptions,
    /// Host ports on 127.0.0.1, one per color; absent: none published.
    pub host_ports: HostPorts,
    /// How a container proves that it can serve.
    pub health_check: HealthCheck,
    /// How a deployment goes.
    pub deployment: DeploymentPolicy,
    /// Where traffic for the app comes in; at least one.
    pub routes: Vec<Route>,
    /// What its requests may take.
    pub limits: TrafficLimits,
}

/// The options of a container, in the terms of the app file's `docker` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerOptions {
    /// The port on which the app listens inside the container.
    pub expose_port: u16,
    /// What it speaks there.
    pub protocol: Protocol,
    /// Environment variables for both colors.
    pub environment: BTreeMap<String, Template>,
    /// Environment variables that win over `environment` in one color.
    pub environment_overrides: BTreeMap<Color, BTreeMap<String, Template>>,
    /// Files of `NAME=value` lines, read when a container is created; later files win, and
    /// `environment` wins over all of them. Absolute paths.
    pub env_file: Vec<String>,
    /// Replaces the image's `CMD`.
    pub command: Option<Vec<String>>,
    /// Replaces the image's `ENTRYPOINT`.
    pub entrypoint: Option<Vec<String>>,
    /// `user[:group]`, by name or number.
    pub user: Option<String>,
    /// Absolute path inside the container.
    pub working_dir: Option<String>,
    /// Labels of the user's; none begins with `dockswap.`.
    pub labels: BTreeMap<String, String>,
    /// Whether the root file system is mounted read-only.
    pub read_only: bool,
    /// Mount point, and mount options as in `size=64m,mode=1777` (may be empty).
    pub tmpfs: BTreeMap<String, String>,
    /// `host:address` lines for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Resource limits by name, for example `nofile`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Whether a tiny init is process 1 and reaps zombies.
    pub init: bool,
    /// Volumes and bind mounts, shared by both colors.
    pub volumes: Vec<Volume>,
    /// Memory limit in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// CPU limit in billionths of a core.
    pub cpu_limit_nanos: Option<u64>,
    /// What Docker does when the live container exits.
    pub restart_policy: RestartPolicy,
    /// When the image is fetched.
    pub pull_policy: PullPolicy,
    /// The bridge network that the containers join; made when absent.
    pub network: String,
}

/// A text with references that are resolved when a container is created, and never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Segment>);

/// A piece of a [`Template`]. Its `Debug` hides text, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text that stands for itself.
    Literal(String),
    /// `${env:NAME}`: the controller's environment variable.
    Env(String),
    /// `${file:PATH}`: the content of a file without its trailing line break. Absolute path.
    File(String),
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("[text]"),
            Self::Env(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
        }
    }
}

impl Template {
    /// A template without references.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Segment::Literal(text.into())])
    }
}

/// A soft and a hard limit, as of `setrlimit(2)`; -1 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The limit in force.
    pub soft: i64,
    /// The most that the process may raise it to.
    pub hard: i64,
}

/// A mount: a named volume or a host directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// A volume's name, or an absolute host path.
    pub source: String,
    /// Absolute path inside the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What Docker does when a live container exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Nothing.
    No,
    /// Starts it again, also after the daemon restarts.
    Always,
    /// Starts it again after a non-zero exit, at most so many times when a number is given.
    OnFailure(Option<u32>),
    /// As `Always`, unless a person stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether both mean the same: no limit of retries may be written as zero.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        let plain = |policy| match policy {
            Self::OnFailure(Some(0)) => Self::OnFailure(None),
            other => other,
        };
        plain(self) == plain(other)
    }
}

impl std::fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Always => f.write_str("always"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(retries)) => write!(f, "on-failure:{retries}"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

/// What an app speaks on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on (RFC 9113, section 3.3): what gRPC servers speak.
    H2c,
}

impl Protocol {
    /// As app files name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// At every deployment.
    Always,
    /// When it is not on the host.
    Missing,
    /// Never: it must be on the host.
    Never,
}

/// The host port of each color, on 127.0.0.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPorts {
    /// Of the blue slot.
    pub blue: Option<u16>,
    /// Of the green slot.
    pub green: Option<u16>,
}

impl HostPorts {
    /// The port of `color`.
    #[must_use]
    pub const fn of(self, color: Color) -> Option<u16> {
        match color {
            Color::Blue => self.blue,
            Color::Green => self.green,
        }
    }
}

/// How a container proves that it can serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked; `None`: a TCP connect, and the image's own HEALTHCHECK where it has one.
    pub http: Option<HttpCheck>,
    /// Between two probes of a container that has passed.
    #[serde(with = "millis", rename = "interval_ms")]
    pub interval: Duration,
    /// For one probe, from connect to the end of the answer's head.
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
    /// Failed probes in a row, at least 1, after which a container that had passed is unhealthy.
    pub retries: u32,
    /// Good probes in a row, at least 1, after which a container is healthy.
    pub success_threshold: u32,
}

/// An HTTP probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpCheck {
    /// Path and query, beginning with `/`.
    pub endpoint: String,
    /// The request method.
    pub method: String,
    /// Inclusive ranges of status codes that count as healthy.
    pub expected_status: Vec<(u16, u16)>,
}

impl HttpCheck {
    /// Whether `status` counts as healthy.
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        self.expected_status.iter().any(|&(low, high)| (low..=high).contains(&status))
    }
}

/// How a deployment goes. A copy is frozen into each deployment, so that an edit never changes one
/// that is in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeploymentPolicy {
    /// Wait before the first probe.
    #[serde(with = "millis", rename = "startup_delay_ms")]
    pub startup_delay: Duration,
    /// The whole health gate.
    #[serde(with = "millis", rename = "startup_timeout_ms")]
    pub startup_timeout: Duration,
    /// How long requests in flight may take once their color has left the route.
    #[serde(with = "millis", rename = "drain_timeout_ms")]
    pub drain_timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    #[serde(with = "millis", rename = "stop_timeout_ms")]
    pub stop_timeout: Duration,
    /// How long after the switch the new color is watched.
    #[serde(with = "millis", rename = "watch_ms")]
    pub watch: Duration,
    /// What follows when it turns unhealthy in that time.
    pub on_regression: OnRegression,
    /// How long the previous color stays running, out of traffic.
    #[serde(with = "millis", rename = "rollback_window_ms")]
    pub rollback_window: Duration,
    /// Who lets a healthy candidate take the traffic.
    pub promotion: Promotion,
    /// Whether old and new may run side by side.
    #[serde(default, skip_serializing_if = "Strategy::is_blue_green")]
    pub strategy: Strategy,
}

/// Whether the old and the new version may run side by side (`deployment.strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// They do: the old one serves until the new one has proven itself.
    #[default]
    BlueGreen,
    /// Never: requests wait while the old one is stopped and the new one started.
    Recreate,
}

impl Strategy {
    /// Whether old and new may run side by side.
    #[must_use]
    pub const fn is_blue_green(&self) -> bool {
        matches!(self, Self::BlueGreen)
    }
}

/// What follows when the new color turns unhealthy in its watch (`deployment.auto_rollback`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRegression {
    /// Traffic goes back to the previous color.
    RollBack,
    /// It is recorded.
    Record,
}

/// Who lets a healthy candidate take the traffic (`deployment.promotion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// The controller, at once.
    Auto,
    /// An operator, by `dockswap promote`.
    Manual,
}

/// Where traffic for an app comes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Which `Host` it answers to.
    pub host: HostPattern,
    /// Path prefix, beginning with `/`; matches whole segments: `/api` takes `/api` and `/api/x`,
    /// not `/apis`.
    pub path_prefix: String,
    /// Whether the prefix is cut off before the request goes to the app.
    pub strip_prefix: bool,
    /// A listener of the route's own; absent: the proxy's common one (`proxy.http`), or with TLS the
    /// common one for that (`proxy.https`).
    pub listen_port: Option<u16>,
    /// What is spoken there under HTTP; `None`: nothing, it is plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How a route is served over TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// Where its certificate comes from.
    pub source: CertificateSource,
    /// For how many seconds browsers are told to use HTTPS only (RFC 6797); `None`: they are told nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts_secs: Option<u64>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// From an ACME server, which is asked when there is none, and again before it expires.
    Acme,
    /// From files, in PEM, read again when they change. Absolute paths.
    Files {
        /// The certificate, and behind it those that lead to the root.
        cert: String,
        /// Its private key.
        key: String,
    },
}

/// Which `Host` a route answers to. Lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Any name one label or more below this one: `example.com` stands for `*.example.com`.
    Wildcard(String),
    /// Every name.
    Any,
}

impl std::fmt::Display for CertificateSource {
    /// As an app file says it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Acme => f.write_str("`tls: true`"),
            Self::Files { cert, key } => write!(f, "`tls: {{ cert: {cert}, key: {key} }}`"),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Route {
    /// Whether `self` and `other` claim the same requests, so that only one app can have them. A route with TLS
    /// claims the plain ones too: they are sent on to it.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.listen_port == other.listen_port
            && self.host == other.host
            && self.path_prefix == other.path_prefix
    }

    /// Whether `self` and `other` want different certificates for one host: a host is shown one.
    #[must_use]
    pub fn disputes_certificate_of(&self, other: &Self) -> bool {
        let sources = self.tls.as_ref().zip(other.tls.as_ref());
        self.host == other.host && sources.is_some_and(|(own, others)| own.source != others.source)
    }

    /// Whether `self` and `other`, of one app, are the same but for what they do with a request. On the common
    /// listeners a plain one may stand beside one with TLS.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        let apart = self.listen_port.is_none() && self.tls.is_some() != other.tls.is_some();
        self.clashes_with(other) && !apart
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.tls.is_some() {
            f.write_str("https://")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.listen_port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path_prefix)
    }
}
