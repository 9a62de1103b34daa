//! Apps that cannot stand beside each other.

use dockswap_config::{Claim, Policy, Settings, Standing, check_clashes, parse_app};
use dockswap_core::AppSpec;
use std::path::Path;

/// The problems of files, given as name, standing and the text after the required fields.
fn problems(files: &[(&str, Standing, &str)]) -> String {
    let apps: Vec<(&Path, Standing, String, AppSpec)> = files
        .iter()
        .map(|&(file, standing, text)| {
            let name = file.trim_end_matches(".yaml").trim_end_matches(|c: char| c.is_ascii_digit());
            let text = format!("name: {name}\nimage: a:1\ndocker: {{ expose_port: 80 }}\n{text}\n");
            let file = Path::new(file);
            let spec = parse_app(file, text.as_bytes(), Path::new("/"), &Policy::default()).expect("valid");
            (file, standing, text, spec)
        })
        .collect();
    let claims: Vec<_> = apps
        .iter()
        .map(|(file, standing, text, spec)| Claim { file, bytes: text.as_bytes(), spec, standing: *standing })
        .collect();
    let problems = check_clashes(&claims, &Settings::default().reserved_ports());
    problems.iter().map(|problem| problem.to_string() + "\n").collect()
}

use Standing::{Incumbent, Newcomer};

#[test]
fn apps_that_share_nothing() {
    let files = [
        ("a.yaml", Newcomer, "ports: { blue: 8081, green: 8082 }"),
        (
            "b.yaml",
            Newcomer,
            "routes: [{ host: a.localhost, path_prefix: /b }, { host: a.localhost, listen_port: 9000 }]",
        ),
        ("c.yaml", Newcomer, "routes: [{ host: '*.localhost' }, { host: c.localhost, listen_port: 9000 }]"),
    ];
    assert_eq!(problems(&files), "");
}

#[test]
fn one_name_in_two_files() {
    let expected = "\
a1.yaml:1:7: name: a is also the name in a2.yaml: rename one of them
a2.yaml:1:7: name: a is also the name in a1.yaml: rename one of them
";
    assert_eq!(problems(&[("a1.yaml", Newcomer, ""), ("a2.yaml", Newcomer, "")]), expected);
    let taken = problems(&[("a2.yaml", Newcomer, "routes: [{ host: x }]"), ("a1.yaml", Incumbent, "")]);
    assert_eq!(taken, "a2.yaml:1:7: name: a is the name of app a (a1.yaml) already: write another\n");
}

#[test]
fn one_route_in_two_apps() {
    let holder = ("a.yaml", Newcomer, "routes: [{ host: x.org, path_prefix: /api }]");
    let advice =
        "x.org/api is a route of app a (a.yaml) already: write another host, path_prefix or listen_port";
    for (text, place) in [
        ("routes: [{ host: y.org }, { host: X.ORG., path_prefix: /api/ }]", "b.yaml:4:27: routes[1]"),
        ("proxy: { host: X.org, path_prefix: /api }", "b.yaml:4:8: proxy"),
    ] {
        assert_eq!(problems(&[holder, ("b.yaml", Newcomer, text)]), format!("{place}: {advice}\n"));
    }
    // What TLS claims it claims of plain requests too.
    let secure = problems(&[
        ("a.yaml", Incumbent, "routes: [{ host: x.org, tls: true }]"),
        ("b.yaml", Newcomer, "routes: [{ host: x.org }]"),
    ]);
    let expected = "b.yaml:4:10: routes[0]: x.org/ is a route of app a (a.yaml) already: write another host, path_prefix or listen_port\n";
    assert_eq!(secure, expected);
    let mixed = problems(&[
        ("a.yaml", Incumbent, "routes: [{ host: x.org, listen_port: 9443, tls: true }]"),
        ("b.yaml", Newcomer, "routes: [{ host: y.org, listen_port: 9443 }]"),
    ]);
    let expected = "b.yaml:4:38: routes[0].listen_port: 9443 is a listen_port of app a (a.yaml) too, and one of them alone has TLS: write another\n";
    assert_eq!(mixed, expected);
    let implied =
        problems(&[("a.yaml", Newcomer, "routes: [{ host: b.localhost }]"), ("b.yaml", Newcomer, "")]);
    let expected = "b.yaml:1:7: name: b.localhost/ is a route of app a (a.yaml) already: write another host, path_prefix or listen_port\n";
    assert_eq!(implied, expected);
    let alias = problems(&[
        ("a.yaml", Newcomer, "proxy: { listen_port: 9000 }"),
        ("b.yaml", Newcomer, "ports: { proxy: 9000 }"),
    ]);
    assert!(alias.starts_with("b.yaml:4:17: ports.proxy: *:9000/ is a route of app a"), "{alias}");
}

#[test]
fn one_certificate_for_a_host_whoever_shares_it() {
    let holder = ("a.yaml", Incumbent, "routes: [{ host: x.org, tls: true }]");
    let files = "tls: { cert: /etc/ssl/x.pem, key: /etc/ssl/x.key }";
    let refused = "x.org is shown the certificate of app a (a.yaml) already, which says `tls: true`, and a host is shown one: say the same here, change it in both files, or write another host";
    for (place, beside) in [
        ("b.yaml:4:47: routes[0].tls", "path_prefix: /b"),
        ("b.yaml:4:49: routes[0].tls", "listen_port: 9443"),
    ] {
        let other = format!("routes: [{{ host: X.org, {beside}, {files} }}]");
        assert_eq!(problems(&[holder, ("b.yaml", Newcomer, &other)]), format!("{place}: {refused}\n"));
        let same = format!("routes: [{{ host: x.org, {beside}, tls: {{ hsts: 1d }} }}]");
        assert_eq!(problems(&[holder, ("b.yaml", Newcomer, &same)]), "");
    }
    // Other files are another certificate, and so is none where there are files.
    let holder = format!("routes: [{{ host: x.org, {files} }}]");
    for tls in ["tls: true", "tls: { cert: /etc/ssl/x.pem, key: /etc/ssl/y.key }"] {
        let other = format!("routes: [{{ host: x.org, path_prefix: /b, {tls} }}]");
        let problems = problems(&[("a.yaml", Incumbent, &holder), ("b.yaml", Newcomer, &other)]);
        assert!(problems.contains("says `tls: { cert: /etc/ssl/x.pem, key: /etc/ssl/x.key }`"), "{problems}");
    }
    // A wildcard's is for the hosts that have none of their own, and a plain route shows none.
    for other in
        ["host: '*.org', tls: { cert: /etc/ssl/y.pem, key: /etc/ssl/y.key }", "host: x.org, path_prefix: /b"]
    {
        let other = format!("routes: [{{ {other} }}]");
        assert_eq!(problems(&[("a.yaml", Incumbent, &holder), ("b.yaml", Newcomer, &other)]), "");
    }
}

#[test]
fn two_who_share_a_host_change_its_certificate_together() {
    let text =
        |prefix: &str, tls: &str| format!("routes: [{{ host: x.org, path_prefix: {prefix}, tls: {tls} }}]");
    let files = "{ cert: /etc/ssl/x.pem, key: /etc/ssl/x.key }";
    let (a, b) = (text("/a", "true"), text("/b", "true"));
    let (new_a, new_b) = (text("/a", files), text("/b", files));
    let before = [("a.yaml", Incumbent, a.as_str()), ("b.yaml", Incumbent, b.as_str())];
    let alone = problems(&[before[0], before[1], ("a.yaml", Newcomer, &new_a)]);
    assert!(
        alone.starts_with("a.yaml:4:47: routes[0].tls: x.org is shown the certificate of app b"),
        "{alone}"
    );
    let both = [before[0], before[1], ("a.yaml", Newcomer, &new_a), ("b.yaml", Newcomer, &new_b)];
    assert_eq!(problems(&both), "");
}

#[test]
fn one_port_in_two_places() {
    let holder = ("a.yaml", Newcomer, "ports: { blue: 8081 }\nroutes: [{ listen_port: 9000 }]");
    for (text, expected) in [
        (
            "ports: { green: 8081 }",
            "b.yaml:4:17: ports.green: 8081 is a port of app a (a.yaml) already: write another\n",
        ),
        (
            "ports: { blue: 9000 }",
            "b.yaml:4:16: ports.blue: 9000 is a port of app a (a.yaml) already: write another\n",
        ),
        (
            "routes: [{ listen_port: 8081 }]",
            "b.yaml:4:25: routes[0].listen_port: 8081 is a host port of app a (a.yaml) already: write another\n",
        ),
        (
            "routes: [{ listen_port: 80 }]",
            "b.yaml:4:25: routes[0].listen_port: 80 is the port of proxy.http: leave listen_port out, or write another\n",
        ),
        ("ports: { blue: 443 }", "b.yaml:4:16: ports.blue: 443 is the port of proxy.https: write another\n"),
        (
            "ports: { blue: 9001 }\nroutes: [{ listen_port: 9001 }]",
            "b.yaml:5:25: routes[0].listen_port: 9001 is ports.blue of this app: write another\n",
        ),
    ] {
        assert_eq!(problems(&[holder, ("b.yaml", Newcomer, text)]), expected);
    }
}

#[test]
fn the_holder_keeps_what_it_has_whatever_the_order() {
    let claim = "routes: [{ host: x }]";
    let files = [("b.yaml", Newcomer, claim), ("a.yaml", Incumbent, claim)];
    assert!(problems(&files).starts_with("b.yaml:4:10: routes[0]: x/ is a route of app a"));
}

#[test]
fn an_edit_does_not_clash_with_what_it_replaces() {
    let files = [("a.yaml", Incumbent, "ports: { blue: 1 }"), ("a.yaml", Newcomer, "ports: { green: 1 }")];
    assert_eq!(problems(&files), "");
}

#[test]
fn one_that_is_refused_holds_nothing() {
    let files = [
        ("a.yaml", Newcomer, "routes: [{ host: x }]"),
        ("b.yaml", Newcomer, "routes: [{ host: x }, { host: y }]"),
        ("c.yaml", Newcomer, "routes: [{ host: y }]"),
    ];
    let problems = problems(&files);
    assert_eq!(problems.lines().count(), 1, "{problems}");
    assert!(problems.starts_with("b.yaml"), "{problems}");
}
