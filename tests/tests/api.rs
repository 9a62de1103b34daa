//! The HTTP API from the outside: problems, lists, keys of orders, streams.

use dockswap_tests::scripted::ScriptedDocker;
use dockswap_tests::{
    AppFile, Authority, Done, Site, curl, dockswap, dockswap_with_crash_points, free_port, holds,
};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, as `curl` got it.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|own| own.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(": ")).map(|(_, value)| value.trim())
    }

    /// Panics unless it is this problem, and whole.
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}{}",
            self.head,
            self.body
        );
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("urn:dockswap:problem:{code}"), "{problem}");
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
    }
}

/// Asks the API of `site` over its socket.
fn ask(site: &Site, method: &str, path: &str, more: &[&str]) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--include", "--max-time", "30", "--request", method, "--unix-socket"]);
    curl.arg(site.api_socket()).args(more).arg(format!("http://dockswap{path}"));
    let done = Done::of(&mut curl).exits(0);
    let (head, body) = done.stdout.split_once("\r\n\r\n").unwrap_or((&done.stdout, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

const JSON: [&str; 2] = ["--header", "content-type: application/json"];

/// A POST of `body`, with a key where there is one.
fn order(site: &Site, path: &str, body: &str, key: Option<&str>) -> Answer {
    let key = key.map(|key| format!("idempotency-key: {key}"));
    let mut more = vec![JSON[0], JSON[1], "--data", body];
    more.extend(key.iter().flat_map(|key| ["--header", key.as_str()]));
    ask(site, "POST", path, &more)
}

fn deployments(site: &Site, app: &str) -> i64 {
    site.database().number("SELECT count(*) FROM deployments WHERE app_name = ?1", &[app])
}

#[test]
fn what_is_refused_says_so_as_a_problem() {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let of = |rest: &str| format!("/v1/apps/{app}{rest}");
    ask(&site, "GET", "/v1/nowhere", &[]).is_problem(404, "no_such_path");
    let method = ask(&site, "PUT", &of(""), &[]);
    method.is_problem(405, "no_such_method");
    let mut allowed: Vec<&str> = method.header("allow").expect("allowed methods").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    ask(&site, "GET", "/v1/apps/nobody", &[]).is_problem(404, "unknown_app");
    ask(&site, "GET", "/v1/apps/%ff", &[]).is_problem(400, "bad_request");
    ask(&site, "GET", "/v1/deployments/99999", &[]).is_problem(404, "unknown_deployment");
    ask(&site, "GET", "/v1/configs/99999", &[]).is_problem(404, "unknown_config");
    ask(&site, "GET", &of("/logs?color=green"), &[]).is_problem(404, "no_container");
    ask(&site, "GET", &of("/docker-run?color=green"), &[]).is_problem(404, "no_version");
    for query in ["limit=0", "limit=501", "limit=x", "offset=-1", "limt=1", "limit=1&limit=2"] {
        ask(&site, "GET", &of(&format!("/events?{query}")), &[]).is_problem(422, "bad_parameter");
    }
    for path in ["?x=1", "/why?limit=1", "/docker-run?color=red", "/events/stream?after=-1", "/logs?tail=x"] {
        ask(&site, "GET", &of(path), &[]).is_problem(422, "bad_parameter");
    }
    let seen = ask(&site, "GET", "/v1/events", &["--header", "last-event-id: x"]);
    seen.is_problem(400, "bad_request");
    ask(&site, "POST", &of("/switch"), &["--data", "{}"]).is_problem(415, "not_json");
    order(&site, &of("/switch"), "{", None).is_problem(400, "bad_json");
    order(&site, &of("/switch"), "{\"color\":\"red\"}", None).is_problem(422, "bad_order");
    order(&site, &of("/deployments"), "{\"imag\":\"x\"}", None).is_problem(422, "bad_order");
    order(&site, &of("/deployments"), "{\"image\":\"-\"}", None).is_problem(422, "invalid_image");
    order(&site, &of("/pause"), "{\"limit_ms\":0}", None).is_problem(422, "invalid_pause");
    let long = format!("{{\"page\":\"{}\"}}", "x".repeat(65 * 1024));
    order(&site, &of("/maintenance"), &long, None).is_problem(422, "page_too_long");
    order(&site, &of("/switch"), &long, None).is_problem(413, "body_too_long");
    order(&site, &of("/rollback"), "{}", None).is_problem(404, "no_previous");
    order(&site, &of("/rollback"), "{\"to\":99999}", None).is_problem(404, "unknown_deployment");
    order(&site, &of("/switch"), "{\"color\":\"green\"}", None).is_problem(404, "no_standby");
    order(&site, &of("/promote"), "{}", None).is_problem(409, "not_now");
    for key in ["", "a b", &"x".repeat(256)] {
        let header =
            if key.is_empty() { "idempotency-key;".to_owned() } else { format!("idempotency-key: {key}") };
        ask(&site, "POST", &of("/cancel"), &["--header", &header]).is_problem(400, "bad_idempotency_key");
    }
    site.save_text(&app, "name: [");
    ask(&site, "POST", "/v1/reload", &[]);
    order(&site, &of("/deployments"), "{}", None).is_problem(422, "invalid");
}

#[test]
fn lists_come_in_parts_and_name_the_next() {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let whole = ask(&site, "GET", &format!("/v1/apps/{app}/events"), &[]);
    assert_eq!(whole.header("link"), None);
    let whole: Vec<Value> = whole.json()["events"].as_array().expect("events").clone();
    assert!(whole.len() > 4, "{whole:?}");
    let mut path = format!("/v1/apps/{app}/events?limit=2");
    let mut parts = Vec::new();
    loop {
        let part = ask(&site, "GET", &path, &[]);
        parts.extend(part.json()["events"].as_array().expect("events").clone());
        let Some(link) = part.header("link") else { break };
        path = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned();
    }
    assert_eq!(parts, whole);
}

#[test]
fn an_order_with_a_key_is_carried_out_once() {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let path = format!("/v1/apps/{app}/deployments");
    let first = order(&site, &path, "{}", Some("k-1"));
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None), "{}", first.body);
    site.settled(&app);
    let again = order(&site, &path, "{}", Some("k-1"));
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
    assert_eq!(again.body, first.body);
    assert_eq!(deployments(&site, &app), 2);
    order(&site, &path, "{\"image\":\"dockswap-demo:v2\"}", Some("k-1"))
        .is_problem(422, "idempotency_mismatch");
    order(&site, &format!("/v1/apps/{app}/rollback"), "{}", Some("k-1"))
        .is_problem(422, "idempotency_mismatch");
    // So is a refusal, also when what was refused would go by now.
    let refused = order(&site, &format!("/v1/apps/{app}/promote"), "{}", Some("k-2"));
    refused.is_problem(409, "not_now");
    assert_eq!(order(&site, &format!("/v1/apps/{app}/promote"), "{}", Some("k-2")).body, refused.body);
    // And after a restart.
    site.kill_controller();
    site.run();
    assert_eq!(order(&site, &path, "{}", Some("k-1")).body, first.body);
    assert_eq!(deployments(&site, &app), 2);
    // The key itself is nowhere.
    let keys = site.database().rows("SELECT key_sha FROM order_keys", &[]);
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|row| row["key_sha"].as_str().is_some_and(|sha| sha.len() == 64)), "{keys:?}");
}

/// The controller dies after the commit of a deployment that was ordered, and before the answer: sent
/// again, the order finds what it began.
#[test]
fn a_controller_that_was_killed_before_it_answered_starts_no_second_deployment() {
    let docker = ScriptedDocker::start();
    let mut site = Site::prepare().on(&docker);
    let at = site.home().join("crash-at");
    site =
        site.program(dockswap_with_crash_points()).variable("DOCKSWAP_CRASH_AT", &at.display().to_string());
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let path = format!("/v1/apps/{app}/deployments");
    for (moment, count) in [("stable.reported", 2), ("pulling.decided", 3)] {
        let key = format!("k-{moment}");
        std::fs::write(&at, format!("{app} {moment}")).expect("a file");
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--max-time",
            "30",
            "--data",
            "{}",
            "--header",
            &format!("idempotency-key: {key}"),
        ]);
        curl.args(JSON).arg("--unix-socket").arg(site.api_socket()).arg(format!("http://dockswap{path}"));
        let broken = Done::of(&mut curl);
        assert_ne!(broken.code, 0, "it was answered: {broken}");
        site.controller_dies();
        std::fs::remove_file(&at).expect("a file");
        site.run();
        let again = order(&site, &path, "{}", Some(&key));
        assert_eq!(again.status, 202, "{moment}: {}", again.body);
        site.settled(&app);
        assert_eq!(deployments(&site, &app), count, "{moment}: {}", site.events(&app));
        let newest = site.database().number("SELECT max(id) FROM deployments WHERE app_name = ?1", &[&app]);
        assert_eq!(again.json()["deployment"], newest, "{moment}");
        assert_eq!(order(&site, &path, "{}", Some(&key)).body, again.body);
        assert_eq!(deployments(&site, &app), count, "{moment}");
    }
}

#[test]
fn a_stream_goes_on_behind_the_last_event_that_was_seen() {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    let id = site.deployed(&AppFile::new(&app));
    let follow = |more: &[&str]| -> Vec<i64> {
        let answer = ask(&site, "GET", &format!("/v1/deployments/{id}/events/stream"), more);
        assert!(answer.body.contains("event: ended\n"), "{}", answer.body);
        let ids = answer.body.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.map(|id| id.parse().expect("an id")).collect()
    };
    let whole = follow(&[]);
    assert!(whole.len() > 4 && whole.is_sorted(), "{whole:?}");
    for (place, seen) in whole.iter().enumerate() {
        assert_eq!(follow(&["--header", &format!("last-event-id: {seen}")]), whole[place + 1..]);
    }
    assert_eq!(follow(&["--header", "last-event-id;"]), whole, "a client that has seen none");
}

#[test]
fn the_document_is_served() {
    let mut site = Site::scripted();
    site.run();
    let served = ask(&site, "GET", "/v1/openapi.json", &[]).json();
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(site.command(&["schema", "--api"]).exits(0).json(), served);
}

/// A site whose API listens on TCP.
struct Remote {
    site: Site,
    address: SocketAddr,
    authority: Authority,
}

impl Remote {
    /// Shows a certificate for `names`; nothing runs yet.
    fn prepare(site: Site, names: &[&str]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let authority = Authority::in_dir(site.home());
        authority.pair(names).put(&site.config_dir().join("api-tls"));
        let tls = site.config_dir().join("api-tls");
        let settings = format!(
            "api: {{ http: '{address}', hosts: [deploy.example.com], tls: {{ cert: {0}/cert.pem, key: {0}/key.pem }} }}\n",
            tls.display()
        );
        std::fs::write(site.config_dir().join("dockswap.yaml"), settings).expect("settings");
        Self { site, address, authority }
    }

    /// A token of `role`, and the file that it is in.
    fn token(&self, role: &str) -> (String, String) {
        let made = self.site.command(&["--json", "token", "create", role, "--role", role]).exits(0).json();
        let token = made["token"].as_str().expect("a token").to_owned();
        let file = self.site.home().join(format!("{role}.token"));
        std::fs::write(&file, &token).expect("a file");
        (token, file.display().to_string())
    }

    /// One of the commands, as from another host.
    fn command(&self, token: &str, arguments: &[&str]) -> Done {
        let (server, ca) = (format!("https://{}", self.address), self.authority.root().display().to_string());
        let mut all = vec!["--server", &server, "--ca", &ca, "--token-file", token];
        all.extend(arguments);
        // Where nothing of the site is.
        let elsewhere = self.site.home().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).expect("a directory");
        let mut command = Command::new(dockswap());
        command.env_clear().env("NO_COLOR", "1").env("HOME", &elsewhere).current_dir(&elsewhere);
        Done::of(command.arg("--data-dir").arg(&elsewhere).args(all))
    }

    /// A request over TLS.
    fn ask(&self, host: &str, method: &str, path: &str, more: &[&str]) -> Answer {
        let url = format!("https://{host}:{}{path}", self.address.port());
        let mut all = vec!["--include", "--max-time", "30", "--request", method];
        all.extend(more);
        let done = curl(self.authority.root(), self.address, &url, &all).exits(0);
        let (head, body) = done.stdout.split_once("\r\n\r\n").unwrap_or((&done.stdout, ""));
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
    }
}

#[test]
fn a_developer_deploys_over_tls_and_a_viewer_cannot() {
    let mut remote = Remote::prepare(Site::prepare(), &["127.0.0.1", "deploy.example.com"]);
    remote.site.run();
    let app = remote.site.name("web");
    remote.site.deployed(&AppFile::new(&app));
    let (token, developer) = remote.token("developer");
    let (_, viewer) = remote.token("viewer");
    let shown = remote.command(&viewer, &["--json", "status", &app]).exits(0).json();
    assert_eq!(shown["state"], "stable");
    let refused = remote.command(&viewer, &["deploy", &app]).exits(1);
    let _ = refused.says("takes a developer").says("ask an owner");
    assert_eq!(deployments(&remote.site, &app), 1);
    let done = remote.command(&developer, &["--json", "deploy", &app, "dockswap-demo:v2"]).exits(0);
    assert_eq!(done.json()["outcome"], "success", "{done}");
    assert!(done.stderr.contains("traffic"), "it is followed: {done}");
    assert_eq!(deployments(&remote.site, &app), 2);
    let _ = remote.command(&developer, &["rollback", &app]).exits(0);
    remote.site.settled(&app);
    let events = remote.command(&viewer, &["--json", "events", &app, "--limit", "3"]).exits(0).json();
    assert_eq!(events["events"].as_array().map(Vec::len), Some(3));
    let _ = remote.command(&viewer, &["logs", &app, "--tail", "1"]).exits(0);
    let _ = remote.command(&viewer, &["wait", &app]).exits(0);
    // The same over HTTP: sent twice, it is one deployment.
    let bearer = format!("authorization: Bearer {token}");
    let more = ["--header", &bearer, "--header", "idempotency-key: once", JSON[0], JSON[1], "--data", "{}"];
    let path = format!("/v1/apps/{app}/deployments");
    let first = remote.ask("deploy.example.com", "POST", &path, &more);
    assert_eq!(first.status, 202, "{}", first.body);
    remote.site.settled(&app);
    let again = remote.ask("deploy.example.com", "POST", &path, &more);
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
    assert_eq!(again.body, first.body);
    assert_eq!(deployments(&remote.site, &app), 4, "{}", remote.site.events(&app));
    // What is on the controller's host alone says so.
    for verb in [&["validate"][..], &["plan"], &["doctor"], &["db", "check"]] {
        let _ = remote.command(&viewer, verb).exits(2).says("where the controller runs");
    }
}

#[test]
fn over_tcp_whoever_asks_says_who_they_are_and_for_whom_it_is() {
    let mut remote =
        Remote::prepare(Site::scripted(), &["127.0.0.1", "deploy.example.com", "evil.example.com"]);
    remote.site.run();
    let (token, viewer) = remote.token("viewer");
    let bearer = format!("authorization: Bearer {token}");
    let known = |host: &str, more: &[&str]| {
        let mut all = vec!["--header", bearer.as_str()];
        all.extend(more);
        remote.ask(host, "GET", "/v1/whoami", &all)
    };
    let own = known("deploy.example.com", &[]);
    assert_eq!((own.status, own.json()["actor"].as_str()), (200, Some("token:viewer")));
    assert_eq!(remote.ask("127.0.0.1", "GET", "/healthz", &[]).status, 200);
    assert_eq!(remote.ask("127.0.0.1", "GET", "/readyz", &[]).status, 200);
    // Loopback is no excuse.
    remote.ask("127.0.0.1", "GET", "/v1/apps", &[]).is_problem(401, "unauthenticated");
    for (path, header) in [("/v1/apps", bearer.as_str()), ("/healthz", "x: y")] {
        let other = remote.ask("evil.example.com", "GET", path, &["--header", header]);
        other.is_problem(421, "misdirected");
    }
    known("deploy.example.com", &["--header", "host: evil.example.com"]).is_problem(421, "misdirected");
    for foreign in ["sec-fetch-site: cross-site", "origin: https://evil.example.com", "origin: null"] {
        known("deploy.example.com", &["--header", foreign]).is_problem(403, "cross_site");
    }
    assert_eq!(known("deploy.example.com", &["--header", "sec-fetch-site: same-origin"]).status, 200);
    // Revoked, it is good for nothing.
    let _ = remote.site.command(&["token", "revoke", "viewer"]).exits(0);
    known("deploy.example.com", &[]).is_problem(401, "unauthenticated");
    let _ = remote.command(&viewer, &["status"]).exits(1).says("was revoked").says("--token-file");
    // And whoever goes on guessing is not listened to.
    let mut guesses = 0;
    let refused = loop {
        let answer = known("deploy.example.com", &[]);
        if answer.status != 401 || guesses > 100 {
            break answer;
        }
        guesses += 1;
    };
    refused.is_problem(429, "too_many_requests");
    let after: u64 = refused.header("retry-after").and_then(|after| after.parse().ok()).expect("Retry-After");
    assert!((1..=60).contains(&after), "{after}");
    assert!(guesses < 30, "{guesses}");
    // On the socket all goes on.
    assert_eq!(ask(&remote.site, "GET", "/v1/apps", &[]).status, 200);
}

#[test]
fn certificates_are_judged_and_read_again() {
    let mut remote = Remote::prepare(Site::scripted(), &["other.example.com"]);
    remote.site.run();
    let (_, viewer) = remote.token("viewer");
    let _ = remote.command(&viewer, &["status"]).exits(1).says("for other hosts than 127.0.0.1");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let stranger = Authority::in_dir(elsewhere.path());
    let tls = remote.site.config_dir().join("api-tls");
    stranger.pair(&["127.0.0.1"]).put(&tls);
    let says = |code: i32, text: &str| {
        let done = remote.command(&viewer, &["status"]);
        done.code == code && done.all().contains(text)
    };
    holds("what is in the files is shown", PATIENCE, || says(1, "by nobody who is trusted here"));
    remote.authority.pair(&["127.0.0.1"]).put(&tls);
    holds("it is believed again", PATIENCE, || says(0, ""));
    std::fs::write(tls.join("key.pem"), "no key").expect("a file");
    holds("the log says what is wrong", PATIENCE, || remote.site.log().contains("the last good certificate"));
    assert!(says(0, ""), "the last good one is shown on");
    // Plain text is not spoken there.
    let plain = format!("http://{}", remote.address);
    let done = Done::of(Command::new("curl").args(["--silent", "--max-time", "10", &plain]));
    assert_ne!(done.code, 0, "{done}");
    let gone = format!("https://127.0.0.1:{}", free_port());
    let _ = remote.site.command(&["--server", &gone, "status"]).exits(6).says("does not answer");
    let _ = remote.site.command(&["--server", "http://example.com", "status"]).exits(2).says("plain text");
}

#[test]
fn an_api_that_cannot_be_served_is_said_at_once() {
    let site = Site::scripted();
    let settings = site.config_dir().join("dockswap.yaml");
    let ends = |text: &str| {
        std::fs::write(&settings, text).expect("settings");
        site.command(&["run"])
    };
    let _ = ends("api: { http: 0.0.0.0:0 }\n").exits(2).says("is open to others").says("api.tls");
    let none = "api: { http: 0.0.0.0:0, tls: { cert: /nowhere/cert.pem, key: /nowhere/key.pem } }\n";
    let _ = ends(none).exits(2).says("/nowhere/cert.pem");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let done = ends(&format!("api: {{ http: 127.0.0.1:{port} }}\n")).exits(1);
    let _ = done.says("cannot listen").says(&format!("(pid {})", std::process::id()));
}
