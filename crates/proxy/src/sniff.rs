//! Which protocol a client speaks on a plain connection, told by its first bytes: HTTP/2 begins with a
//! preface that is no HTTP/1.1 request (RFC 9113, section 3.4). Takes no byte away: what was read is handed on.

use crate::limits::Limits;
use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for the head of an ordinary request, so that it is read in one go.
const ROOM: usize = 1024;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Reads as much of `stream` as it takes to know; with it what was read. A client that says nothing has the
/// time that a connection may rest; one that has begun the preface, that of a head.
pub(crate) async fn sniff(
    stream: &mut (impl AsyncRead + Unpin),
    limits: &Limits,
) -> io::Result<(Spoken, BytesMut)> {
    let mut early = BytesMut::with_capacity(ROOM);
    more(stream, &mut early, Instant::now() + limits.idle_time).await?;
    let deadline = Instant::now() + limits.head_time;
    while early.len() < PREFACE.len() && PREFACE.starts_with(&early) {
        more(stream, &mut early, deadline).await?;
    }
    let spoken = if early.starts_with(PREFACE) { Spoken::Http2 } else { Spoken::Http1 };
    Ok((spoken, early))
}

async fn more(
    stream: &mut (impl AsyncRead + Unpin),
    early: &mut BytesMut,
    deadline: Instant,
) -> io::Result<()> {
    match timeout_at(deadline, stream.read_buf(early)).await?? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use tokio::io::AsyncWriteExt;

    /// What is made of `bytes`, sent one by one and followed by the end.
    async fn sniffed(bytes: &[u8]) -> io::Result<(Spoken, BytesMut)> {
        let (mut client, mut stream) = tokio::io::duplex(1);
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            for byte in bytes {
                if client.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        let sniffed = sniff(&mut stream, &Limits::default()).await;
        drop(stream);
        sending.await.unwrap();
        sniffed
    }

    #[tokio::test]
    async fn the_preface_is_http2_and_all_else_http1() {
        let (spoken, early) = sniffed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore").await.unwrap();
        assert_eq!((spoken, early.as_ref()), (Spoken::Http2, PREFACE));
        for (first, read) in [("GET / HTTP/1.1", "G"), ("POST /", "PO"), ("PRI * HTTP/1.1", "PRI * HTTP/1")] {
            let (spoken, early) = sniffed(first.as_bytes()).await.unwrap();
            assert_eq!((spoken, early.as_ref()), (Spoken::Http1, read.as_bytes()));
        }
        for cut in 0..PREFACE.len() {
            assert_eq!(sniffed(&PREFACE[..cut]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_does_not_go_on_is_not_waited_for() {
        for said in [&b""[..], b"PRI"] {
            let (mut client, mut stream) = tokio::io::duplex(64);
            client.write_all(said).await.unwrap();
            let error = sniff(&mut stream, &Limits::default()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
}
