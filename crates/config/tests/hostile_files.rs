//! Files that are broken, or made to do harm: each is refused with a position, soon.

use dockswap_config::{MAX_BYTES, Policy, parse_app};
use proptest::prelude::{ProptestConfig, any, proptest};
use std::fmt::Write;
use std::path::Path;

fn refused(bytes: &[u8]) -> String {
    let parsed = parse_app(Path::new("a.yaml"), bytes, Path::new("/"), &Policy::default());
    let problems = parsed.expect_err("a broken file");
    problems.iter().map(|problem| problem.to_string() + "\n").collect()
}

#[test]
fn what_is_no_yaml_text() {
    for (bytes, expected) in [
        (&b"name: a\nimage: \xff\n"[..], "a.yaml:2:8: the byte 0xff is not UTF-8: save the file as UTF-8\n"),
        (
            b"name: \xc3\xa4\0b\n",
            "a.yaml:1:8: the control character 0x00 cannot stand in a file: remove it\n",
        ),
        (b"a: \x1b[31m\n", "a.yaml:1:4: the control character 0x1b cannot stand in a file: remove it\n"),
        (
            "a: \u{9b}31m\n".as_bytes(),
            "a.yaml:1:4: the control character 0x9b cannot stand in a file: remove it\n",
        ),
        (b"\xff\xfen\0", "a.yaml:1:1: the byte 0xff is not UTF-8: save the file as UTF-8\n"),
    ] {
        assert_eq!(refused(bytes), expected);
    }
}

#[test]
fn what_is_no_valid_yaml_says_where() {
    for (text, place) in [
        ("name: [a\nimage: b\n", "a.yaml:"),
        ("name: \"a\n", "a.yaml:"),
        ("name: a\n  image: b\n", "a.yaml:2:"),
        ("a: b: c\n", "a.yaml:1:"),
        ("a: *none\n", "a.yaml:1:4"),
        ("name: a\nroutes: {a", "a.yaml:2:11: "),
    ] {
        let problems = refused(text.as_bytes());
        assert!(problems.starts_with(place) && problems.contains("not valid YAML: "), "{text}: {problems}");
    }
}

#[test]
fn what_yaml_allows_and_an_app_file_does_not() {
    for (text, expected) in [
        (
            "name: a\nname: b\nimage: x\ndocker: { expose_port: 1, expose_port: 2 }\n",
            "a.yaml:2:1: name: the key \"name\" stands already on line 1: keep one of them\n\
             a.yaml:4:27: docker.expose_port: the key \"expose_port\" stands already on line 4: keep one of them\n",
        ),
        (
            "name: a\nimage: x\ndocker:\n  expose_port: 1\n  environment: { A: 1, 'A': 2 }\n",
            "a.yaml:5:24: docker.environment.A: the key \"A\" stands already on line 5: keep one of them\n",
        ),
        (
            "name: a\nimage: x\ndocker: { expose_port: 1, environment: { <<: { B: 1 } } }\n",
            "a.yaml:3:42: docker.environment.<<: merge keys (<<) are not part of YAML 1.2: repeat the entries, or alias the whole mapping\n",
        ),
        (
            "name: a\nimage: x\ndocker: { expose_port: 1 }\n\"\\e[2J\": 1\n",
            "a.yaml:4:1: \\u{1b}[2J: unknown key: known here are name, description, project, image, replicas, docker, \
             ports, health_check, deployment, routes, proxy, limits\n",
        ),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1: a second document begins here: write one app a file\n"),
        ("a: !secret x\n", "a.yaml:1:4: a: the tag !secret has no meaning here: leave it out\n"),
        ("a: &a [*a]\n", "a.yaml:1:8: a[0]: an alias inside of its own anchor: write the value out\n"),
    ] {
        assert_eq!(refused(text.as_bytes()), expected);
    }
    let problems = refused(b"name: a\nimage: x\ndocker: { expose_port: 1 }\n? [x]\n: y\n");
    assert_eq!(problems, "a.yaml:4:3: a key must be a plain text: write `key: value`\n");
}

#[test]
fn what_would_exhaust_memory_or_time() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let alias = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", ")).expect("a String");
    }
    let keys: String = (0..100_000).map(|key| key.to_string() + ": 1\n").collect();
    let block =
        |depth: usize| (0..depth).fold(String::new(), |text, level| text + &" ".repeat(level) + "a:\n");
    for (text, expected) in [
        (bomb, "more than 20000 values, aliases followed: write fewer"),
        (
            keys[..MAX_BYTES.min(keys.len())].to_owned(),
            "more than 20000 values, aliases followed: write fewer",
        ),
        (format!("a: {}", "[".repeat(200)), "nested more than 32 levels deep: write it flatter"),
        (format!("a: {}", "[".repeat(10_000)), "not valid YAML: recursion limit exceeded"),
        (format!("a: {}", "{a: ".repeat(10_000)), "nested more than 32 levels deep: write it flatter"),
        (block(1_000), "nested more than 32 levels deep: write it flatter"),
        ("- ".repeat(10_000), "nested more than 32 levels deep: write it flatter"),
        ("? ".repeat(10_000), "nested more than 32 levels deep: write it flatter"),
        (
            format!("name: {}", "x".repeat(MAX_BYTES)),
            "the file has 1048582 bytes: write at most 1048576 (1 MiB)",
        ),
    ] {
        let problems = refused(text.as_bytes());
        assert!(problems.contains(expected), "{}: {problems}", &text[..20]);
        assert!(problems.starts_with("a.yaml:"), "{problems}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_app(Path::new("a.yaml"), &bytes, Path::new("/"), &Policy::default());
    }

    #[test]
    fn no_change_of_a_valid_file_panics(at in 0_usize..12_000, new in "[ -~\n]{0,4}", cut in 0_usize..40) {
        let mut text = include_str!("../../../deploy.yaml.example").to_owned();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &new);
        let _ = parse_app(Path::new("a.yaml"), text.as_bytes(), Path::new("/"), &Policy::default());
    }
}
