//! The certificate of a listener of the controller's own: read from files, examined, shown, and read again when they
//! change. A pair that cannot be used takes nothing away: the last good one stays in force. What listens it must not
//! know.

use crate::examination::{examine_whenever, in_words};
use dockswap_core::keyring::Pair;
use dockswap_core::ports::Secret;
use dockswap_core::spec::HostPattern;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How long the files may take to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest file that is read.
const LONGEST: u64 = 1024 * 1024;

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PresentError {
    /// A file cannot be read.
    #[error("{path}: {why}")]
    Unread {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What is in them cannot be used.
    #[error("{path}: {why}")]
    Unfit {
        /// Which of the two.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A certificate from two files, as clients are shown it.
pub struct Presented {
    cert: PathBuf,
    key: PathBuf,
    shown: RwLock<Shown>,
}

struct Shown {
    pair: Pair,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Presented {
    /// Reads and examines the pair.
    ///
    /// # Errors
    /// Which file cannot be used, and why. No text of a key is in it.
    pub async fn open(cert: &Path, key: &Path) -> Result<Arc<Self>, PresentError> {
        let pair = read_both(cert, key).await?;
        let shown = RwLock::new(Shown { key: examined(&pair, cert, key)?, pair });
        Ok(Arc::new(Self { cert: cert.to_owned(), key: key.to_owned(), shown }))
    }

    /// Reads the files again. Connections that come from then on are shown what is in them; whether that is
    /// something else, is answered.
    ///
    /// # Errors
    /// As [`Presented::open`]; what was shown before is shown on.
    pub async fn look_again(&self) -> Result<bool, PresentError> {
        let pair = read_both(&self.cert, &self.key).await?;
        if self.shown.read().unwrap_or_else(PoisonError::into_inner).pair == pair {
            return Ok(false);
        }
        let key = examined(&pair, &self.cert, &self.key)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Shown { pair, key };
        Ok(true)
    }

    /// How a client is met: HTTP/1.1 over TLS 1.2 or 1.3.
    ///
    /// # Panics
    /// Never: the provider speaks both versions.
    #[must_use]
    pub fn config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let versions = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let versions = versions.expect("ring speaks TLS 1.2 and 1.3");
        let mut config = versions.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

async fn read_both(cert: &Path, key: &Path) -> Result<Pair, PresentError> {
    Ok(Pair { chain_pem: read(cert).await?, key_pem: Secret::new(read(key).await?) })
}

/// The text of a file that nobody else can write.
async fn read(path: &Path) -> Result<String, PresentError> {
    let owned = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let metadata = std::fs::metadata(&owned).map_err(|error| error.to_string())?;
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err("it is no file of a certificate's length".to_owned());
        }
        if metadata.mode() & 0o002 != 0 {
            return Err("others can write it: chmod o-w it".to_owned());
        }
        std::fs::read_to_string(&owned).map_err(|error| error.to_string())
    });
    let read = match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) => Err("reading it broke off".to_owned()),
        Err(_) => Err(format!("it could not be read within {} s", PATIENCE.as_secs())),
    };
    read.map_err(|why| PresentError::Unread { path: path.to_owned(), why })
}

fn examined(pair: &Pair, cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, PresentError> {
    let unfit = |path: &Path, why: String| PresentError::Unfit { path: path.to_owned(), why };
    examine_whenever(pair, &HostPattern::Any)
        .map_err(|fault| unfit(if fault.is_of_the_key() { key } else { cert }, fault.to_string()))?;
    let chain = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unfit(cert, in_words(&error).to_owned()))?;
    // What went wrong there could quote the text.
    let secret = PrivateKeyDer::from_pem_slice(pair.key_pem.expose().as_bytes())
        .map_err(|_| unfit(key, "it holds no private key".to_owned()))?;
    let secret = ring::default_provider()
        .key_provider
        .load_private_key(secret)
        .map_err(|_| unfit(key, "its kind is not known".to_owned()))?;
    Ok(Arc::new(CertifiedKey::new(chain, secret)))
}

#[cfg(test)]
mod tests {
    use super::Presented;
    use rcgen::generate_simple_self_signed;
    use std::path::Path;

    fn put(dir: &Path) -> String {
        let made = generate_simple_self_signed(vec!["api.example.com".to_owned()]).expect("a certificate");
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        made.cert.pem()
    }

    #[tokio::test]
    async fn files_that_change_are_shown_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let absent = Presented::open(&cert, &key).await.expect_err("nothing is there");
        assert!(absent.to_string().contains("cert.pem"), "{absent}");
        put(dir.path());
        let presented = Presented::open(&cert, &key).await.expect("a pair");
        let shown = || presented.shown.read().expect("no panic").pair.chain_pem.clone();
        assert!(!presented.look_again().await.expect("a pair"));
        let second = put(dir.path());
        assert!(presented.look_again().await.expect("a pair"));
        assert_eq!(shown(), second);
        let old_key = std::fs::read_to_string(&key).expect("a key");
        put(dir.path());
        std::fs::write(&key, &old_key).expect("a file");
        let mismatch = presented.look_again().await.expect_err("another's key").to_string();
        assert!(mismatch.contains("not the key of the certificate"), "{mismatch}");
        assert_eq!(shown(), second, "the last good one is shown on");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nSECRET\n").expect("a file");
        let cut = presented.look_again().await.expect_err("half a key").to_string();
        assert!(!cut.contains("SECRET"), "{cut}");
    }
}
