//! The arrows between the crates, held by reading the manifests. (`deny.toml` holds those to other
//! people's crates.)

use dockswap_tests::Done;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each package of ours needs to be built (not to be tested).
fn needs() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let done = Done::of(
        Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let metadata = done.exits(0).json();
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let built = dependencies.filter(|dependency| dependency["kind"].as_str() != Some("dev"));
        (text(&package["name"]), built.map(|dependency| text(&dependency["name"])).collect())
    };
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

const SIBLINGS: [&str; 6] = [
    "dockswap-controller",
    "dockswap-certs",
    "dockswap-config",
    "dockswap-store",
    "dockswap-docker",
    "dockswap-proxy",
];
const ADAPTERS: [&str; 5] =
    ["dockswap-certs", "dockswap-config", "dockswap-store", "dockswap-docker", "dockswap-proxy"];

fn ours(needs: &BTreeSet<String>) -> BTreeSet<&str> {
    needs.iter().map(String::as_str).filter(|name| name.starts_with("dockswap")).collect()
}

#[test]
fn core_needs_nothing_of_ours_and_no_runtime() {
    let core = &needs()["dockswap-core"];
    assert_eq!(ours(core), BTreeSet::new());
    for outside in ["tokio", "hyper", "bollard", "sea-orm", "chrono", "tracing", "rustix"] {
        assert!(!core.contains(outside), "core must not know {outside}");
    }
}

#[test]
fn siblings_never_import_each_other() {
    let needs = needs();
    for crate_name in SIBLINGS {
        let mut allowed = BTreeSet::from(["dockswap-core"]);
        if crate_name == "dockswap-store" {
            allowed.insert("dockswap-migration");
        }
        let found = ours(&needs[crate_name]);
        assert!(found.is_subset(&allowed), "{crate_name} needs {found:?}");
    }
}

#[test]
fn the_migration_knows_nothing_of_ours() {
    assert_eq!(ours(&needs()["dockswap-migration"]), BTreeSet::new());
}

#[test]
fn only_the_binary_and_the_fuzz_targets_name_two_adapters() {
    for (package, needs) in needs() {
        let adapters = ours(&needs).into_iter().filter(|name| ADAPTERS.contains(name)).count();
        assert!(
            ["dockswap", "dockswap-fuzz"].contains(&package.as_str()) || adapters <= 1,
            "{package} names {adapters} adapters"
        );
    }
}

#[test]
fn nothing_needs_the_fuzz_targets() {
    assert!(needs().values().all(|needs| !needs.contains("dockswap-fuzz")));
}

#[test]
fn each_door_to_the_outside_is_one_crates_own() {
    let needs = needs();
    let holders = |name: &str| -> Vec<&str> {
        needs.iter().filter(|(_, needs)| needs.contains(name)).map(|(package, _)| package.as_str()).collect()
    };
    assert_eq!(holders("bollard"), ["dockswap-docker"]);
    assert_eq!(holders("sea-orm"), ["dockswap-store"]);
    assert_eq!(holders("sea-orm-migration"), ["dockswap-migration"]);
    assert_eq!(holders("instant-acme"), ["dockswap-certs"]);
    assert_eq!(holders("notify"), ["dockswap-config"]);
    assert_eq!(holders("yaml_serde"), ["dockswap-config"]);
}
