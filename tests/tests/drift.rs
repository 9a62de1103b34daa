//! Somebody changes what serves, on real Docker and under load: it is noticed, set right and on record, and nobody
//! gets another app's answer meanwhile. What ends again and again is stopped and explained.

use dockswap_proof::long;
use dockswap_tests::docker::{Container, docker};
use dockswap_tests::{AppFile, Load, Mix, Site, assert_records_fit, docker as daemon, holds, until};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn times() -> usize {
    if long() { 20 } else { 2 }
}

fn version(app: &str) -> AppFile {
    AppFile::new(app).image("v1").version(app).deployment("watch", "100ms")
}

fn recorded(site: &Site, app: &str, event: &str) -> i64 {
    let sql = "SELECT count(*) FROM deployment_events WHERE app_name = ?1 AND event_type = ?2";
    site.database().number(sql, &[app, event])
}

fn live(app: &str) -> Container {
    until("a live container", PATIENCE, || daemon::running(app).into_iter().next())
}

fn inspected(id: &str, format: &str) -> String {
    docker(&["inspect", "--format", format, id])
}

/// Two apps under load side by side: their containers share a network, and thereby addresses.
struct Pair {
    site: Site,
    app: String,
    other: String,
}

impl Pair {
    fn start(file: impl Fn(AppFile) -> AppFile) -> Self {
        let site = Site::start();
        let (app, other) = (site.name("web"), site.name("other"));
        site.deployed(&file(version(&app)));
        site.deployed(&version(&other));
        Self { site, app, other }
    }

    /// Does `deed` again and again: each time it is noticed, set right and on record once, `back` holds, and every
    /// answer meanwhile came from the app itself.
    fn suffers(&self, deed: impl Fn(&Container), back: impl Fn(&Container) -> bool) {
        let Self { site, app, other } = self;
        let mix = Mix { keep_alive: 2, one_shot: 2, posts: 0, ..Mix::default() };
        let loads = [app, other].map(|name| (name, Load::start(site.http(), &site.host_of(name), mix)));
        for _ in 0..times() {
            let before = live(app);
            let (noticed, healed) = (recorded(site, app, "external_change"), recorded(site, app, "healed"));
            deed(&before);
            holds("it is noticed", PATIENCE, || recorded(site, app, "external_change") > noticed);
            holds("it is set right", PATIENCE, || recorded(site, app, "healed") > healed);
            assert!(back(&before), "{}", site.events(app));
            assert_eq!(recorded(site, app, "external_change"), noticed + 1, "{}", site.events(app));
            let _ = site.command(&["drift", app]).exits(0).says("as it was asked for");
            loads[0].1.goes_on(20);
        }
        for (name, load) in loads {
            let report = load.stop();
            let foreign = report.samples.iter().find(|sample| sample.version != *name);
            assert!(foreign.is_none(), "{name} was answered by another: {foreign:?}");
            if name == other {
                report.assert_unbroken();
            }
        }
        assert_eq!(site.settled(app), "stable", "{}", site.events(app));
        assert_records_fit(site, app);
    }
}

fn again(before: &Container) -> bool {
    let running = inspected(&before.id, "{{.State.Running}} {{.State.Paused}}");
    running == "true false"
}

#[test]
fn a_live_container_that_is_removed_is_made_again() {
    let pair = Pair::start(|file| file);
    let app = pair.app.clone();
    pair.suffers(
        |live| drop(docker(&["rm", "-f", &live.id])),
        |before| live(&app).id != before.id && live(&app).name == before.name,
    );
}

#[test]
fn a_live_container_that_is_stopped_or_killed_is_started_again() {
    let pair = Pair::start(|file| file);
    pair.suffers(|live| drop(docker(&["stop", "-t", "1", &live.id])), again);
    pair.suffers(|live| drop(docker(&["kill", &live.id])), again);
}

#[test]
fn a_live_container_that_is_paused_goes_on() {
    Pair::start(|file| file).suffers(|live| drop(docker(&["pause", &live.id])), again);
}

#[test]
fn limits_and_restart_policy_are_set_back_while_it_serves() {
    let pair = Pair::start(|file| file.docker("memory_limit", "128m"));
    let id = live(&pair.app).id;
    let is_limited = |before: &Container| {
        inspected(&before.id, "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}")
            .starts_with(&format!("{} ", 128 << 20))
    };
    let update = |live: &Container| {
        drop(docker(&["update", "--memory", "256m", "--memory-swap", "512m", "--cpu-shares", "2", &live.id]));
    };
    pair.suffers(update, |before| {
        is_limited(before) && inspected(&before.id, "{{.HostConfig.CpuShares}}") == "1024"
    });
    pair.suffers(
        |live| drop(docker(&["update", "--restart", "no", &live.id])),
        |before| inspected(&before.id, "{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped",
    );
    pair.suffers(
        |live| drop(docker(&["rename", &live.id, &format!("{}-mine", live.name)])),
        |before| inspected(&before.id, "{{.Name}}") == format!("/{}", before.name),
    );
    assert_eq!(live(&pair.app).id, id, "it served all along");
}

#[test]
fn a_live_container_that_is_taken_off_its_network_is_connected_again() {
    let pair = Pair::start(|file| file);
    let network = inspected(&live(&pair.app).id, "{{.HostConfig.NetworkMode}}");
    pair.suffers(
        |live| drop(docker(&["network", "disconnect", &network, &live.id])),
        |before| inspected(&before.id, "{{json .NetworkSettings.Networks}}").contains(&network),
    );
}

#[test]
fn drift_is_shown_field_by_field_and_no_secret_with_it() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app).env("TOKEN", "canary-drift-7f3"));
    let live = live(&app);
    let _ = site.command(&["drift", &app]).exits(0);
    // Nobody sets this right: it may be meant.
    let network = site.name("beside");
    docker(&["network", "create", &network]);
    docker(&["network", "connect", &network, &live.id]);
    let shown = site.command(&["drift", &app, "--json"]).exits(1);
    let drift = &shown.json()["containers"][0]["drift"][0];
    assert_eq!((&drift["field"], &drift["remedy"]), (&"networks".into(), &"leave".into()), "{shown}");
    assert!(drift["found"].as_str().is_some_and(|found| found.contains(&network)), "{shown}");
    let _ = site.command(&["drift"]).exits(1).says(&network);
    docker(&["network", "disconnect", &network, &live.id]);
    docker(&["network", "rm", &network]);
    let _ = site.command(&["drift", &app]).exits(0);
    let label = inspected(&live.id, "{{index .Config.Labels \"dockswap.asked\"}}");
    assert!(label.contains("TOKEN") && !label.contains("canary"), "{label}");
    assert!(!shown.all().contains("canary"), "{shown}");
    let _ = site.command(&["drift", "nobody"]).exits(4);
}

#[test]
fn a_crash_loop_is_stopped_and_explained_and_a_rollback_ends_it() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app));
    site.deployed(&version(&app).image("v2").version("dies").env("EXIT_AFTER_MS", "4000"));
    site.reaches(&app, "failed");
    let why = site.command(&["why", &app]).exits(0);
    for words in ["crash loop: died 8 times", "last exit 1", "dockswap rollback", "dockswap recover"] {
        assert!(why.all().contains(words), "{words}: {why}");
    }
    let _ = site.command(&["status", &app]).exits(0).says("crash loop");
    assert_eq!(recorded(&site, &app, "given_up"), 1);
    holds("nothing of it runs", PATIENCE, || {
        daemon::running(&app).iter().all(|container| container.color == "blue")
    });
    let _ = site.command(&["rollback", &app]).exits(0);
    assert_eq!(site.settled(&app), "stable", "{}", site.events(&app));
    assert_records_fit(&site, &app);
}
