//! What a `Host` names: the comparable form of an authority. Knows nothing of routes.

use http::HeaderValue;

/// Longest name that DNS allows.
const LONGEST: usize = 253;

/// Room for a normalized host, on the stack of the one who asks.
pub(crate) type HostBuffer = [u8; LONGEST];

/// Which bytes the comparable form of a name has.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < u8::MAX {
        plain[byte as usize] = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    plain
};

/// The host in `authority` (`host`, `host:port`, `[v6]:port`): lower case, without port and without
/// the trailing dot. `None`: it is no host, and the request must be refused.
pub(crate) fn normalize<'a>(authority: &'a str, buffer: &'a mut HostBuffer) -> Option<&'a str> {
    let (host, port) = split_port(authority)?;
    if !port.bytes().all(|b| b.is_ascii_digit()) || port.len() > 5 {
        return None;
    }
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if literal.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_err()) {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    // As it is written nearly always.
    if (1..=LONGEST).contains(&host.len()) && host.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return Some(host);
    }
    let lower = buffer.get_mut(..host.len()).filter(|lower| !lower.is_empty())?;
    for (to, from) in lower.iter_mut().zip(host.bytes()) {
        let valid = from.is_ascii_alphanumeric() || matches!(from, b'-' | b'.' | b'_' | b'~');
        if !valid && literal.is_none() {
            return None;
        }
        *to = from.to_ascii_lowercase();
    }
    std::str::from_utf8(lower).ok()
}

/// The host that a request names.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    authority: HeaderValue,
    /// How many bytes of it are the comparable form; `None`: that is written otherwise.
    plain: Option<usize>,
}

impl Named {
    /// What `authority` names; `None`: it names no host.
    pub(crate) fn new(authority: HeaderValue) -> Option<Self> {
        let text = authority.to_str().ok()?;
        let mut buffer = [0; _];
        let host = normalize(text, &mut buffer)?;
        let plain = std::ptr::eq(host.as_ptr(), text.as_ptr()).then_some(host.len());
        Some(Self { authority, plain })
    }

    /// As it was said.
    pub(crate) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Its comparable form.
    pub(crate) fn normalized<'a>(&'a self, buffer: &'a mut HostBuffer) -> Option<&'a str> {
        let text = self.authority.to_str().ok()?;
        match self.plain {
            Some(length) => text.get(..length),
            None => normalize(text, buffer),
        }
    }
}

/// Host and port digits (empty when there is no port).
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.bytes().position(|b| b == b':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) => Some((host, port)),
        None => rest.is_empty().then_some((host, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(authority: &str) -> Option<String> {
        normalize(authority, &mut [0; LONGEST]).map(str::to_owned)
    }

    #[test]
    fn case_port_and_trailing_dot_do_not_count() {
        for authority in [
            "example.com",
            "EXAMPLE.com",
            "example.com.",
            "example.com:80",
            "Example.COM.:8080",
            "example.com:",
        ] {
            assert_eq!(host(authority).as_deref(), Some("example.com"), "{authority}");
        }
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(host("10.0.0.1:80").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn a_name_is_the_same_by_itself_and_as_part_of_an_authority() {
        for authority in ["example.com", "EXAMPLE.com:80", "example.com.:8080", "[::1]:80", "a"] {
            let named = Named::new(HeaderValue::from_static(authority));
            let mut buffer = [0; _];
            let normalized = named.as_ref().and_then(|named| named.normalized(&mut buffer));
            assert_eq!(normalized.map(str::to_owned), host(authority), "{authority}");
            assert!(named.is_some_and(|named| named.authority() == authority));
        }
        assert!(Named::new(HeaderValue::from_static("a b")).is_none());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        for authority in [
            "", ":80", ".", "a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[::1]x", "[zz]", "a,b", "a:123456",
            &long,
        ] {
            assert_eq!(host(authority), None, "{authority:?}");
        }
    }
}
