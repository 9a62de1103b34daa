//! What stands in front of this proxy, and whose word on where a connection or a request comes from is believed: a load
//! balancer, another proxy. Everybody else's word on it is worth nothing.

use crate::message::Fields;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use ppp::v2::Command;
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a header of version 2 begins, and one of version 1.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";

/// The longest header of version 1, in bytes, and the longest of version 2 that is read: addresses and a few additions.
const LONGEST_V1: usize = 107;
const LONGEST_V2: usize = 2048;

/// Who stands in front, and how that one speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// Whose `X-Forwarded-For`, `-Proto` and `-Host` are believed.
    pub trusted: Vec<IpNet>,
    /// What their connections begin with.
    pub greeting: Greeting,
}

/// What the connections of those in front begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    /// What a client would say.
    #[default]
    None,
    /// The header of `HAProxy`'s PROXY protocol, version 1 or 2: without it, a connection ends. Before TLS, where there is
    /// any.
    ProxyProtocol,
}

/// What a trusted one says of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The client, and all that is in front, as far as they are known.
    pub(crate) chain: Option<HeaderValue>,
    pub(crate) scheme: Option<HeaderValue>,
    pub(crate) host: Option<HeaderValue>,
}

impl Front {
    /// Whether the word of `ip` counts.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// Who is really at the other end of a connection from `peer`: what the header at its beginning says, which is
    /// taken off, where there must be one.
    ///
    /// # Errors
    /// When it is not there within `patience`, or makes no sense.
    pub(crate) async fn greet(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        peer: IpAddr,
        patience: Duration,
    ) -> io::Result<IpAddr> {
        if self.greeting == Greeting::None || !self.trusts(peer) {
            return Ok(peer);
        }
        let client = timeout(patience, read_header(stream)).await??;
        Ok(client.map_or(peer, |client| client.to_canonical()))
    }

    /// What a trusted `peer` says of a request. The client is the last of its list that is not trusted itself: what
    /// stands before that one, anybody may have written.
    pub(crate) fn said(&self, fields: &Fields, peer: IpAddr) -> Said {
        let known = self.known(fields, peer);
        let chain: Vec<String> = known.iter().rev().map(IpAddr::to_string).collect();
        let scheme = only(fields, X_FORWARDED_PROTO).filter(|scheme| scheme == "http" || scheme == "https");
        Said {
            chain: HeaderValue::from_str(&chain.join(", ")).ok(),
            scheme,
            host: only(fields, X_FORWARDED_HOST),
        }
    }

    /// The client of a request, by what a trusted `peer` says.
    pub(crate) fn client(&self, fields: &Fields, peer: IpAddr) -> IpAddr {
        self.known(fields, peer).last().copied().unwrap_or(peer)
    }

    /// Who it has come by, from `peer` to the client.
    fn known(&self, fields: &Fields, peer: IpAddr) -> Vec<IpAddr> {
        let list = fields.get_all(X_FORWARDED_FOR).flat_map(|value| {
            value.to_str().unwrap_or_default().split(',').map(|text| text.trim().parse::<IpAddr>())
        });
        let mut known = vec![peer];
        for ip in list.collect::<Vec<_>>().into_iter().rev() {
            let Ok(ip) = ip else { break };
            known.push(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        known
    }
}

/// The value of a field that is there once.
fn only(fields: &Fields, name: HeaderName) -> Option<HeaderValue> {
    let mut values = fields.get_all(name);
    values.next().filter(|_| values.next().is_none()).cloned()
}

/// The source that a header names; `None`: the other side speaks for itself. Not a byte more is read: what follows may
/// be TLS.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; V2.len()];
    stream.read_exact(&mut header).await?;
    if header == V2 {
        header.resize(V2.len() + 4, 0);
        stream.read_exact(&mut header[V2.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        let begun = header.len();
        if begun + length > LONGEST_V2 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        header.resize(begun + length, 0);
        stream.read_exact(&mut header[begun..]).await?;
    } else if header.starts_with(V1) {
        while !header.ends_with(b"\r\n") {
            if header.len() >= LONGEST_V1 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY header"));
    }
    let parsed = HeaderResult::parse(&header);
    if parsed.is_incomplete() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
            v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    fn front() -> Front {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Front { trusted, greeting: Greeting::ProxyProtocol }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What is made of a connection that begins with `bytes`, and what is left of them.
    async fn greeted(bytes: &[u8], peer: &str) -> (io::Result<IpAddr>, usize) {
        let mut stream = bytes;
        let greeted = front().greet(&mut stream, ip(peer), Duration::from_secs(1)).await;
        (greeted, stream.len())
    }

    fn version_2(command_and_family: [u8; 2], addresses: &[u8]) -> Vec<u8> {
        let mut header = V2.to_vec();
        header.extend(command_and_family);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header
    }

    #[tokio::test]
    async fn the_header_is_taken_off_and_believed_when_it_comes_from_who_is_trusted() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
        let mut with_more = v4.to_vec();
        with_more.extend([0x04, 0, 1, 0]);
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), "192.0.2.7"),
            (b"PROXY TCP6 2001:db8::7 fd00::1 12345 80\r\n".to_vec(), "2001:db8::7"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "10.0.0.9"),
            (version_2([0x21, 0x11], &v4), "192.0.2.7"),
            (version_2([0x21, 0x11], &with_more), "192.0.2.7"),
            (version_2([0x20, 0x00], &[]), "10.0.0.9"),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (client_is, left) = greeted(&bytes, "10.0.0.9").await;
            assert_eq!((client_is.unwrap(), left), (ip(client), 16), "{}", header.escape_ascii());
            // Nobody else is asked for one, and nobody else's is taken off.
            assert_eq!(greeted(&bytes, "192.0.2.1").await.1, bytes.len());
        }
    }

    #[tokio::test]
    async fn a_connection_of_the_front_without_a_header_ends() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = {
            let mut header = version_2([0x21, 0x11], &[]);
            header[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
            header
        };
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            b"PROXY TCP4 nobody 10.0.0.1 12345 80\r\n",
            &long,
            &huge,
            &version_2([0x21, 0x11], &[1, 2, 3]),
            &version_2([0x33, 0x11], &[0; 12]),
        ] {
            assert!(greeted(bytes, "10.0.0.9").await.0.is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_client_is_the_last_one_that_is_not_trusted() {
        let said = |fields: &[(&'static str, &'static str)]| {
            let mut all = Fields::default();
            for &(name, value) in fields {
                all.add(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            front().said(&all, ip("10.0.0.9"))
        };
        let chain = |value: &'static str| said(&[("x-forwarded-for", value)]).chain.unwrap();
        assert_eq!(chain("192.0.2.7"), "192.0.2.7, 10.0.0.9");
        assert_eq!(chain("1.1.1.1, 192.0.2.7, 10.2.0.1"), "192.0.2.7, 10.2.0.1, 10.0.0.9");
        assert_eq!(chain("192.0.2.7, evil"), "10.0.0.9");
        let apart = said(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(apart.chain.unwrap(), "192.0.2.7, 10.0.0.9");
        assert_eq!(said(&[]).chain.unwrap(), "10.0.0.9");
        let mut fields = Fields::default();
        assert_eq!(front().client(&fields, ip("10.0.0.9")), ip("10.0.0.9"));
        fields.add(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1, 192.0.2.7, 10.2.0.1"));
        assert_eq!(front().client(&fields, ip("10.0.0.9")), ip("192.0.2.7"));

        assert_eq!(said(&[("x-forwarded-proto", "https")]).scheme.unwrap(), "https");
        assert_eq!(said(&[("x-forwarded-proto", "gopher")]).scheme, None);
        let twice = said(&[("x-forwarded-host", "a"), ("x-forwarded-host", "b")]);
        assert_eq!(twice.host, None);
    }
}
