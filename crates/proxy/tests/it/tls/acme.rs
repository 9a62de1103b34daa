//! What ACME servers ask, and get.

use super::authority::{Authority, exact, hold_all, secure, secure_addr, shake, shown};
use crate::support::{Running, any_host, app, eventually};
use crate::upstreams::App;
use dockswap_core::keyring::{Challenge, Keyring};
use dockswap_core::ports::Router;
use rcgen::CustomExtension;
use tokio::net::TcpStream;

fn keyring(tag: &str, challenges: Vec<Challenge>) -> Keyring {
    Keyring { tag: tag.to_owned(), certificates: Vec::new(), challenges }
}

#[tokio::test]
async fn a_token_is_answered_before_any_route_while_it_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start("app").await;
    proxy
        .apply(vec![app("web", vec![any_host(), secure(exact("example.com"))], [&app_.upstream])])
        .await
        .unwrap();
    let token = |token: &str| Challenge::Http01 { token: token.to_owned(), answer: format!("{token}.thumb") };
    hold_all(&proxy, keyring("1", vec![token("one"), token("two")])).await;
    let mut wire = proxy.connect().await;
    for (host, token, answer) in [
        ("example.com", "one", "one.thumb"),
        ("other.org", "two", "two.thumb"),
        // The app may have a client of its own, and other methods are none of ours.
        ("other.org", "three", "app"),
        ("other.org", "one/more", "app"),
        ("other.org", "", "app"),
    ] {
        let answered = wire.get_from(host, &format!("/.well-known/acme-challenge/{token}")).await;
        assert_eq!((answered.status(), answered.text()), (200, answer), "{token}");
    }
    wire.request("DELETE", "/.well-known/acme-challenge/one", "other.org").await;
    assert_eq!(wire.message().await.text(), "app");
    hold_all(&proxy, keyring("2", Vec::new())).await;
    assert_eq!(wire.get_from("other.org", "/.well-known/acme-challenge/one").await.text(), "app");
    // So it is for a site that has no certificate yet.
    assert_eq!(wire.get_from("example.com", "/.well-known/acme-challenge/one").await.text(), "app");
}

#[tokio::test]
async fn a_proof_is_shown_to_acme_servers_alone_and_opens_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let authority = Authority::new();
    let pair = authority.pair_with(&["example.com"], vec![CustomExtension::new_acme_identifier(&[7; 32])]);
    let proof = Challenge::TlsAlpn01 { host: "example.com".to_owned(), pair };
    hold_all(&proxy, keyring("1", vec![proof])).await;
    let addr = secure_addr(&proxy).await;
    // The extension is critical, and no ordinary client's business: it is looked at without judging.
    let config = authority.unjudging(&["acme-tls/1"]);
    let stream = shake(config.clone(), addr, "example.com").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert!(shown(&stream).windows(32).any(|bytes| bytes == [7; 32]));
    assert!(shake(config, addr, "other.org").await.is_err());
    assert!(authority.connect(addr, "example.com", &["h2", "http/1.1"]).await.is_err());
    hold_all(&proxy, keyring("2", Vec::new())).await;
    assert_eq!(proxy.control.status().await.unwrap().listeners.len(), 1);
    eventually("the listener closes", || async { TcpStream::connect(addr).await.is_err() }).await;
}
