//! Who may do what, and who did: tokens, projects and the audit of a controller that runs, on real Docker.

use dockswap_tests::{AppFile, Site};
use serde_json::Value;

/// A new token: the one line on stdout.
fn token(site: &Site, arguments: &[&str]) -> String {
    let made = site.command(&[&["token", "create"], arguments].concat()).exits(0);
    made.stdout.trim().to_owned()
}

#[test]
fn a_developer_deploys_a_viewer_does_not_and_both_are_on_record() {
    let mut site = Site::start();
    let (shop, other) = (site.name("shop"), site.name("other"));
    site.deployed(&AppFile::new(&shop).version("n1").line("project: shop"));
    site.deployed(&AppFile::new(&shop).version("n2").line("project: shop"));
    site.deployed(&AppFile::new(&other).version("n1"));
    let developer = token(&site, &["ci", "--role", "developer", "--project", "shop"]);
    let viewer = token(&site, &["eyes", "--role", "viewer"]);

    let _ = site.command_as(&developer, &["deploy", &shop]).exits(0);
    let refused = site.command_as(&viewer, &["deploy", &shop]).exits(1);
    assert!(refused.all().contains("takes a developer"), "{}", refused.all());
    // Hidden, and not there: the same.
    let hidden = site.command_as(&developer, &["rollback", &other]).exits(4);
    let nothing = site.command_as(&developer, &["rollback", "nothing"]).exits(4);
    assert_eq!(hidden.all().replace(&other, "?"), nothing.all().replace("nothing", "?"));
    let seen = site.command_as(&developer, &["status", "--json"]).exits(0).json();
    assert_eq!(seen["apps"].as_array().map(Vec::len), Some(1), "{seen}");

    let audit = |site: &Site| {
        let log = site.command(&["audit", "--json", "--limit", "100"]).exits(0).json();
        let rows = log["audit"].as_array().expect("rows").clone();
        let of = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows.iter()
            .map(|row| [of(row, "actor"), of(row, "verb"), of(row, "result")].join(" "))
            .collect::<Vec<_>>()
    };
    let log = audit(&site);
    let times = |line: &str| log.iter().filter(|one| *one == line).count();
    assert_eq!(times("token:ci deploy done"), 1, "{log:?}");
    assert_eq!(times("token:eyes deploy refused"), 1, "{log:?}");
    assert_eq!(times("token:ci rollback refused"), 2, "{log:?}");

    // Without a controller it is on record too, by whoever did it.
    let _ = site.command(&["token", "revoke", "ci"]).exits(0);
    site.kill_controller();
    let _ = site.command(&["rollback", &shop]).exits(0);
    let log = audit(&site);
    assert!(log[0].starts_with("uid:") && log[0].ends_with(" rollback done"), "{log:?}");
    site.run();
    site.is_ready();
    let gone = site.command_as(&developer, &["status"]).exits(1);
    assert!(gone.all().contains("was revoked"), "{}", gone.all());
    for secret in [&developer, &viewer].map(|token| token.split('_').nth(2).expect("a secret").to_owned()) {
        assert!(!site.log().contains(&secret));
        for file in std::fs::read_dir(site.data_dir()).expect("a directory").flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "{} holds a token", file.path().display());
        }
    }
}

#[test]
fn a_revoked_token_does_not_come_back_with_a_backup() {
    let mut site = Site::start();
    let backup = site.home().join("monday.db");
    let backup = backup.to_str().expect("a path");
    let first = token(&site, &["first", "--role", "viewer"]);
    let second = token(&site, &["second", "--role", "viewer"]);
    let _ = site.command(&["db", "backup", backup]).exits(0);
    let _ = site.command(&["token", "revoke", "first"]).exits(0);
    let _ = site.end_controller(rustix::process::Signal::TERM);
    let restored = site.command(&["db", "restore", backup, "--json"]).exits(0).json();
    assert_eq!(restored["tokens_revoked"], serde_json::json!(["first"]));
    site.run();
    site.is_ready();
    let _ = site.command_as(&first, &["whoami"]).exits(1);
    let _ = site.command_as(&second, &["whoami"]).exits(0);
}
