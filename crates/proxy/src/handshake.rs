//! The TLS handshake with a client: which certificate it is shown, and what is spoken afterwards. Who may connect at
//! all was decided before.

use crate::certificates::{ACME_TLS, Certificate};
use crate::host;
use crate::proxy::Proxy;
use crate::sniff::Spoken;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// A fatal alert, `unrecognized_name` (RFC 6066, section 3), in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

/// What one gets who speaks HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 56\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n\r\n400 Bad Request: this port is for HTTPS, not for HTTP.\r\n";

/// How requests begin; TLS begins with no letter.
const LETTERS: std::ops::RangeInclusive<u8> = b'A'..=b'Z';

/// What a client and the proxy have agreed on.
#[derive(Debug)]
pub(crate) struct Secured {
    /// The host that the client asked for, normalized.
    pub(crate) name: Option<Box<str>>,
    pub(crate) certificate: Arc<Certificate>,
}

/// What becomes of a handshake.
pub(crate) enum Shaken {
    /// A connection for requests.
    Client(Box<TlsStream<TcpStream>>, Spoken, Secured),
    /// An ACME server has seen what it wanted to.
    AcmeServer,
}

/// What a client is answered with.
enum Choice {
    Client(Secured),
    AcmeServer(Arc<ServerConfig>),
}

/// Shakes hands with the client on `stream`, which has the time of a head for all of it.
pub(crate) async fn shake(stream: TcpStream, proxy: &Proxy) -> io::Result<Shaken> {
    timeout(proxy.limits.head_time, begin(stream, proxy)).await?
}

async fn begin(stream: TcpStream, proxy: &Proxy) -> io::Result<Shaken> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && LETTERS.contains(&first[0]) {
        answer_plainly(stream).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP, where TLS is spoken"));
    }
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    match choose(&start.client_hello(), proxy) {
        Some(Choice::Client(secured)) => {
            let config = Arc::clone(&secured.certificate.config);
            let stream = start.into_stream(config).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let spoken = if http2 { Spoken::Http2 } else { Spoken::Http1 };
            Ok(Shaken::Client(Box::new(stream), spoken, secured))
        }
        Some(Choice::AcmeServer(config)) => {
            let mut stream = start.into_stream(config).await?;
            // It has seen the certificate, and ends the connection without a word.
            stream.shutdown().await?;
            Ok(Shaken::AcmeServer)
        }
        None => {
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            let message = format!("no certificate for {:?}", start.client_hello().server_name());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

fn choose(hello: &ClientHello<'_>, proxy: &Proxy) -> Option<Choice> {
    let certificates = proxy.certificates();
    let mut buffer = [0; _];
    let name = hello.server_name().and_then(|name| host::normalize(name, &mut buffer));
    let mut protocols = hello.alpn().into_iter().flatten();
    if protocols.any(|protocol| protocol == ACME_TLS) {
        return certificates.proof(name?).cloned().map(Choice::AcmeServer);
    }
    let certificate = Arc::clone(certificates.find(name)?);
    Some(Choice::Client(Secured { name: name.map(Into::into), certificate }))
}

/// Says so in the client's own words, and listens until it has heard them.
async fn answer_plainly(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 4096];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
