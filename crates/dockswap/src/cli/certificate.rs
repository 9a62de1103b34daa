//! Certificates in words. Pure.

use crate::api::wire::Time;
use dockswap_certs::CertificateView;

/// How a certificate stands: `example.com: expires 2027-01-01T…Z, renewed by acme from 2026-12-01T…Z on`.
pub(crate) fn standing(view: &CertificateView) -> String {
    let host = &view.host;
    let next = view.next_try_us.map(|at| Time(at).to_string());
    match (view.expires_at_us.map(Time), next) {
        (Some(expires), Some(next)) => {
            format!("{host}: expires {expires}, renewed by {} from {next} on", view.source)
        }
        (Some(expires), None) => format!("{host}: expires {expires}, from {}", view.source),
        (None, _) if view.source == "acme" && view.trouble.is_none() => {
            format!("{host}: none yet, it is being asked for by acme")
        }
        (None, _) => format!("{host}: none, and HTTPS is refused"),
    }
}

/// What is wrong with a certificate, and what happens next; `None`: nothing.
pub(crate) fn problem(view: &CertificateView) -> Option<String> {
    let (host, trouble) = (&view.host, view.trouble.as_ref()?);
    let serves = match view.expires_at_us.map(Time) {
        Some(expires) => format!("the one that is there serves, until {expires}"),
        None => "HTTPS for it is refused".to_owned(),
    };
    let next = match view.next_try_us.map(Time) {
        Some(next) => format!("it is tried again at {next}, or by dockswap reload"),
        None => "the files are read again by themselves".to_owned(),
    };
    Some(format!("trouble with the certificate for {host}; {serves}\n{trouble}\n{next}"))
}

#[cfg(test)]
mod tests {
    use super::{problem, standing};
    use dockswap_certs::CertificateView;
    use dockswap_core::Timestamp;

    fn view(source: &str) -> CertificateView {
        CertificateView {
            app: "web".parse().expect("a name"),
            host: "a.org".to_owned(),
            source: source.to_owned(),
            expires_at_us: None,
            next_try_us: None,
            trouble: None,
        }
    }

    #[test]
    fn a_certificate_in_words() {
        let at = |secs: i64| Some(Timestamp::from_micros(secs * 1_000_000));
        let first = view("acme");
        assert_eq!(standing(&first), "a.org: none yet, it is being asked for by acme");
        assert_eq!(problem(&first), None);
        let good =
            CertificateView { expires_at_us: at(1_800_000_000), next_try_us: at(1_790_000_000), ..first };
        assert_eq!(
            standing(&good),
            "a.org: expires 2027-01-15T08:00:00.000000Z, renewed by acme from 2026-09-21T14:13:20.000000Z on"
        );
        let failing = CertificateView { trouble: Some("no route".to_owned()), ..good };
        assert_eq!(
            problem(&failing).as_deref(),
            Some(
                "trouble with the certificate for a.org; the one that is there serves, until 2027-01-15T08:00:00.000000Z\nno route\nit is tried again at 2026-09-21T14:13:20.000000Z, or by dockswap reload"
            )
        );
        let bad = CertificateView { trouble: Some("/c.pem: cut off".to_owned()), ..view("files") };
        assert_eq!(standing(&bad), "a.org: none, and HTTPS is refused");
        assert_eq!(
            problem(&bad).as_deref(),
            Some(
                "trouble with the certificate for a.org; HTTPS for it is refused\n/c.pem: cut off\nthe files are read again by themselves"
            )
        );
        let read = CertificateView { expires_at_us: at(1_800_000_000), ..view("files") };
        assert_eq!(standing(&read), "a.org: expires 2027-01-15T08:00:00.000000Z, from files");
    }
}
