//! Whether a certificate and a key can be shown for a host: a pure function of their texts and the time.

use dockswap_core::Timestamp;
use dockswap_core::keyring::Pair;
use dockswap_core::spec::HostPattern;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

/// What is wrong with a pair. Which file it came from is its reader's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// No PEM, or none of a certificate.
    #[error("it holds no certificate: write it in PEM, beginning with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// It cannot be read as what it says it is.
    #[error("its certificate cannot be understood ({0}): the file may be cut off or damaged, copy it again")]
    BadCertificate(String),
    /// No PEM, or none of a key.
    #[error("it holds no private key: write it in PEM, beginning with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// Only its owner can read it.
    #[error("its key has a passphrase: write it without one, as `openssl pkey -in FILE` does")]
    EncryptedKey,
    /// A key that is not understood.
    #[error("its key cannot be used ({0}): it must be RSA, ECDSA P-256 or P-384, or Ed25519")]
    BadKey(String),
    /// They belong to others.
    #[error("it is not the key of the certificate: give the two that belong together")]
    Mismatch,
    /// It is for other hosts.
    #[error("it is for {names}, and not for {host}: get one that names {host}, or change the route's host")]
    OtherHost {
        /// For whom it is.
        names: String,
        /// For whom it is wanted.
        host: String,
    },
    /// Its time is over.
    #[error("it expired on {0}: renew it")]
    Expired(String),
    /// Its time has not come.
    #[error("it is not valid before {0}: look at the clock, or use another until then")]
    Early(String),
}

impl Fault {
    /// Whether the key is at fault, not the certificate.
    pub(crate) const fn is_of_the_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::EncryptedKey | Self::BadKey(_) | Self::Mismatch)
    }
}

/// Examines `pair` for `host` at `now`.
pub(crate) fn examine(pair: &Pair, host: &HostPattern, now: Timestamp) -> Result<Validity, Fault> {
    examine_whenever(pair, host)?.at(now)
}

impl Validity {
    /// Itself, at a time at which it holds.
    pub(crate) fn at(self, now: Timestamp) -> Result<Self, Fault> {
        if now >= self.until {
            return Err(Fault::Expired(date(self.until)));
        }
        if now < self.from {
            return Err(Fault::Early(date(self.from)));
        }
        Ok(self)
    }
}

/// The same, whatever the time is: a clock may be wrong, and who is shown one that has expired is told at least whose
/// it is.
pub(crate) fn examine_whenever(pair: &Pair, host: &HostPattern) -> Result<Validity, Fault> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        // Its own words quote the text, which may be a key in the wrong place.
        .map_err(|error| Fault::BadCertificate(in_words(&error).to_owned()))?;
    let leaf = chain.first().cloned().ok_or(Fault::NoCertificate)?;
    let (_, parsed) =
        X509Certificate::from_der(&leaf).map_err(|_| Fault::BadCertificate("it is no X.509".to_owned()))?;
    for (place, one) in chain.iter().enumerate().skip(1) {
        X509Certificate::from_der(one)
            .map_err(|_| Fault::BadCertificate(format!("number {} is no X.509", place + 1)))?;
    }
    check_key(pair, chain.clone())?;
    if !covers(&leaf, host) {
        return Err(Fault::OtherHost { names: names(&parsed), host: host.to_string() });
    }
    let (from, until) = (parsed.validity().not_before, parsed.validity().not_after);
    Ok(Validity { from: timestamp(from), until: timestamp(until) })
}

/// What is wrong with a text in PEM, without a word of it.
pub(crate) const fn in_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end: it is cut off",
        pem::Error::IllegalSectionStart { .. } => "a section does not begin on a line of its own",
        pem::Error::Base64Decode(_) => "what is between two lines of dashes is no base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it is no PEM",
    }
}

fn check_key(pair: &Pair, chain: Vec<CertificateDer<'static>>) -> Result<(), Fault> {
    let text = pair.key_pem.expose();
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Fault::EncryptedKey);
    }
    // What went wrong there could quote the text.
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| Fault::NoKey)?;
    let provider = ring::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| Fault::BadKey("its kind is not known".to_owned()))?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Fault::Mismatch),
        Err(error) => Err(Fault::BadCertificate(error.to_string())),
    }
}

fn covers(leaf: &CertificateDer<'_>, host: &HostPattern) -> bool {
    let name = match host {
        HostPattern::Any => return true,
        HostPattern::Exact(host) => host.clone(),
        // Any name would do.
        HostPattern::Wildcard(domain) => format!("dockswap.{domain}"),
    };
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    let (Ok(leaf), Ok(name)) = (ParsedCertificate::try_from(leaf), ServerName::try_from(literal)) else {
        return false;
    };
    verify_server_name(&leaf, &name).is_ok()
}

/// For whom a certificate is, in words.
fn names(certificate: &X509Certificate<'_>) -> String {
    const MOST: usize = 5;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let all: Vec<String> = alternatives
        .into_iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.escape_default().to_string()),
            GeneralName::IPAddress(_) => Some("an address".to_owned()),
            _ => None,
        })
        .collect();
    match all.len() {
        0 => "no name".to_owned(),
        count if count > MOST => format!("{} and {} more", all[..MOST].join(", "), count - MOST),
        _ => all.join(", "),
    }
}

fn date(time: Timestamp) -> String {
    let date = ASN1Time::from_timestamp(time.as_micros() / 1_000_000);
    date.map_or_else(|_| time.to_string(), |date| date.to_string())
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use dockswap_core::ports::Secret;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

    /// A certificate of `names`, valid in the years from `from` until `until`.
    pub(crate) fn pair(names: &[&str], from: i32, until: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) }
    }

    fn exact(name: &str) -> HostPattern {
        HostPattern::Exact(name.to_owned())
    }

    #[test]
    fn a_good_pair_for_its_hosts() {
        let good = pair(&["a.org", "*.b.org", "10.0.0.1"], 2020, 2050);
        let wildcard = HostPattern::Wildcard("b.org".to_owned());
        for host in [exact("a.org"), exact("x.b.org"), exact("10.0.0.1"), wildcard, HostPattern::Any] {
            let validity = examine(&good, &host, NOW).expect("good");
            assert_eq!(validity.until, Timestamp::from_micros(2_524_608_000_000_000), "{host}");
        }
    }

    #[test]
    fn what_cannot_be_shown_and_why() {
        let good = pair(&["a.org", "b.org"], 2020, 2050);
        let other = pair(&["a.org"], 2020, 2050);
        let with_key = |text: &str| Pair { key_pem: Secret::new(text.to_owned()), ..good.clone() };
        let cut = good.chain_pem.len() / 2;
        for (bad, host, said) in [
            (Pair { chain_pem: String::new(), ..good.clone() }, "a.org", "it holds no certificate"),
            (Pair { chain_pem: "hello".to_owned(), ..good.clone() }, "a.org", "it holds no certificate"),
            (
                Pair { chain_pem: good.chain_pem[..cut].to_owned(), ..good.clone() },
                "a.org",
                "cannot be understood",
            ),
            (with_key(""), "a.org", "it holds no private key"),
            (with_key(&good.key_pem.expose()[..60]), "a.org", "it holds no private key"),
            (
                with_key("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
                "a.org",
                "its key cannot be used",
            ),
            (
                with_key(
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
                ),
                "a.org",
                "its key has a passphrase",
            ),
            (
                Pair { key_pem: other.key_pem, ..good.clone() },
                "a.org",
                "it is not the key of the certificate",
            ),
            (good.clone(), "c.org", "it is for a.org, b.org, and not for c.org"),
            (good.clone(), "x.a.org", "it is for a.org, b.org, and not for x.a.org"),
            (pair(&["a.org"], 2020, 2021), "a.org", "it expired on Jan  1 00:00:00 2021 +00:00: renew it"),
            (pair(&["a.org"], 2049, 2050), "a.org", "it is not valid before"),
        ] {
            let fault = examine(&bad, &exact(host), NOW).expect_err(said).to_string();
            assert!(fault.contains(said), "{fault}");
            assert!(!fault.contains("PRIVATE KEY-----\nM"), "{fault}");
        }
        // Both in one file whose line breaks were lost: what is said of it quotes nothing, in whatever form.
        let both = format!("{}{}", good.chain_pem, good.key_pem.expose());
        for flat in [both.replace('\n', " "), both.replace('\n', "\\n"), both.replace("-----\n", "----- ")] {
            let Err(fault) = examine(&Pair { chain_pem: flat, ..good.clone() }, &exact("a.org"), NOW) else {
                continue;
            };
            let secret = good.key_pem.expose().lines().nth(1).expect("a key");
            let in_decimal = format!("{:?}", &secret.as_bytes()[..8]);
            for said in [fault.to_string(), format!("{fault:?}")] {
                assert!(!said.contains(secret), "{said}");
                assert!(!said.contains(in_decimal.trim_matches(['[', ']'])), "{said}");
            }
        }
        // Cut between two certificates it is whole, and half of the second is not.
        let chain = format!("{}{}", good.chain_pem, &other.chain_pem[..cut]);
        let fault = examine(&Pair { chain_pem: chain, ..good }, &exact("a.org"), NOW);
        assert!(matches!(fault, Err(Fault::BadCertificate(_))), "{fault:?}");
    }
}
