//! By which root certificates an ACME server is known, where that is not the system's to say. What is asked of the
//! server is not its business.

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::HttpClient;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// A client that believes a server whose certificate leads to one of those in `file`, which is PEM.
///
/// # Errors
/// What is wrong with the file, as a sentence without its path.
pub(crate) fn client(file: &Path) -> Result<Box<dyn HttpClient>, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(&pem)?)
        .with_no_client_auth();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().enable_http2().build();
    Ok(Box::new(Client::builder(TokioExecutor::new()).build(connector)))
}

/// All of them: a file that was put together may begin with any.
fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (place, root) in CertificateDer::pem_slice_iter(pem).enumerate() {
        // The error itself could quote the file.
        let root = root.map_err(|_| format!("number {} in it is no certificate in PEM", place + 1))?;
        roots.add(root).map_err(|error| format!("number {} in it is no root: {error}", place + 1))?;
    }
    if roots.is_empty() {
        return Err(
            "it holds no certificate: write it in PEM, beginning with -----BEGIN CERTIFICATE-----".to_owned()
        );
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::roots;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn root() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
    }

    #[test]
    fn all_roots_of_a_bundle_are_believed() {
        let (one, other) = (root(), root());
        assert_eq!(roots(one.as_bytes()).expect("good").len(), 1);
        assert_eq!(roots(format!("# old\n{one}\n# new\n{other}").as_bytes()).expect("good").len(), 2);
        let cut = format!("{one}{}", &other[..other.len() / 2]);
        for (bad, said) in
            [("", "it holds no certificate"), ("x", "it holds no certificate"), (&cut, "number 2")]
        {
            let error = roots(bad.as_bytes()).expect_err(said);
            assert!(error.starts_with(said), "{error}");
        }
    }
}
