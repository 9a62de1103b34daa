//! Where the program under test is.

use std::path::PathBuf;

/// The program under test: `DOCKSWAP_BIN`, else the one that was built beside this test.
#[must_use]
pub fn dockswap() -> PathBuf {
    named_by("DOCKSWAP_BIN").or_else(beside).unwrap_or_else(|| {
        panic!("no dockswap beside this test: run `cargo build -p dockswap` first, or scripts/test")
    })
}

/// The program with crash points, which is not the one that is released: the one that `DOCKSWAP_CRASH_BIN` names, else
/// the one that was built beside this test.
#[must_use]
pub fn dockswap_with_crash_points() -> PathBuf {
    const VARIABLE: &[u8] = b"DOCKSWAP_CRASH_AT";
    let has_points = |path: &PathBuf| {
        let program = std::fs::read(path).expect("a program");
        program.windows(VARIABLE.len()).any(|bytes| bytes == VARIABLE)
    };
    named_by("DOCKSWAP_CRASH_BIN").or_else(beside).filter(has_points).unwrap_or_else(|| {
        panic!(
            "no dockswap with crash points beside this test: run `cargo build -p dockswap -F crash-points` first, or \
             scripts/test"
        )
    })
}

fn named_by(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    assert!(path.is_file(), "{variable} is {}, and no such file is there", path.display());
    Some(path)
}

fn beside() -> Option<PathBuf> {
    let this = std::env::current_exe().expect("the path of this program");
    this.ancestors().skip(1).take(2).map(|dir| dir.join("dockswap")).find(|path| path.is_file())
}
