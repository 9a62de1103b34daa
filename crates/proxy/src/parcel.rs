//! Bytes on their way out of a message that is sent piece by piece: what stands before a piece of its body, the piece,
//! and what stands behind. Knows nothing of what they say.

use bytes::{Buf, Bytes};
use std::cell::Cell;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// The room for a head that a thread keeps, in bytes; a longer one's is given back.
const ROOM: usize = 4 * 1024;

thread_local! {
    /// Room for the next head on this thread.
    static HEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What was not written yet.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Goes before `data`: a head, or what begins a chunk.
    front: Vec<u8>,
    /// How much of it was written.
    front_sent: usize,
    data: Bytes,
    /// Goes behind `data`.
    back: &'static [u8],
}

impl Parcel {
    /// Begins with what `write` writes.
    pub(crate) fn new(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut front = HEAD.take();
        write(&mut front);
        Self { front, front_sent: 0, data: Bytes::new(), back: b"" }
    }

    /// What stands before the next piece, in the thread's room where there is none yet.
    pub(crate) fn front(&mut self) -> &mut Vec<u8> {
        if self.front.capacity() == 0 {
            self.front = HEAD.take();
        }
        &mut self.front
    }

    /// Whether there is something to write.
    pub(crate) fn has_more(&self) -> bool {
        self.front_sent < self.front.len() || !self.data.is_empty() || !self.back.is_empty()
    }

    /// Whether the next piece can be added: there is none.
    pub(crate) fn has_room(&self) -> bool {
        self.data.is_empty() && self.back.is_empty()
    }

    /// Adds `data`.
    pub(crate) fn add(&mut self, data: Bytes) {
        self.data = data;
    }

    /// Adds `data`, which is not empty, as a chunk; `back` ends it.
    pub(crate) fn add_chunk(&mut self, data: Bytes, back: &'static [u8]) -> io::Result<()> {
        write!(self.front(), "{:x}\r\n", data.len())?;
        (self.data, self.back) = (data, back);
        Ok(())
    }

    /// Adds the end of a body in chunks, with `trailers`, each with its line break.
    pub(crate) fn add_end(&mut self, trailers: &[u8]) {
        for part in [b"0\r\n", trailers, b"\r\n"] {
            self.front().extend_from_slice(part);
        }
    }

    /// Writes some of it to `stream`; how much. To write nothing is an error.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let front = &self.front[self.front_sent..];
        let written = if self.has_room() {
            Pin::new(stream).poll_write(cx, front)
        } else {
            let slices = [front, &self.data, self.back].map(IoSlice::new);
            Pin::new(stream).poll_write_vectored(cx, &slices)
        };
        written.map(|written| written.and_then(|count| self.take(count)))
    }

    /// So many bytes were written.
    fn take(&mut self, count: usize) -> io::Result<usize> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_front = count.min(self.front.len() - self.front_sent);
        self.front_sent += of_front;
        if self.front_sent == self.front.len() {
            self.front.clear();
            self.front_sent = 0;
            // Whoever comes next needs it sooner.
            if (1..=ROOM).contains(&self.front.capacity()) {
                HEAD.set(mem::take(&mut self.front));
            }
        }
        let behind = count - of_front;
        let of_data = behind.min(self.data.len());
        self.data.advance(of_data);
        self.back = &self.back[behind - of_data..];
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    /// Takes so many bytes at a time.
    struct Sink {
        room: usize,
        bytes: Vec<u8>,
    }

    impl tokio::io::AsyncWrite for Sink {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let count = bytes.len().min(this.room);
            this.bytes.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_of_it_is_written_in_order_however_little_is_taken_at_a_time() {
        for room in [1, 2, 3, 7, usize::MAX] {
            let mut sink = Sink { room, bytes: Vec::new() };
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut parcel = Parcel::new(|head| head.extend_from_slice(b"head:"));
            let mut write = |parcel: &mut Parcel| {
                while parcel.has_more() {
                    let Poll::Ready(count) = parcel.poll_write(&mut cx, &mut sink) else { unreachable!() };
                    assert!((1..=room).contains(&count.unwrap()));
                }
                assert!(parcel.has_room());
            };
            parcel.add(Bytes::from_static(b"data"));
            write(&mut parcel);
            parcel.add_chunk(Bytes::from_static(b"0123456789abcdef"), b"\r\n").unwrap();
            write(&mut parcel);
            parcel.add_end(b"a: b\r\n");
            write(&mut parcel);
            assert_eq!(sink.bytes, b"head:data10\r\n0123456789abcdef\r\n0\r\na: b\r\n\r\n", "{room}");
        }
    }

    #[test]
    fn one_who_takes_nothing_breaks_it_off() {
        let mut sink = Sink { room: 0, bytes: Vec::new() };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut parcel = Parcel::new(|head| head.push(b'x'));
        let Poll::Ready(Err(error)) = parcel.poll_write(&mut cx, &mut sink) else {
            panic!("nothing was taken")
        };
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
