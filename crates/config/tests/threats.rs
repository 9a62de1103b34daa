//! What an app file may not do to the host, and what others may not do to app files.

use dockswap_config::{
    DirectoryState, FileContent, HostPortRule, Policy, Problem, StoredFiles, Trust, parse_app, read_directory,
};
use dockswap_core::ports::AppFiles;
use dockswap_core::{AppSpec, Color};
use dockswap_proof::Proof;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn parse(text: &str, base: &Path, policy: &Policy) -> Result<AppSpec, Vec<Problem>> {
    parse_app(Path::new("web.yaml"), text.as_bytes(), base, policy)
}

/// A valid file but for what `docker` adds to its section, on line 5.
fn docker(line: &str) -> String {
    format!("name: web\nimage: web:v1\ndocker:\n  expose_port: 80\n  {line}\n")
}

/// A trial of T9: `text` is refused at `place` with a word of `reason`, and a way out is named.
fn refuses(proof: &mut Proof, policy: &Policy, text: &str, place: &str, reason: &str) {
    let found = match parse(text, Path::new("/cfg/apps"), policy) {
        Ok(_) => return proof.broken(format!("accepted: {text}")),
        Err(problems) => problems.iter().map(|problem| problem.to_string() + "\n").collect::<String>(),
    };
    let named =
        found.lines().any(|line| line.starts_with(&format!("web.yaml:{place}: ")) && line.contains(reason));
    let way_out = found.contains("no server setting allows it") || found.contains("policy.");
    if named && way_out {
        proof.kept();
    } else {
        proof.broken(format!("{text}\nexpected {place}: {reason}\n{found}"));
    }
}

const OPTIONS: [(&str, &str); 26] = [
    ("privileged: true", "the whole host"),
    ("pid: host", "a wall between the container and the host"),
    ("ipc: host", "a wall between the container and the host"),
    ("uts: host", "a wall between the container and the host"),
    ("userns: host", "a wall between the container and the host"),
    ("userns_mode: host", "a wall between the container and the host"),
    ("cgroup: host", "a wall between the container and the host"),
    ("network_mode: host", "bypasses the proxy's network"),
    ("net: host", "bypasses the proxy's network"),
    ("cap_add: [ALL]", "powers over the host"),
    ("cap_add: [SYS_ADMIN]", "powers over the host"),
    ("cap_add: [NET_ADMIN]", "powers over the host"),
    ("cap_drop: []", "decides about capabilities"),
    ("devices: ['/dev/sda:/dev/sda']", "devices of the host"),
    ("device_cgroup_rules: ['b *:* rwm']", "devices of the host"),
    ("gpus: all", "devices of the host"),
    ("security_opt: ['seccomp=unconfined']", "the confinement"),
    ("security_opt: ['apparmor=unconfined']", "the confinement"),
    ("security_opt: ['label=disable']", "the confinement"),
    ("security_opt: ['systempaths=unconfined']", "the confinement"),
    ("cgroup_parent: /", "out of its limits"),
    ("runtime: runc-unconfined", "what confines the container"),
    ("sysctls: { kernel.core_pattern: x }", "the kernel's settings"),
    ("volumes_from: [other]", "other containers"),
    ("links: [other]", "other containers"),
    ("pid: 'container:other'", "a wall between the container and the host"),
];

#[test]
fn each_option_that_hands_over_the_host_is_refused() {
    let mut proof = Proof::of("T9", "each refused option, in both places");
    for (option, reason) in OPTIONS {
        let key = option.split(':').next().expect("a key");
        refuses(&mut proof, &Policy::default(), &docker(option), &format!("5:3: docker.{key}"), reason);
        let outside = format!("name: web\nimage: web:v1\ndocker: {{ expose_port: 80 }}\n{option}\n");
        refuses(&mut proof, &Policy::default(), &outside, &format!("4:1: {key}"), reason);
    }
    for network in ["host", "none", "default", "'container:other'"] {
        let text = docker(&format!("network: {network}"));
        refuses(&mut proof, &Policy::default(), &text, "5:12: docker.network", "cannot reach the app there");
    }
    proof.conclude();
}

#[test]
fn each_path_that_hands_over_the_host_is_refused() {
    let mut proof = Proof::of("T9", "each refused mount, in each spelling");
    let temp = tempfile::tempdir().expect("temp dir");
    let own = temp.path().canonicalize().expect("real path");
    for dir in ["data", "other/deep"] {
        fs::create_dir_all(own.join(dir)).expect("dir");
    }
    fs::write(own.join("data/docker.sock"), "").expect("write");
    symlink("/etc", own.join("to-etc")).expect("link");
    symlink(own.join("to-etc"), own.join("to-link")).expect("link");
    symlink(own.join("data"), own.join("other/to-data")).expect("link");
    symlink("/run/docker.sock", own.join("to-socket")).expect("link");
    fs::hard_link(own.join("data/docker.sock"), own.join("hard")).expect("link");
    let policy =
        Policy { protected: vec![own.join("data"), own.join("data/docker.sock")], ..Policy::default() };
    let within = |name: &str| own.join(name).display().to_string();
    let sources = [
        "/",
        "//",
        "/.",
        "/usr/..",
        "/etc",
        "/etc/",
        "//etc",
        "/./etc",
        "/usr/../etc",
        "/etc/cron.d",
        "/etc/shadow",
        "/proc",
        "/proc/1",
        "/proc/self/root",
        "/proc/self/root/etc",
        "/proc/self/cwd",
        "/sys",
        "/sys/fs/cgroup",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/./docker.sock",
        "/var/run",
        "/run",
        "/var",
        "/var/lib",
        "/var/lib/docker",
        "/var/lib/docker/volumes",
        "/var/lib/containerd",
        "/run/containerd",
        "/run/containerd/containerd.sock",
        "../../../../../etc",
        "../../run/docker.sock",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        [
            "data",
            "data/x",
            "other/to-data",
            "other/to-data/x",
            "to-etc",
            "to-etc/cron.d",
            "to-link",
            "to-socket",
            "hard",
            ".",
        ]
        .map(within),
    );
    for source in sources {
        for mode in ["", ":ro"] {
            let text = docker(&format!("volumes: ['{source}:/x{mode}']"));
            let place = "5:13: docker.volumes[0]";
            refuses(&mut proof, &policy, &text, place, "may not be mounted: it gives the container");
        }
    }
    // The test can fail: what is no harm is accepted.
    for source in [within("other"), "/etc/localtime:/etc/localtime:ro".to_owned(), "named".to_owned()] {
        let source = if source.contains(':') { source } else { format!("{source}:/x") };
        let text = docker(&format!("volumes: ['{source}']"));
        assert!(parse(&text, &own, &policy).is_ok(), "{source}");
    }
    proof.conclude();
}

#[test]
fn what_the_server_restricts_names_its_setting() {
    let mut proof = Proof::of("T9", "what policy restricts");
    let policy = Policy {
        bind_mounts: Some(vec![PathBuf::from("/srv/shared")]),
        host_ports: HostPortRule::Refused,
        ..Policy::default()
    };
    for source in ["/srv", "/srv/shared2", "/srv/shared/../x", "/home", "./x"] {
        let text = docker(&format!("volumes: ['{source}:/x']"));
        refuses(&mut proof, &policy, &text, "5:13: docker.volumes[0]", "policy.bind_mounts");
    }
    assert!(parse(&docker("volumes: ['/srv/shared/a:/x']"), Path::new("/"), &policy).is_ok());
    let port = docker("init: true") + "ports: { green: 8081 }\n";
    refuses(&mut proof, &policy, &port, "6:17: ports.green", "policy.host_ports");
    proof.conclude();
}

/// An app whose one reference or mount is `line`.
async fn environment(line: &str, config: &Path, policy: &Policy) -> Result<(), String> {
    let apps = config.join("apps");
    let spec = parse(&docker(line), &apps, policy).map_err(|problems| format!("{problems:?}"))?;
    let files = StoredFiles::new(&apps, policy.clone());
    files.environment(&spec, Color::Blue).await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_path_out_of_the_config_directory_is_refused() {
    let mut proof = Proof::of("T8", "`${file:}` and `env_file`");
    let temp = tempfile::tempdir().expect("temp dir");
    let root = temp.path().canonicalize().expect("real path");
    let (config, outside) = (root.join("cfg"), root.join("outside"));
    fs::create_dir_all(config.join("apps/keys")).expect("dir");
    fs::create_dir_all(&outside).expect("dir");
    for file in
        [outside.join("key"), config.join("apps/key"), config.join("key"), config.join("apps/keys/key")]
    {
        fs::write(file, "A=1\n").expect("write");
    }
    symlink(outside.join("key"), config.join("apps/link")).expect("link");
    symlink("../../outside", config.join("apps/dir")).expect("link");
    symlink("link", config.join("apps/chain")).expect("link");
    symlink("keys", config.join("apps/..data")).expect("link");
    let policy =
        Policy { files: vec![config.clone()], protected: vec![outside.join("data")], ..Policy::default() };
    let out = outside.display();
    let paths = [
        "../../outside/key".to_owned(),
        "keys/../../../outside/key".to_owned(),
        "./../../outside/../outside/key".to_owned(),
        "link".to_owned(),
        "chain".to_owned(),
        "dir/key".to_owned(),
        "dir/not-there-yet".to_owned(),
        format!("{out}/key"),
        format!("{out}/data/dockswap.db"),
        format!("{}/../outside/key", config.display()),
        "/etc/shadow".to_owned(),
        "/root/.ssh/id_rsa".to_owned(),
        "/proc/self/environ".to_owned(),
        "/proc/1/environ".to_owned(),
        "/sys/kernel/notes".to_owned(),
        "../../../../../../../../etc/passwd".to_owned(),
    ];
    for path in &paths {
        for line in [format!("env_file: '{path}'"), format!("environment: {{ A: 'x${{file:{path}}}' }}")] {
            match environment(&line, &config, &policy).await {
                Err(why) if why.contains("may not be read") => proof.kept(),
                other => proof.broken(format!("{line}: {other:?}")),
            }
        }
    }
    // What lies inside is read, links of a ConfigMap's form and the setting's directories included.
    let wider = Policy { files: vec![config.clone(), outside.clone()], ..Policy::default() };
    for (path, policy) in [
        ("key", &policy),
        ("../key", &policy),
        ("..data/key", &policy),
        ("link", &wider),
        ("dir/key", &wider),
    ] {
        let read = environment(&format!("env_file: '{path}'"), &config, policy).await;
        assert_eq!(read, Ok(()), "{path}");
    }
    proof.conclude();
}

#[tokio::test]
async fn a_link_that_is_turned_after_the_file_was_read_is_refused() {
    let mut proof = Proof::of("T8", "links turned between check and use");
    let temp = tempfile::tempdir().expect("temp dir");
    let root = temp.path().canonicalize().expect("real path");
    let apps = root.join("cfg/apps");
    fs::create_dir_all(apps.join("dir")).expect("dir");
    fs::create_dir_all(root.join("outside")).expect("dir");
    for file in [apps.join("dir/key"), root.join("outside/key")] {
        fs::write(file, "A=1\n").expect("write");
    }
    let policy = Policy { protected: vec![root.join("outside")], ..Policy::default() };
    let lines =
        ["env_file: current/key", "environment: { A: '${file:current/key}' }", "volumes: ['./current:/x']"];
    for line in lines {
        let turn = |target: &Path| {
            let _ = fs::remove_file(apps.join("current"));
            symlink(target, apps.join("current")).expect("link");
        };
        turn(&apps.join("dir"));
        let spec = parse(&docker(line), &apps, &policy).expect("harmless");
        let files = StoredFiles::new(&apps, policy.clone());
        assert!(files.environment(&spec, Color::Blue).await.is_ok(), "{line}");
        turn(&root.join("outside"));
        match files.environment(&spec, Color::Blue).await {
            Err(why) if why.to_string().contains("may not be") => proof.kept(),
            other => proof.broken(format!("{line}: {:?}", other.map(|found| found.len()))),
        }
    }
    proof.conclude();
}

#[test]
fn no_problem_shows_a_value_of_the_environment() {
    const CANARY: &str = "canary-5f1c";
    let mut proof = Proof::of("P15", "problems of broken app files");
    for line in [
        "environment: TOKEN=canary-5f1c",
        "environment:\n    TOKEN=canary-5f1c\n    B=2",
        "environment: [canary-5f1c]",
        "environment: [{ A: canary-5f1c }]",
        "environment: ['A B=canary-5f1c']",
        "environment: ['=canary-5f1c']",
        "environment: ['A=1', 'A=canary-5f1c']",
        "environment: { 'TOKEN=canary-5f1c' }",
        "environment: { 'A B=canary-5f1c': 1 }",
        "environment: { A: [canary-5f1c] }",
        "environment: { A: { canary-5f1c: x } }",
        "environment: { A: 'canary-5f1c${' }",
        "environment: { A: 'canary-5f1c${vault:x}' }",
        "environment: { A: 'canary-5f1c${}' }",
        "environment: { A: 'canary-5f1c${env:}' }",
        "environment: { A: 'canary-5f1c${file:/etc/shadow}' }",
        "environment: { A: canary-5f1c, A: 2 }",
        "environment: { A: 1, A: canary-5f1c }",
        "environment_overrides: { blue: TOKEN=canary-5f1c }",
        "environment_overrides: { green: ['canary-5f1c'] }",
        "environment: { A: \"canary-5f1c }",
        "environment: { A: 'canary-5f1c', B: }",
    ] {
        let problems = parse(&docker(line), Path::new("/cfg/apps"), &Policy::default()).expect_err(line);
        let told = format!("{problems:?}");
        if told.contains(CANARY) { proof.broken(told) } else { proof.kept() }
    }
    proof.conclude();
}

#[test]
fn what_others_can_write_is_not_used() {
    let mut proof = Proof::of("T10", "every mode of files and directories");
    let temp = tempfile::tempdir().expect("temp dir");
    let (apps, file) = (temp.path().join("apps"), temp.path().join("apps/web.yaml"));
    fs::create_dir(&apps).expect("dir");
    fs::write(&file, "a: 1\n").expect("write");
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    let own_group = {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().expect("metadata");
        metadata.uid() == metadata.gid()
    };
    for bits in 0..0o100_u32 {
        let foreign = bits & 0o002 != 0 || (bits & 0o020 != 0 && !own_group);
        for (path, mode) in [(&file, 0o600 | bits), (&apps, 0o700 | bits)] {
            chmod(&apps, 0o700);
            chmod(&file, 0o600);
            chmod(path, mode);
            for (trust, refused) in [(Trust::Owner, foreign), (Trust::Any, false)] {
                let snapshot = read_directory(&apps, trust);
                let why = match (&snapshot.directory, snapshot.files.get(&file)) {
                    (DirectoryState::Unavailable(why), _) | (_, Some(FileContent::Unreadable(why))) => {
                        Some(why)
                    }
                    _ => None,
                };
                let told = why.is_none_or(|why| why.contains("chmod go-w") && why.contains("config.trust"));
                if why.is_some() == refused && told {
                    proof.kept();
                } else {
                    proof.broken(format!("{} {mode:o} {trust:?}: {snapshot:?}", path.display()));
                }
            }
        }
    }
    proof.conclude();
}
