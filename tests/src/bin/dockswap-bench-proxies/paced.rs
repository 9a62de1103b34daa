//! A load of a given rate over connections that are kept: what a request takes where nobody is at the end of what they can
//! do. As fast as it goes, the time that a request takes says above all how full the core of the load is.

use anstream::println;
use serde_json::json;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// The end of every answer that is asked for.
const END: &[u8] = b"\r\n\r\nok\n";

/// Asks for `path` for as long as `time`, so many times a second over so many connections, one after the other; says what
/// came of it as JSON.
pub(crate) fn run(port: u16, path: &str, (connections, per_second): (u32, u32), time: Duration) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gap = Duration::from_secs(1) / per_second;
    let (outcomes, took): (Vec<io::Result<Vec<u64>>>, _) = runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            streams.push(stream);
        }
        let began = Instant::now();
        let each = |(number, stream)| {
            let turns = Turns { next: began + gap * number, gap: gap * connections, end: began + time };
            tokio::spawn(keep_asking(stream, request.clone(), turns))
        };
        let tasks: Vec<_> = (0..connections).zip(streams).map(each).collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("a task that does not panic"));
        }
        (outcomes, began.elapsed())
    });
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let mut micros: Vec<u64> = outcomes.into_iter().flatten().flatten().collect();
    micros.sort_unstable();
    let at = |share: usize| micros.get(micros.len() * share / 100).copied().unwrap_or_default();
    let says = json!({
        "requests": micros.len(), "micros": took.as_micros(), "p50": at(50), "p99": at(99), "failed": failed,
    });
    println!("{says}");
}

/// When a connection asks.
struct Turns {
    next: Instant,
    gap: Duration,
    end: Instant,
}

/// How long each answer took, in microseconds, from when it was this one's turn to ask.
async fn keep_asking(mut stream: TcpStream, request: String, mut turns: Turns) -> io::Result<Vec<u64>> {
    let mut micros = Vec::new();
    while turns.next < turns.end {
        // Who waits for a slow answer longer than to the next turn has waited for that one too. A timer is late by itself
        // as well: that is nobody's doing.
        let was_late = Instant::now() > turns.next;
        sleep_until(turns.next).await;
        let from = if was_late { turns.next } else { Instant::now() };
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(1024);
        while !answer.ends_with(END) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        micros.push(u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX));
        turns.next += turns.gap;
    }
    Ok(micros)
}
