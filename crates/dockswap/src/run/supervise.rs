//! The proxy as a process of its own: found, started, kept alive, replaced, ended. Killing the controller
//! leaves it serving, and the next controller adopts it; one of another version has it replaced.

use crate::paths::Paths;
use anyhow::{Context, Result, bail};
use dockswap_config::ProxySettings;
use dockswap_core::ports::Router;
use dockswap_proxy::ProxyClient;
use rustix::process::{Pid, WaitOptions};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a new proxy may take until it answers.
const START: Duration = Duration::from_secs(30);

/// How often an adopted proxy is looked at, and a new one asked whether it is ready.
const LOOK: Duration = Duration::from_secs(2);
const ASK: Duration = Duration::from_millis(10);

/// An adopted proxy that was silent so often in a row is replaced.
const SILENCES: u32 = 3;

/// The first pause before a proxy that ended is started again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a proxy may take to finish its requests when it is told to end.
const FAREWELL: Duration = Duration::from_secs(45);

/// Keeps a proxy running until it is told to end.
pub(crate) struct Supervisor {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What is needed to start a proxy.
#[derive(Clone)]
struct Recipe {
    program: PathBuf,
    data_dir: PathBuf,
    config_dir: PathBuf,
    http: SocketAddr,
    https: SocketAddr,
    owner_file: PathBuf,
    client: Arc<ProxyClient>,
}

/// Which proxy answers.
enum Proxy {
    /// One that this process started.
    Child(Child),
    /// One that was there already. `owned`: an earlier controller started it, so ending it is ours.
    Adopted { pid: u32, owned: bool },
}

/// What a new proxy is started for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The only one.
    Only,
    /// The successor of the one that answers.
    Successor,
}

impl Supervisor {
    /// Adopts the proxy that answers, or starts one.
    ///
    /// # Errors
    /// When none can be started; its own words are on stderr.
    pub(crate) async fn start(
        paths: &Paths,
        settings: &ProxySettings,
        client: Arc<ProxyClient>,
    ) -> Result<Self> {
        let recipe = Recipe {
            program: std::env::current_exe().context("the path of this program is not known")?,
            data_dir: paths.data_dir.clone(),
            config_dir: paths.config_dir.clone(),
            http: settings.http,
            https: settings.https,
            owner_file: paths.proxy_owner_file(),
            client,
        };
        for child in children() {
            tokio::spawn(reap(child));
        }
        let proxy = match recipe.adopt().await {
            Some((proxy, version)) => recipe.renew(proxy, &version).await,
            None => Proxy::Child(recipe.start(Role::Only).await?),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(recipe, proxy, stop.clone()));
        Ok(Self { stop, task })
    }

    /// Ends the proxy that a controller started, after draining; leaves any other running.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }

    /// Leaves the proxy running, whoever started it: the next controller adopts it.
    pub(crate) async fn leave(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Recipe {
    /// Starts a proxy in a process group of its own: a Ctrl-C meant for the controller does not
    /// reach it, and it outlives a crash.
    async fn start(&self, role: Role) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_for_the_proxy(name)))
            .arg("--config-dir")
            .arg(&self.config_dir)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("proxy")
            .arg("--http")
            .arg(self.http.to_string())
            .arg("--https")
            .arg(self.https.to_string())
            .stdin(Stdio::null())
            .process_group(0);
        if role == Role::Successor {
            command.arg("--takeover");
        }
        let spawned = command.spawn();
        let child = spawned.with_context(|| format!("{} cannot be started", self.program.display()))?;
        // Before it answers: whoever is told to end now, or killed, leaves none that nobody knows.
        if let Some(pid) = child.id() {
            self.own(pid);
        }
        let mut starting = Starting(Some(child));
        self.answers(starting.child()?, role).await?;
        let child = starting.0.take().context("it was not taken before")?;
        tracing::info!(pid = child.id(), http = %self.http, "proxy started");
        Ok(child)
    }

    /// Waits until `child` is the proxy that answers.
    async fn answers(&self, child: &mut Child, role: Role) -> Result<()> {
        let deadline = tokio::time::Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait().context("the proxy cannot be waited for")? {
                bail!("the proxy ended at once ({status}): see its message above");
            }
            match self.client.status().await {
                Ok(status) if Some(status.pid) == child.id() => return Ok(()),
                Ok(status) if role == Role::Only => {
                    bail!("another proxy answers after all (process {})", status.pid)
                }
                Ok(_) | Err(_) => {}
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the proxy did not answer within {START:?}");
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Notes that process `pid` is a controller's to end.
    fn own(&self, pid: u32) {
        if let Err(error) = std::fs::write(&self.owner_file, format!("{pid}\n")) {
            let file = self.owner_file.display();
            tracing::warn!(%error, %file, "the next controller will not know this proxy as its own");
        }
    }

    /// The proxy that answers after all, as one to adopt, and its version.
    async fn adopt(&self) -> Option<(Proxy, String)> {
        let status = self.client.status().await.ok()?;
        let started_by_us = std::fs::read_to_string(&self.owner_file);
        let owned = started_by_us.is_ok_and(|text| text.trim() == status.pid.to_string());
        let (pid, version) = (status.pid, status.version);
        tracing::info!(pid, version, revision = status.table.revision, "adopted the running proxy");
        Some((Proxy::Adopted { pid, owned }, version))
    }

    /// The successor of `proxy` where that is of another program than this one, and a controller's; else itself.
    async fn renew(&self, proxy: Proxy, version: &str) -> Proxy {
        let Proxy::Adopted { pid, owned } = proxy else { return proxy };
        if version == env!("CARGO_PKG_VERSION") && !runs_another_file(pid) {
            return proxy;
        }
        if !owned {
            tracing::warn!(
                pid,
                version,
                "the proxy is of another program, and was started by somebody else: `dockswap proxy --takeover`, run the same way, takes its place"
            );
            return proxy;
        }
        match self.start(Role::Successor).await {
            Ok(child) => Proxy::Child(child),
            Err(error) => {
                tracing::error!(pid, version, "the proxy is not replaced, and goes on: {error:#}");
                self.own(pid);
                proxy
            }
        }
    }

    /// Finds or starts a proxy, however often it takes.
    async fn restart(&self) -> Proxy {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some((proxy, _)) = self.adopt().await {
                return proxy;
            }
            match self.start(Role::Only).await {
                Ok(child) => return Proxy::Child(child),
                Err(error) => tracing::error!("{error:#}; trying again in {pause:?}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether the proxy is to know a variable of the controller's: how it logs, and its own settings. The
/// controller's environment holds what apps are given by `${env:NAME}`, and may hold the way to Docker and the
/// database.
fn is_for_the_proxy(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["DOCKSWAP_PROXY__", "DOCKSWAP_LOG"].iter().any(|prefix| name.starts_with(prefix))
        || ["LANG", "NO_COLOR", "RUST_BACKTRACE", "RUST_LOG", "TZ"].contains(&&*name)
}

async fn keep(recipe: Recipe, mut proxy: Proxy, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = gone(&recipe, &mut proxy) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            next = recipe.restart() => proxy = next,
        }
    }
    match proxy {
        Proxy::Child(mut child) => {
            if let Some(pid) = child.id() {
                terminate(pid);
            }
            match tokio::time::timeout(FAREWELL, child.wait()).await {
                Ok(Ok(_)) => tracing::info!("proxy ended"),
                Ok(Err(error)) => tracing::warn!(%error, "the proxy cannot be waited for"),
                Err(_) => {
                    tracing::warn!("the proxy did not end within {FAREWELL:?}: killed");
                    let _ = child.kill().await;
                }
            }
        }
        Proxy::Adopted { pid, owned: true } => {
            terminate(pid);
            let ended = async {
                while recipe.client.status().await.is_ok() {
                    tokio::time::sleep(ASK).await;
                }
            };
            if tokio::time::timeout(FAREWELL, ended).await.is_err() {
                tracing::warn!(pid, "the proxy did not end within {FAREWELL:?}");
            }
        }
        Proxy::Adopted { pid, owned: false } => {
            tracing::info!(pid, "the proxy was not started by a controller: it goes on");
            return;
        }
    }
    let _ = std::fs::remove_file(&recipe.owner_file);
}

/// A proxy that does not answer yet; it does not outlive the wait for it.
struct Starting(Option<Child>);

impl Starting {
    fn child(&mut self) -> Result<&mut Child> {
        self.0.as_mut().context("it was not taken before")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended by itself cannot be killed.
            let _ = child.start_kill();
        }
    }
}

/// Waits until the proxy is no longer the one that answers.
async fn gone(recipe: &Recipe, proxy: &mut Proxy) {
    let known = match proxy {
        Proxy::Child(child) => child.id(),
        Proxy::Adopted { pid, .. } => Some(*pid),
    };
    let mut silences = 0;
    loop {
        let ended = match proxy {
            Proxy::Child(child) => tokio::select! {
                status = child.wait() => Some(status.map_or_else(|error| error.to_string(), |status| status.to_string())),
                () = tokio::time::sleep(LOOK) => None,
            },
            Proxy::Adopted { .. } => {
                tokio::time::sleep(LOOK).await;
                (silences >= SILENCES).then(|| "no answer any more".to_owned())
            }
        };
        silences = match recipe.client.status().await {
            Ok(status) if Some(status.pid) != known => {
                return tracing::info!(
                    pid = status.pid,
                    version = status.version,
                    "another proxy has taken over, which this controller did not start"
                );
            }
            Ok(_) => 0,
            Err(_) => silences + 1,
        };
        if let Some(how) = ended {
            return tracing::error!(pid = known, "the proxy is gone ({how})");
        }
    }
}

/// The children of this process: of the controller that went on as this one, where there was one.
fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether process `pid` runs another file than this process, as far as that can be told: a build has no other name.
fn runs_another_file(pid: u32) -> bool {
    let file = |of: String| std::fs::metadata(format!("/proc/{of}/exe")).map(|file| (file.dev(), file.ino()));
    let (ours, theirs) = (file("self".to_owned()), file(pid.to_string()));
    ours.ok().zip(theirs.ok()).is_some_and(|(ours, theirs)| ours != theirs)
}

/// Waits for the end of process `pid` where it is a child of this one: a controller that went on as another program
/// has children that it does not know.
async fn reap(pid: u32) {
    let Some(pid) = process(pid) else { return };
    while let Ok(None) = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
        tokio::time::sleep(LOOK).await;
    }
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn terminate(pid: u32) {
    let Some(pid) = process(pid) else { return };
    if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        tracing::warn!(%error, "the proxy cannot be told to end");
    }
}
