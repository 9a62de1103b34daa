//! Any bytes as an app file: a spec that means the same however often it is read, or problems that
//! stand in the file. Never a panic, never a problem without a place.

use dockswap_config::{Policy, Problem, parse_app, replace_image, sha256};
use dockswap_core::machine::Plan;
use dockswap_core::spec::HostPattern;
use dockswap_core::{AppSpec, ConfigId};
use std::path::Path;

const FILE: &str = "a.yaml";

/// An image that no input asks for.
const ANOTHER: &str = "another-image-than-yours:v2";

/// Reads `bytes` as an app file.
pub fn app_file(bytes: &[u8]) {
    match parse(bytes) {
        Ok(spec) => {
            sound(&spec);
            reads_the_same(bytes, &spec);
            takes_another_image(bytes, &spec);
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "a file was refused without a problem");
            assert!(problems.is_sorted_by_key(|problem| problem.position), "not in the order of the text");
            for problem in &problems {
                stands_in(bytes, problem);
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<AppSpec, Vec<Problem>> {
    parse_app(Path::new(FILE), bytes, Path::new("/srv/apps"), &Policy::default())
}

/// What everybody who is given a spec relies on.
fn sound(spec: &AppSpec) {
    assert!((1..=32).contains(&spec.replicas) && spec.container.expose_port > 0);
    assert!(!spec.routes.is_empty(), "an app without a route");
    let ports = [spec.host_ports.blue, spec.host_ports.green];
    assert!(ports[0].is_none() || ports[0] != ports[1], "both colors on one port");
    assert!(!spec.image.is_empty() && spec.image.bytes().all(|byte| byte.is_ascii_graphic()));
    for (index, route) in spec.routes.iter().enumerate() {
        assert!(!spec.routes[..index].iter().any(|other| other.clashes_with(route)), "{route} twice");
        assert!(route.path_prefix.starts_with('/'), "{route}");
        assert!(route.path_prefix == "/" || !route.path_prefix.ends_with('/'), "{route}");
        if let HostPattern::Exact(host) | HostPattern::Wildcard(host) = &route.host {
            assert_eq!(*host, host.to_ascii_lowercase());
            assert!(!host.is_empty() && !host.ends_with('.') && !host.starts_with('.'), "{route}");
        }
    }
    let plan = Plan::of(spec, ConfigId(1));
    let stored = serde_json::to_string(&plan).expect("a plan can be stored");
    let loaded: Plan = serde_json::from_str(&stored).expect("a stored plan can be loaded");
    assert_eq!(loaded, plan, "a stored plan means something else");
}

/// The same bytes, and bytes with another comment, are the same spec.
fn reads_the_same(bytes: &[u8], spec: &AppSpec) {
    assert_eq!(parse(bytes).as_ref(), Ok(spec), "the same bytes mean something else");
    assert_eq!(sha256(bytes), sha256(bytes));
    // A byte order mark stands first or nowhere.
    if !bytes.starts_with(b"\xef\xbb\xbf") && bytes.len() < dockswap_config::MAX_BYTES / 2 {
        let commented = [b"# a comment\n", bytes].concat();
        assert_ne!(sha256(&commented), sha256(bytes));
        assert_eq!(parse(&commented).as_ref(), Ok(spec), "a comment means something");
    }
}

/// `dockswap deploy APP IMAGE` changes the image and nothing else, or says why it cannot.
fn takes_another_image(bytes: &[u8], spec: &AppSpec) {
    match replace_image(Path::new(FILE), bytes, ANOTHER) {
        Ok(edited) => {
            let expected = AppSpec { image: ANOTHER.to_owned(), ..spec.clone() };
            assert_eq!(parse(&edited), Ok(expected), "{:?}", String::from_utf8_lossy(&edited));
        }
        Err(problem) => stands_in(bytes, &problem),
    }
}

/// Whether a problem of the file `bytes` can be shown and found.
pub(crate) fn stands_in(bytes: &[u8], problem: &Problem) {
    let shown = problem.to_string();
    assert!(!problem.message.is_empty(), "a problem without words: {shown:?}");
    assert!(!shown.chars().any(char::is_control), "control characters in {shown:?}");
    let position = problem.position.unwrap_or_else(|| panic!("nowhere: {shown}"));
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines: Vec<&str> = text.split('\n').collect();
    let breaks = lines.len() + text.matches('\r').count();
    assert!((1..=breaks).contains(&position.line), "no such line: {shown}");
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!((1..=longest + 1).contains(&position.column), "no such column: {shown}");
    // A carriage return alone ends a line for YAML, and not for editors.
    if !text.contains('\r') {
        let line = lines[position.line - 1].chars().count();
        assert!(position.column <= line + 1, "no such column in its line: {shown}");
    }
}
