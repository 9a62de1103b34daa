//! The proxy as a process of its own: found, started, kept alive, ended. Killing the controller
//! leaves it serving, and the next controller adopts it.

use crate::paths::Paths;
use anyhow::{Context, Result, bail};
use dockswap_config::ProxySettings;
use dockswap_core::ports::Router;
use dockswap_proxy::ProxyClient;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a new proxy may take until it answers.
const START: Duration = Duration::from_secs(15);

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
        let proxy = match recipe.adopt().await {
            Some(proxy) => proxy,
            None => Proxy::Child(recipe.start().await?),
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
}

impl Recipe {
    /// Starts a proxy in a process group of its own: a Ctrl-C meant for the controller does not
    /// reach it, and it outlives a crash.
    async fn start(&self) -> Result<Child> {
        let mut child = Command::new(&self.program)
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
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let deadline = tokio::time::Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait().context("the proxy cannot be waited for")? {
                bail!("the proxy ended at once ({status}): see its message above");
            }
            match self.client.status().await {
                Ok(status) if Some(status.pid) == child.id() => break,
                Ok(status) => bail!("another proxy answers after all (process {})", status.pid),
                Err(_) => {}
            }
            if tokio::time::Instant::now() > deadline {
                let _ = child.start_kill();
                bail!("the proxy did not answer within {START:?}");
            }
            tokio::time::sleep(ASK).await;
        }
        if let Some(pid) = child.id() {
            tracing::info!(pid, http = %self.http, "proxy started");
            if let Err(error) = std::fs::write(&self.owner_file, format!("{pid}\n")) {
                tracing::warn!(%error, file = %self.owner_file.display(), "the next controller will not know this proxy as its own");
            }
        }
        Ok(child)
    }

    /// The proxy that answers after all, as one to adopt.
    async fn adopt(&self) -> Option<Proxy> {
        let status = self.client.status().await.ok()?;
        let started_by_us = std::fs::read_to_string(&self.owner_file);
        let owned = started_by_us.is_ok_and(|text| text.trim() == status.pid.to_string());
        tracing::info!(
            pid = status.pid,
            version = status.version,
            revision = status.table.revision,
            "adopted the running proxy"
        );
        Some(Proxy::Adopted { pid: status.pid, owned })
    }

    /// Finds or starts a proxy, however often it takes.
    async fn restart(&self) -> Proxy {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(proxy) = self.adopt().await {
                return proxy;
            }
            match self.start().await {
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

/// Ends when the proxy is no longer there.
async fn gone(recipe: &Recipe, proxy: &mut Proxy) {
    match proxy {
        Proxy::Child(child) => {
            let status: Option<ExitStatus> = child.wait().await.ok();
            match status {
                Some(status) => tracing::error!("the proxy ended ({status})"),
                None => tracing::error!("the proxy ended"),
            }
        }
        Proxy::Adopted { pid, .. } => {
            let mut silences = 0;
            while silences < SILENCES {
                tokio::time::sleep(LOOK).await;
                silences = if recipe.client.status().await.is_ok() { 0 } else { silences + 1 };
            }
            tracing::error!(pid = *pid, "the proxy does not answer any more");
        }
    }
}

fn terminate(pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return };
    if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        tracing::warn!(%error, "the proxy cannot be told to end");
    }
}
