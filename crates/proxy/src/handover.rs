//! Handing the listening sockets of a running proxy to its successor, another process. Each side of the exchange,
//! in order: the successor asks (an HTTP upgrade on the control socket) and says that it is listening; the proxy
//! sends its table and its descriptors; the successor says that it is ready; the proxy stops accepting, and says that
//! it has parted; the successor accepts, and says that it has taken over. At no time do both accept; who connects in
//! between waits in the sockets' own queues. From then on the connection is their lifeline ([`crate::predecessor`]).
//!
//! What breaks before the proxy has parted leaves it as it was; when its successor dies before it has taken over, the
//! proxy accepts again. What the table says is not its business.

use crate::wire;
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::routes::RouteTable;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the whole exchange may take: the controller waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(10);

/// Descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 128;

/// The longest table, as on the control socket.
const LONGEST: u32 = 64 * 1024 * 1024;

/// The most descriptors: a listener for every port.
const MOST: u32 = 65_536;

/// One byte for each turn of the exchange.
const LISTENING: u8 = b'L';
const READY: u8 = b'R';
const PARTED: u8 = b'P';
const TAKEN: u8 = b'T';

/// What a proxy says when it hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Its version.
    pub(crate) version: String,
    /// The table in force.
    pub(crate) table: RouteTable,
    /// The address of the common listener.
    pub(crate) common: SocketAddr,
    /// How many of the descriptors, the last ones, are sockets of a service manager.
    #[serde(default)]
    pub(crate) activated: usize,
    /// The certificates in force; `None`: it has none to give, and those on disk are the last ones.
    #[serde(default)]
    pub(crate) keyring: Option<Keyring>,
}

/// What a proxy has handed over.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The connection to it, on which its successor says by [`ready`] and [`taken`] how far it is.
    pub(crate) lifeline: UnixStream,
    pub(crate) offer: Offer,
    /// The lock on the socket's path, the listeners, and a service manager's sockets.
    pub(crate) files: Vec<OwnedFd>,
}

/// Why a proxy does not hand over.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The one that runs does not know how to, or does not want to now.
    #[error(
        "it answered {0}: another one takes over just now, or it is too old to hand over: stop it, then start this one"
    )]
    Refused(StatusCode),
    /// It was not done in time.
    #[error("it was not done within {DEADLINE:?}")]
    Late,
    /// The exchange broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Asks the proxy on `socket` for what it has; `None`: nobody is there.
pub(crate) async fn take(socket: &Path) -> Result<Option<Taken>, TakeoverError> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let taken = async {
        let mut lifeline = ask(stream).await?;
        lifeline.write_all(&[LISTENING]).await?;
        let (offer, files) = receive(&mut lifeline).await?;
        Ok(Some(Taken { lifeline, offer, files }))
    };
    timeout(DEADLINE, taken).await.map_err(|_| TakeoverError::Late)?
}

/// Says to the one before that everything is ready, and waits until that one accepts nothing more.
pub(crate) async fn ready(stream: &mut UnixStream) -> Result<(), TakeoverError> {
    let said = async {
        stream.write_all(&[READY]).await?;
        expect(stream, PARTED).await
    };
    Ok(timeout(DEADLINE, said).await.map_err(|_| TakeoverError::Late)??)
}

/// Says to the one before that this one accepts.
pub(crate) async fn taken(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(&[TAKEN]).await
}

/// Sends `offer` and `files` to the one that asked, and returns when that one is ready.
pub(crate) async fn give(
    asked: Upgraded,
    offer: &Offer,
    files: &[BorrowedFd<'_>],
) -> Result<UnixStream, TakeoverError> {
    let given = async {
        let (mut stream, early) = bare(asked)?;
        if early.is_empty() {
            expect(&mut stream, LISTENING).await?;
        }
        send(&mut stream, offer, files).await?;
        expect(&mut stream, READY).await?;
        Ok(stream)
    };
    timeout(DEADLINE, given).await.map_err(|_| TakeoverError::Late)?
}

/// Says that nothing more is accepted here.
pub(crate) async fn parted(stream: &mut UnixStream) -> io::Result<()> {
    stream.write_all(&[PARTED]).await
}

/// Waits until the successor accepts, however long that takes: it has been told that it may.
///
/// # Errors
/// When it has died before it could.
pub(crate) async fn is_taken(stream: &mut UnixStream) -> io::Result<()> {
    expect(stream, TAKEN).await
}

async fn ask(stream: UnixStream) -> Result<UnixStream, TakeoverError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(wire::HANDOVER);
    for (name, value) in [(HOST, "proxy"), (CONNECTION, "upgrade"), (UPGRADE, wire::HANDOVER_PROTOCOL)] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(TakeoverError::Refused(answer.status()));
    }
    let (stream, _) = bare(hyper::upgrade::on(answer).await.map_err(io::Error::other)?)?;
    Ok(stream)
}

/// The socket under an upgraded connection, and what was already read from it.
fn bare(upgraded: Upgraded) -> io::Result<(UnixStream, Bytes)> {
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| io::Error::other("an upgraded connection of another kind"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

async fn expect(stream: &mut UnixStream, wanted: u8) -> io::Result<()> {
    let word = stream.read_u8().await?;
    if word == wanted { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// How many descriptors there are and how long the text is; the descriptors, each message of them beside one byte;
/// the text.
async fn send(stream: &mut UnixStream, offer: &Offer, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(offer)?;
    let (count, length) = (u32::try_from(files.len()), u32::try_from(text.len()));
    let (Ok(count), Ok(length)) = (count, length) else { return Err(io::ErrorKind::InvalidData.into()) };
    stream.write_u32(count).await?;
    stream.write_u32(length).await?;
    for some in files.chunks(AT_ONCE) {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(some));
            Ok(sendmsg(stream.as_fd(), &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?)
        };
        stream.async_io(Interest::WRITABLE, send).await?;
    }
    stream.write_all(&text).await
}

async fn receive(stream: &mut UnixStream) -> io::Result<(Offer, Vec<OwnedFd>)> {
    let (count, length) = (stream.read_u32().await?, stream.read_u32().await?);
    if count == 0 || count > MOST || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut files = Vec::new();
    while files.len() < count as usize {
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut beside = [0];
            let came = recvmsg(
                stream.as_fd(),
                &mut [IoSliceMut::new(&mut beside)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            let came = if came.bytes == 0 { None } else { Some(()) };
            let files = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => Some(files),
                _ => None,
            });
            Ok((came, files.flatten().collect::<Vec<_>>()))
        };
        let (came, mut some) = stream.async_io(Interest::READABLE, receive).await?;
        if came.is_none() || some.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        files.append(&mut some);
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).await?;
    Ok((serde_json::from_slice(&text)?, files))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use std::io::{Read, Seek, Write};

    fn offer() -> Offer {
        let table = RouteTable { revision: 7, apps: Vec::new() };
        Offer {
            version: "1.2.3".into(),
            table,
            common: ([127, 0, 0, 1], 80).into(),
            activated: 1,
            keyring: None,
        }
    }

    #[tokio::test]
    async fn descriptors_arrive_in_order_however_many() {
        for count in [1, AT_ONCE, 2 * AT_ONCE + 3] {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let files: Vec<_> = (0..count)
                .map(|number| {
                    let mut file = tempfile::tempfile().unwrap();
                    write!(file, "{number}").unwrap();
                    file
                })
                .collect();
            let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            let offered = offer();
            let (sent, received) = tokio::join!(send(&mut one, &offered, &borrowed), receive(&mut other));
            sent.unwrap();
            let (came, received) = received.unwrap();
            assert_eq!(came, offered);
            let texts: Vec<String> = received
                .into_iter()
                .map(|file| {
                    let (mut file, mut text) = (std::fs::File::from(file), String::new());
                    file.rewind().unwrap();
                    file.read_to_string(&mut text).unwrap();
                    text
                })
                .collect();
            assert_eq!(texts, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn one_that_goes_away_or_talks_nonsense_is_an_error() {
        for said in [&b""[..], &[0, 0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 2, b'x', b'y', b'z'], &[255; 64]] {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            one.write_all(said).await.unwrap();
            drop(one);
            assert!(receive(&mut other).await.is_err(), "{said:?}");
        }
    }
}
