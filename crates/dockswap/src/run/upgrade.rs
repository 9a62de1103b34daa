//! Going on as the program that lies where this one was started from: another version, mostly. The process stays the
//! same, so that a service manager sees nothing but that it was not ready for a moment.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file that this process was started from.
#[derive(Debug)]
pub(crate) struct Program(PathBuf);

/// Where a program lies that was called `name`: as `execvp(3)` looks for it.
fn find(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

impl Program {
    /// To be called early: once the file has been replaced, the kernel does not tell its name any more. A link that
    /// the program was started by is followed each time anew: it may lead to another version then.
    ///
    /// # Errors
    /// When the kernel does not tell it.
    pub(crate) fn this() -> Result<Self> {
        let file = std::env::current_exe().context("the path of this program is not known")?;
        let named = std::env::args_os().next().map(PathBuf::from).and_then(|name| find(&name));
        let is_it = |path: &PathBuf| path.canonicalize().is_ok_and(|leads_to| leads_to == file);
        Ok(Self(named.filter(is_it).unwrap_or(file)))
    }

    /// The version that it says it is.
    ///
    /// # Errors
    /// When it is not there, does not run on this machine, or says none.
    pub(crate) async fn try_out(&self) -> Result<String> {
        let mut command = Command::new(&self.0);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let program = self.0.display();
        let said = timeout(PATIENCE, command.output()).await;
        let said = said.with_context(|| format!("{program} does not say its version"))?;
        let said = said.with_context(|| format!("{program} cannot be started"))?;
        if !said.status.success() {
            bail!(
                "{program} does not run ({}): {}",
                said.status,
                String::from_utf8_lossy(&said.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    /// Puts the program in the place of this one, with the same arguments and environment; returns only when that
    /// fails.
    pub(crate) fn take_the_place(&self) -> std::io::Error {
        std::process::Command::new(&self.0).args(std::env::args_os().skip(1)).exec()
    }
}
