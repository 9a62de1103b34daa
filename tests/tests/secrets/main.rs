//! What is secret stays so (P15), whatever goes wrong and wherever one looks. And what protects the host
//! from its apps, and dockswap from the host's other users.

mod confinement;
mod privileges;

use dockswap_proof::Proof;
use dockswap_tests::{AppFile, Done, Site, docker, unix_get};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A value that an app is handed.
struct Source {
    /// How an app file speaks of it.
    name: &'static str,
    /// A part of it that stands nowhere else, on each of its lines.
    canary: &'static str,
    /// Whether it stands in the app file itself.
    written: bool,
}

const fn source(name: &'static str, canary: &'static str) -> Source {
    Source { name, canary, written: false }
}

const SOURCES: [Source; 7] = [
    source("env_file", "canary-env-file-5f1c"),
    source("a quoted line of env_file", "canary \"quoted\" 3e11 & more/less"),
    source("${file:}", "canary-of-a-file-77ab"),
    source("a key of several lines", "canary-key-line"),
    source("${env:}", "canary-environment-b0d2"),
    Source { written: true, ..source("environment", "canary-literal-93e4") },
    Source { written: true, ..source("environment_overrides", "canary-override-1c0f") },
];

/// Every place that is looked at, with every source: one trial each.
struct Search {
    proof: Proof,
    places: usize,
}

impl Search {
    fn begin(setting: &str) -> Self {
        Self { proof: Proof::of("P15", setting), places: 0 }
    }

    /// None of the secrets is in `text`.
    fn all(&mut self, place: &str, text: &str) {
        self.look(place, text, |_| true);
    }

    /// None of the secrets is in `text`, which shows a person's own file: what that only refers to stays
    /// unresolved.
    fn referred(&mut self, place: &str, text: &str) {
        self.look(place, text, |source| !source.written);
    }

    fn look(&mut self, place: &str, text: &str, counts: impl Fn(&Source) -> bool) {
        assert!(!text.trim().is_empty(), "{place} shows nothing at all");
        self.places += 1;
        for source in SOURCES.iter().filter(|source| counts(source)) {
            match forms(source.canary).iter().find_map(|form| text.find(form)) {
                None => self.proof.kept(),
                Some(at) => {
                    let from = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                    let shown: String = text[from..].chars().take(400).collect();
                    self.proof.broken(format!("{place} shows {}: …{shown}…", source.name));
                }
            }
        }
    }
}

/// A canary as it is, in hexadecimal, as a Rust or JSON text, and escaped for a URL.
fn forms(canary: &str) -> [String; 4] {
    let hex = canary.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let url = canary.replace(' ', "%20").replace('"', "%22").replace('&', "%26").replace('/', "%2F");
    [canary.to_owned(), hex, canary.replace('"', "\\\""), url]
}

/// The files that the app file speaks of, in the config directory.
fn write_secrets(site: &Site) {
    let dir = site.config_dir().join("secrets");
    fs::create_dir(&dir).expect("a directory");
    let key =
        format!("-----BEGIN {c}-----\n{c}+1/abc==\n{c}+2/def==\n-----END {c}-----\n", c = SOURCES[3].canary);
    let quoted = SOURCES[1].canary.replace('"', "\\\"");
    for (name, text) in [
        ("app.env", format!("FROM_ENV_FILE={}\nQUOTED=\"{quoted}\"\n", SOURCES[0].canary)),
        ("token", SOURCES[2].canary.to_owned()),
        ("key", key),
    ] {
        fs::write(dir.join(name), text).expect("a file");
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).expect("our own file");
    }
}

/// An app that is handed every kind of secret.
fn file(app: &str) -> AppFile {
    AppFile::new(app)
        .env("FROM_FILE", "${file:../secrets/token}")
        .env("KEY", "${file:../secrets/key}")
        .env("FROM_ENV", "${env:CANARY}")
        .env("LITERAL", SOURCES[5].canary)
        .docker("env_file", "../secrets/app.env")
        .docker(
            "environment_overrides",
            &format!("{{ blue: {{ OVER: {0} }}, green: {{ OVER: {0} }} }}", SOURCES[6].canary),
        )
        .deployment("startup_timeout", "3s")
}

/// Versions that fail, each in another way: an app that writes a secret and dies, of each source; one that
/// never gets healthy; a container that Docker does not make, and one that it does not start; an image
/// and a reference that are not there.
fn failures(app: &str) -> Vec<AppFile> {
    let blurts = |value: &str| file(app).env("PORT", value);
    let also = |name: &str| format!("../secrets/{name}.env");
    vec![
        blurts("${file:../secrets/token}"),
        blurts("${file:../secrets/key}"),
        blurts("a ${env:CANARY} b"),
        blurts(SOURCES[5].canary),
        file(app).docker("env_file", &also("port")),
        file(app).docker("env_file", &also("quoted")),
        file(app).docker(
            "environment_overrides",
            &format!("{{ blue: {{ PORT: {0} }}, green: {{ PORT: {0} }} }}", SOURCES[6].canary),
        ),
        file(app).image("never-healthy"),
        file(app).docker("cpu_limit", "1024"),
        file(app).docker("user", "nosuchuser"),
        file(app).image("nosuchtag").docker("pull_policy", "never"),
        file(app).env("MORE", &format!("{}${{file:../secrets/none}}", SOURCES[5].canary)),
    ]
}

#[test]
fn scar_p21_no_secret_is_in_any_record_log_answer_or_label() {
    // Everything that dockswap and its libraries have to say.
    let mut site =
        Site::prepare().variable("CANARY", SOURCES[4].canary).flag("--log-level", "trace,mio=info");
    let app = site.name("web");
    write_secrets(&site);
    let port = format!("PORT={}\n", SOURCES[0].canary);
    fs::write(site.config_dir().join("secrets/port.env"), port).expect("a file");
    let quoted = format!("PORT=\"{}\"\n", SOURCES[1].canary.replace('"', "\\\""));
    fs::write(site.config_dir().join("secrets/quoted.env"), quoted).expect("a file");
    site.run();
    site.deployed(&file(&app));
    let mut follower = site.begin(&["events", &app, "--follow", "--json"]);
    let mut search = Search::begin("real Docker, each source in each place, after twelve kinds of failures");

    // The app got them.
    let id = docker::running(&app).remove(0).id;
    let shown = docker::docker(&["inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", &id]);
    for source in &SOURCES {
        assert!(shown.contains(source.canary), "{} did not arrive", source.name);
    }
    for file in failures(&app) {
        let (deployment, status) = site.deploy(&file);
        assert_eq!(status, "failed", "deployment {deployment}:\n{file}");
        site.settled(&app);
    }
    let evidence = site.events(&app);
    assert!(evidence.matches("PORT=[redacted]").count() >= 5, "nothing was masked:\n{evidence}");
    search.all("the errors of events", &evidence);
    search.all("a failing deploy", &site.command(&["deploy", &app]).exits(3).all());
    search.all("a failing deploy --json", &site.command(&["deploy", &app, "--json"]).exits(3).all());

    let broken = file(&app)
        .to_string()
        .replace("environment:\n", &format!("environment: TOKEN={}\n", SOURCES[5].canary));
    site.save_text(&app, &broken);
    search.all("reload of a broken file", &site.command(&["reload"]).exits(2).all());
    search.all("validate of a broken file", &site.command(&["validate"]).exits(2).all());
    search.all("status of a broken file", &site.command(&["status", &app]).exits(0).all());
    site.save(&file(&app));
    let _ = site.command(&["wait", &app, "--for", "stable"]);

    records(&mut search, &site);
    answers(&mut search, &site, &app);
    commands(&mut search, &site, &app);
    site.settled(&app);
    processes(&mut search, &site, &app);
    search.all("the log, at every level", &site.log());
    let _ = follower.kill();
    let output = follower.wait_with_output().expect("a child of ours");
    search.all("events --follow --json", &String::from_utf8_lossy(&output.stdout));

    assert!(search.places >= 40, "{} places", search.places);
    search.proof.conclude();
    dockswap_proof::kept("scar-P21", "real Docker, after twelve kinds of failures");
}

/// The database, its copy, and whatever else lies in the data directory.
fn records(search: &mut Search, site: &Site) {
    let dump = Done::of(Command::new("sqlite3").arg(site.database().path()).arg(".dump")).exits(0).stdout;
    // A file is stored byte for byte, as it is: what stands in it stands there, and nowhere else.
    let configs = |line: &&str| line.starts_with("INSERT INTO app_configs");
    search.all("the database", &dump.lines().filter(|line| !configs(line)).collect::<String>());
    // Bytes are dumped in hexadecimal.
    search.referred("app_configs", &dump.to_lowercase());
    let copy = site.home().join("copy.db");
    let _ = site.command(&["db", "backup", &copy.display().to_string()]).exits(0);
    search.referred("a backup", &String::from_utf8_lossy(&fs::read(copy).expect("a copy")));
    for entry in fs::read_dir(site.data_dir()).expect("the data directory").flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        if !bytes.is_empty() {
            let place = entry.file_name().to_string_lossy().into_owned();
            let text = String::from_utf8_lossy(&bytes);
            if place.starts_with("dockswap.db") {
                search.referred(&place, &text);
            } else {
                search.all(&place, &text);
            }
        }
    }
}

/// The API, metrics and wrong questions included.
fn answers(search: &mut Search, site: &Site, app: &str) {
    let of_app = |what: &str| format!("/v1/apps/{app}{what}");
    let paths = [
        "/v1/apps".to_owned(),
        of_app(""),
        of_app("/why"),
        of_app("/health"),
        of_app("/docker-run"),
        of_app("/drift"),
        of_app("/deployments"),
        of_app("/configs"),
        of_app("/events"),
        of_app("/nothing"),
        "/v1/deployments/1".to_owned(),
        "/v1/deployments/2/events".to_owned(),
        "/v1/drift".to_owned(),
        "/v1/facts".to_owned(),
        "/v1/files".to_owned(),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
    ];
    for path in paths {
        let (_, body) = unix_get(&site.api_socket(), &path).expect("an answer");
        search.all(&path, &body);
    }
    let (_, body) = unix_get(&site.api_socket(), "/v1/configs/1").expect("an answer");
    search.referred("/v1/configs/1", &body);
    search.all("the proxy's status", &format!("{:?}", site.proxy_status()));
}

/// Every command, as text and as JSON.
fn commands(search: &mut Search, site: &Site, app: &str) {
    let newest =
        site.database().newest(app).map(|(deployment, _)| deployment.to_string()).expect("a deployment");
    for arguments in [
        &["status"][..],
        &["status", app],
        &["why", app],
        &["history", app],
        &["events", app, "--limit", "1000"],
        &["events", &newest],
        &["configs", app],
        &["health", app],
        &["docker-run", app],
        &["drift", app],
        &["facts"],
        &["doctor"],
        &["db", "check"],
        &["validate"],
        &["wait", app],
        &["promote", app],
        &["recover", app],
        &["rollback", app, "--to", "2"],
        &["switch", app, "green"],
    ] {
        for json in [None, Some("--json")] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(json).collect();
            let done = site.command(&arguments);
            search.all(&arguments.join(" "), &format!("{}{}", done.code, done.all()));
        }
    }
    // A person's own file, as it was and as it is.
    for arguments in [&["plan", app][..], &["config", "show", app], &["config", "diff", app, "1", "2"]] {
        for json in [None, Some("--json")] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(json).collect();
            search.referred(&arguments.join(" "), &site.command(&arguments).all());
        }
    }
}

/// What Docker and the kernel show of containers, images and processes to whoever asks.
fn processes(search: &mut Search, site: &Site, app: &str) {
    let labels = "{{json .Config.Labels}} {{.Name}} {{.Path}} {{json .Args}} {{json .HostConfig}}";
    for container in docker::running(app) {
        search.all(
            "a container's labels, name and arguments",
            &docker::docker(&["inspect", "--format", labels, &container.id]),
        );
    }
    search.all("the names of images", &docker::docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]));
    let proxy = site.proxy_pid().expect("a proxy");
    for pid in [site.controller_pid(), proxy] {
        let line = fs::read(format!("/proc/{pid}/cmdline")).expect("a process of ours");
        search.all("the command line", &String::from_utf8_lossy(&line));
    }
    // Only the user that it runs as may look; who that is may not be us.
    if let Ok(environment) = fs::read(format!("/proc/{proxy}/environ")) {
        search.all("the proxy's environment", &String::from_utf8_lossy(&environment));
    }
}
