//! App files as they stand on disk, checked one by one and against each other.

use super::client::ClientError;
use super::session::Session;
use crate::api::wire;
use crate::paths::Paths;
use dockswap_config::{
    Claim, DirectoryState, FileContent, MAX_BYTES, Policy, Problem, Settings, Standing, check_clashes,
    parse_app, read_directory, sha256,
};
use dockswap_core::{AppName, AppSpec};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that can be used, as far as it alone is concerned.
#[derive(Debug)]
pub(crate) struct AppFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) spec: AppSpec,
}

impl AppFile {
    fn claim(&self, standing: Standing) -> Claim<'_> {
        Claim { file: &self.path, bytes: &self.bytes, spec: &self.spec, standing }
    }
}

/// How long a controller may take to say what it has accepted.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a running controller has accepted: that keeps what it has, and others have to yield.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Apps that are not out of service.
    apps: BTreeSet<AppName>,
    /// The files that it uses as they stand.
    files: Vec<wire::File>,
}

/// Who is heard first where two files claim the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seniority {
    /// It is in use as it stands.
    InUse,
    /// An edit of an app that is known.
    Known,
    New,
}

impl Accepted {
    /// Asks the controller; nothing is accepted where none answers.
    pub(crate) async fn ask(session: &Session) -> Self {
        let ask = async {
            let apps: wire::Apps = session.client.get("/v1/apps").await?;
            let files: wire::Files = session.client.get("/v1/files").await?;
            Ok::<_, ClientError>((apps, files))
        };
        let Ok(Ok((apps, files))) = tokio::time::timeout(PATIENCE, ask).await else { return Self::default() };
        let in_service = apps.apps.into_iter().filter(|app| app.view.state != "retired");
        Self {
            apps: in_service.map(|app| app.view.app).collect(),
            files: files.files.into_iter().filter(|file| file.problems.is_empty()).collect(),
        }
    }

    fn seniority(&self, file: &AppFile) -> Seniority {
        if !self.apps.contains(&file.spec.name) {
            return Seniority::New;
        }
        let sha = sha256(&file.bytes);
        let same = |used: &wire::File| {
            used.app.as_ref() == Some(&file.spec.name)
                && used.sha.as_ref() == Some(&sha)
                && used.path.canonicalize().ok() == file.path.canonicalize().ok()
        };
        if self.files.iter().any(same) { Seniority::InUse } else { Seniority::Known }
    }
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
    pub(crate) fn directory(paths: &Paths, settings: &Settings, accepted: &Accepted) -> Self {
        let snapshot = read_directory(&paths.apps_dir(), settings.trust);
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
        checked.against_each_other(settings, accepted)
    }

    /// These files, in this order.
    pub(crate) fn files(files: &[PathBuf], paths: &Paths, settings: &Settings, accepted: &Accepted) -> Self {
        let mut checked = Self::default();
        let policy = policy(paths, settings);
        for path in files {
            match read(path) {
                Ok(bytes) => checked.add(path.clone(), bytes, &policy),
                Err(error) => checked.refuse(path, &error.to_string()),
            }
        }
        checked.against_each_other(settings, accepted)
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

    fn against_each_other(mut self, settings: &Settings, accepted: &Accepted) -> Self {
        let reserved = settings.reserved_ports();
        let mut files: Vec<_> = self.files.iter().map(|file| (accepted.seniority(file), file)).collect();
        files.sort_by_key(|(seniority, _)| *seniority);
        let claims: Vec<Claim<'_>> = files
            .iter()
            .map(|&(seniority, file)| match seniority {
                Seniority::InUse => file.claim(Standing::Incumbent),
                Seniority::Known | Seniority::New => file.claim(Standing::Newcomer),
            })
            .collect();
        let mut problems = check_clashes(&claims, &reserved);
        // Nobody takes anything from an incumbent, but the settings may have changed under it.
        for (_, file) in files.iter().filter(|(seniority, _)| *seniority == Seniority::InUse) {
            problems.extend(check_clashes(&[file.claim(Standing::Newcomer)], &reserved));
        }
        self.problems.extend(problems.iter().map(Problem::to_string));
        self
    }
}

/// What app files may ask for, with our own paths protected.
fn policy(paths: &Paths, settings: &Settings) -> Policy {
    let mut policy = settings.policy.clone();
    paths.complete(&mut policy);
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
    use super::{Accepted, Checked};
    use crate::api::wire;
    use crate::paths::Paths;
    use dockswap_config::{Settings, sha256};
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
        let checked = Checked::directory(&paths, &Settings::default(), &Accepted::default());
        assert_eq!((checked.count, checked.files.len(), checked.problems.len()), (2, 2, 0), "{checked:?}");

        write("c.yaml", &app("c", "x.example.com"));
        write("d.yaml", "name: d\nimage: app:v1\n");
        let checked = Checked::directory(&paths, &Settings::default(), &Accepted::default());
        assert_eq!(checked.count, 4);
        assert!(checked.problems.iter().any(|problem| problem.contains("c.yaml:4")), "{checked:?}");
        assert!(checked.problems.iter().any(|problem| problem.contains("d.yaml:1:1: docker")), "{checked:?}");

        let missing = Checked::files(
            &[dir.path().join("none.yaml")],
            &paths,
            &Settings::default(),
            &Accepted::default(),
        );
        assert_eq!((missing.count, missing.problems.len()), (1, 1));
    }

    #[test]
    fn who_has_a_route_keeps_it_whatever_the_files_are_called() {
        let dir = tempfile::tempdir().expect("temp dir");
        let paths = Paths { config_dir: dir.path().to_owned(), data_dir: dir.path().join("data") };
        fs::create_dir(paths.apps_dir()).expect("dir");
        let text = app("web", "x.example.com");
        fs::write(paths.apps_dir().join("a.yaml"), app("new", "x.example.com")).expect("write");
        fs::write(paths.apps_dir().join("z.yaml"), &text).expect("write");
        let blamed = |accepted| {
            let checked = Checked::directory(&paths, &Settings::default(), &accepted);
            assert_eq!(checked.problems.len(), 1, "{checked:?}");
            checked.problems[0].contains("z.yaml:4")
        };
        assert!(blamed(Accepted::default()), "without a controller, the first file has it");
        let name: dockswap_core::AppName = "web".parse().expect("a name");
        let file = |text: &str| wire::File {
            path: paths.apps_dir().join("z.yaml"),
            app: Some(name.clone()),
            sha: Some(sha256(text.as_bytes())),
            problems: Vec::new(),
        };
        for used in [file(&text), file("an earlier version")] {
            assert!(!blamed(Accepted { apps: [name.clone()].into(), files: vec![used] }));
        }
    }
}
