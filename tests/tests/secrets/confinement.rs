//! What a container is given unless its app file says otherwise, and what an app cannot do to a reader.

use dockswap_proof::Proof;
use dockswap_tests::{AppFile, Site, docker, free_port};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

fn inspect(id: &str) -> Value {
    let shown: Value = serde_json::from_str(&docker::docker(&["inspect", id])).expect("JSON from Docker");
    shown[0].clone()
}

#[test]
fn a_container_is_confined_unless_its_file_says_otherwise() {
    let mut proof = Proof::of("T9", "what a real container is given by itself");
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).docker("user", "'65534:65534'"));
    let container = inspect(&docker::running(&app).remove(0).id);
    let host = &container["HostConfig"];
    let pid = container["State"]["Pid"].as_i64().expect("a process");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the container's process");
    let kernel = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        json!(line.unwrap_or_default().trim())
    };
    for (what, is, should) in [
        ("CapDrop", host["CapDrop"].clone(), json!(["ALL"])),
        ("SecurityOpt", host["SecurityOpt"].clone(), json!(["no-new-privileges"])),
        ("PidsLimit", host["PidsLimit"].clone(), json!(512)),
        ("Privileged", host["Privileged"].clone(), json!(false)),
        ("PidMode", host["PidMode"].clone(), json!("")),
        ("UTSMode", host["UTSMode"].clone(), json!("")),
        ("UsernsMode", host["UsernsMode"].clone(), json!("")),
        ("CgroupParent", host["CgroupParent"].clone(), json!("")),
        ("IpcMode", host["IpcMode"].clone(), json!("private")),
        ("NetworkMode", host["NetworkMode"].clone(), json!("dockswap")),
        ("Binds", host["Binds"].clone(), json!(null)),
        ("Devices", host["Devices"].clone(), json!(null)),
        ("PortBindings", host["PortBindings"].clone(), json!({})),
        ("PublishAllPorts", host["PublishAllPorts"].clone(), json!(false)),
        ("Mounts", container["Mounts"].clone(), json!([])),
        ("max-size of the log", host["LogConfig"]["Config"]["max-size"].clone(), json!("10m")),
        ("max-file of the log", host["LogConfig"]["Config"]["max-file"].clone(), json!("3")),
        // As the kernel has it.
        ("NoNewPrivs", kernel("NoNewPrivs:"), json!("1")),
        ("CapEff", kernel("CapEff:"), json!("0000000000000000")),
        // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
        ("CapBnd", kernel("CapBnd:"), json!("00000000000005fb")),
        ("Seccomp", kernel("Seccomp:"), json!("2")),
    ] {
        let empty = |value: &Value| value.is_null() || *value == json!([]) || *value == json!({});
        if is == should || (empty(&is) && empty(&should)) {
            proof.kept();
        } else {
            proof.broken(format!("{what} is {is}, not {should}"));
        }
    }
    proof.conclude();
}

#[test]
fn scar_p11_no_port_of_the_host_is_taken_unless_the_file_says_so() {
    let site = Site::start();
    let (app, taken) = (site.name("web"), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    site.deployed(&AppFile::new(&app));
    let ports = &inspect(&docker::running(&app).remove(0).id)["NetworkSettings"]["Ports"];
    let published = ports.as_object().into_iter().flatten().filter(|(_, bound)| !bound.is_null()).count();
    assert_eq!(published, 0, "{ports}");
    // Both colors stand side by side, and one that asks for a port that somebody has is told which.
    let port = taken.local_addr().expect("an address").port();
    let clash = AppFile::new(&app).line(&format!("ports: {{ blue: {}, green: {port} }}", free_port()));
    let (_, status) = site.deploy(&clash);
    assert_eq!(status, "failed");
    site.settled(&app);
    let _ = site.command(&["why", &app]).exits(0).says(&port.to_string());
    dockswap_proof::kept("scar-P11", "real Docker");
}

/// Colors, a title, a cleared screen, a link, a bell, and text that runs backwards.
const HOSTILE: &str = "\\e[31mred\\e]0;owned\\x07\\e[2J\\e]8;;http://x\\e\\\\click\\x9b1m\\u202e\\r";

#[test]
fn nothing_that_an_app_says_moves_a_readers_cursor() {
    let mut proof = Proof::of("T15", "real Docker: logs, descriptions, file names, errors");
    let site = Site::start();
    let app = site.name("web");
    let described = |file: AppFile| file.line(&format!("description: \"{HOSTILE}\""));
    site.deployed(&described(AppFile::new(&app)));
    let app_file = described(AppFile::new(&app)).docker("user", &format!("\"{HOSTILE}\""));
    site.save_text(&app, &app_file.to_string());
    let name = format!("{app}\u{1b}[31m\u{7}\u{202e}.yaml");
    let beside = site.config_dir().join("apps").join(&name);
    fs::write(&beside, "name: [\n").expect("a file of a hostile name");
    let _ = site.command(&["reload"]).exits(2);
    let mut look = |place: &str, text: &str| {
        let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
        match text.find(bad) {
            None => proof.kept(),
            Some(at) => {
                let shown: String = text[..at].chars().rev().take(60).collect();
                let shown: String = shown.chars().rev().collect();
                proof.broken(format!(
                    "{place}: {:?}",
                    shown + &text[at..].chars().take(8).collect::<String>()
                ));
            }
        }
    };
    let commands: [&[&str]; 9] = [
        &["status"],
        &["status", &app],
        &["why", &app],
        &["validate"],
        &["reload"],
        &["deploy", &app],
        &["plan", &app],
        &["doctor"],
        &["docker-run", &app],
    ];
    for arguments in commands {
        look(&arguments.join(" "), &site.command(arguments).all());
        let json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        look(&json.join(" "), &site.command(&json).all());
    }
    fs::remove_file(&beside).expect("our own file");
    // The app dies with it on its lips: a value so short that it is not masked.
    let blurts = described(AppFile::new(&app)).image("exits").env("PRINT", "ABC");
    let text = blurts.to_string().replace("\"ABC\"", "\"\\e[2J\\x07\"");
    site.save_text(&app, &text);
    let sha = site.sha(&app);
    dockswap_tests::until("it has failed", std::time::Duration::from_secs(60), || {
        site.database().ended(&app, &sha)
    });
    site.settled(&app);
    let last: [&[&str]; 5] =
        [&["status", &app], &["why", &app], &["events", &app], &["history", &app], &["deploy", &app]];
    for arguments in last {
        look(arguments[0], &site.command(arguments).all());
    }
    look("the log", &site.log());
    look("the records", &site.events(&app));
    assert!(site.events(&app).contains(r"\u{1b}[2J\u{7}"), "{}", site.events(&app));
    proof.conclude();
}
