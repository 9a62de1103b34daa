//! The five commands of people's worst days: whatever is wrong with the new version, the old one
//! (the same container, never restarted) serves all along, and the reason is where people look.

use dockswap_proof::kept;
use dockswap_tests::{
    AppFile, Done, Load, Mix, Registry, RegistryMood, Report, Site, Witness, assert_records_fit, docker,
    holds, until,
};
use std::time::Duration;

/// What `exits` says before it gives up.
const LAST_WORDS: &str = "cannot reach the database at db.internal:5432: connection refused";

struct Day {
    site: Site,
    app: String,
    old: docker::Container,
    load: Load,
}

impl Day {
    /// A version that serves, under load.
    fn begins() -> Self {
        let site = Site::start();
        let app = site.name("web");
        site.deployed(&Self::good(&app));
        let old = docker::running(&app).remove(0);
        let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
        Self { site, app, old, load }
    }

    fn good(app: &str) -> AppFile {
        AppFile::new(app).image("v1").deployment("startup_timeout", "5s").deployment("watch", "10s")
    }

    fn deploy(&self, image: &str) -> Done {
        self.site.command(&["deploy", &self.app, image])
    }

    /// `words` stand wherever a person looks for the reason.
    fn is_told(&self, words: &str) {
        for command in ["status", "why", "events"] {
            let done = self.site.command(&[command, &self.app]).exits(0);
            assert!(done.stdout.contains(words), "expected {words:?}:\n{done}");
        }
        let json = self.site.command(&["status", &self.app, "--json"]).exits(0);
        assert!(json.json().to_string().contains(words), "expected {words:?}:\n{json}");
        let sql = "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND instr(error, ?2) > 0";
        assert!(self.site.database().number(sql, &[&self.app, words]) > 0, "{}", self.site.events(&self.app));
    }

    /// The old container is as it was, and nothing is left of the new one. `setting`: what went wrong.
    fn ends(self, setting: &str) -> (Site, String, Report) {
        let state = self.site.settled(&self.app);
        assert_eq!(state, "stable", "{}", self.site.events(&self.app));
        self.load.goes_on(50);
        let report = self.load.stop();
        report.assert_unbroken();
        holds("only the old container is left", Duration::from_secs(30), || {
            docker::containers(&self.app) == std::slice::from_ref(&self.old)
        });
        assert_records_fit(&self.site, &self.app);
        dockswap_proof::kept("P9", format!("{setting}, under load, real Docker"));
        (self.site, self.app, report)
    }
}

#[test]
fn an_image_that_does_not_exist() {
    let day = Day::begins();
    let image = Registry::open(RegistryMood::KnowsNothing).image("no/such:v9");
    let _ = day.deploy(&image).exits(3).says(&image).says("manifest unknown");
    day.is_told("manifest unknown");
    let old = day.old.id.clone();
    let (.., report) = day.ends("an image that does not exist");
    report.assert_only_from(&[&old]);
}

#[test]
fn an_app_that_exits_at_once() {
    let day = Day::begins();
    let witness = Witness::of(&docker::Docker::default(), &day.app);
    let _ = day.deploy("dockswap-demo:exits").exits(3).says(LAST_WORDS).says("code 3");
    day.is_told(LAST_WORDS);
    let died = witness.seen().into_iter().find(|seen| seen.what == "die").expect("Docker saw it die").at;
    let sql =
        "SELECT created_at FROM deployment_events WHERE app_name = ?1 AND error IS NOT NULL ORDER BY id";
    let told = day.site.database().text(sql, &[&day.app]).expect("an event that says why");
    let late = dockswap_tests::micros(&told) - died;
    // The contract's own bar: within 2 s of the exit.
    assert!(late < 2_000_000, "the reason was on record {late} µs after the exit");
    let old = day.old.id.clone();
    let (.., report) = day.ends("an app that exits at once");
    report.assert_only_from(&[&old]);
}

#[test]
fn an_app_that_never_gets_healthy() {
    let day = Day::begins();
    let _ = day.deploy("dockswap-demo:never-healthy").exits(3).says("503");
    day.is_told("503");
    let old = day.old.id.clone();
    let (.., report) = day.ends("an app that never gets healthy");
    report.assert_only_from(&[&old]);
}

#[test]
fn an_app_that_turns_unhealthy_after_the_switch() {
    let day = Day::begins();
    let _ = day.deploy("dockswap-demo:turns-unhealthy").exits(3).says("503");
    day.is_told("503");
    let (site, app, report) = day.ends("an app that turns unhealthy after the switch");
    let back = report.samples.last().expect("answers");
    assert!(
        report.samples.iter().any(|sample| sample.version == "turns-unhealthy"),
        "it never had the traffic"
    );
    assert_eq!(back.version, "v1", "traffic went back");
    let status = site.database().newest(&app).map(|(_, status)| status);
    assert_eq!(status.as_deref(), Some("rolled_back"), "{}", site.events(&app));
}

#[test]
fn a_file_with_three_mistakes() {
    let day = Day::begins();
    let file = day.site.file_of(&day.app);
    let good = std::fs::read_to_string(&file).expect("the app's file");
    let bad = good
        .replace("expose_port: 8080", "expose_port: eighty")
        .replace("startup_timeout: 5s", "startup_timout: 5s")
        .replace("interval: 200ms", "interval: 200 parsecs");
    assert_ne!(bad, good);
    day.site.save_text(&day.app, &bad);
    let mistakes = ["docker.expose_port", "startup_timout", "health_check.interval"];
    let path = file.display().to_string();
    let validated = day.site.command(&["validate", &path]).exits(2);
    let deployed = day.site.command(&["deploy", &day.app]).exits(2);
    let status = until("status shows the mistakes", Duration::from_secs(20), || {
        let done = day.site.command(&["status", &day.app]).exits(0);
        done.stdout.contains(mistakes[0]).then_some(done)
    });
    let why = day.site.command(&["why", &day.app]).exits(0);
    for mistake in mistakes {
        for done in [&validated, &deployed, &status, &why] {
            assert!(done.all().contains(mistake), "expected {mistake:?}:\n{done}");
        }
    }
    // With the place of each: `file:line:column`.
    let line = 1 + bad.lines().position(|line| line.contains("eighty")).expect("the line");
    assert!(validated.all().contains(&format!(".yaml:{line}:")), "{validated}");
    // Mended, it is what ran before: nothing is deployed.
    day.site.save_text(&day.app, &good);
    holds("status is clean again", Duration::from_secs(20), || {
        let done = day.site.command(&["status", &day.app]).exits(0);
        !done.stdout.contains("startup_timout")
    });
    let old = day.old.id.clone();
    let (.., report) = day.ends("a file with three mistakes");
    report.assert_only_from(&[&old]);
    dockswap_proof::kept("P14", "real Docker, a file with three mistakes, under load");
}

#[test]
fn an_app_that_dies_after_the_switch() {
    // Its requests in flight die with it, so this one counts no failures.
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&Day::good(&app));
    let old = docker::running(&app);
    let dies = Day::good(&app).image("v2").env("EXIT_AFTER_MS", "3000").env("EXIT_CODE", "9");
    let (_, status) = site.deploy(&dies);
    assert_eq!(status, "rolled_back", "{}", site.events(&app));
    assert_eq!(site.settled(&app), "stable");
    let words = site.command(&["why", &app]).exits(0);
    assert!(words.stdout.contains(LAST_WORDS) && words.stdout.contains("code 9"), "{words}");
    holds("only the old container is left", Duration::from_secs(30), || docker::containers(&app) == old);
    assert_records_fit(&site, &app);
}

#[test]
fn scar_g04_a_first_version_that_fails_leaves_nothing_behind() {
    let site = Site::start();
    let app = site.name("web");
    let (_, status) = site.deploy(&AppFile::new(&app).image("exits"));
    assert_eq!(status, "failed");
    assert_eq!(site.settled(&app), "pending", "{}", site.events(&app));
    holds("nothing is left", Duration::from_secs(30), || docker::containers(&app).is_empty());
    let _ = site.command(&["deploy", &app]).exits(1).says(LAST_WORDS);
    assert_records_fit(&site, &app);
    kept("scar-G04", "real Docker, a first version that exits");
}
