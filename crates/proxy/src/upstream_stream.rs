//! What carries the bytes to an upstream and back: one type, so that nothing else depends on how it was reached.
//! Knows nothing of what is said over it.

use crate::gather;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf};
use tokio::net::TcpStream;

/// Our end of a connection to an upstream. Small writes are gathered.
#[derive(Debug)]
pub(crate) enum UpstreamStream {
    /// As it is.
    Tcp(TcpStream),
    /// Without a network.
    #[cfg(feature = "in-memory")]
    Memory(tokio::io::DuplexStream),
    /// What comes back; somebody else has the half that leads there.
    Half(ReadHalf<Box<Self>>),
}

/// Does the same with whichever it is.
macro_rules! whichever {
    ($stream:expr, $one:ident => $done:expr, else $never:expr) => {
        match $stream {
            UpstreamStream::Tcp($one) => $done,
            #[cfg(feature = "in-memory")]
            UpstreamStream::Memory($one) => $done,
            UpstreamStream::Half(_) => $never,
        }
    };
}

impl UpstreamStream {
    /// Ready when a read may find something. It need not: then the read itself waits.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            #[cfg(feature = "in-memory")]
            Self::Memory(_) => Poll::Ready(Ok(())),
            Self::Half(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether it is open, and nothing has come. To be asked while nothing is due: what comes then, an end or
    /// anything else, ends its use.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            // In most cases without a system call: the runtime has heard of nothing.
            Self::Tcp(stream) => {
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            #[cfg(feature = "in-memory")]
            Self::Memory(stream) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
            }
            Self::Half(_) => false,
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(feature = "in-memory")]
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Half(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

/// Writing to a half is an error: it leads nowhere.
impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes),
            else Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), stream => gather::poll_write(Pin::new(stream), cx, slices),
            else Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn is_write_vectored(&self) -> bool {
        whichever!(self, stream => stream.is_write_vectored(), else false)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx), else Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx), else Poll::Ready(Ok(())))
    }
}
