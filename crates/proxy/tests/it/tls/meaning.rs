//! What a request over TLS means: where it goes, what the app is told of it, and what comes back.

use super::authority::{Authority, exact, hold, secure, secure_addr, shown_for};
use crate::http2::client::{Client, get, whole};
use crate::support::{Running, any_host, app, config, eventually, host, route, soon};
use crate::upstreams::App;
use dockswap_core::spec::{CertificateSource, HostPattern, Route, Tls};
use dockswap_proxy::{Limits, ProxyConfig};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// A proxy with one app, `web`, that answers with what it is asked.
async fn mirror(routes: Vec<Route>) -> (tempfile::TempDir, Running, App) {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            let field = |name| request.field(name).unwrap_or("-").to_owned();
            let text = format!(
                "{} {} {} {}",
                request.first_line,
                field("host"),
                field("x-forwarded-proto"),
                field("x-forwarded-host")
            );
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            ))
            .await;
        }
    })
    .await;
    proxy.apply(vec![app("web", routes, [&app_.upstream])]).await.unwrap();
    (dir, proxy, app_)
}

#[tokio::test]
async fn http_2_is_agreed_on_and_so_is_http_1_1() {
    let (_dir, proxy, _app) = mirror(vec![secure(exact("example.com"))]).await;
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let addr = secure_addr(&proxy).await;
    for (offered, agreed) in [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["http/1.1", "h2"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec![], None),
    ] {
        let stream = authority.connect(addr, "example.com", &offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
        let expected = "GET /a?b HTTP/1.1 example.com https example.com";
        if agreed == Some("h2") {
            let client = Client::on(stream).await;
            assert_eq!(client.get("/a?b").await, (http::StatusCode::OK, expected.to_owned()));
        } else {
            let mut wire = crate::support::Wire::on(stream);
            assert_eq!(wire.get("/a?b").await.text(), expected);
        }
    }
    // One who offers nothing that is spoken here is told so.
    assert!(authority.connect(addr, "example.com", &["spdy/3"]).await.is_err());
}

#[tokio::test]
async fn plain_requests_are_sent_on_unless_a_plain_route_stands_beside() {
    let https = crate::support::free_port().await;
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start_at(&dir, SocketAddr::from(([127, 0, 0, 1], https)), Limits::default()).await;
    let app_ = App::start("app").await;
    let routes = vec![
        secure(exact("example.com")),
        route(exact("example.com"), "/public"),
        secure(HostPattern::Wildcard("x.org".to_owned())),
        host("plain.x.org"),
    ];
    proxy.apply(vec![app("web", routes, [&app_.upstream])]).await.unwrap();
    let mut wire = proxy.connect().await;
    // It may be a site that was never served plainly, as long as nobody says which certificates there are.
    assert_eq!(wire.get("/").await.status(), 503);
    let authority = Authority::new();
    let hosts = [exact("example.com"), HostPattern::Wildcard("x.org".to_owned())];
    let pair = authority.pair(&["example.com", "*.x.org"]);
    hold(&proxy, "1", hosts.map(|host| shown_for(host, &pair)).to_vec()).await;
    for (host, target, location) in [
        ("example.com", "/", "https://example.com:P/"),
        ("Example.com:80", "/a/b?c=d%20e", "https://example.com:P/a/b?c=d%20e"),
        ("example.com", "http://example.com/absolute", "https://example.com:P/absolute"),
        ("a.x.org", "/publicity", "https://a.x.org:P/publicity"),
    ] {
        let answer = wire.get_from(host, target).await;
        assert_eq!(answer.status(), 308, "{host}{target}");
        assert_eq!(answer.field("location").unwrap(), location.replace('P', &https.to_string()));
    }
    for (host, target) in [("example.com", "/public/x"), ("plain.x.org", "/")] {
        assert_eq!(wire.get_from(host, target).await.text(), "app", "{host}{target}");
    }
    assert_eq!(wire.get_from("example.org", "/").await.status(), 404);
    // HTTP/2 without TLS, and HTTP/1.0, which may name no host.
    let client = Client::of(&proxy).await;
    let answer = soon(client.begin(get("/x"))).await.unwrap().unwrap();
    assert_eq!(answer.headers()["location"], format!("https://example.com:{https}/x"));
    assert_eq!(whole(answer).await.0, 308);
}

#[tokio::test]
async fn a_plain_site_that_is_to_have_tls_is_served_until_its_certificate_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let public = ProxyConfig { public_https_port: Some(443), ..config(dir.path(), Limits::default()) };
    let proxy = Running::start_as(public, 2).await;
    let app_ = App::start("app").await;
    let authority = Authority::new();
    hold(&proxy, "1", Vec::new()).await;
    proxy.apply(vec![app("web", vec![host("a.x.org")], [&app_.upstream])]).await.unwrap();
    let mut wire = proxy.connect().await;
    assert_eq!(wire.get_from("a.x.org", "/").await.text(), "app");
    proxy.apply(vec![app("web", vec![secure(exact("a.x.org"))], [&app_.upstream])]).await.unwrap();
    // Others have one, and this host would be shown it: of no use to its clients, until it is one for them too.
    let any = shown_for(HostPattern::Any, &authority.pair(&["other.org"]));
    hold(&proxy, "2", vec![any.clone()]).await;
    let answer = wire.get_from("a.x.org", "/a").await;
    assert_eq!((answer.status(), answer.text()), (200, "app"));
    for (tag, shown) in [
        ("3", shown_for(HostPattern::Wildcard("x.org".to_owned()), &authority.pair(&["*.x.org"]))),
        ("4", shown_for(exact("a.x.org"), &authority.pair(&["a.x.org"]))),
    ] {
        hold(&proxy, tag, vec![any.clone(), shown]).await;
        let answer = wire.get_from("a.x.org", "/a").await;
        assert_eq!((answer.status(), answer.field("location")), (308, Some("https://a.x.org/a")));
        hold(&proxy, "0", vec![any.clone()]).await;
        assert_eq!(wire.get_from("a.x.org", "/").await.text(), "app");
    }
}

#[tokio::test]
async fn a_connection_is_for_the_hosts_of_its_certificate() {
    let routes = ["a.org", "b.org", "shared.a.org"].map(|name| secure(exact(name))).to_vec();
    let (_dir, proxy, _app) = mirror(routes).await;
    let authority = Authority::new();
    let a = authority.pair(&["a.org", "shared.a.org"]);
    let shared = authority.pair(&["shared.a.org"]);
    let b = authority.pair(&["b.org"]);
    let all = [("a.org", &a), ("shared.a.org", &shared), ("b.org", &b)];
    hold(&proxy, "1", all.map(|(name, pair)| shown_for(exact(name), pair)).to_vec()).await;
    let addr = secure_addr(&proxy).await;
    let client = Client::on(authority.connect(addr, "a.org", &["h2"]).await.unwrap()).await;
    let mut wire = authority.wire(addr, "a.org").await;
    for (host, status) in
        [("a.org", 200), ("shared.a.org", 200), ("b.org", 421), ("c.org", 421), ("a.org", 200)]
    {
        let mut request = get("/");
        *request.uri_mut() = format!("https://{host}/").parse().unwrap();
        let answer = soon(client.begin(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{host}");
        assert_eq!(wire.get_from(host, "/").await.status(), status, "{host}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_come_by_https_only_where_the_route_says_so() {
    let tls = |hsts_secs| Some(Tls { source: CertificateSource::Acme, hsts_secs });
    let routes = vec![
        Route { tls: tls(Some(31_536_000)), ..secure(exact("strict.org")) },
        secure(exact("silent.org")),
        any_host(),
    ];
    let (_dir, proxy, _app) = mirror(routes).await;
    let authority = Authority::new();
    let names = ["strict.org", "silent.org"];
    hold(&proxy, "1", names.map(|name| shown_for(exact(name), &authority.pair(&[name]))).to_vec()).await;
    let addr = secure_addr(&proxy).await;
    for (name, said) in [("strict.org", "max-age=31536000"), ("silent.org", "max-age=1")] {
        let answer = authority.wire(addr, name).await.get_from(name, "/").await;
        assert_eq!(answer.field("strict-transport-security"), Some(said));
        let client = Client::on(authority.connect(addr, name, &["h2"]).await.unwrap()).await;
        let mut request = get("/");
        *request.uri_mut() = format!("https://{name}/").parse().unwrap();
        let answer = soon(client.begin(request)).await.unwrap().unwrap();
        assert_eq!(answer.headers()["strict-transport-security"], said);
    }
    let redirected = proxy.connect().await.get_from("strict.org", "/").await;
    assert_eq!((redirected.status(), redirected.field("strict-transport-security")), (308, None));
}

#[tokio::test]
async fn what_is_upgraded_goes_on_under_tls_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let app_ = App::start_with(|mut wire| async move {
        wire.try_message().await.unwrap();
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello\r\n",
        )
        .await;
        while let Some(line) = wire.line().await {
            wire.send(format!("echo {line}\r\n")).await;
        }
    })
    .await;
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let mut wire = authority.wire(secure_addr(&proxy).await, "example.com").await;
    wire.send(
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly\r\n",
    )
    .await;
    assert_eq!(wire.head().await.unwrap().status(), 101);
    assert_eq!(wire.line().await.unwrap(), "hello");
    assert_eq!(wire.line().await.unwrap(), "echo early");
    let long = "x".repeat(100_000);
    wire.send(format!("{long}\r\n")).await;
    assert_eq!(wire.line().await.unwrap(), format!("echo {long}"));
    assert_eq!(proxy.in_flight().await, (0, 1));
    // The app goes away: the client hears it in order, by a close_notify.
    app_.kill().await;
    let mut rest = Vec::new();
    assert!(soon(wire.stream.read_to_end(&mut rest)).await.is_ok());
    drop(wire);
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn a_listener_of_its_own_may_speak_tls() {
    let port = crate::support::free_port().await;
    let own = Route { listen_port: Some(port), ..secure(exact("example.com")) };
    let (_dir, proxy, app_) = mirror(vec![own.clone()]).await;
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut wire = authority.wire(addr, "example.com").await;
    assert!(wire.get("/").await.text().contains(" https "));
    // Nothing else was asked for: neither the common one for TLS nor a way there.
    assert_eq!(secure_addr(&proxy).await, addr);
    assert_eq!(proxy.connect().await.get("/").await.status(), 404);
    // The same port, plain from now on.
    proxy.apply(vec![app("web", vec![Route { tls: None, ..own }], [&app_.upstream])]).await.unwrap();
    let mut plain = crate::support::Wire::connect(addr).await;
    assert!(plain.get("/").await.text().contains(" http "));
}

#[tokio::test]
async fn a_connection_that_rests_for_too_long_hears_good_bye_under_tls() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { idle_time: Duration::from_millis(100), ..Limits::default() };
    let proxy = Running::start_with(&dir, limits).await;
    let app_ = App::start("app").await;
    proxy.apply(vec![app("web", vec![secure(exact("example.com"))], [&app_.upstream])]).await.unwrap();
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let addr = secure_addr(&proxy).await;
    let early = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (protocol, said) in
        [("http/1.1", &b""[..]), ("http/1.1", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), ("h2", early)]
    {
        let mut stream = authority.connect(addr, "example.com", &[protocol]).await.unwrap();
        stream.write_all(said).await.unwrap();
        // Without a close_notify this were an error.
        assert!(soon(stream.read_to_end(&mut Vec::new())).await.is_ok(), "{protocol}");
    }
}

#[tokio::test]
async fn a_stopping_proxy_says_good_bye_under_tls() {
    let (_dir, proxy, _app) = mirror(vec![secure(exact("example.com"))]).await;
    let authority = Authority::new();
    hold(&proxy, "1", vec![shown_for(exact("example.com"), &authority.pair(&["example.com"]))]).await;
    let mut wire = authority.wire(secure_addr(&proxy).await, "example.com").await;
    wire.get("/").await;
    let (over, mut is_over) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut rest = Vec::new();
        over.send(wire.stream.read_to_end(&mut rest).await).await.unwrap();
    });
    proxy.stopped().await;
    // Without a close_notify this were an error.
    assert_eq!(soon(is_over.recv()).await.unwrap().unwrap(), 0);
}
