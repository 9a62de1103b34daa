//! HTTPS with certificates from files, on real Docker, as `curl` meets it.

use dockswap_proof::Proof;
use dockswap_tests::{AppFile, Authority, Site, TestPair, curl, free_port, holds, send};
use rustix::process::Signal;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn status(site: &Site, app: &str) -> Value {
    site.command(&["--json", "status", app]).exits(0).json()
}

fn trouble(site: &Site, app: &str) -> String {
    status(site, app)["certificates"][0]["trouble"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_app_is_served_over_https_with_its_own_certificate() {
    let mut proof =
        Proof::of("P21", "certificate files that were broken under a running site").part("real Docker");
    let https = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut site = Site::prepare().flag("--proxy-https", &https.to_string());
    site.run();
    let authority = Authority::in_dir(site.home());
    let (app, other) = (site.name("web"), site.name("other"));
    let (host, other_host) = (format!("{app}.example.com"), format!("{other}.example.com"));
    let tls = |name: &str| site.config_dir().join("apps").join("tls").join(name);
    let (pair, other_pair) = (authority.pair(&[&host]), authority.pair(&["*.example.com"]));
    pair.put(&tls("web"));
    other_pair.put(&tls("other"));
    let file = |app: &str, host: &str, name: &str, n: usize| {
        AppFile::new(app).version(&format!("n{n}")).line(&format!(
            "routes: [{{ host: '{host}', tls: {{ cert: tls/{name}/cert.pem, key: tls/{name}/key.pem, hsts: 1d }} }}]"
        ))
    };
    site.deployed(&file(&app, &host, "web", 1));
    site.deployed(&file(&other, "*.example.com", "other", 1));
    let ask = |host: &str, more: &[&str]| {
        curl(authority.root(), https, &format!("https://{host}:{}/?x=y", https.port()), more)
    };
    let serves = |host: &str| ask(host, &[]).code == 0;
    holds("both certificates are shown", PATIENCE, || serves(&host) && serves(&other_host));
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let seen = ask(
            &host,
            &[option, "--include", "--write-out", "\nversion=%{http_version} verified=%{ssl_verify_result}"],
        );
        let seen = seen.exits(0).says(&format!("version={version} verified=0")).says("n1");
        assert!(
            seen.stdout.to_ascii_lowercase().contains("strict-transport-security: max-age=86400"),
            "{seen}"
        );
    }
    // A plain request is sent there.
    let plain = curl(authority.root(), site.http(), &format!("http://{host}/?x=y"), &["--include"]);
    let _ = plain.exits(0).says("308").says(&format!("https://{host}:{}/?x=y", https.port()));

    // Under load over TLS, a deploy loses nothing.
    for n in 2..4 {
        site.save(&file(&app, &host, "web", n));
        let mut lost = Vec::new();
        holds("the new version answers", PATIENCE, || {
            let done = ask(&host, &["--fail", "--include"]);
            if done.code != 0 {
                lost.push(done.to_string());
            }
            done.stdout.contains(&format!("n{n}"))
        });
        assert!(lost.is_empty(), "{lost:?}");
        site.settled(&app);
    }

    // A bad pair keeps the last good one, is told, and is no other app's.
    let next = authority.pair(&[&host]);
    for bad in [
        TestPair { key: next.key.clone(), ..pair.clone() },
        TestPair { cert: next.cert[..next.cert.len() / 2].to_owned(), ..next.clone() },
        authority.pair(&["elsewhere.example.org"]),
    ] {
        bad.put(&tls("web"));
        holds("it is told", PATIENCE, || trouble(&site, &app).contains("/tls/web/"));
        assert!(serves(&host) && serves(&other_host));
        assert_eq!(trouble(&site, &other), "");
        let _ =
            site.command(&["why", &app]).exits(0).says("trouble with the certificate for").says("/tls/web/");
        proof.kept();
        next.put(&tls("web"));
        holds("it is mended", PATIENCE, || trouble(&site, &app).is_empty());
        pair.put(&tls("web"));
        holds("it is as it was", PATIENCE, || trouble(&site, &app).is_empty());
    }
    assert!(serves(&host));

    // A proxy that dies has its certificates again, also while no controller is there to hand them over.
    let pid = site.proxy_pid().expect("a proxy");
    send(pid, Signal::KILL);
    holds("the next proxy serves", PATIENCE, || {
        site.proxy_pid().is_some_and(|next| next != pid) && serves(&host)
    });
    site.kill_controller();
    assert!(serves(&host));
    site.run();
    holds("it is known again", PATIENCE, || {
        status(&site, &app)["certificates"][0]["expires_at_us"].is_i64() && serves(&host)
    });

    // No key is anywhere but in its files.
    let secret = pair.key.lines().nth(1).expect("a line of the key");
    assert!(!site.log().contains(secret) && !status(&site, &app).to_string().contains(secret));
    for name in ["dockswap.db", "dockswap.db-wal", "routes.json"] {
        let bytes = std::fs::read(site.data_dir().join(name)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{name}");
    }
    proof.conclude();
}
