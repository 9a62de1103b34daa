//! What `dockswap doctor` says of certificates: those that are missing, that have expired, or are about to. How they are
//! got is not its business.

use super::Finding;
use crate::api::wire::{Certificates, Time};
use crate::cli::session::{Session, now};
use dockswap_certs::CertificateView;
use dockswap_core::Timestamp;
use std::time::Duration;

const CHECK: &str = "certificate";

/// How long before its end a certificate that nobody here renews is worth a word.
const SOON: Duration = Duration::from_hours(14 * 24);

/// Asks the controller. That none answers is said elsewhere.
pub(super) async fn ask(session: &Session) -> Vec<Finding> {
    session.client.get("/v1/certificates").await.map_or_else(|_| Vec::new(), |all| findings(&all, now()))
}

fn findings(all: &Certificates, now: Timestamp) -> Vec<Finding> {
    let fault = all.fault.as_ref().map(|fault| {
        Finding::fail(
            CHECK,
            format!("looking after them {fault}"),
            "restart the controller: what is served stays",
        )
    });
    let mut findings: Vec<Finding> = fault.into_iter().collect();
    findings.extend(all.certificates.iter().filter_map(|one| finding(one, now)));
    let ends = all.certificates.iter().filter_map(|one| one.expires_at_us).min();
    if let (true, Some(ends)) = (findings.is_empty(), ends) {
        let many = all.certificates.len();
        findings
            .push(Finding::ok(CHECK, format!("{many} in order, the first to expire does so {}", Time(ends))));
    }
    findings
}

/// What is to be said of one; `None`: nothing.
fn finding(one: &CertificateView, now: Timestamp) -> Option<Finding> {
    let automatic = one.source == "acme";
    let mend = if automatic {
        "mend what it says, then dockswap reload"
    } else {
        "put others in the place of its files: they are read by themselves"
    };
    let (app, host) = (&one.app, &one.host);
    let why = one.trouble.as_ref().map_or_else(String::new, |why| format!("\n{why}"));
    match one.expires_at_us {
        None if automatic && one.trouble.is_none() => {
            let detail = format!("{host} of {app} has none yet: it is being asked for");
            Some(Finding::warn(CHECK, detail, "look again in a minute"))
        }
        None => {
            Some(Finding::fail(CHECK, format!("{host} of {app} has none, and HTTPS is refused{why}"), mend))
        }
        Some(ends) if ends <= now => {
            let detail = format!("that of {host} of {app} expired {}{why}", Time(ends));
            Some(Finding::fail(CHECK, detail, mend))
        }
        Some(ends) if one.trouble.is_some() || (!automatic && ends <= now + SOON) => {
            let detail = format!("that of {host} of {app} expires {}{why}", Time(ends));
            Some(Finding::warn(CHECK, detail, mend))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn view(source: &str, days_left: Option<i64>, trouble: Option<&str>) -> CertificateView {
        let ends = |days: i64| Timestamp::from_micros(NOW.as_micros() + days * 86_400_000_000);
        CertificateView {
            app: "web".parse().expect("a name"),
            host: "a.org".to_owned(),
            source: source.to_owned(),
            expires_at_us: days_left.map(ends),
            next_try_us: None,
            trouble: trouble.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn what_expires_or_cannot_be_got_is_told() {
        for (certificate, level, said) in [
            (view("acme", Some(60), None), Level::Ok, "1 in order, the first to expire does so 2027-03-16T"),
            // It is renewed in time, however long that is.
            (view("acme", Some(1), None), Level::Ok, "1 in order"),
            (view("files", Some(15), None), Level::Ok, "1 in order"),
            (view("files", Some(13), None), Level::Warn, "that of a.org of web expires 2027-01-28T"),
            (view("acme", Some(20), Some("no route")), Level::Warn, "\nno route"),
            (
                view("acme", Some(0), Some("no route")),
                Level::Fail,
                "that of a.org of web expired 2027-01-15T",
            ),
            (view("files", Some(-3), None), Level::Fail, "expired"),
            (view("acme", None, None), Level::Warn, "being asked for"),
            (view("acme", None, Some("no route")), Level::Fail, "and HTTPS is refused\nno route"),
            (view("files", None, Some("cut off")), Level::Fail, "and HTTPS is refused\ncut off"),
        ] {
            let all = Certificates { certificates: vec![certificate], fault: None };
            let found = findings(&all, NOW);
            assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
            assert!(found[0].detail.contains(said), "{found:?}");
        }
        assert_eq!(findings(&Certificates::default(), NOW), []);
        let broken = Certificates { certificates: Vec::new(), fault: Some("broke off".to_owned()) };
        assert_eq!(findings(&broken, NOW)[0].level, Level::Fail);
    }
}
