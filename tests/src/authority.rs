//! A certificate authority of a test's own, and `curl` as the client that trusts it.

use crate::command::Done;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, with its root certificate in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    root: PathBuf,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct TestPair {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one; its root is written into `dir`.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        let mut params = CertificateParams::default();
        // OpenSSL takes a certificate whose subject is its issuer's for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "the tests' root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let root = dir.join("root.pem");
        std::fs::write(&root, issuer.pem()).expect("a root certificate");
        Self { issuer, root }
    }

    /// The file of its root certificate.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A certificate for `names`.
    #[must_use]
    pub fn pair(&self, names: &[&str]) -> TestPair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        TestPair { cert: certificate.pem(), key: key.serialize_pem() }
    }
}

impl TestPair {
    /// Writes both into `dir`, as `cert.pem` and `key.pem`.
    pub fn put(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("a directory");
        for (name, text) in [("cert.pem", &self.cert), ("key.pem", &self.key)] {
            std::fs::write(dir.join(name), text).expect("a file");
        }
    }
}

/// Asks `url` by `curl`, where every name is at `addr`, trusting `root` alone; `more` are options.
#[must_use]
pub fn curl(root: &Path, addr: SocketAddr, url: &str, more: &[&str]) -> Done {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .arg("--cacert")
        .arg(root);
    command.args(["--connect-to", &format!("::{addr}")]).args(more).arg(url);
    Done::of(&mut command)
}
