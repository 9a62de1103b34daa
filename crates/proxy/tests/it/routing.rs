//! Which route a request takes.

use crate::support::{Running, app, host, route};
use crate::upstreams::App;
use dockswap_core::routes::AppRoutes;
use dockswap_core::spec::HostPattern;

#[tokio::test]
async fn the_longest_match_wins_however_the_host_is_spelled() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let wildcard = |domain: &str, path: &str| route(HostPattern::Wildcard(domain.to_owned()), path);
    let names = ["any", "api", "exact", "wide", "narrow"];
    let routes = [
        vec![route(HostPattern::Any, "/")],
        vec![route(HostPattern::Any, "/api"), route(HostPattern::Exact("example.com".into()), "/api/v1/")],
        vec![host("example.com")],
        vec![wildcard("example.com", "/")],
        vec![wildcard("b.example.com", "/")],
    ];
    let mut servers = Vec::new();
    let mut apps: Vec<AppRoutes> = Vec::new();
    for (name, routes) in names.into_iter().zip(routes) {
        let server = App::start(name).await;
        apps.push(app(name, routes, [&server.upstream]));
        servers.push(server);
    }
    proxy.apply(apps).await.unwrap();
    let mut wire = proxy.connect().await;
    for (host, path, expected) in [
        ("example.com", "/", "exact"),
        ("EXAMPLE.com.:8080", "/x?y", "exact"),
        ("example.com", "/api", "exact"),
        ("example.com", "/api/v1", "api"),
        ("example.com", "/api/v1/x", "api"),
        ("example.com", "/api/v12", "exact"),
        ("a.example.com", "/", "wide"),
        ("x.a.example.com", "/api", "wide"),
        ("a.b.example.com", "/", "narrow"),
        ("b.example.com", "/", "wide"),
        ("notexample.com", "/", "any"),
        ("other", "/api", "api"),
        ("other", "/api/", "api"),
        ("other", "/apis", "any"),
        ("[::1]:80", "/", "any"),
    ] {
        assert_eq!(wire.get_from(host, path).await.text(), expected, "{host}{path}");
    }
}

#[tokio::test]
async fn where_nothing_is_routed_there_is_a_404() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let mut wire = proxy.connect().await;
    let answer = wire.get("/").await;
    assert_eq!((answer.status(), answer.text()), (404, "404 Not Found: nothing is served here.\n"));
    wire.request("HEAD", "/", "a").await;
    assert_eq!(wire.head().await.unwrap().status(), 404);
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(wire.message().await.status(), 404);
}
