//! What ACME leaves behind, on disk: the account, a certificate for each host, failed tries. Private from the first
//! instant, each file replaced whole.

use crate::slot::Tries;
use dockswap_core::keyring::Pair;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files of one ACME server.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// In `dir`, for the server with this directory URL: what one gave is nothing to another.
    pub(crate) fn new(dir: &Path, directory: &str) -> Self {
        let name = directory.trim_start_matches("https://");
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Self { dir: dir.join(name) }
    }

    /// The account, as [`Archive::keep_account`] was given it.
    pub(crate) fn account<T: DeserializeOwned>(&self) -> Option<T> {
        self.load("account.json")
    }

    pub(crate) fn keep_account<T: Serialize>(&self, account: &T) -> io::Result<()> {
        self.keep("account.json", account)
    }

    pub(crate) fn forget_account(&self) -> io::Result<()> {
        self.forget("account.json")
    }

    pub(crate) fn pair(&self, host: &str) -> Option<Pair> {
        self.load(&format!("certificate-{}.json", short(host)))
    }

    pub(crate) fn keep_pair(&self, host: &str, pair: &Pair) -> io::Result<()> {
        self.keep(&format!("certificate-{}.json", short(host)), pair)
    }

    /// The tries of late.
    pub(crate) fn tries(&self, host: &str) -> Tries {
        self.load(&format!("failures-{}.json", short(host))).unwrap_or_default()
    }

    pub(crate) fn keep_tries(&self, host: &str, tries: &Tries) -> io::Result<()> {
        self.keep(&format!("failures-{}.json", short(host)), tries)
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What cannot be read is taken for absent, and logged: it can be got again.
    fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot be read");
                return None;
            }
        };
        // The error itself could quote a key.
        serde_json::from_slice(&bytes).map_err(|error| (error.line(), error.column())).map_or_else(
            |(line, column)| {
                tracing::warn!(path = %path.display(), line, column, "cannot be understood, and is replaced");
                None
            },
            Some,
        )
    }

    fn keep<T: Serialize>(&self, name: &str, content: &T) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let text = serde_json::to_vec(content)?;
        let (path, fresh) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A host as a part of a file's name. Names of hosts are as long as those of files may be, and no label of a host is as
/// long as what stands for a long one.
fn short(host: &str) -> Cow<'_, str> {
    const LONGEST: usize = 128;
    if host.len() <= LONGEST {
        return Cow::Borrowed(host);
    }
    Cow::Owned(Sha256::digest(host).iter().fold("sha256-".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockswap_core::ports::Secret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_found_again_and_is_nobody_elses() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("acme");
        let archive = Archive::new(&dir, "https://ca.example.com:14000/dir");
        let pair = Pair { chain_pem: "chain".to_owned(), key_pem: Secret::new("key".to_owned()) };
        assert_eq!(archive.pair("a.org"), None);
        archive.keep_pair("a.org", &pair).expect("kept");
        archive.keep_account(&"me").expect("kept");
        assert_eq!(archive.pair("a.org"), Some(pair));
        assert_eq!(archive.account::<String>().as_deref(), Some("me"));
        // Another server has given nothing.
        assert_eq!(Archive::new(&dir, "https://other/dir").account::<String>(), None);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let own = dir.join("ca-example-com-14000-dir");
        assert_eq!((mode(&dir), mode(&own)), (0o700, 0o700));
        for entry in fs::read_dir(&own).expect("a directory") {
            let path = entry.expect("an entry").path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        archive.forget_account().expect("gone");
        archive.forget_account().expect("gone already");
        assert_eq!(archive.account::<String>(), None);
    }

    #[test]
    fn a_file_that_is_cut_off_is_as_none() {
        let home = tempfile::tempdir().expect("a directory");
        let archive = Archive::new(home.path(), "https://ca/dir");
        archive.keep_tries("a.org", &Tries::default()).expect("kept");
        fs::write(home.path().join("ca-dir/failures-a.org.json"), "{\"at").expect("written");
        assert_eq!(archive.tries("a.org"), Tries::default());
    }

    #[test]
    fn a_host_may_be_as_long_as_hosts_may_be() {
        let home = tempfile::tempdir().expect("a directory");
        let archive = Archive::new(home.path(), "https://ca/dir");
        let host = |first: &str| [first, &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
        let (one, other) = (host(&"a".repeat(63)), host(&"e".repeat(63)));
        assert_eq!(one.len(), 253);
        let pair = Pair { chain_pem: "chain".to_owned(), key_pem: Secret::new("key".to_owned()) };
        archive.keep_pair(&one, &pair).expect("kept");
        archive.keep_tries(&one, &Tries::default()).expect("kept");
        assert_eq!((archive.pair(&one), archive.pair(&other)), (Some(pair), None));
    }
}
