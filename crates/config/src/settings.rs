//! The controller's settings: `dockswap.yaml`, overlaid by `DOCKSWAP_*` variables. Flags are laid
//! over them by the caller. It must not know where the file lies.

use crate::acme::{self, AcmeSettings};
use crate::api::{self, ApiSettings};
use crate::backup::{self, BackupSettings};
use crate::clash::ReservedPort;
use crate::data_plane::{self, AccessLogForm, ProxyProtocol, ProxySettings};
use crate::fields::{Field, Fields, Item, Shape};
use crate::policy::{HostPortRule, Policy, normal};
use crate::problem::{Problem, Report};
use crate::retention::{self, RetentionSettings};
use crate::scalar::quantity;
use crate::trust::Trust;
use crate::yaml::{self, Node};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The controller's settings, defaulted and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `sqlite://…` or `postgres://…`, which may hold a password; `None`: a file in the data
    /// directory.
    pub database_url: Option<String>,
    /// The data plane.
    pub proxy: ProxySettings,
    /// Where the HTTP API listens besides its socket.
    pub api: ApiSettings,
    /// Where Docker is, as in `unix:///run/docker.sock`; `None`: what `DOCKER_HOST` says, or the
    /// usual socket.
    pub docker_host: Option<String>,
    /// Bytes of Docker's disk that stay free: an image that does not fit is not fetched. `None`: 1 GiB, or 5 % of a
    /// small disk.
    pub min_free_disk_bytes: Option<u64>,
    /// Deployments at the same time, at least 1.
    pub max_concurrent: usize,
    /// Where automatic certificates come from.
    pub acme: AcmeSettings,
    /// What of the records is kept.
    pub retention: RetentionSettings,
    /// How the database is backed up by itself.
    pub backup: BackupSettings,
    /// The log.
    pub log: LogSettings,
    /// Whose hand the config directory must show.
    pub trust: Trust,
    /// What app files may ask of Docker. A Docker socket in `docker_host` is protected already; the
    /// data directory is for the caller to add.
    pub policy: Policy,
    /// Variables that begin with `DOCKSWAP_` and mean nothing, one sentence each.
    pub warnings: Vec<String>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or directives as `RUST_LOG` takes them.
    pub level: String,
    /// How a line is written.
    pub format: LogFormat,
    /// What the database is asked and takes at least this long is told; zero: nothing is.
    pub slow_query: Duration,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database_url: None,
            proxy: ProxySettings::default(),
            api: ApiSettings::default(),
            docker_host: None,
            min_free_disk_bytes: None,
            max_concurrent: 4,
            acme: AcmeSettings::default(),
            retention: RetentionSettings::default(),
            backup: BackupSettings::default(),
            log: LogSettings {
                level: "info".to_owned(),
                format: LogFormat::Text,
                slow_query: Duration::from_millis(200),
            },
            trust: Trust::Owner,
            policy: Policy::default(),
            warnings: Vec::new(),
        }
    }
}

const FIELDS: &[Field] = &[
    Field::new(
        "database_url",
        Shape::Text,
        "sqlite://PATH or postgres://…; default a file in the data directory.",
    ),
    Field::new("proxy", Shape::Section(data_plane::FIELDS, &[]), "The data plane."),
    Field::new("api", Shape::Section(api::FIELDS, &[]), "The HTTP API."),
    Field::new("docker", Shape::Section(DOCKER, &[]), "Docker."),
    Field::new("deployment", Shape::Section(DEPLOYMENT, &[]), "Deployments."),
    Field::new("acme", Shape::Section(acme::FIELDS, &[]), "Where automatic certificates come from."),
    Field::new(
        "retention",
        Shape::Section(retention::FIELDS, &[]),
        "What of the records is kept, and for how long.",
    ),
    Field::new(
        "backup",
        Shape::Section(backup::FIELDS, &[]),
        "How the database is backed up by itself (SQLite).",
    ),
    Field::new("log", Shape::Section(LOG, &[]), "The log."),
    Field::new("config", Shape::Section(CONFIG, &[]), "The config directory."),
    Field::new("policy", Shape::Section(POLICY, &[]), "What app files may ask of Docker."),
];
const DOCKER: &[Field] = &[
    Field::new("host", Shape::Text, "As DOCKER_HOST; default the usual socket."),
    Field::new(
        "min_free_disk",
        Shape::Size,
        "What stays free of Docker's disk when an image is fetched; default 1g, or 5 % of a disk below 20g.",
    ),
];
const DEPLOYMENT: &[Field] = &[Field::new(
    "max_concurrent",
    Shape::Integer { min: 1, max: 1_000 },
    "Deployments at a time; default 4.",
)];
const LOG: &[Field] = &[
    Field::new("level", Shape::Text, "error, warn, info, debug, trace, or directives; default info."),
    Field::new("format", Shape::Choice(&["text", "json"]), "Default text."),
    Field::new(
        "slow_query",
        Shape::Duration { min: Duration::ZERO, max: Duration::from_secs(3_600) },
        "What the database is asked and takes at least this long is a warning; 0s: nothing is; default 200ms.",
    ),
];
const CONFIG: &[Field] = &[Field::new(
    "trust",
    Shape::Choice(&["owner", "any"]),
    "any: also files and directories that others can write; default owner.",
)];
const POLICY: &[Field] = &[
    Field::new(
        "bind_mounts",
        Shape::Paths,
        "Directories below which bind mounts are allowed; default anywhere.",
    ),
    Field::new("host_ports", Shape::Bool, "Whether app files may publish host ports; default true."),
    Field::new(
        "files",
        Shape::Paths,
        "Directories, besides the config directory, below which env_file and ${file:PATH} may read.",
    ),
];

const PREFIX: &str = "DOCKSWAP_";
/// What the program itself reads, before there are settings.
const OTHER_VARIABLES: [&str; 8] = [
    "DOCKSWAP_CA",
    "DOCKSWAP_CONFIG_DIR",
    "DOCKSWAP_DATA_DIR",
    "DOCKSWAP_LOG",
    "DOCKSWAP_SERVER",
    "DOCKSWAP_SOCKET",
    "DOCKSWAP_TOKEN",
    "DOCKSWAP_TOKEN_FILE",
];

impl Settings {
    /// Reads the settings: defaults, over them `file`, over that the `DOCKSWAP_*` variables of
    /// `env` (`DOCKSWAP_PROXY__HTTP` is `proxy.http`; an empty one counts as absent; a list is
    /// separated by colons). What begins with `DOCKSWAP_` and is no setting ends up in
    /// [`Settings::warnings`].
    ///
    /// # Errors
    /// Every problem of the file and of the variables.
    pub fn load(
        file: Option<(&Path, &[u8])>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let (mut settings, mut problems) = (Self::default(), Vec::new());
        if let Some((path, bytes)) = file {
            let mut report = Report::on(path);
            let blank = bytes.split(|&b| b == b'\n').all(|line| matches!(line.trim_ascii(), [] | [b'#', ..]));
            if !blank && let Some(root) = yaml::parse(bytes, &mut report) {
                settings.overlay(&root, &mut report);
            }
            problems.extend(report.into_problems());
        }
        let mut variables: Vec<_> = env.filter(|(name, value)| is_ours(name) && !value.is_empty()).collect();
        variables.sort();
        for (name, value) in variables {
            let key = name[PREFIX.len()..].to_ascii_lowercase();
            let path: Vec<&str> = key.split("__").collect();
            if !exists(&path, FIELDS) {
                settings
                    .warnings
                    .push(format!("environment variable {name} is no setting of dockswap's: unset it"));
                continue;
            }
            let root = path.iter().rev().fold(Node::plain(&value), |node, key| Node::wrap(key, node));
            let mut report = Report::on_variable(&name);
            settings.overlay(&root, &mut report);
            problems.extend(report.into_problems());
        }
        let mut vain = |path: &str, message: &str| {
            problems.push(Problem {
                file: file.map_or_else(|| PathBuf::from("environment"), |(path, _)| path.to_owned()),
                position: None,
                path: path.to_owned(),
                message: message.to_owned(),
            });
        };
        let proxy = &settings.proxy;
        if proxy.proxy_protocol == ProxyProtocol::Required && proxy.trusted_proxies.is_empty() {
            vain(
                "proxy.proxy_protocol",
                "nobody's header would be believed: name the load balancers in proxy.trusted_proxies",
            );
        }
        if proxy.access_log == AccessLogForm::Off && proxy.access_log_file.is_some() {
            vain("proxy.access_log_file", "nothing would be written there: say access_log: text or json");
        }
        if let Some((path, message)) = settings.api.vain() {
            vain(path, &message);
        }
        if let Some(socket) = settings.docker_host.as_deref().and_then(|host| host.strip_prefix("unix://")) {
            settings.policy.protected.push(PathBuf::from(socket));
        }
        // Backups hold every app's files.
        settings.policy.protected.extend(settings.backup.dir.clone());
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The ports that no app can have.
    #[must_use]
    pub fn reserved_ports(&self) -> Vec<ReservedPort> {
        let mut ports = vec![("proxy.http", self.proxy.http), ("proxy.https", self.proxy.https)];
        ports.extend(self.api.http.map(|addr| ("api.http", addr)));
        let named = ports.into_iter().filter(|(_, addr)| addr.port() != 0);
        named.map(|(owner, addr)| ReservedPort { port: addr.port(), owner: owner.to_owned() }).collect()
    }

    /// Lays what `root` holds over what is there.
    fn overlay(&mut self, root: &Node, report: &mut Report) {
        let Some(fields) = Fields::root(root, FIELDS, report) else { return };
        if let Some(item) = fields.take("database_url") {
            replace(&mut self.database_url, database_url(&item, report).map(Some));
        }
        if let Some(proxy) = fields.section("proxy", report) {
            self.proxy.overlay(&proxy, report);
        }
        if let Some(api) = fields.section("api", report) {
            self.api.overlay(&api, report);
        }
        if let Some(docker) = fields.section("docker", report) {
            replace(&mut self.docker_host, docker_host(&docker, report).map(Some));
            replace(&mut self.min_free_disk_bytes, min_free_disk(&docker, report).map(Some));
        }
        if let Some(deployment) = fields.section("deployment", report) {
            replace(&mut self.max_concurrent, deployment.integer("max_concurrent", report));
        }
        if let Some(acme) = fields.section("acme", report) {
            self.acme.overlay(&acme, report);
        }
        if let Some(retention) = fields.section("retention", report) {
            self.retention.overlay(&retention, report);
        }
        if let Some(backup) = fields.section("backup", report) {
            self.backup.overlay(&backup, report);
        }
        if let Some(log) = fields.section("log", report) {
            replace(&mut self.log.level, log.text("level", report));
            replace(&mut self.log.slow_query, log.duration("slow_query", report));
            let format = log.choice("format", report);
            let format = format.map(|word| if word == "json" { LogFormat::Json } else { LogFormat::Text });
            replace(&mut self.log.format, format);
        }
        if let Some(config) = fields.section("config", report) {
            let trust = config.choice("trust", report);
            replace(&mut self.trust, trust.map(|word| if word == "any" { Trust::Any } else { Trust::Owner }));
        }
        if let Some(policy) = fields.section("policy", report) {
            let mounts = policy.take("bind_mounts").and_then(|item| paths(&item, report));
            replace(&mut self.policy.bind_mounts, mounts.map(Some));
            replace(&mut self.policy.files, policy.take("files").and_then(|item| paths(&item, report)));
            let rule = |allowed| if allowed { HostPortRule::Allowed } else { HostPortRule::Refused };
            replace(&mut self.policy.host_ports, policy.bool("host_ports", report).map(rule));
        }
    }
}

pub(crate) fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name)
}

/// Whether `path` leads to a value, not to a section.
fn exists(path: &[&str], table: &[Field]) -> bool {
    let [first, rest @ ..] = path else { return false };
    table.iter().filter(|field| field.key == *first).any(|field| match field.shape.fields() {
        Some(table) => exists(rest, table),
        None => rest.is_empty(),
    })
}

/// The advice never shows the text, which may hold a password.
fn database_url(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let known = ["sqlite:", "postgres://", "postgresql://"];
    match item.scalar() {
        Some(scalar) if known.iter().any(|scheme| scalar.text.starts_with(scheme)) => {
            Some(scalar.text.clone())
        }
        _ => item
            .refuse("not a database that is known: write sqlite://PATH or postgres://USER@HOST/NAME", report),
    }
}

/// `address:port`, `:port` or `port`.
pub(crate) fn address(fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<SocketAddr> {
    let expected = "an address and a port, as in 0.0.0.0:80";
    let item = fields.take(key)?;
    let text = item.word(expected, report)?;
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok());
    match (port, local) {
        (Ok(port), _) => Some(any(port)),
        (_, Some(port)) => Some(SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), port))),
        _ => text.parse().map_or_else(|_| item.wrong(expected, report), Some),
    }
}

fn docker_host(docker: &Fields<'_>, report: &mut Report) -> Option<String> {
    let item = docker.take("host")?;
    let text = item.text(report)?;
    let known = ["unix:///", "tcp://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    if known { Some(text.to_owned()) } else { item.wrong("unix:///PATH or tcp://HOST:PORT", report) }
}

fn min_free_disk(docker: &Fields<'_>, report: &mut Report) -> Option<u64> {
    let item = docker.take("min_free_disk")?;
    let text = item.word("a number of bytes such as 500m or 2g", report)?;
    item.parsed(quantity::bytes(text), report)
}

/// Absolute paths: a list, or one text with colons.
fn paths(item: &Item<'_>, report: &mut Report) -> Option<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for item in item.one_or_many(report, "a list of absolute paths")? {
        let Some(text) = item.text(report) else { continue };
        for path in text.split(':').map(Path::new) {
            if path.is_absolute() {
                paths.push(normal(path));
            } else {
                item.wrong::<()>("absolute paths", report);
            }
        }
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, Settings};
    use crate::acme::{AcmeSettings, ChallengeKind, STAGING};
    use crate::api::ApiTls;
    use crate::backup::BackupSettings;
    use crate::data_plane::{AccessLogForm, ProxyProtocol};
    use crate::policy::HostPortRule;
    use crate::trust::Trust;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some((Path::new("dockswap.yaml"), file.as_bytes())), env)
            .map_err(|problems| problems.iter().map(|problem| problem.to_string() + "\n").collect())
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        for file in ["", "# nothing yet\n\n"] {
            assert_eq!(
                load(file, &[("HOME", "/root"), ("DOCKSWAP_DATA_DIR", "/x")]),
                Ok(Settings::default())
            );
        }
    }

    #[test]
    fn every_setting_from_the_file() {
        let file = "
database_url: postgres://dockswap@db/dockswap
proxy: { http: 127.0.0.1:8080, https: ':8443', public_https_port: 443, user: www-data, trusted_proxies: [10.0.0.0/8, '::1'], proxy_protocol: true,
  header_timeout: 5s, idle_timeout: 30s, stall_timeout: 20s, max_connections: 100, max_connections_per_ip: 10,
  max_streams_per_ip: 20, handover_timeout: 1h, access_log: json, access_log_file: /var/log/access.log }
api: { http: localhost:9000, tls: { cert: /etc/api/cert.pem, key: /etc/api/key.pem }, hosts: Deploy.example.com }
docker: { host: unix:///run/user/1000/docker.sock, min_free_disk: 500m }
deployment: { max_concurrent: 2 }
acme: { email: ops@example.com, directory: 'https://ca.internal/dir', ca_file: /etc/ca.pem, challenge: tls-alpn-01 }
retention: { deployments: 3, history: 90d, max_size: 512m }
backup: { every: 6h, keep: 3, dir: /mnt/backups/ }
log: { level: debug, format: json, slow_query: 1s }
config: { trust: any }
policy: { bind_mounts: [/srv, /data/], host_ports: false, files: [/srv/secrets] }
";
        let settings = load(file, &[]).expect("valid");
        assert_eq!(settings.database_url.as_deref(), Some("postgres://dockswap@db/dockswap"));
        assert_eq!(settings.proxy.http.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.proxy.https.to_string(), "0.0.0.0:8443");
        assert_eq!(settings.proxy.public_https_port, Some(443));
        assert_eq!(settings.proxy.user.as_deref(), Some("www-data"));
        let trusted: Vec<_> = settings.proxy.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(trusted, ["10.0.0.0/8", "::1/128"]);
        assert_eq!(settings.proxy.proxy_protocol, ProxyProtocol::Required);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let limits = &settings.proxy.limits;
        let times = (limits.header_timeout, limits.idle_timeout, limits.stall_timeout);
        assert_eq!(times, (seconds(5), seconds(30), seconds(20)));
        assert_eq!((limits.max_connections, limits.max_connections_per_ip), (Some(100), Some(10)));
        assert_eq!((limits.max_streams_per_ip, settings.proxy.handover_timeout), (Some(20), seconds(3_600)));
        assert_eq!(settings.proxy.access_log, AccessLogForm::Json);
        assert_eq!(settings.proxy.access_log_file.as_deref(), Some(Path::new("/var/log/access.log")));
        assert_eq!(settings.api.http.map(|addr| addr.to_string()).as_deref(), Some("127.0.0.1:9000"));
        let tls = ApiTls { cert: "/etc/api/cert.pem".into(), key: "/etc/api/key.pem".into() };
        assert_eq!(settings.api.tls, Some(tls));
        assert_eq!(settings.api.hosts, ["deploy.example.com"]);
        assert_eq!(settings.min_free_disk_bytes, Some(500 << 20));
        assert_eq!(settings.max_concurrent, 2);
        let acme = AcmeSettings {
            email: Some("ops@example.com".to_owned()),
            directory: "https://ca.internal/dir".to_owned(),
            ca_file: Some(PathBuf::from("/etc/ca.pem")),
            challenge: ChallengeKind::TlsAlpn01,
        };
        assert_eq!(settings.acme, acme);
        let retention = &settings.retention;
        assert_eq!((retention.deployments, retention.max_size_bytes), (3, 512 << 20));
        assert_eq!(retention.history, Duration::from_secs(90 * 86_400));
        let backup = BackupSettings {
            every: Duration::from_hours(6),
            keep: 3,
            dir: Some(PathBuf::from("/mnt/backups")),
        };
        assert_eq!(settings.backup, backup);
        assert_eq!((settings.log.level.as_str(), settings.log.format), ("debug", LogFormat::Json));
        assert_eq!(settings.log.slow_query, Duration::from_secs(1));
        assert_eq!(settings.policy.bind_mounts, Some(vec![PathBuf::from("/srv"), PathBuf::from("/data")]));
        assert_eq!(settings.policy.host_ports, HostPortRule::Refused);
        assert_eq!(settings.policy.files, [PathBuf::from("/srv/secrets")]);
        assert_eq!(settings.trust, Trust::Any);
        let protected = ["/run/user/1000/docker.sock", "/mnt/backups"].map(PathBuf::from);
        assert_eq!(settings.policy.protected, protected);
        let owners: Vec<_> = settings.reserved_ports().into_iter().map(|r| (r.port, r.owner)).collect();
        let expected = [(8080, "proxy.http"), (8443, "proxy.https"), (9000, "api.http")];
        assert_eq!(owners, expected.map(|(port, owner)| (port, owner.to_owned())));
    }

    #[test]
    fn variables_win_over_the_file() {
        let env = [
            ("DOCKSWAP_PROXY__HTTP", "0.0.0.0:8000"),
            ("DOCKSWAP_DEPLOYMENT__MAX_CONCURRENT", "8"),
            ("DOCKSWAP_POLICY__BIND_MOUNTS", "/a:/b"),
            ("DOCKSWAP_LOG__FORMAT", ""),
        ];
        let settings = load("proxy: { http: 1.2.3.4:80, https: 1.2.3.4:443 }", &env).expect("valid");
        assert_eq!(settings.proxy.http.to_string(), "0.0.0.0:8000");
        assert_eq!(settings.proxy.https.to_string(), "1.2.3.4:443");
        assert_eq!(settings.max_concurrent, 8);
        assert_eq!(settings.policy.bind_mounts, Some(vec![PathBuf::from("/a"), PathBuf::from("/b")]));
        assert_eq!(settings.log.format, LogFormat::Text);
    }

    #[test]
    fn staging_is_a_directory() {
        let directory = |file, env| load(file, env).map(|settings| settings.acme.directory);
        assert_eq!(directory("acme: { staging: true }", &[]).as_deref(), Ok(STAGING));
        let undone = [("DOCKSWAP_ACME__STAGING", "false")];
        assert_eq!(directory("acme: { staging: true }", &undone), Ok(Settings::default().acme.directory));
        let named = [("DOCKSWAP_ACME__DIRECTORY", "https://ca")];
        assert_eq!(directory("acme: { staging: true }", &named).as_deref(), Ok("https://ca"));
        let both = directory("acme: { staging: true, directory: 'https://ca' }", &[]);
        let expected = "dockswap.yaml:1:35: acme.directory: stands beside `staging`, which is a directory too: remove one of them\n";
        assert_eq!(both, Err(expected.to_owned()));
    }

    #[test]
    fn a_header_that_nobody_is_believed_for_is_a_mistake() {
        let expected = "dockswap.yaml: proxy.proxy_protocol: nobody's header would be believed: name the load balancers in proxy.trusted_proxies\n";
        assert_eq!(load("proxy: { proxy_protocol: true }", &[]), Err(expected.to_owned()));
        let named = [("DOCKSWAP_PROXY__TRUSTED_PROXIES", "10.0.0.1, fd00::/8")];
        let settings = load("proxy: { proxy_protocol: true }", &named).expect("valid");
        assert_eq!(settings.proxy.trusted_proxies.len(), 2);
    }

    #[test]
    fn an_api_that_others_can_reach_has_a_certificate() {
        let told = |file| load(file, &[]).err().unwrap_or_default();
        assert_eq!(told("api: { http: '[::1]:9000' }"), "");
        assert_eq!(told("api: { http: 0.0.0.0:9000, tls: { cert: /c, key: /k } }"), "");
        assert!(told("api: { http: 10.0.0.1:9000 }").contains("api.http: 10.0.0.1:9000 is open to others"));
        assert!(told("api: { tls: { cert: /c, key: /k } }").contains("api.tls: nobody would be shown it"));
        assert!(told("api: { http: 127.0.0.1:1, tls: { cert: /c } }").contains("api.tls"));
        assert!(told("api: { http: 127.0.0.1:1, tls: { cert: c, key: /k } }").contains("an absolute path"));
        assert!(told("api: { http: 127.0.0.1:1, hosts: ['a b'] }").contains("api.hosts[0]"));
        let env = [
            ("DOCKSWAP_API__HTTP", ":9000"),
            ("DOCKSWAP_API__TLS__CERT", "/c"),
            ("DOCKSWAP_API__TLS__KEY", "/k"),
        ];
        assert!(
            load("", &env).is_ok_and(|settings| settings.api.http.is_some() && settings.api.tls.is_some())
        );
    }

    #[test]
    fn a_variable_that_means_nothing_is_a_warning() {
        let settings = load("", &[("DOCKSWAP_PROXY", "x"), ("DOCKSWAP_PROXI__HTTP", "x")]).expect("valid");
        let sentence = |name| format!("environment variable {name} is no setting of dockswap's: unset it");
        assert_eq!(settings.warnings, [sentence("DOCKSWAP_PROXI__HTTP"), sentence("DOCKSWAP_PROXY")]);
    }

    #[test]
    fn every_problem_at_once() {
        let file = "
database_url: mysql://root:hunter2@db
proxy: { http: nowhere, htps: :1, trusted_proxies: [10.0.0.0/33], access_log: xml, access_log_file: a.log }
api: { http: 0.0.0.0:9000 }
deployment: { max_concurrent: 0 }
acme: { email: ops, directory: 'http://ca', ca_file: ca.pem, challenge: dns-01 }
log: { format: xml }
retention: { deployments: 0, history: 90, max_size: much }
backup: { every: daily, keep: 0, dir: backups }
policy: { bind_mounts: [srv], host_ports: maybe }
";
        let expected = "\
dockswap.yaml:2:15: database_url: not a database that is known: write sqlite://PATH or postgres://USER@HOST/NAME
dockswap.yaml:3:16: proxy.http: found the text \"nowhere\": write an address and a port, as in 0.0.0.0:80
dockswap.yaml:3:25: proxy.htps: unknown key: did you mean `https`?
dockswap.yaml:3:53: proxy.trusted_proxies[0]: found the text \"10.0.0.0/33\": write addresses or networks, as in 10.0.0.0/8
dockswap.yaml:3:79: proxy.access_log: found the text \"xml\": write off, text or json
dockswap.yaml:3:101: proxy.access_log_file: found the text \"a.log\": write an absolute path
dockswap.yaml:5:31: deployment.max_concurrent: 0 is out of range: write a whole number from 1 to 1000
dockswap.yaml:6:16: acme.email: found the text \"ops\": write one address, as in ops@example.com
dockswap.yaml:6:32: acme.directory: found the text \"http://ca\": write an https URL
dockswap.yaml:6:54: acme.ca_file: found the text \"ca.pem\": write an absolute path
dockswap.yaml:6:73: acme.challenge: found the text \"dns-01\": write http-01 or tls-alpn-01
dockswap.yaml:7:16: log.format: found the text \"xml\": write text or json
dockswap.yaml:8:27: retention.deployments: 0 is out of range: write a whole number from 1 to 1000
dockswap.yaml:8:39: retention.history: 90 has no unit: write 90s for seconds, or 90ms
dockswap.yaml:8:53: retention.max_size: \"much\" is no number of bytes: write it as in 512k or 10m
dockswap.yaml:9:18: backup.every: \"daily\" is not a duration: write it as in 500ms, 5s, 1m30s or 2h
dockswap.yaml:9:31: backup.keep: 0 is out of range: write a whole number from 1 to 1000
dockswap.yaml:9:39: backup.dir: found the text \"backups\": write an absolute path
dockswap.yaml:10:25: policy.bind_mounts[0]: found the text \"srv\": write absolute paths
dockswap.yaml:10:43: policy.host_ports: found the text \"maybe\": write true or false
environment variable DOCKSWAP_PROXY__HTTPS: proxy.https: found the number 99999: write an address and a port, as in 0.0.0.0:80
dockswap.yaml: api.http: 0.0.0.0:9000 is open to others, and tokens would be sent to it in plain text: write api.tls: { cert: PATH, key: PATH } too, or 127.0.0.1:PORT
";
        assert_eq!(load(file, &[("DOCKSWAP_PROXY__HTTPS", "99999")]), Err(expected.to_owned()));
    }
}
