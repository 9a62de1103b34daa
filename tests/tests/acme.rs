//! Automatic certificates, against Pebble: the real controller and proxy, apps on the scripted Docker.

use dockswap_proof::kept;
use dockswap_tests::{AppFile, Pebble, PebbleConfig, Site, curl, free_port, holds, until};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    site: Site,
    pebble: Pebble,
    https: SocketAddr,
}

impl Scene {
    /// `None`: there is no Pebble.
    fn begin(challenge: &str, validity: Duration) -> Option<Self> {
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let site = Site::scripted().flag("--proxy-https", &https.to_string());
        let config = PebbleConfig { http_port: site.http().port(), tls_port: https.port(), validity };
        let pebble = Pebble::start(config)?;
        let mut site = site
            .variable("DOCKSWAP_ACME__DIRECTORY", &pebble.directory())
            .variable("DOCKSWAP_ACME__CA_FILE", &pebble.ca_file().display().to_string())
            .variable("DOCKSWAP_ACME__CHALLENGE", challenge)
            .variable("DOCKSWAP_ACME__EMAIL", "ops@example.com");
        site.run();
        Some(Self { site, pebble, https })
    }

    /// Deploys an app that wants a certificate: its name and its host.
    fn app(&self, name: &str) -> (String, String) {
        let app = self.site.name(name);
        let host = format!("{app}.example.com");
        self.site.save(&AppFile::new(&app).line(&format!("routes: [{{ host: '{host}', tls: true }}]")));
        (app, host)
    }

    fn certificate(&self, app: &str) -> Value {
        let done = self.site.command(&["--json", "status", app]);
        if done.code == 0 { done.json()["certificates"][0].clone() } else { Value::Null }
    }

    fn expires(&self, app: &str) -> Option<i64> {
        self.certificate(app)["expires_at_us"].as_i64()
    }

    /// Waits until `host` is served with a certificate of Pebble's.
    fn is_served(&self, host: &str) {
        let root: PathBuf = self.pebble.root();
        let url = format!("https://{host}:{}/", self.https.port());
        holds(&format!("{host} is served"), PATIENCE, || {
            curl(&root, self.https, &url, &["--fail"]).code == 0
        });
    }
}

/// Every file and directory below `dir`, and itself, with its mode.
fn modes_below(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut found = vec![(dir.to_owned(), mode(dir))];
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(modes_below(&path));
        } else {
            found.push((path.clone(), mode(&path)));
        }
    }
    found
}

#[test]
fn http_01_gets_a_certificate_renews_it_and_keeps_its_account_over_restarts() {
    let Some(mut scene) = Scene::begin("http-01", Duration::from_secs(45)) else { return };
    let (app, host) = scene.app("web");
    scene.is_served(&host);
    let first = until("it is known when it expires", PATIENCE, || scene.expires(&app));
    let _ = scene.site.command(&["status", &app]).exits(0).says("renewed by acme from");
    scene.site.kill_controller();
    scene.site.run();
    until("the certificate is known again", PATIENCE, || scene.expires(&app));
    // Two thirds of its life later, it is another; served all the time.
    let second = until("it was renewed", PATIENCE * 2, || scene.expires(&app).filter(|at| *at > first));
    scene.is_served(&host);
    assert!(second > first);
    assert_eq!(scene.pebble.asked("/sign-me-up"), 1, "one account for all");
    let dir = scene.site.data_dir().join("acme");
    let modes = modes_below(&dir);
    assert!(modes.iter().all(|(path, mode)| *mode == if path.is_dir() { 0o700 } else { 0o600 }), "{modes:?}");
    kept("P22", "http-01 with pebble, with a renewal and a restart");
}

#[test]
fn tls_alpn_01_gets_a_certificate_without_the_plain_port() {
    let Some(scene) = Scene::begin("tls-alpn-01", Duration::from_secs(3_600)) else { return };
    let (_, host) = scene.app("web");
    scene.is_served(&host);
    kept("P22", "tls-alpn-01 with pebble");
}

#[test]
fn a_failing_order_is_told_delays_nobody_and_is_not_repeated_for_ever() {
    let Some(mut scene) = Scene::begin("http-01", Duration::from_secs(3_600)) else { return };
    let bad = scene.site.name("bad");
    let bad_host = format!("{bad}.example.com");
    // Nobody listens there.
    scene.pebble.resolve(&bad_host, Ipv4Addr::new(127, 0, 0, 9));
    scene.site.save(&AppFile::new(&bad).line(&format!("routes: [{{ host: '{bad_host}', tls: true }}]")));
    let trouble =
        until("it is told", PATIENCE, || scene.certificate(&bad)["trouble"].as_str().map(str::to_owned));
    assert!(trouble.contains("could not be shown to be ours") && trouble.contains("127.0.0.9"), "{trouble}");
    let _ = scene.site.command(&["why", &bad]).exits(0).says("it is tried again at");
    let (_, good_host) = scene.app("good");
    scene.is_served(&good_host);
    // Plain requests are for HTTPS as soon as that is to be had, and served until then.
    let plain = |host: &str| {
        let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        curl(&scene.pebble.root(), scene.site.http(), &format!("http://{host}/"), &status).stdout
    };
    assert_eq!((plain(&good_host).as_str(), plain(&bad_host).as_str()), ("308", "200"));
    let before = scene.pebble.asked("/order-plz");
    assert_eq!(before, 2, "one order for each");
    // Whoever asks for more gets a few more, and a restart forgets nothing.
    for _ in 0..8 {
        let _ = scene.site.command(&["reload"]).exits(0);
        let told = "no certificate was issued";
        let tries = scene.site.log().matches(told).count();
        dockswap_tests::within(Duration::from_secs(5), || {
            (scene.site.log().matches(told).count() > tries).then_some(())
        });
    }
    scene.site.kill_controller();
    scene.site.run();
    let _ = scene.site.command(&["reload"]).exits(0);
    until("it is still told", PATIENCE, || scene.certificate(&bad)["trouble"].as_str().map(str::to_owned));
    assert_eq!(scene.pebble.asked("/order-plz"), 5, "four tries in an hour, and the good one");
    kept("P22", "a failing order with pebble");
}
