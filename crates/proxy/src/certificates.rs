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
    /// Compiles `source`. What cannot be used is logged and left out: it is one host's trouble, and no other's. What
    /// `before` has already, of the same host and pair, is taken from there.
    pub(crate) fn compile(source: Keyring, engine: &Engine, before: &Self) -> Self {
        let mut all = Self::default();
        let known: HashMap<_, _> =
            before.source.certificates.iter().map(|one| (&one.host, &one.pair)).collect();
        for one in &source.certificates {
            let host = one.host.clone();
            let same = known.get(&host).is_some_and(|pair| **pair == one.pair);
            if let Some(compiled) = same.then(|| before.own(&host)).flatten() {
                all.insert(Arc::clone(compiled));
                continue;
            }
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

    /// The certificate that was given for just these hosts.
    fn own(&self, hosts: &HostPattern) -> Option<&Arc<Certificate>> {
        match hosts {
            HostPattern::Exact(host) => self.exact.get(host.as_str()),
            HostPattern::Wildcard(domain) => self.wildcard.get(domain.as_str()),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Whether anybody has said what is to be shown.
    pub(crate) const fn are_known(&self) -> bool {
        !self.source.tag.is_empty()
    }

    /// Whether a client that asks for `host`, by a route for `hosts`, gets through a handshake: it is shown the route's
    /// own certificate, or another one that is of this host.
    pub(crate) fn cover(&self, host: &str, hosts: &HostPattern) -> bool {
        self.find(Some(host)).is_some_and(|shown| shown.host == *hosts || shown.covers(host))
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
        // An address of version 6 stands in brackets.
        let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let (Ok(leaf), Ok(name)) = (ParsedCertificate::try_from(&self.leaf), ServerName::try_from(name))
        else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use dockswap_core::keyring::HostCertificate;
    use dockswap_core::ports::Secret;
    use rcgen::{CertificateParams, KeyPair};

    fn pair(name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) }
    }

    #[test]
    fn what_has_not_changed_is_not_compiled_again() {
        let (engine, pairs) = (Engine::new(), [pair("a.org"), pair("*.org"), pair("any.org"), pair("a.org")]);
        let patterns = [
            HostPattern::Exact("a.org".to_owned()),
            HostPattern::Wildcard("org".to_owned()),
            HostPattern::Any,
        ];
        let ring = |tag: &str, pairs: [&Pair; 3]| Keyring {
            tag: tag.to_owned(),
            certificates: patterns
                .iter()
                .zip(pairs)
                .map(|(host, pair)| HostCertificate { host: host.clone(), pair: pair.clone() })
                .collect(),
            challenges: vec![Challenge::Http01 { token: tag.to_owned(), answer: tag.to_owned() }],
        };
        let [a, wildcard, any, other] = &pairs;
        let first = Certificates::compile(ring("1", [a, wildcard, any]), &engine, &Certificates::default());
        let second = Certificates::compile(ring("2", [other, wildcard, any]), &engine, &first);
        let same: Vec<bool> = patterns
            .iter()
            .map(|host| Arc::ptr_eq(first.own(host).unwrap(), second.own(host).unwrap()))
            .collect();
        assert_eq!(same, [false, true, true]);
        assert!(second.answer("2").is_some() && second.answer("1").is_none());
    }

    #[test]
    fn a_handshake_is_sure_to_be_good_by_ones_own_certificate_or_by_one_of_the_host() {
        let exact = |host: &str| HostPattern::Exact(host.to_owned());
        let shown = |host: HostPattern, name: &str| Keyring {
            tag: "1".to_owned(),
            certificates: vec![HostCertificate { host, pair: pair(name) }],
            challenges: Vec::new(),
        };
        let wildcard = || HostPattern::Wildcard("x.org".to_owned());
        for (ring, host, hosts, covered) in [
            (Keyring::default(), "a.x.org", exact("a.x.org"), false),
            (shown(exact("a.x.org"), "a.x.org"), "a.x.org", exact("a.x.org"), true),
            // Another app's, for all that have none.
            (shown(wildcard(), "*.x.org"), "a.x.org", exact("a.x.org"), true),
            (shown(wildcard(), "*.x.org"), "b.a.x.org", exact("b.a.x.org"), false),
            (shown(HostPattern::Any, "b.x.org"), "a.x.org", exact("a.x.org"), false),
            (shown(HostPattern::Any, "::1"), "[::1]", exact("[::1]"), true),
            // One's own, whatever it says: whoever wrote it wants it so.
            (shown(HostPattern::Any, "b.x.org"), "a.x.org", HostPattern::Any, true),
            (shown(wildcard(), "*.x.org"), "b.a.x.org", wildcard(), true),
        ] {
            let all = Certificates::compile(ring, &Engine::new(), &Certificates::default());
            assert_eq!(all.cover(host, &hosts), covered, "{host} by {hosts}: {:?}", all.source);
        }
    }
}
