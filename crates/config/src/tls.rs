//! `routes[].tls`: where a route's certificate comes from. It must not know what a certificate is.

use crate::app::Surroundings;
use crate::fields::{Field, Fields, Item, Shape};
use crate::policy::normal;
use crate::problem::Report;
use crate::yaml::Kind;
use dockswap_core::spec::{CertificateSource, HostPattern, Tls};
use std::path::Path;
use std::time::Duration;

/// The fields of `routes[].tls`, when it is a mapping.
pub(crate) const TLS: &[Field] = &[
    Field::new(
        "cert",
        Shape::FilePath,
        "The certificate in PEM, and behind it those that lead to the root; absolute, or relative to the apps directory.",
    ),
    Field::new("key", Shape::FilePath, "Its private key in PEM; as cert."),
    Field::new(
        "hsts",
        Shape::Duration { min: Duration::ZERO, max: TEN_YEARS },
        "How long browsers are told to use HTTPS only, as in 365d; default: they are not told.",
    ),
];

const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);

const EXPECTED: &str = "true, false, or a mapping of cert, key, hsts";

/// Reads what a route that answers to `host` says of TLS; `None`: nothing, or it is wrong.
pub(crate) fn decode(
    item: &Item<'_>,
    host: &HostPattern,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Tls> {
    let tls = match item.scalar() {
        Some(scalar) if scalar.kind == Kind::Bool && scalar.text.eq_ignore_ascii_case("false") => {
            return None;
        }
        Some(scalar) if scalar.kind == Kind::Bool => Tls { source: CertificateSource::Acme, hsts_secs: None },
        Some(_) => return item.wrong(EXPECTED, report),
        None if item.entries().is_none_or(|entries| entries.is_empty()) => {
            return item.wrong(EXPECTED, report);
        }
        None => section(&item.section(TLS, report)?, around, report)?,
    };
    match (&tls.source, host) {
        (CertificateSource::Acme, HostPattern::Wildcard(domain)) => item.refuse(
            format!(
                "an automatic certificate is for one name, and the host is *.{domain}: write each host as a route of its own, or `tls: {{ cert: PATH, key: PATH }}`"
            ),
            report,
        ),
        (CertificateSource::Acme, HostPattern::Any) => item.refuse(
            "an automatic certificate is for one name, and the route has no host: write `host: NAME` beside it, or `tls: { cert: PATH, key: PATH }`",
            report,
        ),
        (CertificateSource::Acme, HostPattern::Exact(host)) if is_address(host) => item.refuse(
            format!("{host} is no name, and automatic certificates are for names: write `tls: {{ cert: PATH, key: PATH }}`"),
            report,
        ),
        _ => Some(tls),
    }
}

fn section(fields: &Fields<'_>, around: &Surroundings<'_>, report: &mut Report) -> Option<Tls> {
    let hsts_secs = fields.duration("hsts", report).map(|hsts| hsts.as_secs());
    let mut path = |key| fields.take(key).map(|item| file(&item, around, report));
    let source = match (path("cert"), path("key")) {
        (None, None) => CertificateSource::Acme,
        (Some(cert), Some(key)) => CertificateSource::Files { cert: cert?, key: key? },
        (Some(_), None) => {
            fields.require("key", "PATH", report);
            return None;
        }
        (None, Some(_)) => {
            fields.require("cert", "PATH", report);
            return None;
        }
    };
    Some(Tls { source, hsts_secs })
}

/// A path as an absolute one that may be read for this.
fn file(item: &Item<'_>, around: &Surroundings<'_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    let absolute = normal(&around.base_dir.join(Path::new(text)));
    item.parsed(around.policy.check_certificate(&absolute, &around.base_dir), report)?;
    let path = absolute.into_os_string().into_string();
    item.parsed(path.map_err(|_| "the directory's name is not UTF-8".to_owned()), report)
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok()
}
