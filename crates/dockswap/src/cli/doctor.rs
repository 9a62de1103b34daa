//! `dockswap doctor`.

mod backups;
mod certificates;

use super::app_files::{Accepted, Checked};
use super::client::ClientError;
use super::exit::{CliError, Exit};
use super::listeners::holder_of;
use super::session::{Session, now};
use super::text::{age, block, bytes};
use crate::api::{wire, with_causes};
use clap::Args;
use dockswap_config::{ProxySettings, Settings};
use dockswap_core::ports::{Router, RouterStatus};
use dockswap_docker::{Docker, EngineInfo};
use dockswap_proxy::ProxyClient;
use dockswap_store::{ConnectError, EventScope, History, Page};
use serde::Serialize;
use serde_json::json;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// For Docker, which may hang.
const DOCKER_DEADLINE: Duration = Duration::from_secs(10);

/// Free bytes below which images hardly fit, and below which nothing does.
const LOW_DISK: u64 = 2_000_000_000;
const NO_DISK: u64 = 200_000_000;

/// 2026-01-01: no clock that is right shows less.
const OLDEST_SANE_SECONDS: i64 = 1_767_225_600;

/// How far ahead of the clock a record may be.
const AHEAD: Duration = Duration::from_secs(60);

/// Say what is wrong with this machine's set-up, and how to mend it
///
/// Docker, ports, disk, clock, database, backups, controller, proxy, certificates and app files. Changes nothing.
/// Exits with 1 when anything fails.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    detail: String,
    /// How to mend it.
    mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, detail: detail.into(), mend: None }
    }

    fn warn(check: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, detail: detail.into(), mend: Some(mend.into()) }
    }

    fn fail(check: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(check, detail, mend) }
    }

    fn line(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let mut line = format!("{level}  {:<11} {}", self.check, block(&self.detail, "                  "));
        if let Some(mend) = &self.mend {
            line.push_str("\n                  → ");
            line.push_str(&block(mend, "                    "));
        }
        line
    }
}

pub(crate) async fn doctor(session: &Session, _: &DoctorArgs) -> Result<Exit, CliError> {
    let mut findings = Vec::new();
    let settings = settings(session, &mut findings);
    let proxy = ProxyClient::new(session.paths.proxy_socket()).status().await.ok();
    let accepted = Accepted::ask(session).await;
    findings.extend(config_dir(session, &settings, &accepted));
    findings.extend(docker(&settings).await);
    findings.extend(match &proxy {
        Some(proxy) => listeners(&settings.proxy, proxy),
        None => vec![port(settings.proxy.http)],
    });
    findings.push(data_dir(&session.paths.data_dir));
    findings.extend(disk("disk", &session.paths.data_dir));
    findings.extend(database(session, &settings).await);
    findings.push(backups::ask(session, &settings).await);
    findings.push(controller(session).await);
    findings.push(running_proxy(proxy.as_ref()));
    findings.extend(certificates::ask(session).await);
    findings.extend(known(session).await);
    session.show(&json!({ "findings": findings }), || findings.iter().map(Finding::line).collect())?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn settings(session: &Session, findings: &mut Vec<Finding>) -> Settings {
    match session.paths.settings() {
        Ok(settings) => {
            let mend = "unset it, or correct its name";
            findings.extend(
                settings.warnings.iter().map(|warning| Finding::warn("settings", warning.clone(), mend)),
            );
            settings
        }
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            findings.push(Finding::fail(
                "settings",
                problems.join("\n"),
                "mend dockswap.yaml or the variable",
            ));
            Settings::default()
        }
    }
}

fn config_dir(session: &Session, settings: &Settings, accepted: &Accepted) -> Vec<Finding> {
    let apps = session.paths.apps_dir();
    if !apps.is_dir() {
        let mend = format!("dockswap init {}", session.paths.config_dir.display());
        return vec![Finding::warn("app files", format!("there is no {}", apps.display()), mend)];
    }
    let mut findings = Vec::new();
    if let Ok(data) = apps.metadata()
        && data.permissions().mode() & 0o022 != 0
    {
        let what = format!("{} can be written by others, who thereby decide what runs", apps.display());
        findings.push(Finding::warn("app files", what, format!("chmod go-w {}", apps.display())));
    }
    let checked = Checked::directory(&session.paths, settings, accepted);
    findings.push(if checked.problems.is_empty() {
        Finding::ok("app files", format!("{} in {}, all valid", checked.count, apps.display()))
    } else {
        Finding::fail("app files", checked.problems.join("\n"), "mend the files; what runs is untouched")
    });
    findings
}

async fn docker(settings: &Settings) -> Vec<Finding> {
    let asked = match Docker::connect(settings.docker_host.as_deref()) {
        Ok(docker) => docker.with_deadline(DOCKER_DEADLINE).info().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(info) => docker_findings(&info),
        Err(error) => vec![Finding::fail(
            "docker",
            error.to_string(),
            "install and start Docker Engine (systemctl start docker), and let this user use it \
             (usermod -aG docker $USER), or name it by DOCKER_HOST",
        )],
    }
}

fn docker_findings(info: &EngineInfo) -> Vec<Finding> {
    let rootless = if info.rootless { ", rootless" } else { "" };
    let mut findings = vec![Finding::ok(
        "docker",
        format!(
            "{} (API {}) on {}, {}{rootless}",
            info.version, info.api_version, info.os, info.storage_driver
        ),
    )];
    findings.push(if info.live_restore {
        Finding::ok("docker", "live-restore is on: containers outlive a restart of Docker")
    } else {
        Finding::warn(
            "docker",
            "live-restore is off: a restart or upgrade of Docker stops every app",
            "put \"live-restore\": true into /etc/docker/daemon.json, then systemctl reload docker",
        )
    });
    let warnings = info.warnings.iter().filter(|warning| !warning.trim().is_empty());
    findings.extend(warnings.map(|warning| Finding::warn("docker", warning.clone(), "see docker info")));
    let root = Path::new(&info.root_dir);
    if root.is_dir() {
        findings.extend(disk("images", root));
    }
    findings
}

/// Where the proxy that runs listens, beside where it should.
fn listeners(settings: &ProxySettings, proxy: &RouterStatus) -> Vec<Finding> {
    let (check, wanted) = ("port", settings.http);
    let open = |port: u16| proxy.listeners.iter().any(|listener| listener.port() == port);
    let addresses: Vec<String> = proxy.listeners.iter().map(ToString::to_string).collect();
    let addresses = if addresses.is_empty() { "nothing".to_owned() } else { addresses.join(", ") };
    let mut findings = vec![if wanted.port() == 0 || open(wanted.port()) {
        Finding::ok(check, format!("the proxy listens on {addresses}"))
    } else {
        Finding::warn(
            check,
            format!("the proxy listens on {addresses}, not on {wanted} as proxy.http has it"),
            "restart the proxy when there is little traffic, or mend proxy.http",
        )
    }];
    for app in &proxy.table.apps {
        let mut secure = app.routes.iter().filter(|route| route.tls.is_some() && route.listen_port.is_none());
        if settings.https.port() != 0 && !open(settings.https.port()) && secure.next().is_some() {
            let holder = holder_of(settings.https.port())
                .map_or_else(String::new, |holder| format!("; {holder} has it"));
            findings.push(Finding::fail(
                check,
                format!(
                    "the proxy does not listen on {}, which {} asks for by tls{holder}",
                    settings.https, app.app
                ),
                "free the port: the proxy tries again by itself; or mend proxy.https and restart the proxy",
            ));
        }
        let closed = app.routes.iter().filter_map(|route| route.listen_port).filter(|port| !open(*port));
        findings.extend(closed.map(|port| {
            let holder = holder_of(port).map_or_else(String::new, |holder| format!("; {holder} has it"));
            Finding::fail(
                check,
                format!("the proxy does not listen on {port}, a listen_port of {}{holder}", app.app),
                "free the port: the proxy tries again by itself; or change listen_port",
            )
        }));
    }
    findings
}

/// The port that the proxy will need: free, or somebody else's.
fn port(address: SocketAddr) -> Finding {
    let check = "port";
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let holder = holder_of(address.port()).map_or_else(String::new, |holder| format!(" by {holder}"));
            Finding::fail(
                check,
                format!("{address} is taken{holder}"),
                "stop that, or set proxy.http in dockswap.yaml to another port",
            )
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::fail(
            check,
            format!("this user may not open {address}"),
            "sysctl net.ipv4.ip_unprivileged_port_start=80, or run as root, or set proxy.http to a port above 1023",
        ),
        Err(error) => Finding::fail(check, format!("{address}: {error}"), "set proxy.http in dockswap.yaml"),
    }
}

fn data_dir(dir: &Path) -> Finding {
    let check = "data dir";
    match dir.metadata() {
        Ok(data) if data.permissions().mode() & 0o077 != 0 => Finding::warn(
            check,
            format!("{} can be read by others", dir.display()),
            format!("chmod 700 {} (the controller does so when it starts)", dir.display()),
        ),
        Ok(_) => Finding::ok(check, dir.display().to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::ok(check, format!("{} is made at the first start", dir.display()))
        }
        Err(error) => Finding::fail(check, format!("{}: {error}", dir.display()), "let this user read it"),
    }
}

fn disk(check: &'static str, dir: &Path) -> Option<Finding> {
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some(free(check, there, disk.f_bavail.saturating_mul(disk.f_frsize)))
}

fn free(check: &'static str, dir: &Path, free: u64) -> Finding {
    let detail = format!("{} free at {}", bytes(free), dir.display());
    let mend = "free some: docker image prune, docker builder prune, journalctl --vacuum-size=500M";
    match free {
        0..NO_DISK => Finding::fail(check, detail, mend),
        NO_DISK..LOW_DISK => Finding::warn(check, detail, mend),
        _ => Finding::ok(check, detail),
    }
}

async fn database(session: &Session, settings: &Settings) -> Vec<Finding> {
    let check = "database";
    let history = match dockswap_store::connect_read_only(&session.paths.database_url(settings)).await {
        Ok(history) => history,
        Err(ConnectError::Missing { path }) => {
            return vec![Finding::ok(check, format!("{} is made at the first start", path.display()))];
        }
        Err(error @ ConnectError::Damaged { .. }) => {
            return vec![Finding::fail(check, with_causes(&error), "dockswap db restore FILE")];
        }
        Err(error) => {
            return vec![Finding::fail(
                check,
                with_causes(&error),
                "dockswap db migrate, or mend database_url",
            )];
        }
    };
    let integrity = match history.check().await {
        Ok(verdict) if verdict.is_sound() => Finding::ok(check, "it answers, and is sound"),
        Ok(verdict) => Finding::fail(check, verdict.findings.join("\n"), "dockswap db restore FILE"),
        Err(error) => Finding::fail(check, with_causes(&error), "dockswap db check"),
    };
    vec![integrity, clock(&history).await]
}

/// The clock beside the newest record.
async fn clock(history: &History) -> Finding {
    let now = now();
    let newest = history.events(&EventScope::All, Page::first(1)).await.ok();
    let newest = newest.and_then(|events| events.first().map(|event| event.created_at));
    let mend = "timedatectl set-ntp true";
    if now.as_micros() / 1_000_000 < OLDEST_SANE_SECONDS {
        return Finding::fail("clock", "the clock is years behind", mend);
    }
    match newest.map(|newest| newest.saturating_since(now)) {
        Some(ahead) if ahead > AHEAD => {
            Finding::warn("clock", "the newest record is from the future: the clock was set back", mend)
        }
        _ => Finding::ok("clock", "as it should be"),
    }
}

async fn controller(session: &Session) -> Finding {
    let check = "controller";
    match session.client.document("/readyz").await {
        Ok(_) => Finding::ok(check, "it answers, and is ready"),
        Err(ClientError::Unreachable { place, message }) => {
            Finding::warn(check, format!("none answers on {place}: {message}"), "dockswap run")
        }
        Err(ClientError::Answered(problem)) => Finding::fail(check, problem.detail, "see its log"),
        Err(ClientError::Garbled { message }) => Finding::fail(check, message, "dockswap version"),
        Err(ClientError::Distrusted { place, message }) => {
            Finding::fail(check, format!("{place}: {message}"), "look at api.tls")
        }
    }
}

/// What the controller has not seen for a while: it decides nothing by that.
async fn known(session: &Session) -> Option<Finding> {
    let facts: wire::Facts = session.client.get("/v1/facts").await.ok()?;
    known_findings(&facts.facts)
}

fn known_findings(facts: &[wire::Fact]) -> Option<Finding> {
    let oldest = facts.iter().map(|fact| fact.seen_at).min()?;
    let stale: Vec<String> = facts
        .iter()
        .filter(|fact| fact.stale)
        .map(|fact| format!("{} of {}, seen {} ago", fact.name, fact.subject, age(fact.seen_at.0, now())))
        .collect();
    Some(if stale.is_empty() {
        let count = facts.len();
        Finding::ok("facts", format!("{count} known, the oldest seen {} ago", age(oldest.0, now())))
    } else {
        let detail = format!("stale, so nothing is decided by them: {}", stale.join("; "));
        Finding::warn("facts", detail, "see whether Docker and the disks answer: dockswap facts")
    })
}

fn running_proxy(proxy: Option<&RouterStatus>) -> Finding {
    let check = "proxy";
    match proxy {
        Some(proxy) if proxy.version != env!("CARGO_PKG_VERSION") => Finding::warn(
            check,
            format!("it is of version {}, this command of {}", proxy.version, env!("CARGO_PKG_VERSION")),
            "restart it when there is little traffic",
        ),
        Some(proxy) => Finding::ok(
            check,
            format!("it answers: {} routed, table {}", proxy.table.apps.len(), proxy.table.revision),
        ),
        None => Finding::warn(check, "none answers", "dockswap run starts one"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, docker_findings, free, known_findings, listeners, now, port};
    use crate::api::wire;
    use dockswap_core::ports::RouterStatus;
    use dockswap_docker::EngineInfo;
    use std::net::TcpListener;
    use std::path::Path;

    #[test]
    fn a_taken_port_fails_and_names_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let finding = port(listener.local_addr().expect("address"));
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.detail.contains(&format!("pid {}", std::process::id())), "{finding:?}");
        assert!(finding.line().contains("→ stop that"), "{}", finding.line());
    }

    #[test]
    fn a_free_port_is_fine() {
        assert_eq!(port("127.0.0.1:0".parse().expect("address")).level, Level::Ok);
    }

    #[test]
    fn a_proxy_is_taken_by_where_it_listens() {
        let status = |listening: serde_json::Value| -> RouterStatus {
            let route = serde_json::json!({
                "host": "any", "path_prefix": "/", "strip_prefix": false, "listen_port": 9000,
            });
            let tls = serde_json::json!({
                "host": "any", "path_prefix": "/", "strip_prefix": false, "listen_port": null,
                "tls": { "source": "acme" },
            });
            let app = serde_json::json!({ "app": "web", "routes": [route, tls], "target": null });
            serde_json::from_value(serde_json::json!({
                "version": "1", "pid": 1, "table": { "revision": 1, "apps": [app] },
                "listeners": listening, "load": [],
            }))
            .expect("a status")
        };
        let levels = |listening| -> Vec<Level> {
            let address = |text: &str| text.parse().expect("address");
            let wanted = super::ProxySettings {
                http: address("0.0.0.0:8000"),
                https: address("0.0.0.0:8443"),
                ..dockswap_config::Settings::default().proxy
            };
            listeners(&wanted, &status(listening)).iter().map(|finding| finding.level).collect()
        };
        assert_eq!(levels(serde_json::json!(["0.0.0.0:8000", "0.0.0.0:8443", "0.0.0.0:9000"])), [Level::Ok]);
        assert_eq!(levels(serde_json::json!(["0.0.0.0:8000"])), [Level::Ok, Level::Fail, Level::Fail]);
        assert_eq!(levels(serde_json::json!(["0.0.0.0:8000", "0.0.0.0:9000"])), [Level::Ok, Level::Fail]);
        assert_eq!(
            levels(serde_json::json!(["0.0.0.0:8001", "0.0.0.0:8443", "0.0.0.0:9000"])),
            [Level::Warn]
        );
    }

    #[test]
    fn a_docker_without_live_restore_is_warned_of() {
        let info =
            EngineInfo { version: "27.0".to_owned(), warnings: vec![String::new()], ..EngineInfo::default() };
        let levels: Vec<Level> = docker_findings(&info).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Warn]);
    }

    #[test]
    fn stale_facts_are_said_to_be_so() {
        let fact = |stale| wire::Fact {
            name: "disk".to_owned(),
            subject: "/srv".to_owned(),
            value: serde_json::Value::Null,
            seen_at: wire::Time(now()),
            expires_at: wire::Time(now()),
            stale,
        };
        let finding =
            |facts: &[wire::Fact]| known_findings(facts).map(|finding| (finding.level, finding.detail));
        assert_eq!(finding(&[]), None);
        assert_eq!(finding(&[fact(false)]).map(|finding| finding.0), Some(Level::Ok));
        let (level, detail) = finding(&[fact(false), fact(true)]).expect("a finding");
        assert_eq!(level, Level::Warn);
        assert!(detail.contains("disk of /srv"), "{detail}");
    }

    #[test]
    fn a_full_disk_fails() {
        let level = |bytes| free("disk", Path::new("/"), bytes).level;
        assert_eq!(
            [level(0), level(1_000_000_000), level(50_000_000_000)],
            [Level::Fail, Level::Warn, Level::Ok]
        );
    }
}
