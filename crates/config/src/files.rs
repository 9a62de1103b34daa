//! The port [`AppFiles`]: what the controller asks of app files that are stored already.

use crate::app::Origin;
use crate::environment::Reader;
use crate::policy::Policy;
use crate::trust::Trust;
use crate::yaml::MAX_BYTES;
use crate::{app, environment};
use async_trait::async_trait;
use dockswap_core::ports::{AppFiles, ResolveError, Secret, SpecError};
use dockswap_core::records::ConfigRow;
use dockswap_core::{AppSpec, Color};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// App files as they are stored, read as if they stood in the apps directory.
#[derive(Clone, Debug)]
pub struct StoredFiles {
    apps_dir: PathBuf,
    policy: Policy,
}

impl StoredFiles {
    /// Relative paths in the files begin at `apps_dir`.
    #[must_use]
    pub fn new(apps_dir: impl Into<PathBuf>, policy: Policy) -> Self {
        Self { apps_dir: apps_dir.into(), policy }
    }

    /// The text of a file that `tls` of an app file names, as far as it may be read for that now: by `policy`, and,
    /// as app files themselves, only where nobody but whom `trust` allows can write it or its directory. It takes as
    /// long as the disk does, and a thread with it.
    ///
    /// # Errors
    /// Why it may not or cannot be read, as a sentence without the path.
    pub async fn certificate_file(&self, path: &str, trust: Trust) -> Result<String, String> {
        let (files, path) = (self.clone(), PathBuf::from(path));
        let read = tokio::task::spawn_blocking(move || files.read_certificate(&path, trust));
        read.await.unwrap_or_else(|_| Err("reading it broke off".to_owned()))
    }

    fn read_certificate(&self, path: &Path, trust: Trust) -> Result<String, String> {
        let said = |error: std::io::Error| error.to_string();
        // A link may lead somewhere else than when the app file was read.
        let real = path.canonicalize().map_err(said)?;
        self.policy.check_certificate(&real, &self.apps_dir)?;
        // Who can write the directory can put another file, or another link, in its place.
        for dir in [path.parent(), real.parent()].into_iter().flatten() {
            trust.check(dir, &dir.metadata().map_err(said)?)?;
        }
        // No pipe holds this up, and no link that was put there meanwhile is followed.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
        let file =
            File::from(rustix::fs::open(&real, flags, Mode::empty()).map_err(|error| said(error.into()))?);
        let metadata = file.metadata().map_err(said)?;
        if !metadata.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        trust.check(&real, &metadata)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(said)?;
        if bytes.len() > MAX_BYTES {
            return Err("it is larger than 1 MiB".to_owned());
        }
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
    }
}

#[async_trait]
impl AppFiles for StoredFiles {
    fn parse(&self, row: &ConfigRow) -> Result<Arc<AppSpec>, SpecError> {
        let title = format!("{} (config {})", row.app, row.id);
        let parsed = app::parse(Path::new(&title), &row.bytes, &self.apps_dir, &self.policy, Origin::Records);
        parsed.map(Arc::new).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            SpecError { config: row.id, message: lines.join("\n") }
        })
    }

    async fn environment(&self, spec: &AppSpec, color: Color) -> Result<Vec<(String, Secret)>, ResolveError> {
        environment::check_mounts(spec, &self.policy)?;
        let reader = Reader { policy: &self.policy, base: &self.apps_dir };
        environment::resolve(spec, color, reader, &|name| std::env::var(name).ok()).await
    }
}

#[cfg(test)]
mod tests {
    use super::StoredFiles;
    use crate::policy::Policy;
    use crate::trust::Trust;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    }

    #[tokio::test]
    async fn what_others_can_write_is_no_certificate() {
        let dir = tempfile::tempdir().expect("a directory");
        let apps = dir.path().canonicalize().expect("a path");
        let (live, archive) = (apps.join("live"), apps.join("archive"));
        for dir in [&live, &archive] {
            fs::create_dir(dir).expect("a directory");
            mode(dir, 0o755);
        }
        let (file, link) = (archive.join("cert.pem"), live.join("cert.pem"));
        fs::write(&file, "chain").expect("written");
        symlink(&file, &link).expect("a link");
        let files = StoredFiles::new(&apps, Policy::default());
        let read = async |trust| files.certificate_file(link.to_str().expect("a path"), trust).await;
        assert_eq!(read(Trust::Owner).await.as_deref(), Ok("chain"));
        for (path, open, shut) in [(&file, 0o666, 0o644), (&archive, 0o777, 0o755), (&live, 0o777, 0o755)] {
            mode(path, open);
            let refused = read(Trust::Owner).await.expect_err("it may be anybody's");
            assert!(refused.starts_with(&format!("everybody can write {}", path.display())), "{refused}");
            assert_eq!(read(Trust::Any).await.as_deref(), Ok("chain"));
            mode(path, shut);
        }
    }

    #[tokio::test]
    async fn a_pipe_holds_nobody_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().canonicalize().expect("a path").join("cert.pem");
        let user = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, user, 0).expect("a pipe");
        let files = StoredFiles::new(dir.path(), Policy::default());
        let read = files.certificate_file(pipe.to_str().expect("a path"), Trust::Owner).await;
        assert_eq!(read, Err("it is not a regular file".to_owned()));
    }
}
