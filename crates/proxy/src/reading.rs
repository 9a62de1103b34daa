//! Reading off a socket into room that the thread keeps: no buffer rests with a connection that waits. Knows nothing of
//! what is read.

use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Room for a read, in bytes, where nothing is known of what comes: a head with a small page behind it.
pub(crate) const READ: usize = 16 * 1024;

thread_local! {
    /// Room for the next read on this thread: what is read is little in most cases, and copied out of it.
    static ROOM: Cell<BytesMut> = Cell::default();
}

/// Reads more behind `read`, with room for so many bytes; how many came. 0: the other side has ended it.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    read: &mut Bytes,
    room: usize,
) -> Poll<io::Result<usize>> {
    let mut buffer = ROOM.take();
    buffer.reserve(room);
    let polled = poll_read_buf(Pin::new(stream), cx, &mut buffer);
    if !buffer.is_empty() && !read.is_empty() {
        // In the room of what is there, in most cases.
        let there = mem::take(read).try_into_mut();
        let mut both = there.unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        both.extend_from_slice(&buffer);
        *read = both.freeze();
        buffer.clear();
    } else if buffer.len() >= buffer.capacity() / 8 {
        *read = buffer.freeze();
        return polled;
    } else if !buffer.is_empty() {
        // A little of much room would keep all of it, for as long as nobody takes it.
        *read = Bytes::copy_from_slice(&buffer);
        buffer.clear();
    }
    ROOM.set(buffer);
    polled
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn what_comes_stands_behind_what_was_there_and_the_end_is_told() {
        let mut stream: &[u8] = b"abc";
        let mut read = Bytes::from_static(b"0");
        assert_eq!(poll_fn(|cx| poll_read(&mut stream, cx, &mut read, READ)).await.unwrap(), 3);
        assert_eq!(read.as_ref(), b"0abc");
        assert_eq!(poll_fn(|cx| poll_read(&mut stream, cx, &mut read, READ)).await.unwrap(), 0);
        assert_eq!(read.as_ref(), b"0abc");
        let much = vec![b'x'; 3 * READ];
        let (mut stream, mut read) = (much.as_slice(), Bytes::new());
        while poll_fn(|cx| poll_read(&mut stream, cx, &mut read, READ)).await.unwrap() > 0 {}
        assert_eq!(read, much);
    }
}
