//! The last keyring, on disk: what handshakes go by at start before any controller is up. It holds private keys.

use crate::kept::KeptFile;
use dockswap_core::keyring::Keyring;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// The form that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// No keyring is larger: its way to the proxy has the same bound.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    format: u32,
    keyring: Cow<'a, Keyring>,
}

/// The file that holds the last keyring.
#[derive(Clone, Debug)]
pub(crate) struct Keyfile {
    file: KeptFile,
}

impl Keyfile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { file: KeptFile::new(path) }
    }

    /// The last keyring; an empty one when there is none, or the file cannot be used: the controller brings it
    /// again, and plain requests are served without it. What cannot be understood is set aside.
    pub(crate) fn load(&self) -> Keyring {
        let why = match self.file.read() {
            Ok(None) => return Keyring::default(),
            Ok(Some(bytes)) => match understand(&bytes) {
                Ok(keyring) => return keyring,
                Err(error) => error,
            },
            Err(error) => error,
        };
        let kept = self.file.set_aside();
        tracing::error!(%why, ?kept, "the saved certificates cannot be used; HTTPS waits for the controller");
        Keyring::default()
    }

    /// Writes `keyring`, as [`KeptFile::write`] does.
    ///
    /// # Errors
    /// When the disk fails or is full; the file before stays.
    pub(crate) fn save(&self, keyring: &Keyring) -> io::Result<()> {
        self.file.write(&serde_json::to_vec(&Written { format: FORMAT, keyring: Cow::Borrowed(keyring) })?)
    }
}

/// What the proxy whose file is at `path` held last, as far as it can be read; nothing is touched. Whose file it is may
/// be another user's: no link and no pipe in its place is opened, and no endless file read.
#[must_use]
pub fn last_keyring(path: &Path) -> Keyring {
    let bytes = match KeptFile::new(path.to_owned()).read_from_outside(LARGEST) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the proxy's last certificates cannot be read");
            return Keyring::default();
        }
    };
    understand(&bytes).unwrap_or_default()
}

fn understand(bytes: &[u8]) -> io::Result<Keyring> {
    match serde_json::from_slice::<Written<'_>>(bytes) {
        Ok(written) if written.format == FORMAT => Ok(written.keyring.into_owned()),
        Ok(written) => Err(io::Error::other(format!("it is of format {}, not {FORMAT}", written.format))),
        // The error itself could quote a key.
        Err(error) => Err(io::Error::other(format!("line {}, column {}", error.line(), error.column()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_was_saved_is_loaded_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certificates.json");
        let file = Keyfile::new(path.clone());
        assert_eq!(file.load(), Keyring::default());
        let keyring = Keyring { tag: "1".to_owned(), ..Keyring::default() };
        file.save(&keyring).unwrap();
        assert_eq!(file.load(), keyring);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn from_outside_nothing_but_a_file_of_the_proxys_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certificates.json");
        let keyring = Keyring { tag: "1".to_owned(), ..Keyring::default() };
        let other = dir.path().join("other.json");
        for path in [&path, &other] {
            Keyfile::new(path.clone()).save(&keyring).unwrap();
        }
        assert_eq!(last_keyring(&path), keyring);
        // Not one that is led to, nor one that has another name too.
        for put in
            [|from: &Path, to: &Path| symlink(from, to), |from: &Path, to: &Path| fs::hard_link(from, to)]
        {
            fs::remove_file(&path).unwrap();
            put(&other, &path).unwrap();
            assert_eq!(last_keyring(&path), Keyring::default());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(last_keyring(&path), Keyring::default());
        // A pipe that nobody writes to would hold up the start.
        let user = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, user, 0).unwrap();
        assert_eq!(last_keyring(&path), Keyring::default());
        fs::remove_file(&path).unwrap();
        // Larger than any, and it takes no room.
        let mut text =
            serde_json::to_vec(&Written { format: FORMAT, keyring: Cow::Borrowed(&keyring) }).unwrap();
        text.extend([b' '; 16]);
        fs::write(&path, &text).unwrap();
        assert_eq!(last_keyring(&path), keyring);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(KeptFile::new(path).read_from_outside(LARGEST).is_err());
    }

    #[test]
    fn a_broken_file_is_kept_aside_and_keeps_nothing_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certificates.json");
        for broken in ["", "{", r#"{"format":2,"keyring":{"tag":"","certificates":[],"challenges":[]}}"#] {
            fs::write(&path, broken).unwrap();
            assert_eq!(Keyfile::new(path.clone()).load(), Keyring::default());
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(matches!(&left[..], [aside] if aside.to_string_lossy().contains(".broken-")), "{left:?}");
            fs::remove_file(&left[0]).unwrap();
        }
    }
}
