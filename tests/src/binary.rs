//! Where the program under test is.

use std::path::PathBuf;

/// The program under test: `DOCKSWAP_BIN`, else the one that was built beside this test.
#[must_use]
pub fn dockswap() -> PathBuf {
    if let Some(path) = std::env::var_os("DOCKSWAP_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "DOCKSWAP_BIN is {}, and no such file is there", path.display());
        return path;
    }
    let this = std::env::current_exe().expect("the path of this program");
    let beside = this.ancestors().skip(1).take(2).map(|dir| dir.join("dockswap")).find(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!("no dockswap beside {}: run `cargo build -p dockswap` first, or scripts/test", this.display())
    })
}
