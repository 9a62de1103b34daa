//! The other direction: answers that two readers could take for different ones. Nobody but the one who
//! asked gets any of it, and who asked gets one answer.

use crate::support::{Running, soon};
use crate::upstreams::App;
use dockswap_proof::Proof;
use std::sync::{Arc, Mutex};

/// What follows an answer and is none.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

fn answers() -> Vec<(&'static str, String)> {
    let with = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
    let mut answers = vec![
        ("a second answer", with("Content-Length: 2", &format!("ok{EVIL}"))),
        (
            "a second answer after chunks",
            with("Transfer-Encoding: chunked", &format!("2\r\nok\r\n0\r\n\r\n{EVIL}")),
        ),
        ("two lengths", with("Content-Length: 2\r\nContent-Length: 50", &format!("ok{EVIL}"))),
        (
            "two lengths, the other first",
            with("Content-Length: 50\r\nContent-Length: 2", &format!("ok{EVIL}")),
        ),
        ("list of lengths", with("Content-Length: 2, 50", &format!("ok{EVIL}"))),
        (
            "length and chunks",
            with("Content-Length: 2\r\nTransfer-Encoding: chunked", &format!("2\r\nok\r\n0\r\n\r\n{EVIL}")),
        ),
        (
            "chunks and length",
            with("Transfer-Encoding: chunked\r\nContent-Length: 9", &format!("2\r\nok\r\n0\r\n\r\n{EVIL}")),
        ),
        ("unknown encoding", with("Transfer-Encoding: x", &format!("ok{EVIL}"))),
        ("negative length", with("Content-Length: -2", "ok")),
        ("length of 2^64", with("Content-Length: 18446744073709551616", "ok")),
        ("no such chunk", with("Transfer-Encoding: chunked", "x\r\nok\r\n0\r\n\r\n")),
        ("chunk of 2^64", with("Transfer-Encoding: chunked", "10000000000000002\r\nok\r\n0\r\n\r\n")),
        ("chunk without end", with("Transfer-Encoding: chunked", "2\r\nokXX0\r\n\r\n")),
        ("204 with a body", format!("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil{EVIL}")),
        ("304 with a body", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil{EVIL}")),
        (
            "nobody asked for 101",
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{EVIL}"),
        ),
        ("folded field", with("X: y\r\n z\r\nContent-Length: 2", "ok")),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned()),
        ("bare CR in a value", with("X: y\rContent-Length: 50\r\nContent-Length: 2", &format!("ok{EVIL}"))),
        ("NUL in a value", with("X: \0\r\nContent-Length: 2", "ok")),
        ("space before the colon", with("Content-Length : 2", &format!("ok{EVIL}"))),
        ("no colon", with("X\r\nContent-Length: 2", "ok")),
        ("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("status 000", "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("control bytes in the reason", "HTTP/1.1 200 \x1b[2J\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("HTTP/2", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("nonsense", "evil\r\n\r\n".to_owned()),
        ("an empty line", "\r\n\r\n".to_owned()),
    ];
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(1_000);
    answers.push(("a thousand hints", flood + &with("Content-Length: 2", "ok")));
    answers.push(("endless hints", "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000)));
    answers.push(("a huge field", with(&format!("X: {}\r\nContent-Length: 2", "y".repeat(100_000)), "ok")));
    answers.push(("very many fields", with(&format!("{}Content-Length: 2", "X: y\r\n".repeat(5_000)), "ok")));
    answers.push((
        "a huge reason",
        format!("HTTP/1.1 200 {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(100_000)),
    ));
    answers.push((
        "endless chunk extension",
        with("Transfer-Encoding: chunked", &format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(100_000))),
    ));
    answers.push((
        "very many trailers",
        with("Transfer-Encoding: chunked", &format!("2\r\nok\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5_000))),
    ));
    answers
}

#[tokio::test]
async fn px_smuggle_bad_answers_reach_nobody_else() {
    let mut proof = Proof::of("px.smuggle", "ambiguous answers of an upstream, a second client beside");
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let bad = Arc::new(Mutex::new(String::new()));
    let says = Arc::clone(&bad);
    let app = App::start_with(move |mut wire| {
        let says = Arc::clone(&says);
        async move {
            while let Some(request) = wire.try_message().await {
                let target = request.first_line.split(' ').nth(1).unwrap().to_owned();
                let answer = match target.as_str() {
                    "/bad" => says.lock().unwrap().clone(),
                    _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()),
                };
                // The proxy may have had enough of it.
                let sent = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, answer.as_bytes()).await;
                // An answer without an end is ended, or nobody would ever know.
                if sent.is_err() || (target == "/bad" && request.field("x-end").is_some()) {
                    return;
                }
            }
        }
    })
    .await;
    proxy.lead_to([&app.upstream]).await;
    let mut bystander = proxy.connect().await;
    let rounds = if dockswap_proof::long() { 200 } else { 10 };
    for (name, answer) in answers() {
        answer.clone_into(&mut bad.lock().unwrap());
        for round in 0..rounds {
            // In every second round the upstream's connection goes on after it.
            let ends = round % 2 == 0 || !ends_by_itself(name);
            let field = if ends { "X-End: 1\r\n" } else { "" };
            let mut wire = proxy.connect().await;
            wire.send(format!("GET /bad HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n")).await;
            let text = String::from_utf8_lossy(&soon(wire.rest()).await).into_owned();
            let target = format!("/{name}/{round}").replace(' ', "-");
            let next = soon(bystander.get(&target)).await;
            let one = text.matches("HTTP/1.1 ").count() == 1;
            let well =
                ["HTTP/1.1 2", "HTTP/1.1 304", "HTTP/1.1 502"].iter().any(|head| text.starts_with(head));
            // Where the body turns out bad before the head was passed on, the connection just ends.
            let sound = text.is_empty() || (one && well && !text.contains("evil"));
            if next.status() == 200 && next.text() == target && sound {
                proof.kept();
            } else {
                proof.broken(format!("{name}: the client got {text:?}, the bystander {next:?}"));
            }
        }
    }
    proof.conclude();
}

/// Whether the answer says where it ends, to every reader.
fn ends_by_itself(name: &str) -> bool {
    name.starts_with("a second answer") || name.starts_with("a thousand") || name.ends_with("with a body")
}
