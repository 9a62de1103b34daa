//! The hash that names a version of an app file.

use dockswap_core::ConfigSha;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The SHA-256 of `bytes` in lower-case hex: what `sha256sum` prints for a file of these bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> ConfigSha {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    ConfigSha(hex)
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn as_sha256sum_prints_it() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").0, abc);
    }
}
