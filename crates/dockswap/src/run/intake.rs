//! The intake: what stands in the config directory becomes versions of apps, or problems that
//! people can see. A bad file never changes what runs, and never touches other apps.

use anyhow::{Context, Result};
use dockswap_config::{
    Claim, DirectoryState, FileContent, POLL, Policy, Problem, Rescan, ReservedPort, Snapshot, Standing,
    Trust, Watch, check_clashes, parse_app, replace_image, sha256, watch, write_atomically,
};
use dockswap_controller::{Controller, FileStatus, Offer, Signature};
use dockswap_core::{AppName, AppSpec, ConfigSha};
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as latest;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How soon a version is offered again when it could not be stored.
const RETRY: Duration = Duration::from_secs(2);

/// How long a reload waits for something new to be found: longer than the watch waits for a file that
/// was saved whole.
const RELOAD: Duration = Duration::from_millis(500);

/// How long a file that was just written may take to be found.
const FIND: Duration = Duration::from_secs(10);

/// Versions that are offered at once.
const AT_ONCE: usize = 64;

/// A file of the config directory, as people see it.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "File")]
pub(crate) struct FileReport {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whose it is, as far as that is known.
    pub(crate) app: Option<AppName>,
    /// The hash of its bytes, when they could be read.
    pub(crate) sha: Option<ConfigSha>,
    /// What is wrong with it, with line and column; empty: nothing.
    pub(crate) problems: Vec<String>,
}

/// What became of a wish to change an image line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The file has a new content.
    Changed,
    /// It said so already.
    Unchanged,
}

/// The task that reads the directory.
pub(crate) struct Intake {
    handle: IntakeHandle,
    task: JoinHandle<()>,
}

/// What files are measured by.
pub(crate) struct Rules {
    /// Whose hand they may show.
    pub(crate) trust: Trust,
    /// What they may ask of Docker.
    pub(crate) policy: Policy,
    /// The ports that no app can have.
    pub(crate) reserved: Vec<ReservedPort>,
}

/// Asking the intake.
#[derive(Clone)]
pub(crate) struct IntakeHandle {
    rescan: Rescan,
    /// Replaced after each reading of the directory.
    reports: latest::Receiver<Arc<Vec<FileReport>>>,
}

impl Intake {
    /// Reads the directory once, and offers what it finds; goes on whenever it changes.
    ///
    /// # Errors
    /// When the directory cannot be watched.
    pub(crate) async fn start(
        apps_dir: PathBuf,
        rules: Rules,
        controller: Arc<Controller>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let Rules { trust, policy, reserved } = rules;
        let mut directory =
            watch(&apps_dir, POLL, trust).with_context(|| format!("cannot watch {}", apps_dir.display()))?;
        let (reports, read_reports) = latest::channel(Arc::default());
        let handle = IntakeHandle { rescan: directory.rescan(), reports: read_reports };
        let mut reader = Reader {
            apps_dir,
            policy,
            reserved,
            controller,
            seen: BTreeMap::new(),
            accepted: BTreeMap::new(),
            reports,
        };
        reader.remember_what_runs();
        let first = directory.next().await.context("the config directory is not being watched")?;
        let task = tokio::spawn(read(reader, directory, first, stop));
        handle.reports.clone().changed().await.context("the config directory is not being read")?;
        Ok(Self { handle, task })
    }

    pub(crate) fn handle(&self) -> IntakeHandle {
        self.handle.clone()
    }

    /// Waits for the end that the token asked for.
    pub(crate) async fn ended(self) {
        let _ = self.task.await;
    }
}

impl IntakeHandle {
    /// Looks at the directory now; returns when what was found has been offered, or nothing new was.
    pub(crate) async fn rescan(&self) {
        let mut reports = self.reports.clone();
        reports.mark_unchanged();
        self.rescan.now();
        let _ = tokio::time::timeout(RELOAD, reports.changed()).await;
    }

    /// Every file, by path.
    pub(crate) fn files(&self) -> Vec<FileReport> {
        self.reports.borrow().to_vec()
    }

    /// The file of an app.
    pub(crate) fn path_of(&self, app: &AppName) -> Option<PathBuf> {
        self.reports.borrow().iter().find(|file| file.app.as_ref() == Some(app)).map(|file| file.path.clone())
    }

    /// Writes `image` into the file of `app`, its comments kept. Returns when that version has been
    /// offered.
    ///
    /// # Errors
    /// When the app has no file, or it cannot be written; it is as it was then.
    pub(crate) async fn write_image(
        &self,
        app: &AppName,
        image: &str,
        controller: &Controller,
        signature: &Signature,
    ) -> Result<Written> {
        let path = self.path_of(app).with_context(|| format!("{app} has no file to write the image into"))?;
        let before =
            tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
        let after = replace_image(&path, &before, image).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        if after == before {
            return Ok(Written::Unchanged);
        }
        let sha = sha256(&after);
        // Whose order it is goes on record with the version that comes of it.
        let _expected = controller.expect(app, &sha, signature);
        let target = path.clone();
        tokio::task::spawn_blocking(move || write_atomically(&target, &after))
            .await
            .context("writing was interrupted")?
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.rescan.now();
        let mut reports = self.reports.clone();
        let found = reports.wait_for(|reports| {
            reports.iter().any(|file| file.path == path && file.sha.as_ref() == Some(&sha))
        });
        tokio::time::timeout(FIND, found)
            .await
            .with_context(|| format!("{} was written, and then changed by somebody else", path.display()))?
            .context("the config directory is not being read")?;
        Ok(Written::Changed)
    }
}

async fn read(mut reader: Reader, mut directory: Watch, first: Snapshot, stop: CancellationToken) {
    let mut snapshot = first;
    loop {
        let offered = reader.take(&snapshot).await;
        tokio::select! {
            () = stop.cancelled() => return,
            next = directory.next() => match next {
                Some(next) => snapshot = next,
                None => return,
            },
            // Also what was refused for a clash: whoever had the route may have let go of it.
            () = tokio::time::sleep(RETRY), if offered == Offered::NotAll => {}
        }
    }
}

/// Whether every version that was found has been stored, and none refused for a clash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    All,
    NotAll,
}

/// A file, and what it was found to say.
struct Seen {
    sha: ConfigSha,
    bytes: Arc<[u8]>,
    parsed: Result<Arc<AppSpec>, Vec<Problem>>,
}

/// A version that was accepted: what it claims, others cannot have.
struct Accepted {
    file: PathBuf,
    offer: Offer,
}

struct Reader {
    apps_dir: PathBuf,
    policy: Policy,
    reserved: Vec<ReservedPort>,
    controller: Arc<Controller>,
    seen: BTreeMap<PathBuf, Seen>,
    accepted: BTreeMap<AppName, Accepted>,
    reports: latest::Sender<Arc<Vec<FileReport>>>,
}

impl Reader {
    /// What runs keeps what it has, also when its file is gone or broken when we start.
    fn remember_what_runs(&mut self) {
        for offer in self.controller.taken_up() {
            let name = offer.spec.name.clone();
            // Its file is found by its name, in the first snapshot.
            let file = self.apps_dir.join(format!("{name}.yaml"));
            self.accepted.insert(name, Accepted { file, offer: offer.clone() });
        }
    }

    async fn take(&mut self, snapshot: &Snapshot) -> Offered {
        let mut unreadable: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut before = std::mem::take(&mut self.seen);
        for (path, content) in &snapshot.files {
            match content {
                FileContent::Bytes(bytes) => {
                    let sha = sha256(bytes);
                    let seen = match before.remove(path) {
                        Some(seen) if seen.sha == sha => seen,
                        _ => {
                            let parsed = parse_app(path, bytes, &self.apps_dir, &self.policy).map(Arc::new);
                            Seen { sha, bytes: bytes.clone(), parsed }
                        }
                    };
                    self.seen.insert(path.clone(), seen);
                }
                FileContent::Unreadable(reason) => {
                    unreadable.insert(path.clone(), reason.clone());
                }
            }
        }
        self.follow_renames();
        let clashes = self.clashes();
        let refused = !clashes.is_empty();
        let mut problems = clashes;
        for (path, seen) in &self.seen {
            if let Err(found) = &seen.parsed {
                problems.entry(path.clone()).or_default().extend(found.iter().cloned());
            }
        }
        let offered = match self.offer(&problems).await {
            Offered::All if refused => Offered::NotAll,
            offered => offered,
        };
        let unavailable = match &snapshot.directory {
            DirectoryState::Available => None,
            DirectoryState::Unavailable(reason) => Some(reason.as_str()),
        };
        self.report(&problems, &unreadable, unavailable).await;
        offered
    }

    /// An app whose file was moved or renamed is the same app: it does not clash with itself.
    fn follow_renames(&mut self) {
        for (name, accepted) in &mut self.accepted {
            if self.seen.contains_key(&accepted.file) {
                continue;
            }
            let says_so = |seen: &&Seen| seen.parsed.as_ref().is_ok_and(|spec| spec.name == *name);
            if let Some((path, _)) = self.seen.iter().find(|(_, seen)| says_so(seen)) {
                accepted.file.clone_from(path);
            }
        }
    }

    /// Problems by file.
    fn clashes(&self) -> BTreeMap<PathBuf, Vec<Problem>> {
        // What was taken out of service holds nothing any more.
        let in_service = |accepted: &&Accepted| {
            let view = self.controller.view(&accepted.offer.spec.name);
            view.is_none_or(|view| view.state != "retired")
        };
        // What serves keeps its routes too, also where a newer version that failed had given them up.
        let held: Vec<(&Accepted, AppSpec)> = self
            .accepted
            .values()
            .filter(in_service)
            .map(|accepted| {
                let mut spec = AppSpec::clone(&accepted.offer.spec);
                spec.routes.extend(self.controller.held_routes(&spec.name));
                (accepted, spec)
            })
            .collect();
        let incumbents = held.iter().map(|(accepted, spec)| Claim {
            file: &accepted.file,
            bytes: &accepted.offer.bytes,
            spec,
            standing: Standing::Incumbent,
        });
        let newcomers = self.seen.iter().filter_map(|(path, seen)| {
            let spec = seen.parsed.as_ref().ok()?;
            let known = self.accepted.get(&spec.name);
            let unchanged = known.is_some_and(|known| known.file == *path && known.offer.sha == seen.sha);
            (!unchanged).then_some(Claim {
                file: path,
                bytes: &seen.bytes,
                spec,
                standing: Standing::Newcomer,
            })
        });
        let claims: Vec<Claim<'_>> = incumbents.chain(newcomers).collect();
        let mut problems: BTreeMap<PathBuf, Vec<Problem>> = BTreeMap::new();
        for problem in check_clashes(&claims, &self.reserved) {
            problems.entry(problem.file.clone()).or_default().push(problem);
        }
        problems
    }

    /// Offers every good file; the controller passes over what it knows.
    async fn offer(&mut self, problems: &BTreeMap<PathBuf, Vec<Problem>>) -> Offered {
        let good = self.seen.iter().filter(|(path, _)| !problems.contains_key(*path));
        let offers: Vec<(PathBuf, Offer)> = good
            .filter_map(|(path, seen)| {
                let spec = seen.parsed.as_ref().ok()?.clone();
                Some((path.clone(), Offer { bytes: seen.bytes.to_vec(), sha: seen.sha.clone(), spec }))
            })
            .collect();
        // Side by side: of many that are new, the database stores many at once.
        let offered = offers.into_iter().map(|(file, offer)| {
            let controller = self.controller.clone();
            async move {
                let stored = controller.offer(offer.clone()).await;
                (file, offer, stored)
            }
        });
        let offered: Vec<_> = stream::iter(offered).buffered(AT_ONCE).collect().await;
        let mut outcome = Offered::All;
        for (file, offer, stored) in offered {
            match stored {
                Ok(()) => {
                    self.accepted.insert(offer.spec.name.clone(), Accepted { file, offer });
                }
                Err(error) => {
                    tracing::error!(app = %offer.spec.name, file = %file.display(), %error, "new version not stored; trying again");
                    outcome = Offered::NotAll;
                }
            }
        }
        outcome
    }

    /// Tells apps and people how the files stand.
    async fn report(
        &self,
        problems: &BTreeMap<PathBuf, Vec<Problem>>,
        unreadable: &BTreeMap<PathBuf, String>,
        unavailable: Option<&str>,
    ) {
        let mut reports = Vec::new();
        for (path, seen) in &self.seen {
            let problems = problems.get(path).map(|found| found.iter().map(ToString::to_string).collect());
            let app = seen.parsed.as_ref().ok().map(|spec| spec.name.clone()).or_else(|| self.owner(path));
            let sha = Some(seen.sha.clone());
            reports.push(FileReport { path: path.clone(), app, sha, problems: problems.unwrap_or_default() });
        }
        for (path, reason) in unreadable {
            let problems = vec![format!("{}: {reason}", path.display())];
            reports.push(FileReport { path: path.clone(), app: self.owner(path), sha: None, problems });
        }
        reports.sort_by(|a, b| a.path.cmp(&b.path));
        for (name, accepted) in &self.accepted {
            let status = if let Some(reason) = unavailable {
                FileStatus::Orphaned { reason: reason.to_owned() }
            } else if let Some(reason) = unreadable.get(&accepted.file) {
                FileStatus::Orphaned {
                    reason: format!("{} cannot be read: {reason}", accepted.file.display()),
                }
            } else if !self.seen.contains_key(&accepted.file) {
                FileStatus::Orphaned { reason: format!("{} is gone", accepted.file.display()) }
            } else if let Some(other) = self.renamed(name, &accepted.file) {
                FileStatus::Orphaned { reason: format!("{} describes {other} now", accepted.file.display()) }
            } else if let Some(found) = problems.get(&accepted.file) {
                FileStatus::Invalid { problems: found.iter().map(ToString::to_string).collect() }
            } else {
                FileStatus::Valid
            };
            self.controller.file(name, status).await;
        }
        let known = self.reports.borrow().clone();
        for report in &reports {
            if !report.problems.is_empty() && !known.contains(report) {
                tracing::warn!(file = %report.path.display(), "not used; what runs is untouched:\n{}", report.problems.join("\n"));
            }
        }
        self.reports.send_replace(Arc::new(reports));
    }

    /// Whom `file`, from which `name` was accepted, describes now.
    fn renamed(&self, name: &AppName, file: &Path) -> Option<&AppName> {
        let spec = self.seen.get(file)?.parsed.as_ref().ok()?;
        (spec.name != *name).then_some(&spec.name)
    }

    /// The app that was accepted from `path`.
    fn owner(&self, path: &Path) -> Option<AppName> {
        self.accepted.iter().find(|(_, accepted)| accepted.file == path).map(|(name, _)| name.clone())
    }
}
