//! What a body can hide: chunks, trailers, bodies where none is expected, and what follows on the same
//! connection.

use super::{Case, Then, arrives, passes, refused, seen_as};

fn chunked(body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// Sizes, extensions, ends of chunks, trailers.
pub(super) fn chunks() -> Vec<Case> {
    let mut cases = Vec::new();
    let quoted = format!("5;a=\"{}\"\r\nhello\r\n0\r\n\r\n", "x".repeat(4000));
    for (name, body) in [
        ("plain", "5\r\nhello\r\n0\r\n\r\n"),
        ("two", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("leading zeros", "0005\r\nhello\r\n000\r\n\r\n"),
        ("seventeen digits, all but one zeros", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("extension", "5;a=b\r\nhello\r\n0;c=d\r\n\r\n"),
        ("extension without value", "5;a\r\nhello\r\n0;\r\n\r\n"),
        ("quoted extension", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
        ("extension that looks like a chunk", "5;0\r\nhello\r\n0;5\r\n\r\n"),
        ("long extension", quoted.as_str()),
        ("trailer", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        ("trailers that frame", "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\n\r\n"),
        ("trailers that route", "5\r\nhello\r\n0\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"),
        ("trailer like a request line", "5\r\nhello\r\n0\r\nGET: /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"),
    ] {
        cases.push(passes(&format!("chunks: {name}"), chunked(body), "hello"));
    }
    cases.push(passes(
        "chunks: a request inside",
        chunked("1a\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"),
        "GET /smuggled HTTP/1.1\r\n\r\n",
    ));
    cases.push(passes("chunks: a last chunk inside", chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "0\r\n\r\n"));
    cases.push(passes("chunks: none", chunked("0\r\n\r\n"), ""));
    let declared = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
                    Trailer: GET, Host, X-Sum\r\n\r\n5\r\nhello\r\n0\r\nGET: /smuggled HTTP/1.1\r\nHost: evil\r\nX-Sum: 1\r\n\r\n";
    cases.push(passes("chunks: declared trailers", declared, "hello"));

    let many_extensions = format!("1;{}\r\nx\r\n", "x".repeat(4000)).repeat(5) + "0\r\n\r\n";
    let endless_extension = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000));
    for (name, body) in [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("letter", "g\r\nhello\r\n0\r\n\r\n"),
        ("letter behind", "5g\r\nhello\r\n0\r\n\r\n"),
        ("space before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("tab before", "\t5\r\nhello\r\n0\r\n\r\n"),
        ("two numbers", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("quoted", "\"5\"\r\nhello\r\n0\r\n\r\n"),
        ("NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("vertical tab", "5\x0b\r\nhello\r\n0\r\n\r\n"),
        ("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("2^128", "100000000000000000000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("CR alone after the size", "5\rhello\r\n0\r\n\r\n"),
        ("CR CR LF after the size", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("LF in the extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("LF in a quoted extension", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        ("CR in the extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("CR LF in a quoted extension", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
        ("no end", "5\r\nhello0\r\n\r\n"),
        ("two other bytes for an end", "5\r\nhelloXX0\r\n\r\n"),
        ("LF for an end", "5\r\nhello\n0\r\n\r\n"),
        ("CR for an end", "5\r\nhello\r0\r\n\r\n"),
        ("too short", "4\r\nhello\r\n0\r\n\r\n"),
        ("too long", "6\r\nhello\r\n0\r\n\r\n"),
        ("LF after the last size", "5\r\nhello\r\n0\n\r\n"),
        ("LF at the end", "5\r\nhello\r\n0\r\n\n"),
        ("LF after a trailer", "5\r\nhello\r\n0\r\nX: y\n\r\n"),
        ("folded trailer", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("trailer without colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
        ("NUL in a trailer", "5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
        ("endless extension", endless_extension.as_str()),
        ("many extensions", many_extensions.as_str()),
    ] {
        cases.push(refused(&format!("chunks: {name}"), chunked(body)));
    }
    for (name, body) in [("no last one", "5\r\nhello\r\n"), ("2^62", "4000000000000000\r\nhello")] {
        let case = refused(&format!("chunks: {name}"), chunked(body));
        cases.push(Case { then: Then::Endless, ..case });
    }
    // "no last one" goes on with the marker, which is no chunk size.
    cases
        .iter_mut()
        .filter(|case| case.name == "chunks: no last one")
        .for_each(|case| case.then = Then::Closed);
    cases
}

/// Bodies where none is expected, expectations, upgrades, old versions, and one request after another.
pub(super) fn sequences() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PUT", "HEAD", "TRACE", "PURGE", "get"] {
        let bytes = format!("{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        cases.push(arrives(&format!("{method} with a length"), bytes, (method, "/a", "a", "hello")));
        let bytes = format!(
            "{method} /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        cases.push(arrives(&format!("{method} with chunks"), bytes, (method, "/a", "a", "hello")));
    }
    for (name, fields) in [
        ("100-continue", "Expect: 100-continue"),
        ("100-CONTINUE", "Expect: 100-CONTINUE"),
        ("something else", "Expect: 200-ok"),
        ("two", "Expect: x\r\nExpect: 100-continue"),
        ("list", "Expect: y, 100-continue"),
        ("twice", "Expect: 100-continue\r\nExpect: 100-continue"),
    ] {
        let bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\nContent-Length: 5\r\n\r\nhello");
        cases.push(passes(&format!("expects {name}"), bytes, "hello"));
    }
    let nothing = "GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    cases.push(arrives("expects without a body", nothing, ("GET", "/a", "a", "")));
    for (name, fields) in [
        ("websocket", "Connection: Upgrade\r\nUpgrade: websocket"),
        ("h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
        ("HTTP/2.0", "Connection: Upgrade\r\nUpgrade: HTTP/2.0"),
        ("without Connection", "Upgrade: websocket"),
    ] {
        // Nobody agreed to it: what comes early is no new protocol's, but the next request.
        let bytes = format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        cases.push(arrives(&format!("early upgrade: {name}"), bytes, ("GET", "/a", "a", "")));
    }
    for (name, bytes) in [
        ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        ("CONNECT with a length", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello"),
        ("CONNECT with a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        // As the first thing said it begins HTTP/2, and is no request.
        ("HTTP/2 preface with a field", "PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n"),
        ("HTTP/2 preface with bare ends", "PRI * HTTP/2.0\n\nSM\n\n"),
        ("HTTP/0.9", "GET /a\r\n"),
        ("HTTP/0.9 with an end of head", "GET /a\r\n\r\n"),
        ("HTTP/0.9 by name", "GET /a HTTP/0.9\r\nHost: a\r\n\r\n"),
        ("HTTP/1.2", "GET /a HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("HTTP/1.10", "GET /a HTTP/1.10\r\nHost: a\r\n\r\n"),
        ("HTTP/2.0", "GET /a HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("http/1.1", "GET /a http/1.1\r\nHost: a\r\n\r\n"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n"),
    ] {
        cases.push(refused(name, bytes));
    }
    let old = |fields: &str| format!("GET /a HTTP/1.0\r\nHost: a\r\n{fields}\r\n");
    let closing = arrives("HTTP/1.0", old(""), ("GET", "/a", "a", ""));
    cases.push(Case { then: Then::Closed, ..closing });
    let kept = old("Connection: keep-alive\r\n");
    cases.push(arrives("HTTP/1.0 keep-alive", kept, ("GET", "/a", "a", "")));
    let closing = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let closing = arrives("close, and more", closing, ("GET", "/a", "a", ""));
    cases.push(Case { then: Then::Closed, ..closing });

    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let bytes: String = (0..8).map(|_| get("/a")).collect();
    let many = arrives("eight at once", bytes, ("GET", "/a", "a", ""));
    cases.push(Case { arrive: vec![seen_as(("GET", "/a", "a", "")); 8], ..many });
    let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = chunked("5\r\nhello\r\n0\r\n\r\n");
    let mixed =
        arrives("mixed at once", [post, &get("/a"), &chunked, post].concat(), ("POST", "/a", "a", "hello"));
    let posted = seen_as(("POST", "/a", "a", "hello"));
    let arrive = vec![posted.clone(), seen_as(("GET", "/a", "a", "")), posted.clone(), posted.clone()];
    cases.push(Case { arrive, ..mixed });
    for (name, second) in [
        (
            "both lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("nonsense", "hello\r\n"),
        ("an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a second body", "hello"),
    ] {
        let case = passes(&format!("a sound request, then {name}"), [post, second].concat(), "hello");
        // "hello" and the marker are one request of an unknown method.
        let (arrive, then) = match name {
            "a second body" => {
                (vec![posted.clone(), seen_as(("helloGET", "/mark", "mark", ""))], Then::Closed)
            }
            _ => (case.arrive.clone(), Then::Closed),
        };
        cases.push(Case { arrive, then, ..case });
    }
    cases
}
