//! The commands as scripts meet them: exit codes, JSON, and what the README tells people to type.

use dockswap_tests::{AppFile, Done, Site, dockswap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the workspace").to_owned()
}

#[test]
fn exit_code_0_done() {
    let site = Site::prepare();
    let _ = site.command(&["version"]).exits(0).says(env!("CARGO_PKG_VERSION"));
    let _ = site.command(&["schema"]).exits(0).json();
    for shell in ["bash", "zsh", "fish"] {
        let _ = site.command(&["completions", shell]).exits(0).says("dockswap");
    }
}

#[test]
fn exit_code_1_failed_with_nothing_that_serves() {
    let site = Site::start();
    let app = site.name("web");
    let _ = site.deploy(&AppFile::new(&app).image("exits"));
    site.settled(&app);
    let _ = site.command(&["deploy", &app]).exits(1);
}

#[test]
fn exit_code_2_wrong_usage_or_invalid_config() {
    let site = Site::prepare();
    let _ = site.command(&["deploi"]).exits(2);
    let _ = site.command(&["status", "--what"]).exits(2);
    site.save_text("broken", "name: broken\nimage: x\n");
    let _ = site.command(&["validate"]).exits(2).says("expose_port");
    fs::write(site.config_dir().join("dockswap.yaml"), "proxi: {}\n").expect("a file");
    let _ = site.command(&["run"]).exits(2).says("proxi");
}

#[test]
fn exit_code_3_the_old_version_serves() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let _ = site.command(&["deploy", &app, "dockswap-demo:exits"]).exits(3).says("dockswap-demo:v1");
}

#[test]
fn exit_code_4_no_such_app_deployment_or_color() {
    let site = Site::start();
    let app = site.name("web");
    for arguments in
        [&["status", "nobody"][..], &["why", "nobody"], &["rollback", "nobody"], &["events", "99999999"]]
    {
        let _ = site.command(arguments).exits(4);
    }
    site.deployed(&AppFile::new(&app));
    let _ = site.command(&["rollback", &app]).exits(4);
    let _ = site.command(&["rollback", &app, "--to", "99"]).exits(4);
    let _ = site.command(&["switch", &app, "green"]).exits(4);
}

#[test]
fn exit_code_5_another_operation_holds_it() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("n1"));
    site.deployed(&AppFile::new(&app).version("n2"));
    site.save(&AppFile::new(&app).version("n3").deployment("promotion", "manual"));
    site.reaches(&app, "awaiting_promotion");
    let _ = site.command(&["rollback", &app]).exits(5);
    let _ = site.command(&["remove", &app, "--yes"]).exits(5);
    let _ = site.command(&["cancel", &app]).exits(0);
    site.settled(&app);
    let _ = site.command(&["promote", &app]).exits(5);
}

#[test]
fn exit_code_6_the_controller_does_not_answer() {
    let site = Site::prepare();
    for arguments in [&["status"][..], &["deploy", "web"], &["events", "web", "-f"]] {
        let _ = site.command(arguments).exits(6).says("dockswap run");
    }
}

#[test]
fn exit_code_7_timed_out_waiting() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let _ = site.command(&["wait", &app, "--for", "stable", "--timeout", "20s"]).exits(0);
    site.save(&AppFile::new(&app).version("n2").deployment("promotion", "manual"));
    site.reaches(&app, "awaiting_promotion");
    let _ = site.command(&["wait", &app, "--for", "stable", "--timeout", "300ms"]).exits(7);
}

#[test]
fn every_list_is_json_for_programs() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    for arguments in [
        &["status"][..],
        &["status", &app],
        &["history", &app],
        &["events", &app],
        &["configs", &app],
        &["health", &app],
    ] {
        let done = site.command(&[arguments, &["--json"]].concat()).exits(0);
        assert!(done.json().to_string().contains(&app) || arguments[0] == "configs", "{done}");
    }
}

#[test]
fn a_new_config_directory_is_valid() {
    let site = Site::prepare();
    let dir = site.home().join("fresh");
    let text = dir.display().to_string();
    let _ = site.command(&["init", &text]).exits(0);
    let done = Done::of(Command::new(dockswap()).args(["--config-dir", &text, "validate"]));
    let _ = done.exits(0);
}

#[test]
fn the_example_and_everything_in_examples_is_valid() {
    let site = Site::prepare();
    let mut files = vec![root().join("deploy.yaml.example")];
    let apps = fs::read_dir(root().join("examples/apps")).into_iter().flatten().flatten();
    files.extend(
        apps.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "yaml")),
    );
    for file in files {
        let _ = site.command(&["validate", &file.display().to_string()]).exits(0);
    }
}

#[test]
fn the_commands_of_the_readme_exist() {
    let text = fs::read_to_string(root().join("README.md")).expect("README.md");
    let mut judged = 0;
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let typed = line.trim().trim_start_matches("$ ").trim_start_matches("sudo ");
        let mut words = typed.split_whitespace();
        match words.next() {
            Some("dockswap") if fenced => {
                let Some(verb) = words.find(|word| !word.starts_with('-')) else { continue };
                let done = Done::of(Command::new(dockswap()).args([verb, "--help"]));
                assert!(done.code == 0, "the README says {typed:?}:\n{done}");
            }
            Some(script) if fenced && script.trim_start_matches("./").starts_with("scripts/") => {
                let path = root().join(script.trim_start_matches("./"));
                assert!(path.is_file(), "the README says {typed:?}, and there is no {}", path.display());
            }
            _ => continue,
        }
        judged += 1;
    }
    assert!(judged >= 4, "the README tells people what to type");
}

#[test]
fn every_command_that_asks_is_answered() {
    let site = Site::start();
    let app = site.name("web");
    let first = site.deployed(&AppFile::new(&app).version("n1")).to_string();
    let second = format!("#{}", site.deployed(&AppFile::new(&app).version("n2")));
    for (arguments, words) in [
        (&["status"][..], "dockswap-demo:v1"),
        (&["why", &app], "stable"),
        (&["history", &app, "--limit", "1"], "success"),
        (&["events", &first], "traffic goes to blue"),
        (&["events", &app, "--limit", "100"], &second),
        (&["configs", &app], "SHA256"),
        (&["config", "show", &app], "VERSION: \"n2\""),
        (&["config", "diff", &app], "+    VERSION: \"n2\""),
        (&["plan", &app], &app),
        (&["logs", &app], "demo-app n2 listens"),
        (&["health", &app], "green"),
        (&["docker-run", &app], "docker run"),
        (&["db", "check"], ""),
        (&["reload"], ""),
        (&["man"], "dockswap"),
    ] {
        let done = site.command(arguments).exits(0);
        assert!(done.stdout.contains(words), "expected {words:?}:\n{done}");
    }
    let (status, _) = dockswap_tests::unix_get(&site.api_socket(), "/healthz").expect("an answer");
    assert_eq!(status, 200);
    let (_, metrics) = dockswap_tests::unix_get(&site.api_socket(), "/metrics").expect("an answer");
    for words in [
        "dockswap_apps{state=\"stable\"} 1\n".to_owned(),
        "dockswap_effect_seconds_count{effect=\"switch\"} ".to_owned(),
        format!("dockswap_proxy_requests_total{{app=\"{app}\",color=\"green\",class=\"2xx\",by=\"app\"}} "),
        "# EOF\n".to_owned(),
    ] {
        assert!(metrics.contains(&words), "expected {words:?}:\n{metrics}");
    }
}

#[test]
fn scar_p17_a_rollback_needs_no_version_and_help_is_no_version() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).image("v1"));
    site.deployed(&AppFile::new(&app).image("v2"));
    let deployments = || site.database().number("SELECT count(*) FROM deployments", &[]);
    // What asks for help, or cannot be meant, begins nothing and holds nothing up.
    for arguments in [&["rollback", "--help"][..], &["rollback", &app, "--help"], &["help", "rollback"]] {
        let _ = site.command(arguments).exits(0).says("Usage: dockswap rollback");
    }
    for wrong in [&["rollback"][..], &["rollback", &app, "--to", "--help"], &["rollback", &app, "v1"]] {
        let _ = site.command(wrong).exits(2);
    }
    assert_eq!(deployments(), 2);
    let _ = site.command(&["rollback", &app]).exits(0);
    site.settled(&app);
    let image = site.database().text("SELECT image FROM current_state WHERE app_name = ?1", &[&app]);
    assert_eq!((image.as_deref(), deployments()), (Some("dockswap-demo:v1"), 3));
    dockswap_proof::kept("scar-P17", "real Docker");
}
