//! What an upgraded connection becomes: bytes both ways, until both sides have ended.

use crate::client_io::ClientIo;
use crate::dialer::Dialer;
use crate::proxy::Proxy;
use crate::upstream::InFlight;
use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

/// Carries bytes between `client` and `upstream`, in a task of its own, once both have upgraded.
/// `in_flight` counts until the tunnel is closed.
pub(crate) fn start(proxy: &Arc<Proxy>, client: OnUpgrade, upstream: OnUpgrade, in_flight: InFlight) {
    let held_by = Arc::clone(in_flight.upstream());
    let shared = Arc::clone(proxy);
    let task = proxy.connections.spawn(async move {
        tokio::select! {
            ended = carry_over(&shared.dialer, client, upstream) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a tunnel broke");
                }
            }
            () = shared.ending.given() => {}
        }
        drop(in_flight);
    });
    held_by.hold(task.abort_handle());
}

async fn carry_over(dialer: &Dialer, client: OnUpgrade, upstream: OnUpgrade) -> io::Result<()> {
    match dialer {
        Dialer::Tcp => carry::<TcpStream>(client, upstream).await,
        #[cfg(feature = "in-memory")]
        Dialer::Memory(_) => carry::<tokio::io::DuplexStream>(client, upstream).await,
    }
}

/// Both sides are streams of the kind `S`.
async fn carry<S>(client: OnUpgrade, upstream: OnUpgrade) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (client, upstream) = tokio::try_join!(client, upstream).map_err(io::Error::other)?;
    let (client, early_from_client) = bare::<TokioIo<ClientIo<S>>>(client)?;
    let (upstream, early_from_upstream) = bare::<TokioIo<S>>(upstream)?;
    let (mut client, mut upstream) = (client.into_inner().into_inner(), upstream.into_inner());
    upstream.write_all(&early_from_client).await?;
    client.write_all(&early_from_upstream).await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(|_| ())
}

/// The socket under an upgraded connection, and what was already read from it.
fn bare<T: Read + Write + Unpin + 'static>(upgraded: Upgraded) -> io::Result<(T, Bytes)> {
    let parts =
        upgraded.downcast::<T>().map_err(|_| io::Error::other("an upgraded connection of another kind"))?;
    Ok((parts.io, parts.read_buf))
}
