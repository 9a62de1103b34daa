//! What carries the bytes of a client: one type, so that nothing else depends on how it came. Small writes are
//! gathered. Knows nothing of what is said over it.

use crate::gather;
use futures_util::FutureExt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's end of a connection.
#[derive(Debug)]
pub(crate) enum ClientStream {
    /// As it is.
    Tcp(TcpStream),
    /// Under TLS; its end is said in order, by `close_notify`.
    Tls(Box<TlsStream<TcpStream>>),
    /// Without a network.
    #[cfg(feature = "in-memory")]
    Memory(tokio::io::DuplexStream),
}

impl ClientStream {
    /// Whether the client has gone, or says that it sends no more: also while what it sent before waits to be read.
    pub(crate) fn has_ended(&self) -> bool {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
            #[cfg(feature = "in-memory")]
            Self::Memory(_) => return false,
        };
        let ready = socket.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed))
    }
}

/// Does the same with whichever it is.
macro_rules! whichever {
    ($stream:expr, $one:ident => $done:expr) => {
        match $stream {
            ClientStream::Tcp($one) => $done,
            ClientStream::Tls($one) => $done,
            #[cfg(feature = "in-memory")]
            ClientStream::Memory($one) => $done,
        }
    };
}

impl ClientStream {
    /// Ready when a read may find something. It need not: then the read itself waits.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Tls(_) => Poll::Ready(Ok(())),
            #[cfg(feature = "in-memory")]
            Self::Memory(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        whichever!(self.get_mut(), stream => gather::poll_write(Pin::new(stream), cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        whichever!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
