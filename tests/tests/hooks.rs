//! Hooks on real Docker: a command of the new image before anything of the new version is started, and one after its
//! success; each run once, with its last lines on record.

use dockswap_tests::{AppFile, Kind, Load, Mix, Site, assert_records_fit, docker, holds, once};
use std::path::Path;
use std::time::Duration;

/// A version of the demo app that tells of itself, with this under `hooks`.
fn version(app: &str, version: &str, hooks: &str) -> AppFile {
    AppFile::new(app).image("hooks").version(version).line(&format!("hooks: {{ {hooks} }}"))
}

fn served(site: &Site, app: &str) -> String {
    once(site.http(), &site.host_of(app), Kind::OneShot).expect("an answer").version
}

/// How often the demo app was started that appends to `file`.
fn starts(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// A directory that containers may write to, whatever user they are.
fn shared(site: &Site) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let directory = site.home().join("shared");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).expect("our own");
    directory
}

/// The containers of hooks that there are, of any state.
fn hooks_of(app: &str) -> Vec<String> {
    let filters = [format!("label=dockswap.app={app}"), "label=dockswap.hook".to_owned()];
    let listed = docker::docker(&[
        "ps",
        "-a",
        "--format",
        "{{.Names}}",
        "--filter",
        &filters[0],
        "--filter",
        &filters[1],
    ]);
    listed.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn hooks_run_with_what_the_app_has_and_their_lines_are_on_record() {
    let site = Site::start();
    let app = site.name("web");
    let shared = shared(&site);
    let ran = shared.join("ran");
    site.deployed(&version(&app, "n1", ""));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let hooks = "pre_deploy: { command: [PRINT=two migrations, APPEND=/data/ran, EXIT_AFTER_MS=300, EXIT_CODE=0] }, \
                 post_deploy: { command: [PRINT=told everybody, EXIT_AFTER_MS=0, EXIT_CODE=7] }";
    let file = version(&app, "n2", hooks).docker("volumes", &format!("[\"{}:/data\"]", shared.display()));
    let plan = {
        site.save(&file);
        site.command(&["plan", &app]).exits(0)
    };
    let _ = plan.says("in a container of its own");
    let second = site.deployed(&file);
    holds("the hook after it is over", Duration::from_secs(30), || {
        site.events(&app).contains("hook_removed")
    });
    load.stop().assert_unbroken();
    assert_eq!((served(&site, &app).as_str(), starts(&ran)), ("n2", 1));
    let status = "SELECT status FROM deployments WHERE id = ?1";
    assert_eq!(site.database().text(status, &[&second.to_string()]).as_deref(), Some("success"));
    let why = site.command(&["why", &app]).exits(0);
    let _ = why.says("two migrations").says("told everybody").says("exited with code 7");
    assert_eq!(hooks_of(&app), Vec::<String>::new(), "nothing is left of them");
    assert_records_fit(&site, &app);
}

#[test]
fn a_failing_hook_leaves_the_old_version_untouched_and_its_last_lines_in_why() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&version(&app, "n1", ""));
    let before = site.containers(&app);
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    for (hooks, says) in [
        (
            "pre_deploy: { command: [EXIT_AFTER_MS=100, EXIT_CODE=3, PRINT=first words] }",
            "giving up with exit code 3",
        ),
        ("pre_deploy: { command: [PRINT=never ends], timeout: 1s }", "not ended within 1s"),
        ("pre_deploy: { command: [A=b], entrypoint: [/no-such-program] }", "no such file"),
    ] {
        let (id, status) = site.deploy(&version(&app, "n2", hooks));
        assert_eq!(status, "failed", "{}", site.events(&app));
        site.settled(&app);
        assert_eq!(site.containers(&app), before, "deployment {id}");
        let why = site.command(&["why", &app]).exits(0);
        let _ = why.says(says).says("hooks.pre_deploy");
        assert_eq!(hooks_of(&app), Vec::<String>::new());
    }
    assert_eq!(served(&site, &app), "n1");
    load.stop().assert_unbroken();
    assert_records_fit(&site, &app);
}

#[test]
fn a_hook_outlives_its_controller_and_is_waited_for_by_the_next() {
    let mut site = Site::start();
    let app = site.name("web");
    let shared = shared(&site);
    let ran = shared.join("ran");
    site.deployed(&version(&app, "n1", ""));
    let hook = "pre_deploy: { command: [APPEND=/data/ran, EXIT_AFTER_MS=3000, EXIT_CODE=0] }";
    site.save(&version(&app, "n2", hook).docker("volumes", &format!("[\"{}:/data\"]", shared.display())));
    holds("the hook runs", Duration::from_secs(30), || starts(&ran) == 1);
    site.kill_controller();
    assert_eq!(served(&site, &app), "n1");
    site.run();
    site.settled(&app);
    holds("the new version serves", Duration::from_secs(60), || served(&site, &app) == "n2");
    site.settled(&app);
    assert_eq!(starts(&ran), 1, "it was run once");
    assert_eq!(hooks_of(&app), Vec::<String>::new());
    assert_records_fit(&site, &app);
}

#[test]
fn a_hook_shows_no_secret_and_has_no_way_in() {
    let site = Site::start().variable("HOOK_SECRET", "canary-of-a-hook-91");
    let app = site.name("web");
    let hooks = "pre_deploy: { command: [\"PRINT=logging in with canary-of-a-hook-91\", EXIT_AFTER_MS=1500, EXIT_CODE=1] }";
    site.save(&version(&app, "n1", hooks).env("TOKEN", "canary-of-a-hook-91"));
    holds("the hook runs", Duration::from_secs(30), || !hooks_of(&app).is_empty());
    let name = hooks_of(&app).remove(0);
    assert!(name.starts_with(&format!("{app}-blue-")) && name.ends_with("-pre-deploy"), "{name}");
    let ports = docker::docker(&[
        "inspect",
        "--format",
        "{{json .HostConfig.PortBindings}}{{json .NetworkSettings.Ports}}",
        &name,
    ]);
    assert!(!ports.contains("HostPort\":\"") && !ports.contains("8081"), "{ports}");
    site.settled(&app);
    let told = format!("{}{}", site.events(&app), site.log());
    assert!(told.contains("logging in with [redacted]") && !told.contains("canary-of-a-hook-91"), "{told}");
}
