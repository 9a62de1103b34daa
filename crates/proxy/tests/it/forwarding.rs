//! What an upstream gets of a request, and a client of an answer.

use crate::support::{Message, PATIENCE, Running, Wire, any_host, app, eventually, route};
use crate::upstreams::App;
use dockswap_core::ports::Router;
use dockswap_core::routes::Upstream;
use dockswap_core::spec::{HostPattern, Route};
use dockswap_proof::Proof;
use std::sync::Arc;
use tokio::sync::mpsc;

/// An app that shows each request that it gets and gives one fixed answer.
async fn scripted(answer: &'static str) -> (App, mpsc::UnboundedReceiver<Message>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let app = App::start_with(move |mut wire| {
        let seen = seen.clone();
        async move {
            while let Some(request) = wire.try_message().await {
                seen.send(request).unwrap();
                wire.send(answer).await;
            }
        }
    })
    .await;
    (app, requests)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn proxy_to(dir: &tempfile::TempDir, upstream: &Upstream) -> (Running, Wire) {
    let proxy = Running::start(dir).await;
    proxy.lead_to([upstream]).await;
    let wire = proxy.connect().await;
    (proxy, wire)
}

#[tokio::test]
async fn an_upstream_is_told_the_truth_about_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.send(
        "GET /a%20b?c=d HTTP/1.1\r\nHost: Example.com:80\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nConnection: x-secret, keep-alive\r\n\
         X-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n",
    )
    .await;
    assert_eq!(wire.message().await.text(), "ok");
    let request = requests.recv().await.unwrap();
    assert_eq!(request.first_line, "GET /a%20b?c=d HTTP/1.1");
    assert_eq!(request.field("host"), Some("Example.com:80"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("Example.com:80"));
    assert_eq!(request.field("accept"), Some("*/*"));
    for gone in ["forwarded", "x-real-ip", "connection", "x-secret", "keep-alive", "proxy-connection"] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
}

/// Whatever a client said of its body, and in whatever pieces it came.
#[tokio::test]
async fn px_smuggle_what_an_upstream_gets_is_framed_by_the_proxy() {
    let mut proof = Proof::of("px.smuggle", "the lengths and chunks that an upstream gets");
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    for (fields, body, length, encoding) in [
        ("Content-Length: 5", "hello", Some("5"), None),
        ("Content-Length: 0005", "hello", Some("5"), None),
        ("Content-Length: 00000000000000000000000000000000000000005", "hello", Some("5"), None),
        ("Content-Length:\t5 \r\nContent_Length: 6\r\nTransfer_Encoding: chunked", "hello", Some("5"), None),
        ("Transfer-Encoding: CHUNKED", "00005;a=b\r\nhello\r\n0;c\r\nX: y\r\n\r\n", None, Some("chunked")),
        ("Transfer-Encoding:chunked \r\nContent_Length: 6", "5\r\nhello\r\n0\r\n\r\n", None, Some("chunked")),
        ("Connection: transfer-encoding, content-length\r\nContent-Length: 5", "hello", Some("5"), None),
    ] {
        wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")).await;
        assert_eq!(wire.message().await.text(), "ok", "{fields}");
        let seen = requests.recv().await.unwrap();
        let said = (seen.field("content-length"), seen.field("transfer-encoding"));
        let others = ["content_length", "transfer_encoding", "x", "trailer"].map(|name| seen.field(name));
        if said == (length, encoding)
            && others == [None; 4]
            && seen.body == b"hello"
            && seen.trailers.is_empty()
        {
            proof.kept();
        } else {
            proof.broken(format!("{fields:?} arrived as {seen:?}"));
        }
    }
    proof.conclude();
}

#[tokio::test]
async fn t13_no_client_forges_where_it_comes_from() {
    let mut proof = Proof::of(
        "T13",
        "forged forwarding fields, in other spellings, doubled, named by Connection, as trailers",
    );
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    let names = [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-By",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "X-Real-IP",
        "X_Real_IP",
        "Forwarded",
    ];
    for name in names {
        let line = format!("{name}: 6.6.6.6\r\n");
        for fields in [
            line.clone(),
            line.repeat(2),
            format!("{name}: 6.6.6.6, 127.0.0.1\r\n"),
            format!("{line}Connection: {name}\r\n"),
            format!("Connection: x-forwarded-for, x-forwarded-host, x-forwarded-proto, host\r\n{line}"),
            format!("Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: {name}\r\n{line}"),
        ] {
            let body =
                if fields.starts_with("Transfer") { format!("0\r\n{line}\r\n") } else { String::new() };
            wire.send(format!("GET / HTTP/1.1\r\nHost: real\r\n{fields}\r\n{body}")).await;
            assert_eq!(wire.message().await.status(), 200);
            let request = requests.recv().await.unwrap();
            let truth = request.field("x-forwarded-for") == Some("127.0.0.1")
                && request.field("x-forwarded-host") == Some("real")
                && request.field("x-forwarded-proto") == Some("http")
                && request.field("host") == Some("real");
            if truth && !format!("{request:?}").contains("6.6.6.6") {
                proof.kept();
            } else {
                proof.broken(format!("{fields:?} became {request:?}"));
            }
        }
    }
    proof.conclude();
}

#[tokio::test]
async fn a_client_gets_the_apps_own_fields_and_no_hop_by_hop_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (app, _requests) = scripted(
        "HTTP/1.1 201 Made Here\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: app\r\nConnection: keep-alive, x-hop\r\n\
         Keep-Alive: timeout=5\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    let answer = wire.get("/").await;
    assert_eq!(answer.first_line, "HTTP/1.1 201 Made Here");
    assert_eq!(answer.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(answer.field("server"), Some("app"));
    for gone in ["connection", "keep-alive", "x-hop"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn chunks_pass_both_ways_and_trailers_to_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n",
    )
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    for method in ["POST", "GET", "DELETE"] {
        let head = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\nTE: trailers\r\n\r\n"
        );
        wire.send(head).await;
        wire.send("3\r\nabc\r\n3;ext=1\r\ndef\r\n0\r\nx-end: 1\r\n\r\n").await;
        let answer = wire.message().await;
        assert_eq!((answer.text(), answer.trailers.as_slice()), ("ok", ["x-sum: 2".to_owned()].as_slice()));
        let request = requests.recv().await.unwrap();
        assert_eq!((request.text(), request.trailers.as_slice()), ("abcdef", [].as_slice()));
        assert_eq!((request.field("te"), request.field("trailer")), (Some("trailers"), None));
        assert_eq!(request.field("content-length"), None);
    }
}

#[tokio::test]
async fn an_expectation_is_met_when_the_upstream_wants_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(wire.message().await.status(), 100);
    wire.send("abc").await;
    assert_eq!(wire.message().await.text(), "ok");
    let request = requests.recv().await.unwrap();
    assert_eq!((request.text(), request.field("expect")), ("abc", None));
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection_in_step() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start_with(|mut wire| async move {
        while let Some(request) = wire.try_message().await {
            let answer = match request.first_line.split(' ').nth(1).unwrap() {
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
                "/hint" => "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                _ => OK,
            };
            wire.send(answer).await;
        }
    })
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.request("HEAD", "/head", "a").await;
    let head = wire.head().await.unwrap();
    assert_eq!((head.status(), head.field("content-length")), (200, Some("1000")));
    for (target, status) in [("/204", 204), ("/304", 304), ("/hint", 200), ("/", 200)] {
        assert_eq!(wire.get(target).await.status(), status, "{target}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_passed_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start_with(|mut wire| async move {
        wire.try_message().await;
        wire.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    for _ in 0..2 {
        assert_eq!(wire.get("/").await.text(), "until the end");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(wire.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let request = requests.recv().await.unwrap();
    assert_eq!(request.field("host"), Some(app.upstream.addr.to_string().as_str()));
}

#[tokio::test]
async fn an_absolute_target_says_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let (app, mut requests) = scripted(OK).await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.request("GET", "http://one.example:81/x?y", "other").await;
    assert_eq!(wire.message().await.text(), "ok");
    let request = requests.recv().await.unwrap();
    assert_eq!(request.first_line, "GET /x?y HTTP/1.1");
    assert_eq!(request.field("host"), Some("one.example:81"));
    wire.request("OPTIONS", "*", "a").await;
    assert_eq!(wire.message().await.text(), "ok");
    assert_eq!(requests.recv().await.unwrap().first_line, "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn a_prefix_is_cut_off_where_the_route_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut requests) = scripted(OK).await;
    let proxy = Running::start(&dir).await;
    let stripped = Route { strip_prefix: true, ..route(HostPattern::Any, "/api") };
    proxy
        .apply(vec![app("web", vec![stripped, route(HostPattern::Any, "/keep")], [&server.upstream])])
        .await
        .unwrap();
    let mut wire = proxy.connect().await;
    for (asked, got, prefix) in [
        ("/api/x?y=/api", "/x?y=/api", Some("/api")),
        ("/api", "/", Some("/api")),
        ("/api?q", "/?q", Some("/api")),
        ("/api/", "/", Some("/api")),
        ("/keep/x", "/keep/x", None),
    ] {
        assert_eq!(wire.get(asked).await.text(), "ok", "{asked}");
        let request = requests.recv().await.unwrap();
        assert_eq!(request.first_line, format!("GET {got} HTTP/1.1"));
        assert_eq!(request.field("x-forwarded-prefix"), prefix);
    }
    assert_eq!(wire.get("/apis").await.status(), 404);
}

#[tokio::test]
async fn bodies_stream_without_being_gathered() {
    let dir = tempfile::tempdir().unwrap();
    // An echo that answers each chunk before it gets the next.
    let app = App::start_with(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while let Some(size) = wire.line().await {
            let size = usize::from_str_radix(&size, 16).unwrap();
            let chunk = wire.exactly(size + 2).await.unwrap();
            wire.send(format!("{size:x}\r\n")).await;
            wire.send(chunk).await;
        }
    })
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("5\r\nfirst\r\n").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    for (sent, next) in [("first", "second"), ("second", "third"), ("third", "fourth")] {
        let size = format!("{:X}", sent.len());
        assert_eq!(wire.line().await, Some(size));
        assert_eq!(wire.exactly(sent.len() + 2).await.unwrap(), format!("{sent}\r\n").into_bytes());
        wire.send(format!("{:x}\r\n{next}\r\n", next.len())).await;
    }
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start("").await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    let body: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    for _ in 0..2 {
        wire.send(&head).await;
        wire.send(&body).await;
        assert!(wire.message().await.body == body);
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (arrived, mut all) = mpsc::unbounded_channel();
    let app = App::start_with(move |mut wire| {
        let arrived = arrived.clone();
        async move {
            wire.head().await.unwrap();
            wire.send("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").await;
            arrived.send(wire.exactly(8_000_000).await).unwrap();
        }
    })
    .await;
    let (_proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n").await;
    assert_eq!(wire.message().await.text(), "ok");
    let body: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    wire.send(&body).await;
    assert!(crate::support::soon(all.recv()).await.unwrap().unwrap() == body);
}

#[tokio::test]
async fn an_app_may_refuse_an_upload_and_listen_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start_with(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno").await;
    })
    .await;
    let (proxy, _) = proxy_to(&dir, &app.upstream).await;
    for _ in 0..20 {
        let mut wire = proxy.connect().await;
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n").await;
        wire.send(vec![b'x'; 2_000_000]).await;
        let answer = wire.message().await;
        assert_eq!((answer.status(), answer.text()), (413, "no"));
    }
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn a_client_that_aborts_ends_its_request_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&ended);
    let app = App::start_with(move |mut wire| {
        let notify = Arc::clone(&notify);
        async move {
            wire.head().await.unwrap();
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
            wire.rest().await;
            notify.notify_one();
        }
    })
    .await;
    let (proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.request("GET", "/", "a").await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    drop(wire);
    crate::support::soon(ended.notified()).await;
    eventually("nothing is in flight", || async { proxy.in_flight().await == (0, 0) }).await;
}

#[tokio::test]
async fn an_upstream_that_breaks_off_an_answer_breaks_it_off_for_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let app = App::start_with(|mut wire| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await;
    })
    .await;
    let (proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
    wire.request("GET", "/", "a").await;
    assert!(wire.try_message().await.is_none(), "the client must see that the answer is not whole");
    assert_eq!(proxy.control.drained(std::slice::from_ref(&app.upstream.id), PATIENCE).await.unwrap(), []);
}

#[tokio::test]
async fn nonsense_from_an_upstream_is_a_502_that_names_no_internals() {
    let dir = tempfile::tempdir().unwrap();
    for nonsense in ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ""] {
        let app = App::start_with(move |mut wire| async move {
            wire.try_message().await;
            wire.send(nonsense).await;
        })
        .await;
        let (proxy, mut wire) = proxy_to(&dir, &app.upstream).await;
        let answer = wire.get("/").await;
        assert_eq!(answer.status(), 502, "{nonsense:?}");
        assert_eq!(answer.text(), "502 Bad Gateway: the application did not answer.\n");
        proxy.stopped().await;
    }
}

#[tokio::test]
async fn a_route_that_leads_nowhere_says_when_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let mut without_target = app("none", vec![crate::support::host("none")], &[]);
    without_target.target = None;
    let without_upstreams = app("empty", vec![any_host()], &[]);
    proxy.apply(vec![without_upstreams, without_target]).await.unwrap();
    let mut wire = proxy.connect().await;
    for host in ["none", "empty"] {
        let answer = wire.get_from(host, "/").await;
        assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("1")));
    }
}
