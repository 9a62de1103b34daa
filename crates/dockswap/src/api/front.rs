//! Who comes in over TCP at all: requests for one of the API's own hosts, of programs and not of other sites' pages,
//! from addresses that did not fail too often to say who they are. Who they are it must not know.

use super::code::Code;
use super::error::Problem;
use axum::extract::{self, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// In how long failures and requests are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How often an address may fail to say who it is within [`WINDOW`].
const FAILURES: u32 = 20;

/// How many requests a token may make within [`WINDOW`].
const REQUESTS: u32 = 1_200;

/// How many are counted at a time; of more, those whose window is over are forgotten, and then all.
const COUNTED: usize = 10_000;

/// From where a request came over TCP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) SocketAddr);

/// What is counted in windows of a minute, by whose it is.
#[derive(Debug)]
struct Counts<K> {
    most: u32,
    counts: Mutex<HashMap<K, (Instant, u32)>>,
}

impl<K: Eq + Hash> Counts<K> {
    fn new(most: u32) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// How long it lasts until one more is fine, when there were too many.
    fn count(&self, whose: K, now: Instant) -> Result<(), Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED && !counts.contains_key(&whose) {
            counts.retain(|_, (began, _)| now.duration_since(*began) < WINDOW);
            if counts.len() >= COUNTED {
                counts.clear();
            }
        }
        let (began, count) = counts.entry(whose).or_insert((now, 0));
        if now.duration_since(*began) >= WINDOW {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count > self.most { Err(WINDOW.saturating_sub(now.duration_since(*began))) } else { Ok(()) }
    }

    /// How long it lasts until one more would be fine; `None`: it would be now.
    fn left(&self, whose: &K, now: Instant) -> Option<Duration> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count) = *counts.get(whose)?;
        let left = WINDOW.checked_sub(now.duration_since(began))?;
        (count >= self.most).then_some(left)
    }
}

/// The requests of each token.
#[derive(Debug)]
pub(crate) struct Rates(Counts<String>);

impl Default for Rates {
    fn default() -> Self {
        Self(Counts::new(REQUESTS))
    }
}

impl Rates {
    /// Counts a request of a token.
    ///
    /// # Errors
    /// 429, when there were too many.
    pub(crate) fn admit(&self, token: &str) -> Result<(), Box<Response>> {
        self.0.count(token.to_owned(), Instant::now()).map_err(|left| {
            Box::new(too_many(left, &format!("a token has at most {REQUESTS} requests a minute")))
        })
    }
}

/// What is known at the front.
pub(crate) struct Front {
    /// Names that are the API's, lower case.
    hosts: BTreeSet<String>,
    /// It listens on every address: any of them is its own.
    every_address: bool,
    failures: Counts<IpAddr>,
}

impl Front {
    pub(super) fn new(listen: SocketAddr, hosts: &[String]) -> Arc<Self> {
        let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let own = std::iter::once(listen.ip().to_string());
        Arc::new(Self {
            hosts: loopback.into_iter().chain(own).chain(hosts.iter().cloned()).collect(),
            every_address: listen.ip().is_unspecified(),
            failures: Counts::new(FAILURES),
        })
    }

    /// Whether a host, with or without a port, is the API's. An address cannot be made to mean another one, as a name
    /// can.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        !host.is_empty()
            && !authority.as_str().contains('@')
            && (self.hosts.contains(host) || (self.every_address && host.parse::<IpAddr>().is_ok()))
    }

    fn refuses(&self, request: &Request) -> Option<Problem> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let named = host.is_some_and(|host| self.is_ours(host)) && hosts.next().is_none();
        let asked = request.uri().authority().is_none_or(|authority| self.is_ours(authority.as_str()));
        if !named || !asked {
            let told = "this host is not the API's: ask it by its address, or name the host in api.hosts of dockswap.yaml";
            return Some(Problem::new(Code::Misdirected, told));
        }
        self.is_of_another_site(headers).then(|| {
            let told = "a page of another site asks: the API is for programs";
            Problem::new(Code::CrossSite, told)
        })
    }

    fn is_of_another_site(&self, headers: &HeaderMap) -> bool {
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let origin = headers.get(header::ORIGIN).map(|origin| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, host)| self.is_ours(host))
        });
        !matches!(site, None | Some(b"none" | b"same-origin")) || origin == Some(false)
    }
}

/// What counts as one address: with IPv6 the whole network of a host, for whoever has one address there has 2⁶⁴ of them
/// (RFC 4291, section 2.5.4).
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// Lets a request in, or not.
pub(super) async fn admit(
    extract::State(front): extract::State<Arc<Front>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(Remote(peer)) = request.extensions().get::<Remote>().copied() else {
        return Problem::new(Code::BadRequest, "nobody knows where this request comes from").into_response();
    };
    let address = network(peer.ip());
    if let Some(left) = front.failures.left(&address, Instant::now()) {
        let told = format!("{FAILURES} requests of this address within a minute did not say who asks");
        return too_many(left, &told);
    }
    if let Some(problem) = front.refuses(&request) {
        return problem.into_response();
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED && front.failures.count(address, Instant::now()).is_err()
    {
        tracing::warn!(%address, "does not say who it is, too often");
    }
    response
}

fn too_many(left: Duration, why: &str) -> Response {
    let seconds = left.as_secs().max(1);
    let told = format!("{why}: try again in {seconds} s");
    let mut response = Problem::new(Code::TooMany, told).into_response();
    let after: HeaderName = header::RETRY_AFTER;
    response.headers_mut().insert(after, HeaderValue::from(seconds));
    response
}

#[cfg(test)]
mod tests {
    use super::{COUNTED, Counts, WINDOW, network};
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    #[test]
    fn so_many_a_minute_and_no_more() {
        let counts = Counts::new(2);
        let begin = Instant::now();
        assert_eq!((counts.count("a", begin), counts.left(&"a", begin)), (Ok(()), None));
        assert_eq!(counts.count("a", begin), Ok(()));
        let later = begin + Duration::from_secs(20);
        assert_eq!(counts.left(&"a", later), Some(Duration::from_secs(40)));
        assert_eq!(counts.count("a", later), Err(Duration::from_secs(40)));
        assert_eq!((counts.count("b", later), counts.left(&"b", later)), (Ok(()), None));
        assert_eq!(
            (counts.left(&"a", begin + WINDOW), counts.count("a", begin + WINDOW)),
            (Some(Duration::ZERO), Ok(()))
        );
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let counts = Counts::new(1);
        let begin = Instant::now();
        for whose in 0..3 * COUNTED {
            assert_eq!(counts.count(whose, begin), Ok(()));
        }
        assert!(counts.counts.lock().expect("no panic").len() <= COUNTED);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let ip = |text: &str| network(text.parse::<IpAddr>().expect("an address")).to_string();
        assert_eq!(ip("2001:db8::1:2:3:4"), ip("2001:db8::ffff"));
        assert_ne!(ip("2001:db8:0:1::1"), ip("2001:db8:0:2::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
