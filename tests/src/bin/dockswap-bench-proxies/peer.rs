//! The proxies that are compared: how each is set up and started. What is asked of them is not its business.

use crate::process::{Core, Process, pinned};
use dockswap_tests::free_port;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A proxy that can be measured.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    /// As the tables name it.
    pub(crate) name: String,
    pub(crate) version: String,
    binary: PathBuf,
    /// dockswap: whether this build has a TLS listener.
    speaks_tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dockswap,
    Nginx,
    HaProxy,
    Caddy,
}

/// Where a running proxy listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) http: u16,
    /// HTTP/2 without TLS, begun with by the client.
    pub(crate) h2c: u16,
    /// HTTP/1.1 and HTTP/2 by ALPN.
    pub(crate) https: Option<u16>,
}

/// A proxy that runs; ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) doors: Doors,
    dir: tempfile::TempDir,
}

impl Running {
    /// Where it keeps what it has; dockswap's control socket too.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Peer {
    /// The dockswap at `binary`.
    pub(crate) fn dockswap(name: &str, binary: PathBuf) -> Self {
        let help = output(Command::new(&binary).args(["proxy", "--help"]));
        let version = output(Command::new(&binary).arg("--version"));
        Self {
            kind: Kind::Dockswap,
            name: name.to_owned(),
            version: version.split_whitespace().nth(1).unwrap_or_default().to_owned(),
            speaks_tls: help.contains("--https"),
            binary,
        }
    }

    /// Those of the others that are there.
    pub(crate) fn others() -> Vec<Self> {
        let caddy = std::env::var_os("CADDY_BIN").map_or_else(|| "caddy".into(), PathBuf::from);
        [
            (Kind::Nginx, "nginx", "nginx".into(), "-v"),
            (Kind::HaProxy, "HAProxy", "haproxy".into(), "-v"),
            (Kind::Caddy, "Caddy", caddy, "version"),
        ]
        .map(|(kind, name, binary, flag): (_, &str, PathBuf, _)| Self {
            version: version(&output(Command::new(&binary).arg(flag))),
            kind,
            name: name.to_owned(),
            binary,
            speaks_tls: true,
        })
        .into()
    }

    /// Starts it with `routes` routes, all to `upstream`: one is for `localhost`, many are for
    /// `app-N.test`.
    pub(crate) fn start(&self, routes: usize, upstream: u16, keys: &Path) -> Running {
        let dir = tempfile::tempdir().expect("a directory");
        self.start_by(pinned(Core::Measured, &self.binary), dir, routes, (upstream, keys))
    }

    /// Starts it with one route under callgrind, which counts when it is told to; and how the names of the files begin in
    /// which it says what it counted.
    pub(crate) fn start_counted(&self, upstream: u16, keys: &Path) -> (Running, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let counted = dir.path().join("counted");
        let mut command = pinned(Core::Measured, "valgrind");
        command.args(["--tool=callgrind", "--instr-atstart=no"]);
        command.arg(format!("--callgrind-out-file={}", counted.display())).arg(&self.binary);
        (self.start_by(command, dir, 1, (upstream, keys)), counted)
    }

    /// Starts it by `command`, to which its arguments are added, with its files in `dir`.
    fn start_by(
        &self,
        mut command: Command,
        dir: tempfile::TempDir,
        routes: usize,
        (upstream, keys): (u16, &Path),
    ) -> Running {
        let at = dir.path();
        for file in ["cert.pem", "key.pem", "both.pem"] {
            fs::copy(keys.join(file), at.join(file)).expect("a copy of the certificate");
        }
        let http = free_port();
        let doors = Doors {
            http,
            h2c: if matches!(self.kind, Kind::Dockswap | Kind::Caddy) { http } else { free_port() },
            https: self.speaks_tls.then(free_port),
        };
        let hosts = hosts(routes);
        let fill = |template: &str| {
            template
                .replace("{{dir}}", at.to_str().expect("a plain path"))
                .replace("{{http}}", &doors.http.to_string())
                .replace("{{h2c}}", &doors.h2c.to_string())
                .replace("{{https}}", &doors.https.unwrap_or_default().to_string())
                .replace("{{upstream}}", &upstream.to_string())
        };
        let each =
            |template: &str| hosts.iter().map(|host| template.replace("{{host}}", host)).collect::<String>();
        let config = at.join("config");
        match self.kind {
            Kind::Dockswap => {
                let table = json!({"format": 1, "table": table(&hosts, upstream, doors.https.map(|_| at))});
                fs::write(at.join("routes.json"), table.to_string()).expect("a route table");
                let keyring = json!({"format": 1, "keyring": keyring(at)});
                fs::write(at.join("certificates.json"), keyring.to_string()).expect("a keyring");
                command.env("HOME", at).env("DOCKSWAP_LOG__LEVEL", "warn");
                command.arg("--config-dir").arg(at).arg("--data-dir").arg(at);
                command.args(["proxy", "--http", &format!("127.0.0.1:{http}")]);
                if let Some(https) = doors.https {
                    command.args(["--https", &format!("127.0.0.1:{https}")]);
                }
            }
            Kind::Nginx => {
                let all = include_str!("configs/nginx.conf")
                    .replace("{{routes}}", &each(include_str!("configs/nginx-route.conf")));
                fs::write(&config, fill(&all)).expect("a configuration");
                command.arg("-c").arg(&config);
            }
            Kind::HaProxy => {
                let map = each("{{host}} app\n");
                fs::write(at.join("hosts.map"), map).expect("a map");
                fs::write(&config, fill(include_str!("configs/haproxy.cfg"))).expect("a configuration");
                command.arg("-db").arg("-f").arg(&config);
            }
            Kind::Caddy => {
                let all = include_str!("configs/Caddyfile")
                    .replace("{{routes}}", &each(include_str!("configs/Caddyfile-route")));
                fs::write(&config, fill(&all)).expect("a configuration");
                command.env("GOMAXPROCS", "1").env("HOME", at);
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
            }
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        Running { process: Process::start(command, at.join("log"), address), doors, dir }
    }
}

/// Starts the app behind all of them; its port.
pub(crate) fn upstream(dir: &Path) -> (Process, u16) {
    let port = free_port();
    let files = dir.join("files");
    fs::create_dir_all(&files).expect("a directory");
    fs::write(files.join("10k"), "0123456789abcdef".repeat(640)).expect("a file");
    let config = include_str!("configs/upstream.conf")
        .replace("{{dir}}", dir.to_str().expect("a plain path"))
        .replace("{{upstream}}", &port.to_string());
    let path = dir.join("upstream.conf");
    fs::write(&path, config).expect("a configuration");
    let mut command = pinned(Core::Load, "nginx");
    command.arg("-c").arg(&path);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (Process::start(command, dir.join("upstream.log"), address), port)
}

/// A certificate for `localhost` and its key, in `dir`: together in `both.pem`, apart in the others.
pub(crate) fn make_keys(dir: &Path) {
    let made = Command::new("openssl")
        .current_dir(dir)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    let both = ["cert.pem", "key.pem"].map(|file| fs::read_to_string(dir.join(file)).expect("a file"));
    fs::write(dir.join("both.pem"), both.concat()).expect("a file");
}

fn hosts(count: usize) -> Vec<String> {
    match count {
        1 => vec!["localhost".to_owned()],
        _ => (0..count).map(|number| format!("app-{number}.test")).collect(),
    }
}

/// A table of `revision` with two apps; the second one's container is another one in each.
pub(crate) fn switched(hosts: [&str; 2], upstream: u16, revision: u32) -> String {
    let mut table = table(&hosts.map(str::to_owned), upstream, None);
    table["revision"] = json!(revision);
    table["apps"][1]["target"]["upstreams"][0]["id"]["started_at"] = json!(revision);
    table.to_string()
}

/// An app for each host, all in the same container; over TLS too when `keys` says where its certificate is.
fn table(hosts: &[String], upstream: u16, keys: Option<&Path>) -> Value {
    let app = |(number, host): (usize, &String)| {
        let plain = json!({"host": {"exact": host}, "path_prefix": "/", "strip_prefix": false});
        let over_tls = keys.map(|keys| {
            let mut route = plain.clone();
            let files = json!({"cert": keys.join("cert.pem"), "key": keys.join("key.pem")});
            route["tls"] = json!({"source": {"files": files}});
            route
        });
        let routes: Vec<Value> = [plain].into_iter().chain(over_tls).collect();
        json!({
            "app": format!("app-{number:04}"),
            "routes": routes,
            "target": {
                "color": "blue",
                "deployment": 1,
                "upstreams": [{
                    "id": {"container": "app", "started_at": 1},
                    "addr": format!("127.0.0.1:{upstream}"),
                }],
            },
        })
    };
    let apps: Vec<Value> = hosts.iter().enumerate().map(app).collect();
    json!({"revision": 1, "apps": apps})
}

/// The certificate that is in `dir`, as the proxy keeps it.
fn keyring(dir: &Path) -> Value {
    let [chain, key] =
        ["cert.pem", "key.pem"].map(|file| fs::read_to_string(dir.join(file)).expect("a file"));
    let certificate = json!({"host": {"exact": "localhost"}, "chain_pem": chain, "key_pem": key});
    json!({"tag": "bench", "certificates": [certificate], "challenges": []})
}

/// What a command says, on both of its streams.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The first word that looks like a version.
fn version(text: &str) -> String {
    let digits = |word: &&str| word.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
    let words = text.split(|between: char| between.is_whitespace() || between == '/');
    words.into_iter().find(digits).unwrap_or("?").trim_start_matches('v').to_owned()
}
