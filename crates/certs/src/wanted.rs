//! What a custodian is told: which certificates are wanted, and with what it works. It decides nothing.

use crate::acme::AcmeConfig;
use async_trait::async_trait;
use dockswap_core::AppName;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::{Clock, Keyholder};
use dockswap_core::spec::{CertificateSource, HostPattern};
use std::sync::Arc;

/// A certificate that a route wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Whose route.
    pub app: AppName,
    /// Its host.
    pub host: HostPattern,
    /// Where the certificate comes from.
    pub source: CertificateSource,
}

/// Reading the files that app files name.
#[async_trait]
pub trait CertificateFiles: Send + Sync {
    /// The text of the file at `path`, as far as it may be read now. It takes as long as the disk does, and holds what
    /// it needs for that: it is not asked for a path again before it has answered.
    ///
    /// # Errors
    /// Why not, without the path.
    async fn read(&self, path: &str) -> Result<String, String>;
}

/// What a custodian works with.
pub struct CustodianConfig {
    /// What is wanted at present.
    pub wanted: Box<dyn Fn() -> Vec<Wanted> + Send + Sync>,
    /// Files.
    pub files: Arc<dyn CertificateFiles>,
    /// The proxy.
    pub keyholder: Arc<dyn Keyholder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The ACME server.
    pub acme: AcmeConfig,
    /// What the proxy had last: good certificates whose files are bad now.
    pub last: Keyring,
}
