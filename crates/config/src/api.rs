//! `api` of the settings: where the HTTP API listens besides its socket. It must not know what it serves.

use crate::fields::{Field, Fields, Item, Shape};
use crate::policy::normal;
use crate::problem::Report;
use crate::settings::{address, replace};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the HTTP API listens besides its socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSettings {
    /// The address; `None`: nowhere. One that others can reach has a certificate.
    pub http: Option<SocketAddr>,
    /// The certificate; `None`: plain HTTP.
    pub tls: Option<ApiTls>,
    /// Names by which it is asked, besides those of loopback and its address; lower case.
    pub hosts: Vec<String>,
}

/// The certificate of the API, both files in PEM, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTls {
    /// The certificate, and behind it those that lead to the root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The fields of the section.
pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "http",
        Shape::Address,
        "Where the API listens besides its socket, for requests with a token: a loopback address, or any with tls; default off.",
    ),
    Field::new(
        "tls",
        Shape::Section(TLS, &["cert", "key"]),
        "The certificate of the API; default plain HTTP.",
    ),
    Field::new(
        "hosts",
        Shape::Texts,
        "Names by which the API may be asked, besides those of loopback and its address; default none.",
    ),
];

const TLS: &[Field] = &[
    Field::new(
        "cert",
        Shape::FilePath,
        "The certificate in PEM, and behind it those that lead to the root; absolute.",
    ),
    Field::new("key", Shape::FilePath, "Its private key in PEM; absolute."),
];

impl ApiSettings {
    /// Lays what `api` holds over what is there.
    pub(crate) fn overlay(&mut self, api: &Fields<'_>, report: &mut Report) {
        replace(&mut self.http, address(api, "http", report).map(Some));
        if let Some(tls) = api.section("tls", report) {
            let mut path = |key| {
                let item = tls.take(key)?;
                let path = item.text(report).map(Path::new)?;
                if path.is_absolute() { Some(normal(path)) } else { item.wrong("an absolute path", report) }
            };
            let (cert, key) = (path("cert"), path("key"));
            let files = self.tls.get_or_insert_with(|| ApiTls { cert: PathBuf::new(), key: PathBuf::new() });
            replace(&mut files.cert, cert);
            replace(&mut files.key, key);
        }
        if let Some(item) = api.take("hosts") {
            replace(&mut self.hosts, hosts(&item, report));
        }
    }

    /// What is wrong with the whole: the field, and what to write.
    pub(crate) fn vain(&self) -> Option<(&'static str, String)> {
        match (&self.http, &self.tls) {
            (_, Some(tls)) if tls.cert.as_os_str().is_empty() || tls.key.as_os_str().is_empty() => {
                Some(("api.tls", "half a certificate: write both cert and key".to_owned()))
            }
            (None, Some(_)) => {
                Some(("api.tls", "nobody would be shown it: write api.http: ADDRESS:PORT too".to_owned()))
            }
            (Some(http), None) if !http.ip().is_loopback() => {
                let told = format!(
                    "{http} is open to others, and tokens would be sent to it in plain text: write \
                     api.tls: {{ cert: PATH, key: PATH }} too, or 127.0.0.1:PORT"
                );
                Some(("api.http", told))
            }
            _ => None,
        }
    }
}

/// Names: a list, or one text with commas.
fn hosts(item: &Item<'_>, report: &mut Report) -> Option<Vec<String>> {
    let expected = "names as in deploy.example.com, without a port";
    let mut hosts = Vec::new();
    for item in item.one_or_many(report, expected)? {
        let Some(text) = item.text(report) else { continue };
        for one in text.split(',').map(str::trim) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if !one.is_empty() && one.chars().all(is_name) {
                hosts.push(one.to_ascii_lowercase());
            } else {
                item.wrong::<()>(expected, report);
            }
        }
    }
    Some(hosts)
}
