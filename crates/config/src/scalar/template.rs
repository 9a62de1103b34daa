//! Texts with references: `${env:NAME}` and `${file:PATH}`, resolved when a container is created.

use crate::fields::quoted;
use dockswap_core::spec::{Segment, Template};

/// Reads a text with references, their file paths as written. `$$` stands for `$`, and so does a
/// `$` that no brace follows. The text itself is never part of the advice: it may hold a secret.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    let (mut segments, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(dollar) = rest.find('$') {
        literal.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((inner, after)) = after.split_once('}') else {
                return Err("a `${` has no `}`: close it, or write $${ for the two characters".to_owned());
            };
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(reference(inner)?);
            rest = after;
        } else {
            literal.push('$');
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || segments.is_empty() {
        segments.push(Segment::Literal(literal));
    }
    Ok(Template(segments))
}

fn reference(inner: &str) -> Result<Segment, String> {
    match inner.split_once(':') {
        Some(("env", "")) => Err("${env:} names no variable: write ${env:NAME}".to_owned()),
        Some(("env", name)) if name.contains(|c: char| c == '=' || c.is_whitespace()) => {
            Err("the name in ${env:…} holds a blank or `=`: write ${env:NAME}".to_owned())
        }
        Some(("env", name)) => Ok(Segment::Env(name.to_owned())),
        Some(("file", "")) => Err("${file:} names no file: write ${file:PATH}".to_owned()),
        Some(("file", path)) => Ok(Segment::File(path.to_owned())),
        Some((kind, _)) => Err(format!(
            "references of kind {} are not known: write ${{env:NAME}} or ${{file:PATH}}, or $${{ for the two characters",
            quoted(kind)
        )),
        None => Err("${…} without a kind: write ${env:NAME} or ${file:PATH}, or $${ for the two characters"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use dockswap_core::spec::{Segment, Template};

    #[test]
    fn references_and_literal_dollars() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        for (text, segments) in [
            ("", vec![literal("")]),
            ("plain", vec![literal("plain")]),
            ("5$ $HOME $", vec![literal("5$ $HOME $")]),
            ("a$$b", vec![literal("a$b")]),
            ("$${env:X}", vec![literal("${env:X}")]),
            ("${env:X}", vec![Segment::Env("X".into())]),
            (
                "a${env:X}${file:/run/k}b",
                vec![literal("a"), Segment::Env("X".into()), Segment::File("/run/k".into()), literal("b")],
            ),
        ] {
            assert_eq!(parse(text), Ok(Template(segments)), "{text}");
        }
    }

    #[test]
    fn references_that_are_refused() {
        for text in ["${X}", "${env:}", "${file:}", "${vault:x}", "${env:X", "${}", "${env:A B}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_advice_never_shows_the_text() {
        for text in ["hunter2${", "${hunter2}", "hunter2${env:}", "${env:hunter2"] {
            assert!(!parse(text).expect_err(text).contains("hunter2"), "{text}");
        }
    }
}
