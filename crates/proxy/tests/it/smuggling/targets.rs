//! Where a request goes: its target, its host, and what else claims to be one of them.

use super::{Case, arrives, refused};

pub(super) fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    let get = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (name, target, host, arrives_at, arrives_for) in [
        ("plain", "/a?b=c", "a", "/a?b=c", "a"),
        ("escapes", "/a%00%2f%0d%0a", "a", "/a%00%2f%0d%0a", "a"),
        ("two slashes", "//evil/a", "a", "//evil/a", "a"),
        ("dots", "/a/../b", "a", "/a/../b", "a"),
        ("a target in the query", "/a?http://evil/", "a", "/a?http://evil/", "a"),
        ("port", "/a", "a:8080", "/a", "a:8080"),
        ("upper case and dot", "/a", "A.Example.", "/a", "A.Example."),
        ("IPv6", "/a", "[::1]:80", "/a", "[::1]:80"),
        ("absolute", "http://a/b", "a", "/b", "a"),
        ("absolute, another host", "http://a/b", "evil", "/b", "a"),
        ("absolute with port", "http://a:81/b?c", "a", "/b?c", "a:81"),
        ("absolute without path", "http://a", "a", "/", "a"),
    ] {
        let request = ("GET", arrives_at, arrives_for, "");
        cases.push(arrives(&format!("target: {name}"), get(target, host), request));
    }
    let all = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(arrives("target: the whole server", all, ("OPTIONS", "*", "a", "")));

    for (name, target) in [
        ("none", ""),
        ("no slash", "a"),
        ("an asterisk for GET", "*"),
        ("authority", "a:80"),
        ("user", "http://evil@a/"),
        ("user and password", "http://u:p@a/"),
        ("absolute without host", "http:///a"),
        ("space", "/a b"),
        ("tab", "/a\tb"),
        ("version inside", "/a HTTP/1.1\tHTTP/1.1"),
        ("NUL", "/a\0"),
        ("control byte", "/a\x01"),
        ("escape", "/\x1b[2J"),
        ("delete", "/a\x7f"),
        ("bare CR", "/a\rb"),
        ("bare LF", "/a\nb"),
        ("bare CR and a field", "/a HTTP/1.1\rX: y"),
        ("spaces before", "  /a"),
    ] {
        cases.push(refused(&format!("target: {name}"), get(target, "a")));
    }
    for (name, line) in [
        ("two spaces before the target", "GET  /a HTTP/1.1"),
        ("two spaces before the version", "GET /a  HTTP/1.1"),
        ("space behind the version", "GET /a HTTP/1.1 "),
        ("tabs", "GET\t/a\tHTTP/1.1"),
        ("no method", "/a HTTP/1.1"),
        ("control byte in the method", "G\x01T /a HTTP/1.1"),
        ("colon in the method", "GET: /a HTTP/1.1"),
        ("quote in the method", "\"GET\" /a HTTP/1.1"),
        ("version cut short", "GET /a HTTP/1."),
        ("version with a sign", "GET /a HTTP/+1.1"),
    ] {
        cases.push(refused(&format!("request line: {name}"), format!("{line}\r\nHost: a\r\n\r\n")));
    }
    for (name, hosts) in [
        ("none", "X: y"),
        ("twice", "Host: a\r\nHost: a"),
        ("two", "Host: a\r\nHost: b"),
        ("two in two cases", "Host: a\r\nhost: b"),
        ("two far apart", "Host: a\r\nX: y\r\nHost: b"),
        ("list", "Host: a, b"),
        ("empty", "Host:"),
        ("port alone", "Host: :80"),
        ("dot alone", "Host: ."),
        ("space within", "Host: a b"),
        ("tab within", "Host: a\tb"),
        ("slash", "Host: a/b"),
        ("query", "Host: a?b"),
        ("fragment", "Host: a#b"),
        ("user", "Host: evil@a"),
        ("backslash", "Host: a\\b"),
        ("percent", "Host: a%00"),
        ("port of letters", "Host: a:b"),
        ("two ports", "Host: a:1:2"),
        ("port with a sign", "Host: a:+1"),
        ("bracket open", "Host: [::1"),
        ("no address in brackets", "Host: [evil]"),
        ("beyond ASCII", "Host: \u{e9}"),
        ("NUL", "Host: a\0"),
        ("space before the colon", "Host : a"),
        ("space before the name", " Host: a"),
        ("folded", "Host:\r\n a"),
        ("folded on", "Host: a\r\n b"),
        ("behind a bare CR", "Host: a\rHost: b"),
        ("behind a bare LF", "Host: a\nHost: b"),
    ] {
        cases.push(refused(&format!("host: {name}"), format!("GET /a HTTP/1.1\r\n{hosts}\r\n\r\n")));
    }
    let both = "GET http://a/ HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n";
    cases.push(refused("host: absolute target and two hosts", both));
    let bad = "GET http://a/ HTTP/1.1\r\nHost: b@c\r\n\r\n";
    cases.push(refused("host: absolute target and no host at all", bad));
    cases
}
