//! Which certificate a client is shown.

use super::authority::{Authority, exact, hold, secure, secure_addr, shake, shown, shown_for};
use crate::support::{Running, app, eventually, host, soon};
use crate::upstreams::App;
use dockswap_core::keyring::Pair;
use dockswap_core::ports::{Router, Secret};
use dockswap_core::spec::HostPattern;
use dockswap_proof::Proof;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tokio::net::TcpStream;

fn leaf(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.chain_pem.as_bytes()).unwrap()
}

fn wildcard(domain: &str) -> HostPattern {
    HostPattern::Wildcard(domain.to_owned())
}

#[tokio::test]
async fn the_exact_name_wins_then_the_longest_wildcard_and_nobody_else_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    let pairs = [
        (exact("a.example.com"), authority.pair(&["a.example.com"])),
        (wildcard("example.com"), authority.pair(&["*.example.com"])),
        (wildcard("b.example.com"), authority.pair(&["*.b.example.com"])),
    ];
    let routes = pairs.iter().map(|(host, _)| secure(host.clone())).collect();
    proxy.apply(vec![app("web", routes, [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", pairs.iter().map(|(host, pair)| shown_for(host.clone(), pair)).collect()).await;
    let addr = secure_addr(&proxy).await;
    for (name, which) in
        [("a.example.com", 0), ("A.Example.com", 0), ("z.example.com", 1), ("z.b.example.com", 2)]
    {
        let stream = authority.connect(addr, name, &[]).await.unwrap();
        assert_eq!(shown(&stream), leaf(&pairs[which].1), "{name}");
    }
    for stranger in ["example.com", "example.org"] {
        let error = authority.connect(addr, stranger, &[]).await.unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
    // An address is no name, and none is sent.
    let error = authority.connect(addr, "127.0.0.1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_any_host_is_for_clients_without_a_name_too() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    proxy.apply(vec![app("web", vec![secure(HostPattern::Any)], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", vec![shown_for(HostPattern::Any, &authority.pair(&["127.0.0.1", "x.org"]))]).await;
    let addr = secure_addr(&proxy).await;
    for name in ["127.0.0.1", "x.org"] {
        let mut wire = authority.wire(addr, name).await;
        assert_eq!(wire.get_from(name, "/").await.text(), "app");
        // Renewed under an open connection.
        hold(&proxy, name, vec![shown_for(HostPattern::Any, &authority.pair(&["127.0.0.1", "x.org"]))]).await;
        assert_eq!(wire.get_from(name, "/").await.text(), "app");
    }
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_and_sessions_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    let pair = authority.pair(&["example.com"]);
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &pair)]).await;
    let addr = secure_addr(&proxy).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.client_of(version);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut wire =
                crate::support::Wire::on(shake(config.clone(), addr, "example.com").await.unwrap());
            assert_eq!(wire.stream.get_ref().1.protocol_version(), Some(version.version));
            // Tickets come along with the first answer.
            assert_eq!(wire.get("/").await.text(), "app");
            kinds.push(wire.stream.get_ref().1.handshake_kind().unwrap());
            // Tickets outlive a change of the keyring.
            hold(
                &proxy,
                &format!("{version:?}{}", kinds.len()),
                vec![shown_for(exact("example.com"), &pair)],
            )
            .await;
        }
        assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed], "{version:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients_and_open_connections_stay() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    let [old, new] = [(); 2].map(|()| authority.pair(&["example.com"]));
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "old", vec![shown_for(exact("example.com"), &old)]).await;
    let addr = secure_addr(&proxy).await;
    let mut open = authority.wire(addr, "example.com").await;
    assert_eq!(open.get("/").await.text(), "app");
    hold(&proxy, "new", vec![shown_for(exact("example.com"), &new)]).await;
    let fresh = authority.wire(addr, "example.com").await;
    assert_eq!([shown(&open.stream), shown(&fresh.stream)], [leaf(&old), leaf(&new)]);
    assert_eq!(open.get("/").await.text(), "app");
    // Also when there is none any more.
    hold(&proxy, "none", Vec::new()).await;
    assert!(authority.connect(addr, "example.com", &[]).await.is_err());
    assert_eq!(open.get("/").await.text(), "app");
}

#[tokio::test]
async fn one_bad_certificate_touches_no_other_host() {
    let mut proof = Proof::of("P21", "certificates that the proxy cannot use").part("proxy");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    let (good, other) = (authority.pair(&["good.org"]), authority.pair(&["bad.org"]));
    let routes = ["good.org", "bad.org"].map(|name| secure(exact(name))).to_vec();
    proxy.apply(vec![app("web", routes, [&app_.upstream])]).await.unwrap();
    let key = |text: &str| Secret::new(text.to_owned());
    let bad = [
        Pair { chain_pem: String::new(), ..other.clone() },
        Pair { chain_pem: other.chain_pem[..200].to_owned(), ..other.clone() },
        Pair { key_pem: key(""), ..other.clone() },
        Pair {
            key_pem: key("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
            ..other.clone()
        },
        Pair { key_pem: good.key_pem.clone(), ..other.clone() },
    ];
    for (index, bad) in bad.iter().enumerate() {
        let both = vec![shown_for(exact("bad.org"), bad), shown_for(exact("good.org"), &good)];
        hold(&proxy, &index.to_string(), both).await;
        let addr = secure_addr(&proxy).await;
        assert!(authority.connect(addr, "bad.org", &[]).await.is_err(), "{index}");
        let mut wire = authority.wire(addr, "good.org").await;
        assert_eq!(wire.get_from("good.org", "/").await.text(), "app");
        proof.kept();
    }
    proof.conclude();
}

#[tokio::test]
async fn a_proxy_that_was_killed_serves_https_before_any_controller_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let app_ = App::start("app").await;
    let authority = Authority::new();
    let proxy = Running::start(&dir).await;
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    proxy.kill().await;
    let file = dir.path().join("certificates.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let proxy = Running::start(&dir).await;
    let mut wire = authority.wire(secure_addr(&proxy).await, "example.com").await;
    assert_eq!(wire.get("/").await.text(), "app");
}

#[tokio::test]
async fn the_listener_is_open_while_a_route_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    assert_eq!(proxy.control.status().await.unwrap().listeners.len(), 1);
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    let addr = secure_addr(&proxy).await;
    let mut open = authority.wire(addr, "example.com").await;
    assert_eq!(open.get("/").await.text(), "app");
    proxy.apply(vec![app("web", vec![host("example.com")], [&app_.upstream])]).await.unwrap();
    eventually("the listener closes", || async { TcpStream::connect(addr).await.is_err() }).await;
    // In order: with a close_notify, without which the client would call it cut.
    assert!(soon(open.try_message()).await.is_none());
}
