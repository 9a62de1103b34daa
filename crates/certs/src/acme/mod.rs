//! Certificates from an ACME server (RFC 8555): one order at a time for a host, with what must survive a restart kept
//! on disk. When to ask is not decided here.

pub(crate) mod archive;
pub(crate) mod issuer;
mod roots;

use std::path::PathBuf;

/// Which server, as whom, and how.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The server's directory.
    pub directory: String,
    /// Whom it may write to.
    pub email: Option<String>,
    /// Root certificates in PEM by which the server itself is known; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How control over a host is shown, where the server leaves the choice.
    pub challenge: ChallengeKind,
    /// Where account, certificates and failed tries are kept; made with mode 0700.
    pub dir: PathBuf,
}

/// How control over a host is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a page on port 80.
    Http01,
    /// By a handshake on port 443.
    TlsAlpn01,
}
