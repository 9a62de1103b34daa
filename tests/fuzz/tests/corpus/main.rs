//! Each target on its corpus (`fuzz/corpus`, found by libFuzzer), and on seeded mutations of it: the
//! same ones on every machine, more of them in the long mode. A failing input is printed as it is
//! written in Rust; it belongs into the corpus when it is mended.

mod mutation;

use dockswap_proof::{Proof, long};
use mutation::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

type Target = fn(&[u8]);

/// Every target, and how many mutations of its corpus are tried.
const TARGETS: [(&str, Target, usize); 7] = [
    ("api_bodies", dockswap_fuzz::api_bodies, 1_500),
    ("app_file", dockswap_fuzz::app_file, 2_000),
    ("event_replay", dockswap_fuzz::event_replay, 1_000),
    ("proxy_framing", dockswap_fuzz::proxy_framing, 2_500),
    ("route_matcher", dockswap_fuzz::route_matcher, 5_000),
    ("settings", dockswap_fuzz::settings, 5_000),
    ("upstream_answer", dockswap_fuzz::upstream_answer, 2_000),
];

/// How many mutated app files are put beside another one.
const NEIGHBORS: usize = 50;

/// How much more is tried in the long mode.
const LONG: usize = 20;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = fuzz().join("corpus").join(target);
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let inputs: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("an input")).collect();
    assert!(inputs.len() >= 5, "{target} has no corpus");
    inputs
}

/// The corpus of a target, and `mutations` of it.
fn inputs(name: &str, mutations: usize) -> Vec<Vec<u8>> {
    let mut inputs = corpus(name);
    let mutated: Vec<Vec<u8>> = {
        let mut mutator = Mutator::new(&inputs);
        (0..mutations * if long() { LONG } else { 1 }).map(|_| mutator.next_input()).collect()
    };
    inputs.extend(mutated);
    inputs
}

/// Counts how often `target` holds for `inputs`.
fn count(mut proof: Proof, target: Target, inputs: &[Vec<u8>]) {
    for input in inputs {
        match catch_unwind(AssertUnwindSafe(|| target(input))) {
            Ok(()) => proof.kept(),
            Err(_) => proof.broken(format!("b\"{}\"", input.escape_ascii())),
        }
    }
    proof.conclude();
}

fn holds(name: &str) {
    let (_, target, mutations) = TARGETS.into_iter().find(|(other, ..)| *other == name).expect("a target");
    let proof = Proof::of("T-fuzz", format!("{name}, corpus and seeded mutations"));
    count(proof, target, &inputs(name, mutations));
}

#[test]
fn p14_any_bytes_in_another_file_change_nothing_that_runs() {
    let proof = Proof::of("P14", "any bytes in the file beside an app's own, Docker in memory");
    count(proof, dockswap_fuzz::bad_neighbor, &inputs("app_file", NEIGHBORS));
}

#[test]
fn api_bodies() {
    holds("api_bodies");
}

#[test]
fn app_file() {
    holds("app_file");
}

#[test]
fn event_replay() {
    holds("event_replay");
}

#[test]
fn proxy_framing() {
    holds("proxy_framing");
}

#[test]
fn route_matcher() {
    holds("route_matcher");
}

#[test]
fn settings() {
    holds("settings");
}

#[test]
fn upstream_answer() {
    holds("upstream_answer");
}

/// What is tried here is what `cargo fuzz` tries.
#[test]
fn every_target_has_its_wrapper() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest of fuzz/");
    for (name, ..) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
        let wrapper = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs")));
        let call = format!("dockswap_fuzz::{name}(bytes)");
        assert!(wrapper.is_ok_and(|wrapper| wrapper.contains(&call)), "{name} has no wrapper in fuzz/");
    }
    assert_eq!(
        manifest.matches("[[bin]]").count(),
        TARGETS.len(),
        "fuzz/ has a target that is not tried here"
    );
}
