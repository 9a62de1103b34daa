//! App files as they stand on disk, checked one by one and against each other.

use crate::paths::Paths;
use dockswap_config::{
    Claim, DirectoryState, FileContent, MAX_BYTES, Policy, Problem, Settings, Standing, check_clashes,
    parse_app, read_directory,
};
use dockswap_core::AppSpec;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that can be used, as far as it alone is concerned.
#[derive(Debug)]
pub(crate) struct AppFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) spec: AppSpec,
}

/// What files say, and everything that is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// How many were looked at.
    pub(crate) count: usize,
    pub(crate) files: Vec<AppFile>,
    /// As `FILE:LINE:COLUMN: FIELD: MESSAGE`.
    pub(crate) problems: Vec<String>,
}

impl Checked {
    /// Every app file of the config directory.
    pub(crate) fn directory(paths: &Paths, settings: &Settings) -> Self {
        let snapshot = read_directory(&paths.apps_dir());
        let mut checked = Self::default();
        if let DirectoryState::Unavailable(reason) = &snapshot.directory {
            checked.problems.push(format!("{}: {reason}", paths.apps_dir().display()));
        }
        let policy = policy(paths, settings);
        for (path, content) in snapshot.files {
            match content {
                FileContent::Bytes(bytes) => checked.add(path, bytes.to_vec(), &policy),
                FileContent::Unreadable(reason) => checked.refuse(&path, &reason),
            }
        }
        checked.against_each_other(settings)
    }

    /// These files, in this order.
    pub(crate) fn files(files: &[PathBuf], paths: &Paths, settings: &Settings) -> Self {
        let mut checked = Self::default();
        let policy = policy(paths, settings);
        for path in files {
            match read(path) {
                Ok(bytes) => checked.add(path.clone(), bytes, &policy),
                Err(error) => checked.refuse(path, &error.to_string()),
            }
        }
        checked.against_each_other(settings)
    }

    fn add(&mut self, path: PathBuf, bytes: Vec<u8>, policy: &Policy) {
        self.count += 1;
        let base = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match parse_app(&path, &bytes, base, policy) {
            Ok(spec) => self.files.push(AppFile { path, bytes, spec }),
            Err(problems) => self.problems.extend(problems.iter().map(Problem::to_string)),
        }
    }

    fn refuse(&mut self, path: &Path, reason: &str) {
        self.count += 1;
        self.problems.push(format!("{}: {reason}", path.display()));
    }

    fn against_each_other(mut self, settings: &Settings) -> Self {
        let claims: Vec<Claim<'_>> = self
            .files
            .iter()
            .map(|file| Claim {
                file: &file.path,
                bytes: &file.bytes,
                spec: &file.spec,
                standing: Standing::Newcomer,
            })
            .collect();
        let problems = check_clashes(&claims, &settings.reserved_ports());
        self.problems.extend(problems.iter().map(Problem::to_string));
        self
    }
}

/// What app files may ask for, with our own paths protected.
fn policy(paths: &Paths, settings: &Settings) -> Policy {
    let mut policy = settings.policy.clone();
    policy.protected.push(paths.data_dir.clone());
    policy
}

/// A byte more than is allowed is read, so that the size is refused where all problems are told.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::Checked;
    use crate::paths::Paths;
    use dockswap_config::Settings;
    use std::fs;

    fn app(name: &str, host: &str) -> String {
        format!(
            "name: {name}\nimage: app:v1\ndocker: {{ expose_port: 8080 }}\nroutes: [{{ host: {host} }}]\n"
        )
    }

    #[test]
    fn files_are_checked_one_by_one_and_against_each_other() {
        let dir = tempfile::tempdir().expect("temp dir");
        let paths = Paths { config_dir: dir.path().to_owned(), data_dir: dir.path().join("data") };
        fs::create_dir(paths.apps_dir()).expect("dir");
        let write = |name: &str, text: &str| fs::write(paths.apps_dir().join(name), text).expect("write");
        write("a.yaml", &app("a", "x.example.com"));
        write("b.yaml", &app("b", "y.example.com"));
        let checked = Checked::directory(&paths, &Settings::default());
        assert_eq!((checked.count, checked.files.len(), checked.problems.len()), (2, 2, 0), "{checked:?}");

        write("c.yaml", &app("c", "x.example.com"));
        write("d.yaml", "name: d\nimage: app:v1\n");
        let checked = Checked::directory(&paths, &Settings::default());
        assert_eq!(checked.count, 4);
        assert!(checked.problems.iter().any(|problem| problem.contains("c.yaml:4")), "{checked:?}");
        assert!(checked.problems.iter().any(|problem| problem.contains("d.yaml:1:1: docker")), "{checked:?}");

        let missing = Checked::files(&[dir.path().join("none.yaml")], &paths, &Settings::default());
        assert_eq!((missing.count, missing.problems.len()), (1, 1));
    }
}
