//! Hosts and paths of routes, brought into one spelling so that equal ones are equal.

use crate::fields::quoted;
use dockswap_core::spec::HostPattern;

/// Reads a host: a name, `*.name`, or `*`. Lower case, without trailing dot.
pub(crate) fn pattern(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    let (name, wildcard) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host, false),
    };
    if let Some(advice) = trouble(name) {
        return Err(format!("{} is not a host: {advice}", quoted(text)));
    }
    let name = name.to_owned();
    Ok(if wildcard { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

/// What is wrong with a name, as advice.
fn trouble(name: &str) -> Option<&'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.contains("://") {
        Some("leave out the scheme, as in app.example.com")
    } else if name.contains('/') {
        Some("write the path under path_prefix")
    } else if name.contains(':') {
        Some("leave out the port; a listener of its own is listen_port")
    } else if name.contains('*') {
        Some("a star stands only for the first label, as in *.example.com")
    } else if !name.is_ascii() {
        Some("write it in its ASCII form, which begins with xn--")
    } else if name.len() > 253 || !name.split('.').all(label) {
        Some("write a name such as app.example.com or *.example.com")
    } else {
        None
    }
}

/// Reads the prefix of a path: `/` in front, none at the end.
pub(crate) fn path_prefix(text: &str) -> Result<String, String> {
    let path = path(text)?;
    if path.contains('?') {
        return Err(format!("{} holds a query: write the path alone", quoted(text)));
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(format!("{} holds an empty, `.` or `..` segment: write it as in /api", quoted(text)));
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

/// Reads a path with or without a query, as a request line carries it.
pub(crate) fn path(text: &str) -> Result<&str, String> {
    if text.contains("://") {
        Err(format!("{} is a URL: write the path alone, as in /health", quoted(text)))
    } else if !text.starts_with('/') {
        Err(format!("{} does not begin with /: write it as in /health", quoted(text)))
    } else if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'#') {
        Err(format!("{} holds a character that no request path may: percent-encode it", quoted(text)))
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{path, path_prefix, pattern};
    use dockswap_core::spec::HostPattern;

    #[test]
    fn hosts_in_one_spelling() {
        let exact = |text: &str| Ok(HostPattern::Exact(text.to_owned()));
        assert_eq!(pattern("App.Example.COM."), exact("app.example.com"));
        assert_eq!(pattern("hello.localhost"), exact("hello.localhost"));
        assert_eq!(pattern("127.0.0.1"), exact("127.0.0.1"));
        assert_eq!(pattern("*.Example.com"), Ok(HostPattern::Wildcard("example.com".to_owned())));
        assert_eq!(pattern("*"), Ok(HostPattern::Any));
    }

    #[test]
    fn texts_that_are_no_hosts() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a.*.b",
            "*x.com",
            "*.",
            "http://a",
            "a:80",
            "a/b",
            "müller.de",
            "[::1]",
            &long,
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_in_one_spelling() {
        for (text, prefix) in [("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/a/b//", "/a/b")] {
            assert_eq!(path_prefix(text), Ok(prefix.to_owned()), "{text}");
        }
        for text in ["", "api", "/a//b", "/a/../b", "/a?x=1", "/a b", "/ä", "/a#b"] {
            assert!(path_prefix(text).is_err(), "{text}");
        }
        assert_eq!(path("/health?deep=1"), Ok("/health?deep=1"));
    }
}
