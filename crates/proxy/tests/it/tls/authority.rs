//! A certificate authority of the tests' own, and clients that trust it alone.

use crate::support::{Running, Wire};
use dockswap_core::keyring::{HostCertificate, Keyring, Pair};
use dockswap_core::ports::{Keyholder, Router, Secret};
use dockswap_core::spec::{CertificateSource, HostPattern, Route, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate of `names`.
    pub(super) fn pair(&self, names: &[&str]) -> Pair {
        self.pair_with(names, Vec::new())
    }

    pub(super) fn pair_with(&self, names: &[&str], extensions: Vec<CustomExtension>) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.custom_extensions = extensions;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) }
    }

    /// A client that offers `protocols`.
    pub(super) fn client(&self, protocols: &[&str]) -> ClientConfig {
        self.client_with(protocols, rustls::DEFAULT_VERSIONS)
    }

    /// A client of one version of TLS.
    pub(super) fn client_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        self.client_with(&[], &[version])
    }

    fn client_with(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A client that judges no certificate.
    pub(super) fn unjudging(&self, protocols: &[&str]) -> ClientConfig {
        let mut config = self.client(protocols);
        let verifier = Arc::new(Credulous(Arc::clone(config.crypto_provider())));
        config.dangerous().set_certificate_verifier(verifier);
        config
    }

    /// Shakes hands with `addr`, and checks that it is `name`.
    pub(super) async fn connect(
        &self,
        addr: SocketAddr,
        name: &str,
        protocols: &[&str],
    ) -> io::Result<TlsStream<TcpStream>> {
        shake(self.client(protocols), addr, name).await
    }

    /// The same for HTTP/1.1, when nothing is in the way.
    pub(super) async fn wire(&self, addr: SocketAddr, name: &str) -> Wire<TlsStream<TcpStream>> {
        Wire::on(self.connect(addr, name, &["http/1.1"]).await.unwrap())
    }
}

pub(super) async fn shake(
    config: ClientConfig,
    addr: SocketAddr,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The certificate that a client was shown.
pub(super) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

pub(super) fn exact(name: &str) -> HostPattern {
    HostPattern::Exact(name.to_owned())
}

pub(super) fn shown_for(host: HostPattern, pair: &Pair) -> HostCertificate {
    HostCertificate { host, pair: pair.clone() }
}

/// A route with TLS, on the common listener.
pub(super) fn secure(host: HostPattern) -> Route {
    let tls = Tls { source: CertificateSource::Acme, hsts_secs: None };
    Route { host, path_prefix: "/".to_owned(), strip_prefix: false, listen_port: None, tls: Some(tls) }
}

/// Hands `certificates` over, under a tag of their own.
pub(super) async fn hold(proxy: &Running, tag: &str, certificates: Vec<HostCertificate>) {
    hold_all(proxy, Keyring { tag: tag.to_owned(), certificates, challenges: Vec::new() }).await;
}

pub(super) async fn hold_all(proxy: &Running, keyring: Keyring) {
    let tag = keyring.tag.clone();
    proxy.control.hold(&keyring).await.unwrap();
    assert_eq!(proxy.control.held().await.unwrap(), tag);
}

/// Where TLS is spoken, when it is the only listener besides the common one.
pub(super) async fn secure_addr(proxy: &Running) -> SocketAddr {
    let listeners = proxy.control.status().await.unwrap().listeners;
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    listeners[1]
}

/// Believes whatever it is shown.
#[derive(Debug)]
struct Credulous(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
