//! What the proxy needs to speak TLS, besides its routes: certificates with their keys, and the answers that ACME
//! servers ask for. Plain data, handed over whole. No `Debug` shows a key.

use crate::ports::Secret;
use crate::spec::HostPattern;
use serde::{Deserialize, Serialize};

/// Everything that the proxy holds at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// Tells this content from every other; chosen by whoever made it.
    pub tag: String,
    /// At most one for each host.
    pub certificates: Vec<HostCertificate>,
    /// What ACME servers may ask for at present.
    pub challenges: Vec<Challenge>,
}

/// A certificate, and for whom it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCertificate {
    /// The hosts for which it is shown; any: clients that name none, or one that nothing else is for.
    pub host: HostPattern,
    /// The certificate itself.
    #[serde(flatten)]
    pub pair: Pair,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The certificate, and behind it those that lead to the root.
    pub chain_pem: String,
    /// Its private key.
    #[serde(with = "exposed")]
    pub key_pem: Secret,
}

/// What an ACME server asks for, to see who has a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Challenge {
    /// A page on port 80 (RFC 8555, section 8.3).
    Http01 {
        /// The last segment of its path.
        token: String,
        /// What it says.
        answer: String,
    },
    /// A handshake on port 443 (RFC 8737).
    TlsAlpn01 {
        /// The host.
        host: String,
        /// What is shown.
        pair: Pair,
    },
}

/// Serde for the one way that a secret is meant to go.
mod exposed {
    use crate::ports::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_shows_no_key_and_survives_being_written() {
        let pair = Pair { chain_pem: "chain".to_owned(), key_pem: Secret::new("hunter2".to_owned()) };
        let host = HostPattern::Wildcard("example.com".to_owned());
        let ring = Keyring {
            tag: "1".to_owned(),
            certificates: vec![HostCertificate { host, pair: pair.clone() }],
            challenges: vec![
                Challenge::Http01 { token: "t".to_owned(), answer: "t.x".to_owned() },
                Challenge::TlsAlpn01 { host: "example.com".to_owned(), pair },
            ],
        };
        assert!(!format!("{ring:?}").contains("hunter2"));
        let text = serde_json::to_string(&ring).expect("JSON");
        assert_eq!(serde_json::from_str::<Keyring>(&text).expect("the same"), ring);
    }
}
