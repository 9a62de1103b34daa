//! Any bytes as the controller's settings: a file, and after a NUL the environment, a variable a line.

use crate::app_file::stands_in;
use dockswap_config::Settings;
use std::path::Path;

const FILE: &str = "dockswap.yaml";

/// Reads `bytes` as settings.
pub fn settings(bytes: &[u8]) {
    let (file, environment) = match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, [].as_slice()),
    };
    let environment = String::from_utf8_lossy(environment);
    let variables = || {
        let pairs = environment.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let load = || Settings::load(Some((Path::new(FILE), file)), variables());
    let loaded = load();
    assert_eq!(load(), loaded, "the same settings mean something else");
    match loaded {
        Ok(settings) => {
            assert!((1..=1_000).contains(&settings.max_concurrent));
            let api = &settings.api;
            assert!(
                api.tls.is_some() || api.http.is_none_or(|addr| addr.ip().is_loopback()),
                "open to others, and plain"
            );
            assert!(settings.reserved_ports().iter().all(|reserved| reserved.port > 0));
            let mounts = settings.policy.bind_mounts.iter().flatten();
            assert!(mounts.chain(&settings.policy.protected).all(|path| path.is_absolute()));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "settings were refused without a problem");
            for problem in problems {
                if problem.file == Path::new(FILE) && problem.position.is_none() {
                    // One of two fields that do not go together: both are named.
                    assert!(!problem.path.is_empty(), "neither a place nor a name: {problem}");
                } else if problem.file == Path::new(FILE) {
                    stands_in(file, &problem);
                } else {
                    assert_eq!(problem.position, None, "a variable has no lines: {problem}");
                    assert!(variables().any(|(name, _)| problem.file.to_string_lossy().ends_with(&name)));
                }
            }
        }
    }
}
