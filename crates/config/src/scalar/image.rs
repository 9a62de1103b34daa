//! Image references: `[registry[:port]/]name[:tag][@digest]`.

use crate::fields::quoted;

/// Checks an image reference, by the grammar of the distribution project.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if is_reference(text) {
        return Ok(());
    }
    let advice = if text
        .split(['@', ':'])
        .next()
        .is_some_and(|name| name.contains(|c: char| c.is_ascii_uppercase()))
    {
        "names are lower case"
    } else {
        "write it as in myapp:v1 or registry.example.com/team/myapp:v1"
    };
    Err(format!("{} is not an image reference: {advice}", quoted(text)))
}

fn is_reference(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].split_once(':') {
        Some((_, tag)) => (&rest[..rest.len() - tag.len() - 1], Some(tag)),
        None => (rest, None),
    };
    text.len() <= 512 && is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn is_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((first, path)) if is_registry(first) => path.split('/').all(is_component),
        _ => name.split('/').all(is_component),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (host.contains('.') || text.contains(':') || host == "localhost")
        && host.split('.').all(label)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters, digits, and between them a dot, one or two underscores, or hyphens.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&b| alphanumeric(b))
        && bytes.last().is_some_and(|&b| alphanumeric(b))
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn references() {
        let digest = "0123456789abcdef".repeat(4);
        for text in [
            "myapp",
            "myapp:v1",
            "team/my-app_x.y:1.0-rc.1",
            "localhost/app",
            "localhost:5000/app:v1",
            "registry.example.com:5000/team/app:v1",
            "hub.example/a/b__c",
            &format!("app@sha256:{digest}"),
            &format!("app:v1@sha256:{digest}"),
            &format!("sha256:{digest}"),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_references() {
        for text in [
            "",
            ":",
            "app:",
            "MyApp:v1",
            "my app",
            "app:v 1",
            "-app",
            "app-",
            "a..b",
            "a___b",
            "/app",
            "app/",
            "a//b",
            "http://x/app",
            "app@sha256:xyz",
            "app@",
            "reg.io:0/app",
            "app:$TAG",
            "äpp",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        let advice = "\"MyApp:v1\" is not an image reference: names are lower case";
        assert_eq!(check("MyApp:v1"), Err(advice.to_owned()));
    }
}
