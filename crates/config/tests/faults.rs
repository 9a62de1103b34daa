//! The faults of files and directories, row by row of the catalog, on real directories.

use dockswap_config::{
    Claim, FileContent, MAX_BYTES, POLL, Policy, Settings, Snapshot, Standing, Trust, Watch, check_clashes,
    parse_app, read_directory, watch, write_atomically,
};
use dockswap_core::AppSpec;
use dockswap_proof::{Proof, long};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a snapshot says of `web.yaml`; `None`: it is not there.
fn web(snapshot: &Snapshot) -> Option<String> {
    let (_, content) = snapshot.files.iter().find(|(path, _)| path.ends_with("web.yaml"))?;
    Some(match content {
        FileContent::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        FileContent::Unreadable(why) => format!("unreadable: {why}"),
    })
}

async fn next(watch: &mut Watch) -> Snapshot {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
    next.expect("a snapshot in time").expect("a watch that lives")
}

/// Counts whether the next thing that is seen is `text` as the only app file: nothing else was seen
/// before it, and so nothing else would have been deployed.
async fn sees_only(proof: &mut Proof, watch: &mut Watch, text: &str, how: &str) {
    let snapshot = next(watch).await;
    if web(&snapshot).as_deref() == Some(text) && snapshot.files.len() == 1 {
        proof.kept();
    } else {
        proof.broken(format!("{how}: {snapshot:?}"));
        // The others are to be counted on their own.
        while tokio::time::timeout(Duration::from_secs(3), watch.next()).await.is_ok() {}
    }
}

/// Replaces `web.yaml` of a directory by a text.
type Save = fn(&Path, &str);

/// The ways in which editors replace `dir/web.yaml`.
const EDITORS: [(&str, Save); 6] = [
    ("vim", |dir, text| {
        put(dir, ".web.yaml.swp", "x: [");
        put(dir, "4913", "");
        remove(dir, "4913");
        shift(dir, "web.yaml", "web.yaml~");
        put(dir, "web.yaml", text);
        remove(dir, "web.yaml~");
        remove(dir, ".web.yaml.swp");
    }),
    ("emacs", |dir, text| {
        symlink("me@host.1:2", dir.join(".#web.yaml")).expect("a lock");
        put(dir, "#web.yaml#", "x: [");
        fs::copy(dir.join("web.yaml"), dir.join("web.yaml~")).expect("a backup");
        put(dir, "web.yaml", text);
        remove(dir, "#web.yaml#");
        remove(dir, ".#web.yaml");
    }),
    ("nano", |dir, text| put(dir, "web.yaml", text)),
    ("VS Code", |dir, text| {
        let file = fs::OpenOptions::new().write(true).open(dir.join("web.yaml"));
        let mut file = file.expect("the app's file");
        file.write_all(text.as_bytes()).expect("write");
        file.set_len(text.len() as u64).expect("truncate");
        file.sync_all().expect("sync");
    }),
    ("sed -i", |dir, text| {
        put(dir, "sedKx3f9a", text);
        shift(dir, "sedKx3f9a", "web.yaml");
    }),
    ("dockswap", |dir, text| write_atomically(&dir.join("web.yaml"), text.as_bytes()).expect("a file")),
];

fn put(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("write");
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).expect("remove");
}

fn shift(dir: &Path, from: &str, to: &str) {
    fs::rename(dir.join(from), dir.join(to)).expect("rename");
}

/// A directory with `web.yaml`, and its watch after the first snapshot.
async fn watched() -> (tempfile::TempDir, Watch) {
    let dir = tempfile::tempdir().expect("temp dir");
    put(dir.path(), "web.yaml", "v: 0\n");
    let mut watch = watch(dir.path(), POLL, Trust::Owner).expect("watch");
    assert_eq!(web(&next(&mut watch).await).as_deref(), Some("v: 0\n"));
    (dir, watch)
}

/// Kilobytes: `VmHWM` is the most memory that was ever in use, `VmRSS` what is now.
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("this process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

mod fault {
    use super::*;

    #[tokio::test]
    async fn cfg_rename() {
        let mut proof = Proof::of("cfg.rename", "six editors on a real directory");
        let (dir, mut watch) = watched().await;
        let rounds = if long() { 100 } else { 20 };
        for round in 1..=rounds {
            for (editor, save) in EDITORS {
                let text = format!("v: {round} # by {editor}\n");
                save(dir.path(), &text);
                sees_only(&mut proof, &mut watch, &text, editor).await;
            }
        }
        proof.conclude();
    }

    #[tokio::test]
    async fn cfg_swap() {
        let mut proof = Proof::of("cfg.swap", "what editors leave, made and changed and removed");
        let (dir, mut watch) = watched().await;
        let names = [
            ".web.yaml.swp",
            ".web.yaml.swo",
            ".web.yaml.swx",
            "4913",
            "#web.yaml#",
            "web.yaml~",
            ".web.yaml.tmp",
            ".web.yaml",
            "web.yaml.bak",
            "web.yaml.orig",
            "web.yaml.rej",
            "web.yaml.swp",
            "sedA1b2C3",
            ".goutputstream-X",
            "web.yaml.new",
            ".#other.yaml",
            "web.yaml.kate-swp",
            "web.json",
            "README",
        ];
        for (round, name) in names.iter().cycle().take(if long() { 190 } else { 57 }).enumerate() {
            put(dir.path(), name, "name: web\nimage: x:1\ndocker: { expose_port: 1 }\n");
            put(dir.path(), name, "x: [");
            watch.rescan().now();
            remove(dir.path(), name);
            let text = format!("v: {round}+\n");
            put(dir.path(), "web.yaml", &text);
            sees_only(&mut proof, &mut watch, &text, name).await;
        }
        proof.conclude();
    }

    #[tokio::test]
    async fn cfg_symlink() {
        let mut proof = Proof::of("cfg.symlink", "..data swaps on a real directory");
        let dir = tempfile::tempdir().expect("temp dir");
        let version = |number: u32| {
            let name = format!("..v{number}");
            fs::create_dir(dir.path().join(&name)).expect("dir");
            put(&dir.path().join(&name), "web.yaml", &format!("v: {number}\n"));
            name
        };
        symlink(version(0), dir.path().join("..data")).expect("link");
        symlink("..data/web.yaml", dir.path().join("web.yaml")).expect("link");
        let mut watch = watch(dir.path(), POLL, Trust::Owner).expect("watch");
        assert_eq!(web(&next(&mut watch).await).as_deref(), Some("v: 0\n"));
        for number in 1..=if long() { 100 } else { 15 } {
            symlink(version(number), dir.path().join("..data_tmp")).expect("link");
            shift(dir.path(), "..data_tmp", "..data");
            fs::remove_dir_all(dir.path().join(format!("..v{}", number - 1))).expect("the old version");
            sees_only(&mut proof, &mut watch, &format!("v: {number}\n"), "a swap").await;
        }
        proof.conclude();
    }

    #[tokio::test]
    async fn cfg_delete() {
        let mut proof = Proof::of("cfg.delete", "removed and put back on a real directory");
        let (dir, mut watch) = watched().await;
        for round in 1..=if long() { 50 } else { 5 } {
            remove(dir.path(), "web.yaml");
            let gone = next(&mut watch).await;
            let text = format!("v: {round}\n");
            put(dir.path(), "web.yaml", &text);
            if gone.files.is_empty() {
                proof.kept();
            } else {
                proof.broken(format!("{gone:?}"));
            }
            sees_only(&mut proof, &mut watch, &text, "put back").await;
        }
        proof.conclude();
    }

    #[tokio::test]
    async fn cfg_eacces() {
        let mut proof = Proof::of("cfg.eacces", "a directory that goes away and comes back");
        let temp = tempfile::tempdir().expect("temp dir");
        let dir = temp.path().join("apps");
        fs::create_dir(&dir).expect("dir");
        put(&dir, "web.yaml", "v: 1\n");
        let mut watch = watch(&dir, POLL, Trust::Owner).expect("watch");
        next(&mut watch).await;
        for round in 1..=if long() { 50 } else { 3 } {
            shift(temp.path(), "apps", "away");
            let blocked = round % 2 == 0;
            if blocked {
                put(temp.path(), "apps", "no directory");
            }
            let gone = web(&next(&mut watch).await);
            if blocked {
                remove(temp.path(), "apps");
            }
            shift(temp.path(), "away", "apps");
            // Whatever it is called, it is there: nothing was deleted.
            match gone {
                Some(why) if why.starts_with("unreadable: ") => proof.kept(),
                other => proof.broken(format!("{other:?}")),
            }
            let mut back = next(&mut watch).await;
            while web(&back).is_some_and(|text| text.starts_with("unreadable: ")) {
                back = next(&mut watch).await;
            }
            assert_eq!(web(&back).as_deref(), Some("v: 1\n"));
        }
        proof.conclude();
    }

    #[tokio::test]
    async fn cfg_1000() {
        let mut proof = Proof::of("cfg.1000", "a thousand saves on a real directory");
        let (dir, mut watch) = watched().await;
        for round in 0..if long() { 20 } else { 2 } {
            for edit in 0..1_000 {
                let (_, save) = EDITORS[edit % EDITORS.len()];
                save(dir.path(), &format!("v: {round}.{edit}\n"));
            }
            let last = format!("v: {round}.999\n");
            let mut seen = next(&mut watch).await;
            while web(&seen).as_deref() != Some(&last) {
                let text = web(&seen).unwrap_or_default();
                assert!(text.ends_with('\n') && text.starts_with("v: "), "half a file: {text:?}");
                seen = next(&mut watch).await;
            }
            proof.kept();
        }
        proof.conclude();
    }

    #[test]
    fn cfg_big() {
        let mut proof = Proof::of("cfg.big", "a huge file, and very many");
        let dir = tempfile::tempdir().expect("temp dir");
        let before = memory("VmHWM:");
        for megabytes in [2_u64, 100, 4_096] {
            let file = fs::File::create(dir.path().join("web.yaml")).expect("create");
            file.set_len(megabytes * 1024 * 1024).expect("a big file");
            let why = web(&read_directory(dir.path(), Trust::Owner)).expect("it is there");
            if why.contains("at most 1048576 (1 MiB) are read") { proof.kept() } else { proof.broken(why) }
        }
        put(dir.path(), "web.yaml", "v: 1\n");
        // Files that are none of ours, and files that are, far too many.
        for (extension, usable) in [("txt", true), ("yaml", false)] {
            for number in 0..if long() { 100_000 } else { 20_000 } {
                fs::File::create(dir.path().join(format!("f{number}.{extension}"))).expect("create");
            }
            let snapshot = read_directory(dir.path(), Trust::Owner);
            let seen = web(&snapshot).as_deref() == Some("v: 1\n");
            if seen == usable { proof.kept() } else { proof.broken(format!("{:?}", snapshot.directory)) }
        }
        let grown = memory("VmHWM:") - before;
        if grown < 20 * 1024 {
            proof.kept();
        } else {
            proof.broken(format!("{grown} kB more memory"));
        }
        proof.conclude();
    }

    #[test]
    fn cfg_bomb() {
        let mut proof = Proof::of("cfg.bomb", "a corpus of hostile files");
        let before = memory("VmHWM:");
        for (what, bytes) in bombs() {
            let began = Instant::now();
            let parsed = parse_app(Path::new("a.yaml"), &bytes, Path::new("/"), &Policy::default());
            let took = began.elapsed();
            match parsed {
                // Generous: the contract's second is for a release build on a quiet machine.
                Err(problems) if problems.iter().all(|p| p.position.is_some()) && took.as_secs() < 5 => {
                    proof.kept();
                }
                other => proof.broken(format!("{what}, after {took:?}: {other:?}")),
            }
        }
        let grown = memory("VmHWM:") - before;
        if grown < 64 * 1024 {
            proof.kept();
        } else {
            proof.broken(format!("{grown} kB more memory"));
        }
        proof.conclude();
    }

    fn bombs() -> Vec<(&'static str, Vec<u8>)> {
        let good = "name: web\nimage: web:v1\ndocker: { expose_port: 80 }\n";
        let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        let mut maps = String::from("a0: &a0 { x: 1, y: 2 }\n");
        for level in 1..30 {
            let alias = format!("*a{}", level - 1);
            writeln!(aliases, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", ")).expect("a String");
            writeln!(maps, "a{level}: &a{level} {{ x: {alias}, y: {alias} }}").expect("a String");
        }
        let keys: String = (0..150_000).map(|key| key.to_string() + ": 1\n").collect();
        let block =
            |depth: usize| (0..depth).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
        let text = |text: String| text.into_bytes();
        vec![
            ("an alias bomb of lists", text(aliases)),
            ("an alias bomb of mappings", text(maps)),
            ("an alias inside of itself", text("a: &a [*a]\n".to_owned())),
            ("an alias of nothing", text("a: *none\n".to_owned())),
            ("lists, ten thousand deep", text("[".repeat(10_000))),
            ("mappings, ten thousand deep", text("{a: ".repeat(10_000))),
            ("blocks, a thousand deep", text(block(1_000))),
            ("sequences, ten thousand deep", text("- ".repeat(10_000))),
            ("keys of keys", text("? ".repeat(10_000))),
            ("a million keys", text(keys)),
            ("a huge scalar", text(format!("name: {}", "x".repeat(MAX_BYTES)))),
            ("a file of a megabyte and a byte", vec![b'#'; MAX_BYTES + 1]),
            ("a million line breaks and no app", vec![b'\n'; MAX_BYTES]),
            ("bytes that are not UTF-8", b"name: \xff\xfe\n".to_vec()),
            ("an overlong encoding", b"name: \xc0\xaf\n".to_vec()),
            ("a surrogate", b"name: \xed\xa0\x80\n".to_vec()),
            ("UTF-16", b"\xff\xfen\0a\0m\0e\0:\0".to_vec()),
            ("a NUL", b"name: a\0b\n".to_vec()),
            ("an escape sequence", b"name: \x1b]0;x\x07\n".to_vec()),
            ("a key twice", text(format!("name: a\n{good}"))),
            ("a nested key twice", text(format!("{good}ports: {{ blue: 1, blue: 2 }}\n"))),
            ("a quoted key twice", text(format!("{good}\"image\": web:v2\n"))),
            ("two documents", text(format!("{good}---\n{good}"))),
            ("a tag", text(format!("{good}description: !!python/object x\n"))),
            ("a merge key", text(format!("{good}ports: {{ <<: {{ blue: 1 }} }}\n"))),
            ("a complex key", text(format!("{good}? [x]\n: y\n"))),
            ("tabs", text("name: web\n\timage: x\n".to_owned())),
            ("a directive", text(format!("%YAML 9.9\n---\n{good}x: 1\n"))),
            ("an unclosed quote", text(format!("{good}description: \"x\n"))),
            ("a number that is too big", text(format!("{good}replicas: 99999999999999999999999999\n"))),
            ("nothing", Vec::new()),
        ]
    }

    #[test]
    fn cfg_dup() {
        let mut proof = Proof::of("cfg.dup", "two and three files of one name");
        let text = "name: web\nimage: web:v1\ndocker: { expose_port: 80 }\n";
        let spec =
            parse_app(Path::new("x"), text.as_bytes(), Path::new("/"), &Policy::default()).expect("valid");
        let files: Vec<PathBuf> = ["a", "b", "c"].map(|name| PathBuf::from(format!("{name}.yaml"))).into();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for count in [2, 3] {
                for runs in [None, Some(order[0])] {
                    let claims: Vec<Claim<'_>> = order[..count]
                        .iter()
                        .map(|&at| Claim {
                            file: &files[at],
                            bytes: text.as_bytes(),
                            spec: &spec,
                            standing: if runs == Some(at) { Standing::Incumbent } else { Standing::Newcomer },
                        })
                        .collect();
                    let problems = check_clashes(&claims, &[]);
                    let refused: BTreeSet<&Path> =
                        problems.iter().map(|problem| problem.file.as_path()).collect();
                    let rest = order[..count].iter().filter(|at| runs != Some(**at));
                    // Each is refused and names another one; what runs is not.
                    let expected = rest.clone().all(|&at| refused.contains(files[at].as_path()))
                        && refused.len() == rest.count()
                        && problems.iter().all(|problem| {
                            files.iter().any(|f| {
                                f != &problem.file && problem.message.contains(f.to_str().unwrap_or("?"))
                            })
                        });
                    if expected { proof.kept() } else { proof.broken(format!("{problems:?}")) }
                }
            }
        }
        proof.conclude();
    }

    /// What an app claims, in one of its spellings.
    struct Variant {
        spec: AppSpec,
        text: String,
        /// Without its spelling: host, path, listener, and the port on the host.
        claims: (String, String, Option<u16>, Option<u16>),
    }

    fn variants(name: &str) -> Vec<Variant> {
        let hosts = [
            ("shop.example.com", "shop.example.com"),
            ("SHOP.Example.com", "shop.example.com"),
            ("shop.example.com.", "shop.example.com"),
            ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
            ("XN--Bcher-KVA.example.com.", "xn--bcher-kva.example.com"),
            ("*.example.com", "*.example.com"),
            ("*.Example.COM.", "*.example.com"),
            ("*", "*"),
            ("", "*"),
        ];
        let paths = [("", "/"), ("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/API", "/API")];
        let mut found = Vec::new();
        for (written, host) in hosts {
            for (prefix, path) in paths {
                for listen in [None, Some(9_000_u16)] {
                    for port in [None, Some(8_081_u16), Some(9_000), Some(443)] {
                        let mut route = vec!["strip_prefix: false".to_owned()];
                        route.extend((!written.is_empty()).then(|| format!("host: '{written}'")));
                        route.extend((!prefix.is_empty()).then(|| format!("path_prefix: {prefix}")));
                        route.extend(listen.map(|port| format!("listen_port: {port}")));
                        let ports =
                            port.map(|port| format!("ports: {{ blue: {port} }}\n")).unwrap_or_default();
                        let text = format!(
                            "name: {name}\nimage: a:1\ndocker: {{ expose_port: 80 }}\n{ports}routes: [{{ {} }}]\n",
                            route.join(", ")
                        );
                        let file = Path::new("x.yaml");
                        let spec = parse_app(file, text.as_bytes(), Path::new("/"), &Policy::default());
                        let spec = spec.unwrap_or_else(|problems| panic!("{text}{problems:?}"));
                        let claims = (host.to_owned(), path.to_owned(), listen, port);
                        found.push(Variant { spec, text, claims });
                    }
                }
            }
        }
        found
    }

    /// What the contract says, in other words than the product's.
    fn can_stand(new: &Variant, held: &Variant) -> bool {
        let (a, b) = (&new.claims, &held.claims);
        let route = (&a.0, &a.1, a.2) == (&b.0, &b.1, b.2);
        let taken = |port: Option<u16>, by: Option<u16>| port.is_some() && port == by;
        let ports = taken(a.3, b.3) || taken(a.3, b.2) || taken(a.2, b.3);
        let own = taken(a.2, a.3) || a.3 == Some(443);
        !(route || ports || own)
    }

    #[test]
    fn cfg_route() {
        let mut proof = Proof::of("cfg.route", "every pair of spellings of routes and ports");
        let (held, new) = (variants("held"), variants("new"));
        let reserved = Settings::default().reserved_ports();
        let stride = if long() { 1 } else { 7 };
        for (at, (held, new)) in
            held.iter().flat_map(|held| new.iter().map(move |new| (held, new))).enumerate()
        {
            if at % stride != 0 {
                continue;
            }
            let claim = |variant: &'static str, of: &Variant, standing| {
                (Path::new(variant), of.text.clone(), standing)
            };
            let (a, b) =
                (claim("held.yaml", held, Standing::Incumbent), claim("new.yaml", new, Standing::Newcomer));
            let claims = [
                Claim { file: b.0, bytes: b.1.as_bytes(), spec: &new.spec, standing: b.2 },
                Claim { file: a.0, bytes: a.1.as_bytes(), spec: &held.spec, standing: a.2 },
            ];
            let problems = check_clashes(&claims, &reserved);
            let incumbent_untouched = problems.iter().all(|problem| problem.file == b.0);
            if problems.is_empty() == can_stand(new, held) && incumbent_untouched {
                proof.kept();
            } else {
                proof.broken(format!("{:?} against {:?}: {problems:?}", new.claims, held.claims));
            }
        }
        // What a browser would take for the same host is refused as a spelling.
        for host in [
            "shop.example.com:80",
            "http://shop.example.com",
            "bücher.example.com",
            "shop..example.com",
            "shop.example.com..",
        ] {
            let text = format!(
                "name: a\nimage: a:1\ndocker: {{ expose_port: 80 }}\nroutes: [{{ host: '{host}' }}]\n"
            );
            let parsed = parse_app(Path::new("a.yaml"), text.as_bytes(), Path::new("/"), &Policy::default());
            if parsed.is_err() { proof.kept() } else { proof.broken(host) }
        }
        proof.conclude();
    }
}
