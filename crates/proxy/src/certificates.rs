//! The keyring compiled for handshakes: which certificate a client is shown, by the name that it asks for. Where
//! the certificates come from, and whether they should be others, is not its business.

use bytes::Bytes;
use dockswap_core::keyring::{Challenge, Keyring, Pair};
use dockswap_core::spec::HostPattern;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::collections::HashMap;
use std::sync::Arc;

/// What a handshake for an ACME server agrees on (RFC 8737, section 4).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The keyring in force.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    source: Keyring,
    exact: HashMap<Box<str>, Arc<Certificate>>,
    wildcard: HashMap<Box<str>, Arc<Certificate>>,
    any: Option<Arc<Certificate>>,
    /// What is shown to ACME servers, by host.
    proofs: HashMap<Box<str>, Arc<ServerConfig>>,
    /// What ACME servers are told, by token.
    answers: HashMap<Box<str>, Bytes>,
}

/// A certificate, ready to be shown.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// For whom it is shown.
    host: HostPattern,
    leaf: CertificateDer<'static>,
    pub(crate) config: Arc<ServerConfig>,
}

/// What all certificates have in common, also those that come later: tickets outlive a change of the keyring.
#[derive(Debug)]
pub(crate) struct Engine {
    provider: Arc<CryptoProvider>,
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    // What went wrong with a text in PEM could quote it.
    #[error("it is no certificate in PEM")]
    Chain,
    #[error("it has no certificate")]
    Empty,
    #[error("its key is no private key in PEM")]
    Key,
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
}

impl Engine {
    pub(crate) fn new() -> Self {
        let tickets = ring::Ticketer::new();
        if let Err(error) = &tickets {
            tracing::warn!(%error, "TLS sessions are not resumed");
        }
        Self { provider: Arc::new(ring::default_provider()), tickets: tickets.ok() }
    }

    /// How a client is met that is shown `pair`, with its leaf.
    fn config(
        &self,
        pair: &Pair,
        protocols: &[&[u8]],
    ) -> Result<(Arc<ServerConfig>, CertificateDer<'static>), Unusable> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::Chain)?;
        let leaf = chain.first().cloned().ok_or(Unusable::Empty)?;
        let key =
            PrivateKeyDer::from_pem_slice(pair.key_pem.expose().as_bytes()).map_err(|_| Unusable::Key)?;
        let key = self.provider.key_provider.load_private_key(key).map_err(Unusable::Pair)?;
        let shown = CertifiedKey::new(chain, key);
        // What is made for ACME servers has an extension that nobody else understands.
        if protocols != [ACME_TLS] {
            shown.keys_match().map_err(Unusable::Pair)?;
        }
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(Unusable::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A ticket holds the session: nothing is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        Ok((Arc::new(config), leaf))
    }
}

impl Certificates {
    /// Compiles `source`. What cannot be used is logged and left out: it is one host's trouble, and no other's.
    pub(crate) fn compile(source: Keyring, engine: &Engine) -> Self {
        let mut all = Self::default();
        for one in &source.certificates {
            let host = one.host.clone();
            match engine.config(&one.pair, &[b"h2", b"http/1.1"]) {
                Ok((config, leaf)) => all.insert(Arc::new(Certificate { host, leaf, config })),
                Err(error) => {
                    tracing::error!(%host, error = &error as &dyn std::error::Error, "a certificate cannot be used");
                }
            }
        }
        for challenge in &source.challenges {
            match challenge {
                Challenge::Http01 { token, answer } => {
                    all.answers.insert(token.as_str().into(), Bytes::from(answer.clone()));
                }
                Challenge::TlsAlpn01 { host, pair } => match engine.config(pair, &[ACME_TLS]) {
                    Ok((config, _)) => {
                        all.proofs.insert(host.as_str().into(), config);
                    }
                    Err(error) => {
                        tracing::error!(%host, error = &error as &dyn std::error::Error, "a proof for ACME cannot be used");
                    }
                },
            }
        }
        all.source = source;
        all
    }

    fn insert(&mut self, certificate: Arc<Certificate>) {
        match &certificate.host {
            HostPattern::Exact(host) => {
                self.exact.insert(host.as_str().into(), certificate);
            }
            HostPattern::Wildcard(domain) => {
                self.wildcard.insert(domain.as_str().into(), certificate);
            }
            HostPattern::Any => self.any = Some(certificate),
        }
    }

    /// As it was given.
    pub(crate) const fn source(&self) -> &Keyring {
        &self.source
    }

    /// The certificate for `host`, which is normalized: that of the exact name before that of a wildcard, the
    /// longer wildcard before the shorter, and the one that is for any host last. `None`: the client named none.
    pub(crate) fn find(&self, host: Option<&str>) -> Option<&Arc<Certificate>> {
        host.and_then(|host| {
            let domains = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
            let mut domains = domains.filter_map(|domain| self.wildcard.get(domain));
            self.exact.get(host).or_else(|| domains.next())
        })
        .or(self.any.as_ref())
    }

    /// What an ACME server that asks for `host` is shown.
    pub(crate) fn proof(&self, host: &str) -> Option<&Arc<ServerConfig>> {
        self.proofs.get(host)
    }

    /// Whether there is anything to show to an ACME server.
    pub(crate) fn has_proofs(&self) -> bool {
        !self.proofs.is_empty()
    }

    /// What an ACME server that asks for `token` is told.
    pub(crate) fn answer(&self, token: &str) -> Option<&Bytes> {
        self.answers.get(token)
    }
}

impl Certificate {
    /// Whether it is shown for the same hosts as `other`.
    pub(crate) fn stands_for(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Whether it is a certificate of `host`.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let (Ok(leaf), Ok(name)) = (ParsedCertificate::try_from(&self.leaf), ServerName::try_from(host))
        else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }
}
