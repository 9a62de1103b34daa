//! Where files are. The rules of each path stand in one place, for the controller and the commands.

use anyhow::{Context, Result, bail};
use dockswap_config::{Policy, Problem, Settings, Trust};
use std::path::{Path, PathBuf};

/// The two directories that everything else follows from.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// App files and settings.
    pub(crate) config_dir: PathBuf,
    /// Database, sockets and the proxy's last table.
    pub(crate) data_dir: PathBuf,
}

impl Paths {
    /// The directories as given, else as the environment says, else the user's own, else the
    /// system's (as root). Nothing is created.
    pub(crate) fn resolve(config_dir: Option<PathBuf>, data_dir: Option<PathBuf>) -> Result<Self> {
        let local = Path::new("dockswap-cfg");
        let config_dir = match config_dir {
            Some(dir) => dir,
            None if local.is_dir() => local.to_owned(),
            None => user_dir("XDG_CONFIG_HOME", ".config", "/etc/dockswap")
                .context("no config directory: give one by --config-dir or DOCKSWAP_CONFIG_DIR")?,
        };
        let data_dir = match data_dir {
            Some(dir) => dir,
            None => user_dir("XDG_DATA_HOME", ".local/share", "/var/lib/dockswap")
                .context("no data directory: give one by --data-dir or DOCKSWAP_DATA_DIR")?,
        };
        Ok(Self { config_dir: absolute(&config_dir)?, data_dir: absolute(&data_dir)? })
    }

    /// The app files.
    pub(crate) fn apps_dir(&self) -> PathBuf {
        self.config_dir.join("apps")
    }

    /// The controller's settings.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.config_dir.join("dockswap.yaml")
    }

    /// The controller's socket.
    pub(crate) fn api_socket(&self) -> PathBuf {
        self.data_dir.join("api.sock")
    }

    /// The proxy's socket.
    pub(crate) fn proxy_socket(&self) -> PathBuf {
        self.data_dir.join("proxy.sock")
    }

    /// The proxy's last table.
    pub(crate) fn proxy_snapshot(&self) -> PathBuf {
        self.data_dir.join("routes.json")
    }

    /// The proxy's last certificates, with their keys.
    pub(crate) fn proxy_keyfile(&self) -> PathBuf {
        self.data_dir.join("certificates.json")
    }

    /// What ACME servers know us by, and what they gave us.
    pub(crate) fn acme_dir(&self) -> PathBuf {
        self.data_dir.join("acme")
    }

    /// The proxy's own directory, when it runs as a user of its own; socket, table and certificates are in there then.
    pub(crate) fn proxy_home(&self) -> PathBuf {
        self.data_dir.join("proxy")
    }

    /// Names the process id of the proxy that a controller started.
    pub(crate) fn proxy_owner_file(&self) -> PathBuf {
        self.data_dir.join("proxy.pid")
    }

    /// Whether nobody else decides about the settings: the config directory and the settings file. That
    /// file cannot vouch for itself; whoever starts us can, by `DOCKSWAP_CONFIG__TRUST=any`.
    ///
    /// # Errors
    /// What others can write.
    pub(crate) fn check_trust(&self) -> Result<(), String> {
        let by_hand = std::env::var_os("DOCKSWAP_CONFIG__TRUST").is_some_and(|value| value == "any");
        let trust = if by_hand { Trust::Any } else { Trust::Owner };
        for path in [self.config_dir.clone(), self.settings_file()] {
            // What is not there is found out, and told, by whoever needs it.
            if let Ok(metadata) = std::fs::metadata(&path) {
                trust.judge(&path, &metadata, "DOCKSWAP_CONFIG__TRUST=any")?;
            }
        }
        Ok(())
    }

    /// The settings of file and environment over the defaults; flags are the caller's to overlay.
    pub(crate) fn settings(&self) -> Result<Settings, Vec<Problem>> {
        let file = self.settings_file();
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                return Err(vec![Problem { file, position: None, path: String::new(), message }]);
            }
        };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Settings::load(bytes.as_deref().map(|bytes| (file.as_path(), bytes)), variables)
    }

    /// Adds to `policy` what follows from where we are: the data directory and Docker's socket are no container's, and
    /// secrets may lie in the config directory.
    pub(crate) fn complete(&self, policy: &mut Policy) {
        policy.protected.push(self.data_dir.clone());
        let docker = std::env::var("DOCKER_HOST").unwrap_or_default();
        policy.protected.extend(docker.strip_prefix("unix://").map(PathBuf::from));
        policy.files.push(self.config_dir.clone());
    }

    /// Where the controller's own backups are; `None`: the database is no file, and has tools of its own.
    pub(crate) fn backups_dir(&self, settings: &Settings) -> Option<PathBuf> {
        let is_file = self.database_url(settings).starts_with("sqlite:");
        is_file.then(|| settings.backup.dir.clone().unwrap_or_else(|| self.data_dir.join("backups")))
    }

    /// Says when what is old was last looked for.
    pub(crate) fn last_round(&self) -> PathBuf {
        self.data_dir.join("last-round")
    }

    /// The database's address.
    pub(crate) fn database_url(&self, settings: &Settings) -> String {
        settings
            .database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("dockswap.db").display()))
    }
}

/// The user's directory, or the system's for root.
fn user_dir(variable: &str, below_home: &str, system: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(base) = set(variable) {
        return Some(base.join("dockswap"));
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(system));
    }
    set("HOME").map(|home| home.join(below_home).join("dockswap"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        bail!("a directory's name is empty");
    }
    std::path::absolute(path).with_context(|| format!("{} cannot be made absolute", path.display()))
}
