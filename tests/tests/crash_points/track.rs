//! One site, on which the controller is killed again and again: an app under load that is edited, one
//! under load that nobody touches, and a guest that comes and goes.

use crate::host::{Host, Strangers};
use crate::judge;
use crate::points::{Point, Strike};
use crate::scene::{End, Scene};
use crate::tally::Breach;
use dockswap_tests::docker::Container;
use dockswap_tests::{AppFile, Load, Mix, Site, Story, dockswap_with_crash_points, now, until};
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// What is looked at after every kill.
pub(crate) const JUDGED: [&str; 9] = ["P7", "ctl.kill", "P17", "P1", "P2", "P4", "P5", "P8", "P10"];

/// The longest that a started controller may take until everything is settled. It promises ten seconds; a
/// machine that does a lot besides is given more.
const SETTLING: Duration = Duration::from_secs(60);

/// After so many kills a site is left for a fresh one: its history has grown long.
const LONG_HISTORY: usize = 40;

/// Which build of the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The one that people get.
    Shipped,
    /// The debug build with crash points.
    WithCrashPoints,
}

/// One site.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) site: Site,
    strangers: Strangers,
    web: String,
    other: String,
    guest: String,
    load: Load,
    beside: Load,
    /// Where the controller is told at which point to die.
    order: PathBuf,
    orders: Vec<Child>,
    edition: u32,
    /// The version of `web` that was the last to be stable.
    serving: String,
    /// Whether that one runs alone: whatever comes after it is a recreation too.
    alone: bool,
    kills: usize,
}

/// How one kill went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) judged: Vec<&'static str>,
    pub(crate) breaches: Vec<Breach>,
    /// From the start of the next controller until everything was settled.
    pub(crate) settled_in: Duration,
    pub(crate) requests: usize,
}

impl Track {
    /// A site with two apps that serve.
    pub(crate) fn open(host: Host, program: Program, mix: Mix) -> Self {
        let (mut site, strangers) = host.site();
        let order = site.home().join("die-at");
        if program == Program::WithCrashPoints {
            let order = order.display().to_string();
            site = site.program(dockswap_with_crash_points()).variable("DOCKSWAP_CRASH_AT", &order);
        }
        site.run();
        let [web, other, guest] = ["web", "other", "guest"].map(|name| site.name(name));
        for app in [&web, &other] {
            site.deployed(&file(app, "n0"));
        }
        let load = Load::start(site.http(), &site.host_of(&web), mix);
        let few = Mix { keep_alive: 1, one_shot: 0, posts: 0, period: Duration::from_millis(200), path: "/" };
        let beside = Load::start(site.http(), &site.host_of(&other), few);
        let (orders, serving) = (Vec::new(), "n0".to_owned());
        Self {
            site,
            strangers,
            web,
            other,
            guest,
            load,
            beside,
            order,
            orders,
            edition: 0,
            serving,
            alone: false,
            kills: 0,
        }
    }

    /// The next version of `web` will run alone.
    pub(crate) const fn goes_alone(&mut self) {
        self.alone = true;
    }

    /// Sees to it that what `web` runs may run beside another version.
    pub(crate) fn runs_beside(&mut self) {
        if std::mem::take(&mut self.alone) {
            self.edition += 1;
            let edition = self.edition();
            self.site.deployed(&file(&self.web, &edition));
            self.serving = edition;
        }
    }

    /// Has the controller killed, starts it again, and judges what became of it. Panics when it does not die
    /// where it was to, or is not settled in time.
    pub(crate) fn strike(&mut self, strike: Strike) -> Outcome {
        if let Strike::At(point) = strike {
            Scene::of(point).set(self);
        }
        let (since, serves) = (now(), self.site.running(&self.web));
        let (scene, app, bystanders, end) = match strike {
            Strike::At(point) => {
                let scene = Scene::of(point);
                let app = scene.prepare(self);
                let bystanders = self.bystanders(&app);
                let end = self.dies_at(point, scene, &app);
                (scene, app, bystanders, end)
            }
            Strike::After(requests) => {
                let (scene, app) = (Scene::Edit, self.web.clone());
                let bystanders = self.bystanders(&app);
                let end = scene.act(self, &app);
                self.load.goes_on(requests);
                self.site.kill_controller();
                (scene, app, bystanders, end)
            }
        };
        let started = Instant::now();
        self.site.run();
        self.settles(scene, &app, &end);
        let settled_in = started.elapsed();
        if app == self.web
            && let End::Serves(version) = &end
        {
            self.serving.clone_from(version);
        }
        self.kills += 1;

        let mut judged = JUDGED.to_vec();
        let story = Story::of(&app, &self.site.database());
        let mut breaches = judge::settled(&self.site, &self.strangers, &app, &story, since);
        let changed = bystanders.iter().filter(|(app, before)| self.site.running(app) != *before);
        breaches
            .extend(changed.map(|(app, _)| Breach::of("P8", format!("{app} runs otherwise than before"))));
        if scene == Scene::Cancel {
            judged.push("P9");
            if self.site.running(&self.web) != serves {
                breaches.push(Breach::of("P9", format!("{serves:?} was to be untouched")));
            }
        }
        let mut requests = 0;
        for (served, load) in [(&self.web, &self.load), (&self.other, &self.beside)] {
            let seen = load.take();
            requests += seen.requests();
            breaches.extend(if *served == app {
                judge::traffic(&story, &seen)
            } else {
                judge::traffic(&Story::of(served, &self.site.database()), &seen)
            });
        }
        Outcome { judged, breaches, settled_in, requests }
    }

    /// Has the controller die at `point`; what must come of it.
    fn dies_at(&mut self, point: Point, scene: Scene, app: &str) -> End {
        let said = self.site.log().len();
        std::fs::write(&self.order, format!("{app} {point}")).expect("the order to die");
        let end = scene.act(self, app);
        let status = self.site.controller_dies();
        std::fs::remove_file(&self.order).expect("the order to die");
        for mut child in self.orders.drain(..) {
            // It has lost whom it asked.
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.site.log();
        let died_there = status.signal() == Some(Signal::ABORT.as_raw())
            && log[said..].contains(&format!("crash point: {app} {point}\n"));
        assert!(died_there, "it was to die at {point}, and ended with {status}");
        end
    }

    /// The last edit deploys, and the product's own check finds nothing.
    pub(crate) fn close(mut self) -> Vec<Breach> {
        self.edition += 1;
        self.site.deployed(&file(&self.web, &self.edition()));
        let done = self.site.command(&["db", "check"]);
        (done.code != 0).then(|| Breach::of("P5", done)).into_iter().collect()
    }

    /// What controller and proxy wrote last, and what became of the apps.
    pub(crate) fn last_words(&self) -> String {
        let log = self.site.log();
        let from = log.char_indices().rev().nth(8_000).map_or(0, |(at, _)| at);
        let events = [&self.web, &self.guest].map(|app| format!("{app}:\n{}", self.site.events(app)));
        format!("{}\n{}", &log[from..], events.join("\n"))
    }

    pub(crate) const fn has_long_history(&self) -> bool {
        self.kills >= LONG_HISTORY
    }

    /// Waits until `end` has come. Whose order got no answer gives it again.
    fn settles(&self, scene: Scene, app: &str, end: &End) {
        let database = self.site.database();
        let sql = "SELECT s.status || ' ' || (SELECT count(*) FROM deployments d
                       WHERE d.app_name = s.app_name AND d.status = 'in_progress')
                   FROM current_state s WHERE s.app_name = ?1";
        until(&format!("{app} comes to {end:?}"), SETTLING, || {
            let found = database.text(sql, &[app])?;
            let (state, open) = found.split_once(' ')?;
            if let Some(words) = scene.again(state) {
                let (verb, flags) = words.split_first()?;
                // Refused where it has been followed meanwhile.
                let _ = self.site.command(&[&[*verb, app], flags].concat());
            }
            let is_there = match end {
                End::Is(wanted) => state == *wanted,
                End::Serves(version) => {
                    state == "stable" && Story::of(app, &database).serves() == Some(version.as_str())
                }
            };
            (open == "0" && is_there).then_some(())
        });
    }

    /// The running containers of every app but `app` that is to serve all the time.
    fn bystanders(&self, app: &str) -> Vec<(String, Vec<Container>)> {
        let others = [&self.web, &self.other].into_iter().filter(|other| *other != app);
        others.map(|other| (other.clone(), self.site.running(other))).collect()
    }

    // ---------------------------------------------------------------- for scenes

    pub(crate) fn web(&self) -> &str {
        &self.web
    }

    pub(crate) fn guest(&self) -> &str {
        &self.guest
    }

    pub(crate) fn serving(&self) -> &str {
        &self.serving
    }

    /// The newest version that any file names.
    pub(crate) fn edition(&self) -> String {
        format!("n{}", self.edition)
    }

    pub(crate) fn state(&self, app: &str) -> Option<String> {
        self.site.database().state(app)
    }

    /// The guest, out of service.
    pub(crate) fn retired_guest(&mut self) -> String {
        let guest = self.guest.clone();
        if self.state(&guest).as_deref() != Some("retired") {
            if self.state(&guest).is_none() {
                self.edit(&guest, |file| file);
                self.site.reaches(&guest, "stable");
            }
            let _ = self.site.command(&["remove", &guest, "--yes"]).exits(0);
        }
        guest
    }

    /// An app that never was.
    pub(crate) fn fresh(&self) -> String {
        self.site.name(&format!("fresh{}", self.edition))
    }

    /// Saves a new version of an app's file, made from the usual one.
    pub(crate) fn edit(&mut self, app: &str, change: impl FnOnce(AppFile) -> AppFile) {
        self.edition += 1;
        self.site.save(&change(file(app, &self.edition())));
    }

    /// Gives an order, whose answer nobody waits for.
    pub(crate) fn order(&mut self, words: &[&str]) {
        self.orders.push(self.site.begin(words));
    }
}

/// An app that is quick in everything, and keeps nothing warm: so that all of its life is short.
fn file(app: &str, version: &str) -> AppFile {
    AppFile::new(app).version(version).deployment("watch", "50ms").deployment("rollback_window", "0s")
}
