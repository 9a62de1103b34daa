//! A dockswap of a test's own: its directories, its controller, its proxy, its apps. Nothing of it is
//! left when it is dropped, also when the test failed.

use crate::app_file::AppFile;
use crate::binary::dockswap;
use crate::command::Done;
use crate::database::Database;
use crate::docker::{Container, Docker};
use crate::dockerd::Dockerd;
use crate::rest::unix_get;
use crate::scripted::ScriptedDocker;
use crate::wait::{holds, until};
use rustix::process::{Pid, Signal};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The longest that anything is waited for that takes no time of its own.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest that a deployment is waited for.
const DEPLOYMENT: Duration = Duration::from_secs(90);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A dockswap of a test's own.
#[derive(Debug)]
pub struct Site {
    home: TempDir,
    /// Part of every app's name, so that no two sites share a container name or a label.
    mark: String,
    http: SocketAddr,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    program: PathBuf,
    controller: Option<Child>,
    apps: Arc<Mutex<Vec<String>>>,
    engine: Engine,
}

/// The Docker that a site is on.
#[derive(Debug)]
enum Engine {
    Real(Docker),
    Scripted(ScriptedDocker),
}

impl Site {
    /// Directories and a free port; nothing runs yet.
    #[must_use]
    pub fn prepare() -> Self {
        let home = tempfile::Builder::new().prefix("dsw").tempdir().expect("a directory for temporary files");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let site = Self {
            mark: format!("{:x}{count}", std::process::id()),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            flags: Vec::new(),
            variables: Vec::new(),
            program: dockswap(),
            controller: None,
            apps: Arc::default(),
            engine: Engine::Real(Docker::default()),
            home,
        };
        std::fs::create_dir_all(site.config_dir().join("apps")).expect("a config directory");
        site
    }

    /// A running dockswap.
    #[must_use]
    pub fn start() -> Self {
        let mut site = Self::prepare();
        site.run();
        site
    }

    /// Directories and a free port, on a scripted Docker of its own; nothing runs yet.
    #[must_use]
    pub fn scripted() -> Self {
        Self::prepare().on(&ScriptedDocker::start())
    }

    /// The same site on that Docker.
    #[must_use]
    pub fn on(mut self, docker: &ScriptedDocker) -> Self {
        self.variables.push(("DOCKER_HOST".to_owned(), docker.host()));
        self.engine = Engine::Scripted(docker.clone());
        self
    }

    /// The same site on a dockerd of the test's own.
    #[must_use]
    pub fn on_dockerd(mut self, dockerd: &Dockerd) -> Self {
        let docker = dockerd.docker();
        let host = docker.host().expect("a Docker of the test's own").to_owned();
        self.engine = Engine::Real(docker);
        self.flag("--docker-host", &host)
    }

    /// The scripted Docker that it is on.
    #[must_use]
    pub fn docker(&self) -> &ScriptedDocker {
        match &self.engine {
            Engine::Scripted(docker) => docker,
            Engine::Real(_) => panic!("this site is on a real Docker"),
        }
    }

    /// Every container of `app`, running or not, by name, as its Docker shows them.
    #[must_use]
    pub fn containers(&self, app: &str) -> Vec<Container> {
        match &self.engine {
            Engine::Real(docker) => docker.containers(app),
            Engine::Scripted(docker) => docker.containers(app),
        }
    }

    /// Those that run.
    #[must_use]
    pub fn running(&self, app: &str) -> Vec<Container> {
        self.containers(app).into_iter().filter(|container| container.state == "running").collect()
    }

    /// A flag of `dockswap run`, with its value.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// A variable of the controller's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another program under test.
    #[must_use]
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = path;
        self
    }

    /// From now on a Ctrl-C removes what the site has made, and ends this process. (The controller,
    /// which gets the Ctrl-C too, ends the proxy.)
    pub fn clean_up_on_interrupt(&self) {
        let (apps, home, socket) = (Arc::clone(&self.apps), self.home.path().to_owned(), self.api_socket());
        let docker = match &self.engine {
            Engine::Real(docker) => Some(docker.clone()),
            Engine::Scripted(_) => None,
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let interrupted = runtime.expect("a runtime").block_on(tokio::signal::ctrl_c());
            interrupted.expect("signals can be handled");
            holds("the controller has ended", PATIENCE, || !socket.exists());
            if let Some(docker) = docker {
                apps.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|app| docker.sweep(app));
            }
            // What cannot be removed is in a directory for temporary files.
            let _ = std::fs::remove_dir_all(home);
            std::process::exit(130);
        });
    }

    /// The site's own directory; what the test puts there is removed with it.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `--config-dir`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.home.path().join("cfg")
    }

    /// `--data-dir`.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The controller's socket.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.data_dir().join("api.sock")
    }

    /// What controller and proxy wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("run.log")
    }

    /// Where the proxy listens.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::at(self.data_dir().join("dockswap.db"))
    }

    // ---------------------------------------------------------------- processes

    /// Starts the controller and waits until it is ready.
    pub fn run(&mut self) {
        assert!(self.controller.is_none(), "the controller runs already");
        self.controller = Some(self.spawn());
        self.is_ready();
    }

    /// Waits until the controller is ready.
    pub fn is_ready(&mut self) {
        let socket = self.api_socket();
        until("the controller is ready", PATIENCE, || {
            if let Some(status) = self.controller.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("the controller ended ({status}):\n{}", self.log());
            }
            unix_get(&socket, "/readyz").filter(|(status, _)| *status == 200)
        });
    }

    /// Starts a controller and leaves it to the caller, who need not wait for it to be ready.
    #[must_use]
    pub fn spawn(&self) -> Child {
        let log = || -> File {
            let mut options = OpenOptions::new();
            options.create(true).append(true).open(self.log_file()).expect("a log file")
        };
        let mut command = self.dockswap();
        command.args(["run", "--proxy-http", &self.http.to_string()]).args(&self.flags);
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Starts a proxy that takes over from the one that runs, and waits until it has.
    #[must_use]
    pub fn take_over_proxy(&self) -> Child {
        let log = OpenOptions::new().append(true).open(self.log_file()).expect("the log");
        let mut command = self.dockswap();
        command.args(["proxy", "--takeover", "--http", &self.http.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        holds("the new proxy answers", PATIENCE, || {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("the new proxy ended ({status}):\n{}", self.log());
            }
            self.proxy_pid() == Some(child.id())
        });
        child
    }

    /// `dockswap` with this site's directories, in an environment that knows of no other.
    fn dockswap(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DOCKSWAP_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").envs(self.variables.iter().cloned());
        command.arg("--config-dir").arg(self.config_dir()).arg("--data-dir").arg(self.data_dir());
        command
    }

    /// Runs one of the operator's commands to its end.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Done {
        Done::of(self.dockswap().args(arguments))
    }

    /// The same by whoever shows this token.
    #[must_use]
    pub fn command_as(&self, token: &str, arguments: &[&str]) -> Done {
        Done::of(self.dockswap().env("DOCKSWAP_TOKEN", token).args(arguments))
    }

    /// Starts one of the operator's commands.
    #[must_use]
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.dockswap();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The controller's process id.
    #[must_use]
    pub fn controller_pid(&self) -> u32 {
        self.controller.as_ref().expect("a controller").id()
    }

    /// `kill -9`.
    pub fn kill_controller(&mut self) {
        let mut child = self.controller.take().expect("a controller");
        child.kill().expect("a process of ours");
        let status = child.wait().expect("a child of ours");
        assert_eq!(status.signal(), Some(9), "it ended before it was killed:\n{}", self.log());
    }

    /// Waits until the controller has died by itself.
    pub fn controller_dies(&mut self) -> ExitStatus {
        let child = self.controller.as_mut().expect("a controller");
        let status =
            until("the controller has died", PATIENCE, || child.try_wait().expect("a child of ours"));
        self.controller = None;
        status
    }

    /// Sends `signal` to the controller.
    pub fn tell_controller(&self, signal: Signal) {
        send(self.controller_pid(), signal);
    }

    /// Sends `signal` to the controller and waits for its end.
    pub fn end_controller(&mut self, signal: Signal) -> ExitStatus {
        let mut child = self.controller.take().expect("a controller");
        send(child.id(), signal);
        until("the controller has ended", PATIENCE, || child.try_wait().expect("a child of ours"))
    }

    /// What the proxy says of itself; `None`: it does not answer.
    #[must_use]
    pub fn proxy_status(&self) -> Option<serde_json::Value> {
        let (status, body) = unix_get(&self.data_dir().join("proxy.sock"), "/v1/status")?;
        (status == 200).then(|| serde_json::from_str(&body).expect("JSON from the proxy"))
    }

    /// The proxy's process id; `None`: it does not answer.
    #[must_use]
    pub fn proxy_pid(&self) -> Option<u32> {
        self.proxy_status()?["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    // ---------------------------------------------------------------- apps

    /// A name for an app that nobody else has.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        let name = format!("{name}-{}", self.mark);
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        name
    }

    /// The file of an app.
    #[must_use]
    pub fn file_of(&self, app: &str) -> PathBuf {
        self.config_dir().join("apps").join(format!("{app}.yaml"))
    }

    /// Saves an app's file as most editors do: a new file, renamed over the old one.
    pub fn save(&self, file: &AppFile) {
        self.save_text(file.name(), &file.to_string());
    }

    /// Saves any text as an app's file.
    pub fn save_text(&self, app: &str, text: &str) {
        let path = self.file_of(app);
        let fresh = self.config_dir().join("apps").join(format!(".{app}.new"));
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path)).expect("an app file");
    }

    /// Saves an app's file and waits until its deployment has ended: its id and status.
    pub fn deploy(&self, file: &AppFile) -> (i64, String) {
        self.save(file);
        let (app, sha) = (file.name(), self.sha(file.name()));
        let database = self.database();
        until(&format!("{app}: the deployment of {sha} has ended"), DEPLOYMENT, || database.ended(app, &sha))
    }

    /// Saves an app's file and waits until it serves and is stable: the deployment.
    pub fn deployed(&self, file: &AppFile) -> i64 {
        let (id, status) = self.deploy(file);
        assert_eq!(status, "success", "deployment {id} of {}:\n{}", file.name(), self.events(file.name()));
        self.settled(file.name());
        id
    }

    /// Waits until nothing is in flight any more for `app`; its state then.
    pub fn settled(&self, app: &str) -> String {
        let database = self.database();
        let open = "SELECT count(*) FROM deployments WHERE app_name = ?1 AND status = 'in_progress'";
        until(&format!("{app} is settled"), DEPLOYMENT, || {
            database
                .state(app)
                .filter(|state| ["stable", "failed", "pending", "retired"].contains(&state.as_str()))
                .filter(|_| database.number(open, &[app]) == 0)
        })
    }

    /// Waits until `current_state` of `app` says `state`.
    pub fn reaches(&self, app: &str, state: &str) {
        let database = self.database();
        holds(&format!("{app} is in state {state}"), DEPLOYMENT, || {
            database.state(app).as_deref() == Some(state)
        });
    }

    /// The SHA-256 of an app's file, by `sha256sum`.
    #[must_use]
    pub fn sha(&self, app: &str) -> String {
        let done = Done::of(Command::new("sha256sum").arg(self.file_of(app))).exits(0);
        done.stdout.split_whitespace().next().expect("a hash").to_owned()
    }

    /// Every event of an app, for messages.
    #[must_use]
    pub fn events(&self, app: &str) -> String {
        let sql = "SELECT deployment_id || ' ' || event_type || ' ' || coalesce(error, '') AS line
                   FROM deployment_events WHERE app_name = ?1 ORDER BY id";
        let rows = self.database().rows(sql, &[app]);
        let lines: Vec<&str> = rows.iter().filter_map(|row| row["line"].as_str()).collect();
        lines.join("\n")
    }

    /// The value of the `Host` header by which an app is reached that has no routes of its own.
    #[must_use]
    pub fn host_of(&self, app: &str) -> String {
        format!("{app}.localhost")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(12_000).map_or(0, |(at, _)| at);
            eprintln!("--- the last words of controller and proxy\n{}", &log[from..]);
        }
        let proxy = self.proxy_pid().or_else(|| {
            let file = std::fs::read_to_string(self.data_dir().join("proxy.pid")).ok()?;
            let pid: u32 = file.trim().parse().ok()?;
            // The number may have gone to somebody else meanwhile.
            let program = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let ours = self.data_dir().display().to_string();
            String::from_utf8_lossy(&program).contains(&ours).then_some(pid)
        });
        // The controller first: it would start the proxy again.
        if let Some(mut child) = self.controller.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(pid) = self.proxy_pid().or(proxy) {
            send(pid, Signal::KILL);
        }
        if let Engine::Real(docker) = &self.engine {
            for app in self.apps.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                docker.sweep(app);
            }
        }
    }
}

/// Sends a signal to a process of ours; one that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A port below those that the kernel gives to outgoing connections: a proxy that is started again
/// finds it free.
pub fn free_port() -> u16 {
    let seed = std::process::id().wrapping_mul(31);
    let count = u32::try_from(COUNT.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
    let start = seed.wrapping_add(count.wrapping_mul(97)) % 10_000;
    let ports = (0..10_000u32).map(|step| 20_000 + (start + step * 7) % 10_000);
    ports
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
