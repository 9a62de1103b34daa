//! Many apps on one scripted Docker, each with its own misfortune, all at the same time: what waits
//! for a deadline waits for it once.

use dockswap_tests::docker::Container;
use dockswap_tests::scripted::{Call, ScriptedDocker};
use dockswap_tests::{AppFile, Done, Load, Mix, Promises, Report, Site, holds};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A site, and what is promised of it.
pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) promises: Promises,
}

/// One app, which has a version `old` that serves under load.
pub(crate) struct Actor<'a> {
    pub(crate) site: &'a Site,
    pub(crate) docker: &'a ScriptedDocker,
    pub(crate) app: String,
    pub(crate) old: Vec<Container>,
    pub(crate) load: Load,
}

/// What is left of an actor for the judge.
pub(crate) struct Seen {
    pub(crate) app: String,
    pub(crate) old: Vec<Container>,
    pub(crate) report: Report,
    /// The longest wait, and the longest that was allowed.
    pub(crate) waited: Vec<(String, Duration, Duration)>,
    /// A deploy failed: what served before must be as it was.
    pub(crate) untouched: bool,
}

impl Stage {
    pub(crate) fn set(row: &str) -> Self {
        let mut site = Site::scripted().flag("--max-concurrent", "64");
        // Who gets the address of a container that was removed is the business of `px.stale` alone.
        site.docker().keeps_addresses();
        site.run();
        Self { site, promises: Promises::under(row) }
    }

    /// Plays `act` for each of `cases`, all at once, each with an app of its own that serves already;
    /// then judges what each has left.
    pub(crate) fn play<T: Sync>(&mut self, cases: &[T], act: impl Fn(Actor<'_>, &T) -> Seen + Sync) {
        let (site, act) = (&self.site, &act);
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let acts: Vec<_> =
                cases.iter().map(|case| scope.spawn(move || act(Actor::enters(site), case))).collect();
            // Each panics on its own: the first one is everybody's.
            acts.into_iter()
                .map(|act| act.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        for seen in seen {
            self.judge(&seen);
        }
    }

    pub(crate) fn judge(&mut self, seen: &Seen) {
        self.promises.judge(&self.site, &seen.app, &seen.report);
        if seen.untouched {
            self.promises.untouched(&self.site, &seen.app, &seen.old);
        }
        for (what, took, limit) in &seen.waited {
            self.promises.ended_in(*limit, what, *took);
        }
    }
}

/// Few requests: there are many apps.
const LIGHT: Mix = Mix { keep_alive: 1, one_shot: 1, posts: 0, period: Duration::from_millis(40), path: "/" };

impl<'a> Actor<'a> {
    pub(crate) fn enters(site: &'a Site) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let app = site.name(&format!("web{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        site.deployed(&file(&app).version("old"));
        let old = site.running(&app);
        // The last thing that is done for a deployment; from then on Docker is only looked at.
        holds("what serves has its restart policy", Duration::from_secs(30), || {
            let asked = site.docker().asked();
            asked.iter().any(|asked| {
                asked.call == Call::ContainerUpdate && asked.app.as_ref() == Some(&app) && asked.done()
            })
        });
        let load = Load::start(site.http(), &site.host_of(&app), LIGHT);
        Self { site, docker: site.docker(), app, old, load }
    }

    pub(crate) fn file(&self) -> AppFile {
        file(&self.app)
    }

    /// Deploys, and waits for its end: how it ended, and how long it took.
    pub(crate) fn deploys(&self, file: &AppFile) -> (String, Duration) {
        let began = Instant::now();
        let (_, status) = self.site.deploy(file);
        let took = began.elapsed();
        self.site.settled(&self.app);
        (status, took)
    }

    /// Orders `deploy` of an image and waits.
    pub(crate) fn command(&self, arguments: &[&str]) -> Done {
        self.site.command(arguments)
    }

    /// `words` stand wherever a person looks for the reason of a failed deployment.
    pub(crate) fn is_told(&self, words: &str) {
        for command in ["status", "why", "events"] {
            let done = self.command(&[command, &self.app]).exits(0);
            assert!(done.stdout.contains(words), "expected {words:?}:\n{done}");
        }
    }

    /// The end: every request was answered.
    pub(crate) fn leaves(self) -> Seen {
        let seen = self.leaves_broken();
        seen.report.assert_unbroken();
        seen
    }

    /// The end of one of whose requests some may have failed.
    pub(crate) fn leaves_broken(self) -> Seen {
        self.load.goes_on(6);
        let report = self.load.stop();
        Seen { app: self.app, old: self.old, report, waited: Vec::new(), untouched: false }
    }
}

impl Seen {
    /// What served before must be as it was.
    pub(crate) fn untouched(mut self) -> Self {
        self.untouched = true;
        self
    }

    /// A wait took so long, and may have taken so long.
    pub(crate) fn waited(mut self, what: &str, took: Duration, limit: Duration) -> Self {
        self.waited.push((what.to_owned(), took, limit));
        self
    }
}

fn file(app: &str) -> AppFile {
    AppFile::new(app).deployment("stop_timeout", "1s").deployment("startup_timeout", "20s")
}
