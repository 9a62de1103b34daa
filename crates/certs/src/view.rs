//! What people are shown of a certificate. No key, and nothing of the account.

use dockswap_core::spec::CertificateSource;
use dockswap_core::{AppName, Timestamp};
use serde::{Deserialize, Serialize};

/// How the certificate of one of an app's hosts stands.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema, Serialize, Deserialize)]
pub struct CertificateView {
    /// The app.
    pub app: AppName,
    /// The host, as in a route.
    pub host: String,
    /// `acme` or `files`.
    pub source: String,
    /// When the one that is shown expires; `None`: there is none, and handshakes for the host are refused.
    pub expires_at_us: Option<Timestamp>,
    /// When it is renewed, or tried again; `None`: nobody plans to.
    pub next_try_us: Option<Timestamp>,
    /// What is wrong; `None`: nothing.
    pub trouble: Option<String>,
}

/// As the app file names it.
pub(crate) const fn word(source: &CertificateSource) -> &'static str {
    match source {
        CertificateSource::Acme => "acme",
        CertificateSource::Files { .. } => "files",
    }
}
