//! Small writes in one piece: to gather a few short slices here costs less than to let the kernel do it. Knows
//! nothing of what is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// The largest write, in bytes, that is gathered: an ordinary head, with a short body behind it.
const SMALL: usize = 1024;

/// Writes `slices` to `stream`, or some of them from the first on.
pub(crate) fn poll_write<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = slices {
        return stream.poll_write(cx, only);
    }
    let mut small = [0; SMALL];
    let mut length = 0;
    for slice in slices {
        let Some(room) = small.get_mut(length..length + slice.len()) else {
            return stream.poll_write_vectored(cx, slices);
        };
        room.copy_from_slice(slice);
        length += slice.len();
    }
    stream.poll_write(cx, &small[..length])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    /// Takes so many bytes at a time, and notes what it was asked to write.
    struct Sink {
        room: usize,
        asked: Vec<Vec<Vec<u8>>>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.asked.push(vec![bytes.to_vec()]);
            Poll::Ready(Ok(bytes.len().min(this.room)))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.asked.push(slices.iter().map(|slice| slice.to_vec()).collect());
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum::<usize>().min(this.room)))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(room: usize, slices: &[&[u8]]) -> (usize, Vec<Vec<Vec<u8>>>) {
        let mut sink = Sink { room, asked: Vec::new() };
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok(count)) = poll_write(Pin::new(&mut sink), &mut cx, &slices) else {
            unreachable!()
        };
        (count, sink.asked)
    }

    #[test]
    fn what_is_small_is_one_write_and_what_is_not_stays_as_it_is() {
        assert_eq!(written(9, &[b"head", b"", b"body"]), (8, vec![vec![b"headbody".to_vec()]]));
        assert_eq!(written(5, &[b"head", b"body"]), (5, vec![vec![b"headbody".to_vec()]]));
        let large = [b'a'; SMALL];
        assert_eq!(written(usize::MAX, &[&large]), (SMALL, vec![vec![large.to_vec()]]));
        let two = vec![vec![b"head".to_vec(), large.to_vec()]];
        assert_eq!(written(usize::MAX, &[b"head", &large]), (4 + SMALL, two));
        assert_eq!(written(usize::MAX, &[]).0, 0);
    }
}
