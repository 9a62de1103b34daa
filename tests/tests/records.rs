//! What is on record: the contract's own SQL, hashes, replay, and rows that cannot be changed.

use dockswap_proof::kept;
use dockswap_tests::{AppFile, Done, Site, assert_records_fit};
use std::process::Command;

/// As it stands in the contract.
const STATEMENTS: [&str; 4] = [
    "SELECT * FROM current_state;",
    "SELECT * FROM deployments WHERE app_name = 'web-api' ORDER BY started_at DESC;",
    "SELECT * FROM deployment_events WHERE deployment_id = 1 ORDER BY created_at ASC;",
    "SELECT * FROM app_configs WHERE app_name = 'web-api' ORDER BY created_at DESC;",
];

fn sqlite(site: &Site, sql: &str) -> Done {
    Done::of(Command::new("sqlite3").arg("-json").arg(site.database().path()).arg(sql))
}

#[test]
fn the_sql_of_the_contract_runs_as_it_stands() {
    let site = Site::start();
    let app = site.name("web");
    let first = site.deployed(&AppFile::new(&app).version("n1")).to_string();
    site.deployed(&AppFile::new(&app).version("n2"));
    let columns = [
        vec!["app_name", "deployment_id", "active_color", "image", "status", "updated_at"],
        vec![
            "id",
            "app_name",
            "config_id",
            "image",
            "started_at",
            "ended_at",
            "status",
            "active_color",
            "rollback_of",
        ],
        vec!["id", "deployment_id", "app_name", "event_type", "payload", "error", "created_at"],
        vec!["id", "app_name", "config_yaml", "config_sha", "created_at"],
    ];
    for (statement, columns) in STATEMENTS.iter().zip(columns) {
        let _ = sqlite(&site, statement).exits(0);
        // With rows: for the app that is here, and its first deployment.
        let here = statement
            .replace("web-api", &app)
            .replace("deployment_id = 1 ", &format!("deployment_id = {first} "));
        let rows = sqlite(&site, &here).exits(0).json();
        let row = rows[0].as_object().unwrap_or_else(|| panic!("{statement} finds nothing"));
        let mut names: Vec<&str> = row.keys().map(String::as_str).collect();
        let mut expected = columns;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{statement}");
    }
    let events =
        sqlite(&site, &STATEMENTS[2].replace("deployment_id = 1 ", &format!("deployment_id = {first} ")))
            .json();
    let kinds: Vec<&str> =
        events.as_array().expect("rows").iter().filter_map(|event| event["event_type"].as_str()).collect();
    let usual = ["deploy", "image_ready", "container_started", "health_check_passed", "traffic_switched"];
    assert_eq!(kinds[..usual.len()], usual);
}

#[test]
fn the_stored_hash_is_that_of_sha256sum_and_the_stored_bytes_are_the_files() {
    let site = Site::start();
    let app = site.name("web");
    // Bytes that a text column would not give back as they are.
    let file = AppFile::new(&app).line("# trailing blanks   \r\n\r\n# and no line end: é");
    site.deployed(&file);
    let sql = "SELECT config_sha FROM app_configs WHERE app_name = ?1";
    assert_eq!(site.database().text(sql, &[&app]), Some(site.sha(&app)));
    let shown = site.command(&["config", "show", &app]).exits(0);
    let bytes = std::fs::read_to_string(site.file_of(&app)).expect("the app's file");
    assert_eq!(shown.stdout, bytes);
}

#[test]
fn events_replay_to_the_current_state_and_cannot_be_changed() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    let _ = site.deploy(&AppFile::new(&app).image("exits"));
    site.settled(&app);
    site.deployed(&AppFile::new(&app).version("n2"));
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    assert_records_fit(&site, &app);
    for change in ["UPDATE deployment_events SET error = 'x'", "DELETE FROM deployment_events"] {
        let done = sqlite(&site, change);
        assert_ne!(done.code, 0, "{done}");
    }
    assert_records_fit(&site, &app);
}

#[test]
fn scar_g02_what_is_on_record_as_serving_is_what_serves() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).image("v1"));
    site.save(&AppFile::new(&app).image("v2").deployment("promotion", "manual"));
    site.reaches(&app, "awaiting_promotion");
    let serving = "SELECT active_color || ' ' || image FROM current_state WHERE app_name = ?1";
    let row = site.database().text(serving, &[&app]);
    assert_eq!(row.as_deref(), Some("blue dockswap-demo:v1"), "nothing has been switched yet");
    let _ = site.command(&["promote", &app]).exits(0);
    site.settled(&app);
    let row = site.database().text(serving, &[&app]);
    assert_eq!(row.as_deref(), Some("green dockswap-demo:v2"));
    kept("scar-G02", "real Docker, a switch by hand");
}

#[test]
fn scar_g07_every_column_of_a_deployment_is_true() {
    let site = Site::start();
    let app = site.name("web");
    let first = site.deployed(&AppFile::new(&app).version("n1"));
    let second = site.deployed(&AppFile::new(&app).version("n2"));
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    let sql = "SELECT id, status, rollback_of, active_color, ended_at > started_at AS ended,
                      (SELECT count(*) FROM app_configs c WHERE c.id = d.config_id AND c.app_name = d.app_name) AS config
               FROM deployments d WHERE app_name = ?1 ORDER BY id";
    let rows = site.database().rows(sql, &[&app]);
    let facts: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["id"].as_i64(),
                row["status"].as_str(),
                row["rollback_of"].as_i64(),
                row["active_color"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            (Some(first), Some("success"), None, Some("blue")),
            (Some(second), Some("rolled_back"), None, Some("green")),
            (Some(second + 1), Some("success"), Some(second), Some("blue")),
        ]
    );
    assert!(rows.iter().all(|row| row["ended"] == 1 && row["config"] == 1), "{rows:?}");
    let sha = "SELECT config_sha FROM app_configs WHERE app_name = ?1 ORDER BY id DESC LIMIT 1";
    assert_eq!(site.database().text(sha, &[&app]), Some(site.sha(&app)));
    kept("scar-G07", "real Docker, two deploys and a rollback");
}
