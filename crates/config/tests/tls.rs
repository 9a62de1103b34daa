//! `routes[].tls` as people write it.

use dockswap_config::{Policy, parse_app};
use dockswap_core::AppSpec;
use dockswap_core::spec::{CertificateSource, Tls};
use std::path::Path;

fn parse(text: &str) -> Result<AppSpec, String> {
    let parsed =
        parse_app(Path::new("web.yaml"), text.as_bytes(), Path::new("/cfg/apps"), &Policy::default());
    parsed.map_err(|problems| problems.iter().map(|problem| problem.to_string() + "\n").collect())
}

fn accepted(text: &str) -> AppSpec {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text)
}

/// A valid file whose last lines are `rest`.
fn with(rest: &str) -> String {
    format!("name: web\nimage: web:v1\ndocker: {{ expose_port: 80 }}\n{rest}\n")
}

#[test]
fn routes_with_tls() {
    let tls = |rest: &str| accepted(&with(rest)).routes[0].tls.clone();
    let acme = |hsts_secs| Some(Tls { source: CertificateSource::Acme, hsts_secs });
    let files = |cert: &str, key: &str| {
        let source = CertificateSource::Files { cert: cert.to_owned(), key: key.to_owned() };
        Some(Tls { source, hsts_secs: None })
    };
    assert_eq!(tls("routes: [{ host: a.b }]"), None);
    assert_eq!(tls("routes: [{ host: a.b, tls: true }]"), acme(None));
    assert_eq!(tls("routes: [{ host: a.b, tls: { hsts: 365d } }]"), acme(Some(31_536_000)));
    assert_eq!(tls("routes: [{ host: a.b, tls: { hsts: 0 } }]"), acme(Some(0)));
    for (host, cert) in [("host: '*.a.b'", "x.pem"), ("path_prefix: /", "tls/x.pem")] {
        let text = format!(
            "routes: [{{ {host}, tls: {{ cert: {cert}, key: /etc/letsencrypt/live/x/privkey.pem }} }}]"
        );
        assert_eq!(tls(&text), files(&format!("/cfg/apps/{cert}"), "/etc/letsencrypt/live/x/privkey.pem"));
    }
    let both = accepted(&with("routes: [{ host: a.b, tls: true }, { host: a.b }]")).routes;
    assert_eq!(both.iter().map(ToString::to_string).collect::<Vec<_>>(), ["https://a.b/", "a.b/"]);
}

#[test]
fn tls_that_cannot_be() {
    let expected_mapping = "write true, false, or a mapping of cert, key, hsts";
    for (route, expected) in [
        ("host: a.b, tls: yes please", format!("tls: found the text \"yes please\": {expected_mapping}")),
        ("host: a.b, tls: {}", format!("tls: found a mapping: {expected_mapping}")),
        ("host: a.b, tls: { key: x }", "tls.cert: missing: write `cert: PATH`".to_owned()),
        ("host: a.b, tls: { crt: x }", "tls.crt: unknown key: did you mean `cert`?".to_owned()),
        (
            "host: a.b, tls: { hsts: 31536000 }",
            "tls.hsts: 31536000 has no unit: write 31536000s for seconds, or 31536000ms".to_owned(),
        ),
        (
            "host: a.b, tls: { hsts: 4000d }",
            "tls.hsts: 4000d is out of range: write 0s to 3650d".to_owned(),
        ),
        (
            "host: '*.a.b', tls: true",
            "tls: an automatic certificate is for one name, and the host is *.a.b: write each host as a route of its own, or `tls: { cert: PATH, key: PATH }`".to_owned(),
        ),
        (
            "tls: { hsts: 1d }",
            "tls: an automatic certificate is for one name, and the route has no host: write `host: NAME` beside it, or `tls: { cert: PATH, key: PATH }`".to_owned(),
        ),
        (
            "host: 10.0.0.1, tls: true",
            "tls: 10.0.0.1 is no name, and automatic certificates are for names: write `tls: { cert: PATH, key: PATH }`".to_owned(),
        ),
        (
            "host: a.b, tls: { cert: ../../x.pem, key: k.pem }",
            "tls.cert: /x.pem may not be read: it leads out of the config directory; move it there, or add its directory to policy.files in dockswap.yaml".to_owned(),
        ),
        (
            "host: a.b, tls: { cert: c.pem, key: /proc/self/environ }",
            "tls.key: /proc/self/environ may not be read for an app; no server setting allows it".to_owned(),
        ),
    ] {
        let found = refused(&with(&format!("routes: [{{ {route} }}]")));
        let (place, message) = found.trim_end().split_once(": routes[0].").expect(&found);
        assert_eq!(message, expected, "{route}");
        assert!(place.starts_with("web.yaml:4:"), "{found}");
    }
    let twice = refused(&with("routes: [{ host: a.b, tls: true }, { host: a.b, tls: { hsts: 1d } }]"));
    assert_eq!(twice, "web.yaml:4:36: routes[1]: https://a.b/ is routes[0] already: remove one of them\n");
    let mixed =
        refused(&with("routes: [{ host: a.b, tls: true, listen_port: 9443 }, { listen_port: 9443 }]"));
    assert_eq!(
        mixed,
        "web.yaml:4:55: routes[1]: routes[0] is on port 9443 too, and one of them alone has TLS: write `tls` in both, or another listen_port\n"
    );
}
