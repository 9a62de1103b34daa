//! The example files are valid, stand beside each other, and show every field.

use dockswap_config::{Claim, Policy, Settings, Standing, check_clashes, parse_app, schema};
use dockswap_core::AppSpec;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> (Vec<u8>, AppSpec) {
    let bytes = fs::read(path).expect("an example");
    let parsed = parse_app(path, &bytes, Path::new("/cfg/apps"), &Policy::default());
    let spec = parsed.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.to_string() + "\n").collect::<String>())
    });
    (bytes, spec)
}

#[test]
fn the_examples_stand_beside_each_other() {
    let mut files = vec![root().join("deploy.yaml.example")];
    let listed = fs::read_dir(root().join("examples/apps")).expect("the directory of examples");
    files.extend(listed.map(|entry| entry.expect("an entry").path()));
    assert!(files.len() > 3, "{files:?}");
    let apps: Vec<_> = files.iter().map(|file| read(file)).collect();
    let claims: Vec<_> = files
        .iter()
        .zip(&apps)
        .map(|(file, (bytes, spec))| Claim { file, bytes, spec, standing: Standing::Newcomer })
        .collect();
    let problems = check_clashes(&claims, &Settings::default().reserved_ports());
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn the_commented_example_has_every_field() {
    let text = fs::read_to_string(root().join("deploy.yaml.example")).expect("the example");
    let example: Value = serde_yaml::from_str(&text).expect("YAML");
    let mut missing = Vec::new();
    collect_missing(&schema(), Some(&example), String::new(), &mut missing);
    // What cannot stand beside `routes`; both are in comments.
    assert_eq!(missing, ["ports.proxy", "proxy"]);
    for spelling in ["ports.proxy", "# proxy: {"] {
        assert!(text.contains(spelling), "{spelling}");
    }
}

/// The properties of `schema` that `example` lacks.
fn collect_missing(schema: &Value, example: Option<&Value>, path: String, missing: &mut Vec<String>) {
    let Some(example) = example else {
        missing.push(path);
        return;
    };
    let Some(properties) =
        schema["properties"].as_object().or_else(|| schema["items"]["properties"].as_object())
    else {
        return;
    };
    for (key, schema) in properties {
        let value = match example {
            Value::Array(items) => items.iter().find_map(|item| item.get(key)),
            other => other.get(key),
        };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect_missing(schema, value, path, missing);
    }
}
