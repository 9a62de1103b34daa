//! Variables in the texts of a Compose file, by the rules of the Compose specification ("Interpolation").

use super::literal;

/// What a variable becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// Its value: what has none is an error.
    Value,
    /// A reference that is resolved when a container is created, so that no secret is copied into a file.
    Reference,
}

/// A variable that a text needs and that has no value: its name, and what the text says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unset(pub(super) String);

/// Replaces the variables in `text`.
pub(super) fn expand(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    becomes: Becomes,
) -> Result<String, Unset> {
    let plain = |text: &str| match becomes {
        Becomes::Value => text.to_owned(),
        Becomes::Reference => literal(text),
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push_str(&plain("$"));
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| Unset(format!("`{text}`: a `${{` has no `}}`")))?;
            out.push_str(&braced(&inner[..end], variables, becomes)?);
            rest = &inner[end + 1..];
        } else {
            let length = rest.bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'_').count();
            if length == 0 || rest.as_bytes()[0].is_ascii_digit() {
                out.push_str(&plain("$"));
                continue;
            }
            out.push_str(&value(&rest[..length], variables, becomes)?);
            rest = &rest[length..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace that belongs to one before `text` is.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn braced(text: &str, variables: &dyn Fn(&str) -> Option<String>, becomes: Becomes) -> Result<String, Unset> {
    let length = text.bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'_').count();
    let (name, how) = text.split_at(length);
    let found = variables(name);
    let set = found.is_some();
    let filled = found.as_ref().is_some_and(|found| !found.is_empty());
    let otherwise = |rest: &str| expand(rest, variables, becomes);
    if how.is_empty() {
        return value(name, variables, becomes);
    }
    // In the order in which they are told apart: the longer spellings first.
    for (mark, counts) in [(":-", filled), (":?", filled), (":+", filled), ("-", set), ("?", set), ("+", set)]
    {
        let Some(rest) = how.strip_prefix(mark) else { continue };
        return match (mark.trim_start_matches(':'), counts) {
            ("-" | "?", true) => value(name, variables, becomes),
            ("-", false) | ("+", true) => otherwise(rest),
            ("+", false) => Ok(String::new()),
            _ => Err(Unset(format!("{name} has no value: {rest}"))),
        };
    }
    Err(Unset(format!("`${{{text}}}` is not understood")))
}

fn value(name: &str, variables: &dyn Fn(&str) -> Option<String>, becomes: Becomes) -> Result<String, Unset> {
    match becomes {
        Becomes::Reference => Ok(format!("${{env:{name}}}")),
        Becomes::Value => variables(name).ok_or_else(|| {
            Unset(format!("{name} has no value: set it in the environment, or in .env beside the file"))
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{Becomes, expand};

    fn variables(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("v1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn texts_become_what_compose_makes_of_them() {
        for (text, expected) in [
            ("app:$TAG", "app:v1"),
            ("app:${TAG}-x", "app:v1-x"),
            ("${NONE:-a${TAG}}", "av1"),
            ("${EMPTY:-x}${EMPTY-y}", "x"),
            ("${TAG:+set}${NONE+set}", "set"),
            ("$$5 and $ 5 and $5", "$5 and $ 5 and $5"),
        ] {
            assert_eq!(expand(text, &variables, Becomes::Value).unwrap(), expected, "{text}");
        }
        for text in ["$NONE", "${NONE:?say it}", "${EMPTY:?}", "${open", "${TAG!}"] {
            expand(text, &variables, Becomes::Value).unwrap_err();
        }
    }

    #[test]
    fn a_value_that_may_be_secret_is_not_copied() {
        for (text, expected) in [
            ("postgres://u:${PASSWORD}@db/$TAG", "postgres://u:${env:PASSWORD}@db/${env:TAG}"),
            ("$$5", "$$5"),
            ("${NONE:-a$$b}", "a$$b"),
            ("${TAG:-x}", "${env:TAG}"),
        ] {
            assert_eq!(expand(text, &variables, Becomes::Reference).unwrap(), expected, "{text}");
        }
    }
}
