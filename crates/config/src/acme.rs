//! `acme` of the settings: where automatic certificates come from. It must not know how they are got.

use crate::fields::{Field, Fields, Item, Shape};
use crate::policy::normal;
use crate::problem::Report;
use crate::settings::replace;
use std::path::{Path, PathBuf};

/// Where automatic certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Whom the ACME server may write to; `None`: nobody.
    pub email: Option<String>,
    /// The server's directory, an `https` URL.
    pub directory: String,
    /// A root certificate in PEM by which the server itself is known, absolute; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How control over a name is shown.
    pub challenge: ChallengeKind,
}

/// How control over a name is shown to an ACME server (`acme.challenge`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a page on port 80 (RFC 8555, section 8.3).
    Http01,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

/// Let's Encrypt.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The same to try with: certificates that nobody trusts, and generous limits.
pub(crate) const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The fields of the section.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("email", Shape::Text, "Whom the ACME server may write to; default nobody."),
    Field::new("directory", Shape::Text, "The server's directory, an https URL; default Let's Encrypt."),
    Field::new(
        "staging",
        Shape::Bool,
        "true: Let's Encrypt's server to try with, whose certificates nobody trusts; default false.",
    ),
    Field::new(
        "ca_file",
        Shape::FilePath,
        "Root certificates in PEM by which the server itself is known; default those of the system.",
    ),
    Field::new(
        "challenge",
        Shape::Choice(&["http-01", "tls-alpn-01"]),
        "How control over a name is shown: by a page on port 80, or by a handshake on port 443; default http-01.",
    ),
];

impl Default for AcmeSettings {
    fn default() -> Self {
        Self {
            email: None,
            directory: PRODUCTION.to_owned(),
            ca_file: None,
            challenge: ChallengeKind::Http01,
        }
    }
}

impl AcmeSettings {
    /// Lays what `acme` holds over what is there.
    pub(crate) fn overlay(&mut self, acme: &Fields<'_>, report: &mut Report) {
        if let Some(item) = acme.take("email") {
            let address = item.text(report).and_then(|text| email(text, &item, report));
            replace(&mut self.email, address.map(Some));
        }
        // `staging` is a name for one directory.
        match (acme.take("directory"), acme.bool("staging", report)) {
            (Some(item), Some(true)) => {
                item.refuse::<()>(
                    "stands beside `staging`, which is a directory too: remove one of them",
                    report,
                );
            }
            (Some(item), _) => {
                let directory = item.text(report).and_then(|text| match text.strip_prefix("https://") {
                    Some(rest) if !rest.is_empty() => Some(text.to_owned()),
                    _ => item.wrong("an https URL", report),
                });
                replace(&mut self.directory, directory);
            }
            (None, Some(true)) => STAGING.clone_into(&mut self.directory),
            (None, Some(false)) if self.directory == STAGING => PRODUCTION.clone_into(&mut self.directory),
            (None, _) => {}
        }
        if let Some(item) = acme.take("ca_file") {
            let path = item.text(report).map(Path::new).and_then(|path| {
                if path.is_absolute() { Some(normal(path)) } else { item.wrong("an absolute path", report) }
            });
            replace(&mut self.ca_file, path.map(Some));
        }
        let challenge = acme.choice("challenge", report);
        let kind = |word| if word == "http-01" { ChallengeKind::Http01 } else { ChallengeKind::TlsAlpn01 };
        replace(&mut self.challenge, challenge.map(kind));
    }
}

fn email(text: &str, item: &Item<'_>, report: &mut Report) -> Option<String> {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && host.contains('.'));
    match parts {
        Some(_) if !text.contains([' ', ',', '?']) => Some(text.to_owned()),
        _ => item.wrong("one address, as in ops@example.com", report),
    }
}
