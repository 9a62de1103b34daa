//! Pebble, the ACME server to test with, and the name server that it asks. From Debian's package `pebble`.

use crate::authority::{Authority, curl};
use crate::site::free_port;
use crate::wait::{holds, until};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running one.
pub struct Pebble {
    home: TempDir,
    authority: Authority,
    api: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    processes: Vec<Child>,
}

/// Where it looks for who has a name, and for how long it gives certificates.
#[derive(Clone, Copy, Debug)]
pub struct PebbleConfig {
    /// Of plain requests.
    pub http_port: u16,
    /// Of handshakes.
    pub tls_port: u16,
    /// How long certificates are valid.
    pub validity: Duration,
}

impl Pebble {
    /// Starts one. `None`, loudly, where it is not installed; on CI that is a failure.
    #[must_use]
    pub fn start(config: PebbleConfig) -> Option<Self> {
        let installed = Command::new("sh").args(["-c", "command -v pebble pebble-challtestsrv"]).output();
        if !installed.is_ok_and(|found| found.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "pebble is not installed");
            eprintln!("\n=== SKIPPED: nothing was tested with an ACME server: pebble is missing ===\n");
            return None;
        }
        let home = tempfile::Builder::new().prefix("pbl").tempdir().expect("a directory");
        let authority = Authority::in_dir(home.path());
        authority.pair(&["localhost", "127.0.0.1"]).put(home.path());
        let [api, management, dns, names] =
            [(); 4].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let file = |name: &str| home.path().join(name).display().to_string();
        let text = serde_json::json!({ "pebble": {
            "listenAddress": api.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": file("cert.pem"),
            "privateKey": file("key.pem"),
            "httpPort": config.http_port,
            "tlsPort": config.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": config.validity.as_secs(),
        }});
        std::fs::write(home.path().join("config.json"), text.to_string()).expect("a config");
        let log = || File::options().create(true).append(true).open(home.path().join("log")).expect("a log");
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        resolver.args(["-dns01", &dns.to_string(), "-management", &names.to_string()]);
        let mut server = Command::new("pebble");
        server.args(["-config", &file("config.json"), "-dnsserver", &dns.to_string()]);
        server.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        // One nonce in twenty would be refused, and the same question asked twice.
        server.env("PEBBLE_WFE_NONCEREJECT", "0");
        let processes = [resolver, server].map(|mut command| {
            command.stdin(Stdio::null()).stdout(log()).stderr(log());
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
        });
        let pebble = Self { home, authority, api, management, names, processes: processes.into() };
        for addr in [api, management, names] {
            holds("pebble listens", PATIENCE, || TcpStream::connect(addr).is_ok());
        }
        Some(pebble)
    }

    /// `acme.directory`.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.api.port())
    }

    /// `acme.ca_file`: by which the server itself is known.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        self.authority.root()
    }

    /// The root of the certificates that it gives, in a file.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let path = self.home.path().join("issued-root.pem");
        let url = format!("https://localhost:{}/roots/0", self.management.port());
        let done = until("pebble shows its root", PATIENCE, || {
            Some(curl(self.ca_file(), self.management, &url, &[])).filter(|done| done.code == 0)
        });
        std::fs::write(&path, done.stdout).expect("a root certificate");
        path
    }

    /// From now on `host` is found at `addr`.
    pub fn resolve(&self, host: &str, addr: Ipv4Addr) {
        let body = serde_json::json!({ "host": format!("{host}."), "addresses": [addr.to_string()] });
        let url = format!("http://{}/add-a", self.names);
        let _ = curl(self.ca_file(), self.names, &url, &["--fail", "--data", &body.to_string()]).exits(0);
    }

    /// How often something was asked of it: the name of a handler, as in `/order-plz`.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!("POST {path} ->"))).count()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            let from = log.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
            eprintln!("--- the last words of pebble\n{}", &log[from..]);
        }
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
